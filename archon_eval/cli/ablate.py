"""`archon ablate`: what each layer and component of an architecture is worth.

$ archon ablate moa-lite --models sim/pool --dry-run
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from archon_eval.cli.architectures import ARCH, MODELS
from archon_eval.cli.commands import command
from archon_eval.cli.progress import Evals, Progress
from archon_eval.cli.report import eval_options, print_unscored, scoring
from archon_eval.cli.tables import print_table, table
from archon_eval.errors import DataError

WORTH = {"better": "helps", "worse": "hurts", "cannot tell": "cannot tell"}
"""The verdict on the whole against the changed one -> on the part that was changed."""


def add(commands: Any) -> None:
    """Add the command."""
    ablate = command(commands, "ablate", "what each layer and component of an architecture is worth", _ablate)
    ablate.add_argument("architecture", help=ARCH)
    ablate.add_argument("--models", help=MODELS)
    eval_options(ablate, Path("ablation"))
    scoring(ablate)
    ablate.add_argument("--dry-run", action="store_true", help="only list the changes")
    ablate.add_argument("--png", type=Path, metavar="FILE", help="write the plot")
    ablate.add_argument("--json", action="store_true", help="everything, as JSON")


def _ablate(options: argparse.Namespace) -> int:
    from archon_eval.harness.model_names import model_names
    from archon_eval.loading import load_architecture
    from archon_eval.report import ablation, charts, ci
    from archon_eval.report.evals import Eval

    whole = load_architecture(options.architecture, model_names(options.models))
    if whole.placeholders:
        raise DataError(
            f"architecture {whole.name!r} has places for models ({', '.join(whole.placeholders)}): name yours, "
            "strongest first, e.g. --models openai/gpt-4o,openai/gpt-4o-mini or --models sim/pool for simulated ones"
        )
    changed = ablation.variants(whole)
    if options.dry_run or not changed:
        print("\n".join(variant.change for variant in changed) or "nothing can be dropped or swapped")
        return 0
    if not options.task:
        raise DataError("ablate runs evals: which benchmark? --task archon_eval/math -T sample=true")
    args = (
        tuple(options.task_args),
        tuple(options.solver_args),
        tuple(options.model_role),
        options.epochs,
        options.time_limit,
    )
    if options.png:
        charts.require()  # before anything is paid
    plan = Eval(options.task, *args)
    with Progress("ablate", options.json) as progress:
        evals = Evals(progress, 1 + len(changed), options.epochs)
        run, worth = ablation.ablate(
            whole,
            changed,
            plan,
            options.log_dir,
            lambda change: evals.watch(change, plan),
            options.scorer,
            options.missing,
        )
    worth.sort(key=lambda one: -one.value.value)
    at = f"{100 * worth[0].value.confidence:.3g}%"
    if options.json:
        print(json.dumps(ablation.mapping(run, worth), indent=2))
    else:
        _print(run, worth, options.missing)
        print(
            f"Worth: points the whole scores above the changed one, on the same questions; intervals and verdicts at "
            f"{at}, which holds for all {len(worth)} together. Logs: {options.log_dir}"
        )
    if options.png:
        ci.write(options.png, charts.png(charts.worth(ablation.chart_rows(worth), f"worth, points ({at} interval)")))
    return 0


def _print(run: Any, worth: Sequence[Any], missing: str) -> None:
    from archon_eval.report.contents import interval
    from archon_eval.report.statistics import shown

    columns = ("change", "score", "worth", "verdict", "calls", "tokens", "$")
    rows = table(*columns, numbers="score,calls,tokens,$")
    scale, means = run.points, run.means.values()
    rows.add_row("the whole", shown(sum(means) / len(means), scale), "", "", *_costs(run), style="bold")
    for one in worth:
        whole = one.pair.whole
        value = interval(one.value, one.pair.points, "+")
        rows.add_row(one.change, shown(whole.second, scale), value, WORTH[whole.verdict], *_costs(one.run))
    print_table(rows)
    for each in (run, *(one.run for one in worth)):
        print_unscored(each, missing)


def _costs(run: Any) -> list[str]:
    return [
        "unknown" if (value := run.cost[name]) is None else f"{value:,.4g}" for name in ("calls", "tokens", "dollars")
    ]
