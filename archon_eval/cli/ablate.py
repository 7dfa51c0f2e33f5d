"""`archon ablate`: what each layer and component of an architecture is worth.

$ archon ablate moa-lite --models sim/pool --dry-run
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from archon_eval.cli.architectures import ARCHITECTURE_HELP, MODELS_HELP
from archon_eval.cli.commands import add_command
from archon_eval.cli.progress import EvalSeries, ProgressDisplay
from archon_eval.cli.report import add_eval_options, add_scoring_options, print_unscored
from archon_eval.cli.tables import create_table, print_table
from archon_eval.errors import DataError

PART_VERDICTS = {"better": "helps", "worse": "hurts", "cannot tell": "cannot tell"}
"""The verdict on the whole against the changed one -> on the part that was changed."""


def add(commands: Any) -> None:
    """Add the command."""
    ablate = add_command(commands, "ablate", "what each layer and component of an architecture is worth", run=_ablate)
    ablate.add_argument("architecture", help=ARCHITECTURE_HELP)
    ablate.add_argument("--models", help=MODELS_HELP)
    add_eval_options(ablate, Path("ablation"))
    add_scoring_options(ablate)
    ablate.add_argument("--dry-run", action="store_true", help="only list the changes")
    ablate.add_argument("--png", type=Path, metavar="FILE", help="write the plot")
    ablate.add_argument("--json", action="store_true", help="everything, as JSON")


def _ablate(options: argparse.Namespace) -> int:
    from archon_eval.architecture.load import load_architecture
    from archon_eval.models.model_names import parse_model_names
    from archon_eval.report import ablation
    from archon_eval.report import ci_output as ci
    from archon_eval.report.html import charts
    from archon_eval.runs.run_eval import Eval

    whole = load_architecture(options.architecture, parse_model_names(options.models))
    if whole.placeholders:
        raise DataError(
            f"architecture {whole.name!r} has places for models ({', '.join(whole.placeholders)}): name yours, "
            "strongest first, e.g. --models openai/gpt-4o,openai/gpt-4o-mini or --models sim/pool for simulated ones"
        )
    changed = ablation.list_variants(whole)
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
        charts.require_plotting()  # before anything is paid
    plan = Eval(options.task, *args)
    with ProgressDisplay("ablate", options.json) as progress:
        evals = EvalSeries(progress, 1 + len(changed), options.epochs)
        run, worth = ablation.run_ablation(
            whole,
            changed,
            plan,
            options.log_dir,
            lambda change: evals.start_eval(change, plan),
            options.scorer,
            options.missing,
        )
    worth.sort(key=lambda one: -one.value.value)
    at = f"{100 * worth[0].value.confidence:.3g}%"
    if options.json:
        print(json.dumps(ablation.dump_ablation(run, worth), indent=2))
    else:
        _print_worth(run, worth, options.missing)
        print(
            f"Worth: points the whole scores above the changed one, on the same questions; intervals and verdicts at "
            f"{at}, which holds for all {len(worth)} together. Logs: {options.log_dir}"
        )
    if options.png:
        ci.write_file(
            options.png,
            charts.render_png(
                charts.build_interval_chart(ablation.build_chart_rows(worth), f"worth, points ({at} interval)")
            ),
        )
    return 0


def _print_worth(run: Any, worth: Sequence[Any], missing: str) -> None:
    from archon_eval.report.report_data import format_interval
    from archon_eval.stats.estimates import format_score

    columns = ("change", "score", "worth", "verdict", "calls", "tokens", "$")
    rows = create_table(*columns, numbers="score,calls,tokens,$")
    scale, means = run.points, run.means.values()
    rows.add_row("the whole", format_score(sum(means) / len(means), scale), "", "", *_format_costs(run), style="bold")
    for one in worth:
        whole = one.pair.overall
        value = format_interval(one.value, one.pair.points, "+")
        rows.add_row(
            one.change, format_score(whole.second, scale), value, PART_VERDICTS[whole.verdict], *_format_costs(one.run)
        )
    print_table(rows)
    for each in (run, *(one.run for one in worth)):
        print_unscored(each, missing)


def _format_costs(run: Any) -> list[str]:
    return [
        "unknown" if (value := run.cost[name]) is None else f"{value:,.4g}" for name in ("calls", "tokens", "dollars")
    ]
