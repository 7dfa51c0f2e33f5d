"""`archon ablate`: what each layer and component of an architecture is worth.

$ archon ablate moa-lite --models sim/pool --dry-run
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from archon_eval.cli.architectures import ARCHITECTURE_HELP, add_model_options, load_mapped, parse_model_options
from archon_eval.cli.commands import add_command
from archon_eval.cli.eval_options import add_eval_options, add_scoring_options, build_eval
from archon_eval.cli.progress import EvalSeries, ProgressDisplay
from archon_eval.cli.report import print_doubts, print_unknown_costs, print_unscored, print_warnings
from archon_eval.cli.tables import create_table, print_table
from archon_eval.errors import DataError, sanitize_text

PART_VERDICTS = {"better": "helps", "worse": "hurts", "cannot tell": "cannot tell"}
"""The verdict on the whole architecture against the changed one -> the verdict on the part that was changed."""


def add(commands: Any) -> None:
    """Add the command."""
    ablate = add_command(commands, "ablate", "what each layer and component of an architecture is worth", run=_ablate)
    ablate.add_argument("architecture", help=ARCHITECTURE_HELP)
    add_model_options(ablate)
    add_eval_options(ablate, Path("ablation"))
    add_scoring_options(ablate)
    ablate.add_argument("--dry-run", action="store_true", help="only list the changes")
    ablate.add_argument("--png", type=Path, metavar="FILE", help="write the plot")
    ablate.add_argument("--json", action="store_true", help="everything, as JSON")


def _ablate(options: argparse.Namespace) -> int:
    from archon_eval.architecture.load import load_architecture
    from archon_eval.report import ablation
    from archon_eval.report.html.vega import require_plotting

    whole = load_architecture(load_mapped(options.architecture, options), **parse_model_options(options))
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
    if options.png:
        require_plotting()  # before anything is paid
    plan, choice = build_eval(options).choose_door()
    with ProgressDisplay("ablate", options.json) as progress:
        evals = EvalSeries(progress, 1 + len(changed), options.epochs)
        run, worth, left_out = ablation.run_ablation(
            whole,
            changed,
            plan,
            folder=options.log_dir,
            on_eval=lambda change: evals.start_eval(change, plan),
            scorer=options.scorer,
            missing=options.missing,
            metric=options.metric,
        )
    worth.sort(key=lambda result: -result.value.value)
    _show_worth(run, worth, left_out, options, door=choice.sentence)
    return 0


def _show_worth(
    run: Any, worth: Sequence[Any], left_out: Sequence[str], options: argparse.Namespace, *, door: str
) -> None:
    from archon_eval.report import ablation, ci_output
    from archon_eval.report.html.score_charts import build_interval_chart
    from archon_eval.report.html.vega import render_png

    at = f"{100 * worth[0].value.confidence:.3g}%"
    if options.json:
        print(json.dumps({**ablation.dump_ablation(run, worth, left_out), "door": door}, indent=2))
    else:
        print_warnings(left_out)
        _print_worth(run, worth, options.missing)
        print(sanitize_text(f"Run through {door}"))
        print(
            f"Worth: {run.metric.name} of the whole less that of the changed one, on the same questions; intervals "
            f"and verdicts at {at}, which holds for all {len(worth)} together. Logs: {options.log_dir}"
        )
    if options.png:
        ci_output.write_file(
            options.png,
            render_png(build_interval_chart(ablation.build_chart_rows(worth), f"worth, points ({at} interval)")),
        )


def _print_worth(run: Any, worth: Sequence[Any], missing: str) -> None:
    from archon_eval.report.ablation import list_warnings
    from archon_eval.report.report_data import format_interval
    from archon_eval.runs.benchmark_run import COST_COLUMNS
    from archon_eval.stats.estimates import format_score

    print_warnings(list_warnings(run, worth))
    if run.metric_note:
        print(sanitize_text(run.metric_note))
    name, costs = run.metric.name, COST_COLUMNS.values()
    rows = create_table("change", name, "worth", "verdict", *costs, numbers=",".join((name, *costs)))
    scale = run.points
    rows.add_row("the whole", format_score(run.estimate.value, scale), "", "", *_format_costs(run), style="bold")
    for result in worth:
        whole = result.pair.overall
        cells = (format_score(whole.second, scale), format_interval(result.value, result.pair.points, "+"))
        rows.add_row(result.change, *cells, PART_VERDICTS[whole.verdict], *_format_costs(result.run))
    print_table(rows)
    print_doubts({result.change: result.pair.overall.paired for result in worth})
    runs = [run, *(result.run for result in worth)]
    print_unknown_costs(*runs)
    for each_run in runs:
        print_unscored(each_run, missing)


def _format_costs(run: Any) -> list[str]:
    from archon_eval.report.formatting import format_cost
    from archon_eval.runs.benchmark_run import COST_COLUMNS

    return [format_cost(run.cost.get(name)) for name in COST_COLUMNS]
