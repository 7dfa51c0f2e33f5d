"""`archon tune`: fits a cascade's thresholds and router table on the dev fifth, and reports on the held-out rest.

$ archon tune cascade --models sim/pool --task archon_eval/math -T sample=true --limit dollars=0.01 --dry-run
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archon_eval.cli.architectures import ARCHITECTURE_HELP, add_model_options, load_mapped, parse_model_options
from archon_eval.cli.commands import add_command
from archon_eval.cli.eval_options import (
    add_docker_hosts_option,
    add_door_option,
    add_metric_option,
)
from archon_eval.cli.progress import ProgressDisplay, ProgressUpdate
from archon_eval.cli.report import print_unscored
from archon_eval.cli.search_options import parse_pairs
from archon_eval.cli.tables import create_table, print_table
from archon_eval.errors import sanitize_text

HELD_OUT = ("all", "cascade", "none")


def add(commands: Any) -> None:
    """Add the command."""
    tune = add_command(commands, "tune", "fit a cascade's thresholds and router under a cost limit", run=_tune)
    tune.add_argument("architecture", help=f"a cascade: {ARCHITECTURE_HELP}")
    add_model_options(tune)
    tune.add_argument("--task", required=True, help="benchmark as Inspect finds it")
    for letter, what in (("T", "task"), ("S", "solver")):
        text = f"{what} parameter; repeat for several"
        tune.add_argument(f"-{letter}", dest=f"{what}_args", action="append", default=[], metavar="N=V", help=text)
    tune.add_argument("--model-role", action="append", default=[], metavar="ROLE=MODEL", help="e.g. a judge")
    add_door_option(tune, "auto")
    add_docker_hosts_option(tune)
    tune.add_argument("--scorer", metavar="NAME", help="which score counts, NAME or NAME/KEY (default: the first)")
    add_metric_option(tune)
    tune.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="UNIT=N",
        help="most that an answer may take in the mean: calls, tokens or dollars; repeat for several",
    )
    tune.add_argument(
        "--budget", action="append", default=[], metavar="UNIT=N", help="most that all evals may pay: calls, dollars"
    )
    tune.add_argument("--epochs", type=_parse_count, default=1, help="answers per dev question (%(default)s)")
    tune.add_argument("--dev-share", type=float, metavar="N", help="share of questions it is fitted on (default 0.2)")
    tune.add_argument(
        "--held-out",
        choices=HELD_OUT,
        default="all",
        help="what is paid on the other questions: the tuned cascade and each stage alone, the cascade, or nothing",
    )
    tune.add_argument("--learn-router", action="store_true", help="learn the rows of a router of features")
    tune.add_argument("--prices", metavar="FILE", help="your own prices, before the package's table")
    tune.add_argument("-o", "--output", type=Path, default=Path("tuning"), help="folder (%(default)s)")
    tune.add_argument("--dry-run", action="store_true", help="print what it may cost, and stop")
    tune.add_argument("--json", action="store_true", help="everything, as JSON")


def _parse_count(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return value


def _tune(options: argparse.Namespace) -> int:
    from archon_eval.architecture.load import load_architecture
    from archon_eval.search.cascade_tuning import CascadeTuning, TuneSettings
    from archon_eval.search.setting_parts import TaskSpec

    architecture = load_architecture(load_mapped(options.architecture, options), **parse_model_options(options))
    settings = TuneSettings(
        task=TaskSpec(
            options.task,
            tuple(parse_pairs(options.task_args, "-T").items()),
            scorer=options.scorer,
            metric=options.metric,
        ),
        folder=options.output.absolute(),
        limits=parse_pairs(options.limit, "--limit"),
        budget=parse_pairs(options.budget, "--budget"),
        epochs=options.epochs,
        dev_share=options.dev_share,
        held_out=options.held_out,
        door=options.door,
        solver_args=tuple(parse_pairs(options.solver_args, "-S").items()),
        model_roles=tuple(parse_pairs(options.model_role, "--model-role").items()),
        prices=options.prices,
        learns_rows=options.learn_router,
    )
    with ProgressDisplay("tune", options.json) as progress:
        tuning = CascadeTuning(
            settings,
            architecture,
            on_eval=lambda name, done, total: progress(ProgressUpdate(name, done, total, unit="evals")),
        )
        if options.dry_run:
            plain = _dump_dry_run(tuning)
            tuned, runs = None, dict[str, Any]()
        else:
            tuned = tuning.fit()
            runs = tuning.measure(tuned)
    if tuned is None:
        print(json.dumps(plain, indent=1)) if options.json else _print_dry_run(tuning)
        return 0
    if options.json:
        print(json.dumps(_dump(tuning, tuned, runs), indent=1))
        return 0
    _print_fit(tuning, tuned)
    if runs:
        _print_held_out(tuning, runs)
    paid = tuning.paid
    dollars = "dollars unknown" if paid["dollars"] is None else f"${paid['dollars']:.4g}"
    print(f"Paid: {paid['calls']:,} calls, {dollars}; the call store has them: {settings.folder}/calls.db")
    print(f"Tuned cascade: {settings.folder}/tuned.yaml")
    return 0


def _dump_dry_run(tuning: Any) -> dict[str, Any]:
    evals = [
        {
            "eval": each.name,
            "questions": len(each.questions),
            "epochs": each.epochs,
            "calls": each.plan.calls[1] * len(each.questions) * each.epochs,
            "dollars": None if each.plan.dollars is None else each.plan.dollars[1] * len(each.questions) * each.epochs,
        }
        for each in tuning.list_evals()
    ]
    return {"dev": len(tuning.dev), "held_out": len(tuning.test), "evals": evals}


def _print_dry_run(tuning: Any) -> None:
    plain = _dump_dry_run(tuning)
    rows = create_table(
        "eval", "questions", "answers", "calls at most", "dollars", numbers="questions,answers,calls at most,dollars"
    )
    calls, dollars = 0, 0.0
    for each in plain["evals"]:
        cost = "unknown" if each["dollars"] is None else f"{each['dollars']:.4f}"
        calls += each["calls"]
        dollars = math.nan if each["dollars"] is None else dollars + each["dollars"]
        answers = str(each["questions"] * each["epochs"])
        rows.add_row(each["eval"], str(each["questions"]), answers, f"{each['calls']:,}", cost)
    rows.add_row("all", "", "", f"{calls:,}", "unknown" if math.isnan(dollars) else f"{dollars:.4f}", style="bold")
    print_table(rows)
    print(
        "At most, with dollars as estimates. Calls that two evals have in common are paid once: the tuned cascade pays "
        "nothing on the held-out questions where its stages were asked alone (--held-out all)."
    )


def _print_fit(tuning: Any, tuned: Any) -> None:
    units, fitted, scale = list(tuning.settings.limits), tuned.fitted, 100
    print(
        f"Fitted on {tuned.answers} answers to {len(tuning.dev)} dev questions"
        + (f"; {tuned.left_out} without a score of every stage are left out" if tuned.left_out else "")
    )
    rows = create_table(
        "stage",
        "rule",
        "threshold",
        "score alone",
        *units,
        "answers",
        numbers=",".join(["threshold", "score alone", *units, "answers"]),
    )
    rules = {span.stage.name: span.rule for span in tuning.architecture.spans}
    for name, (score, costs) in tuned.alone.items():
        rule = rules[name]
        kind = "" if rule is None else tuning.architecture.layers[rule - 1][0].kind.removeprefix("accept_")
        threshold = fitted.thresholds[name]
        shown = "" if rule is None else "left out" if threshold == math.inf else f"{threshold:.4g}"
        rows.add_row(
            name,
            kind,
            shown,
            f"{scale * score:.1f}",
            *(f"{cost:.4g}" for cost in costs),
            f"{100 * fitted.shares[name]:.1f}%",
        )
    rows.add_row(
        "tuned", "", "", f"{scale * fitted.score:.1f}", *(f"{cost:.4g}" for cost in fitted.costs), "", style="bold"
    )
    print_table(rows)
    from archon_eval.architecture.routing import describe_row

    for row in fitted.rows if tuning.settings.learns_rows else ():
        print(f"Router: {describe_row(row)}: {row['stage']}")
    if tuning.settings.learns_rows:
        print(f"Router: else {fitted.default}")


def _print_held_out(tuning: Any, runs: Mapping[str, Any]) -> None:
    from archon_eval.report.formatting import format_cost
    from archon_eval.report.report_data import format_interval
    from archon_eval.runs.benchmark_run import COST_COLUMNS

    tuned = runs["tuned"]
    pairs = _compare(runs)
    name, costs = tuned.metric.name, list(COST_COLUMNS.values())
    print(f"\nHeld out, {len(tuning.test)} questions")
    rows = create_table(
        "system", name, *costs, "tuned less it", "verdict", numbers=",".join([name, *costs, "tuned less it"])
    )
    for label, run in runs.items():
        pair = pairs.get(label)
        difference = format_interval(pair.overall.paired.difference, pair.points, "+") if pair else ""
        rows.add_row(
            label,
            format_interval(run.estimate, run.points, digits=run.metric.digits),
            *(format_cost(run.cost.get(unit)) for unit in COST_COLUMNS),
            difference,
            pair.overall.explained_verdict if pair else "",
            style="bold" if label == "tuned" else None,
        )
    print_table(rows)
    if tuned.stage_note:
        print(sanitize_text(f"{tuned.stage_note}."))
    if pairs:
        confidence = 100 * next(iter(pairs.values())).overall.paired.difference.confidence
        print(f"Paired on the same questions, at {confidence:.3g}%, which holds for all {len(pairs)} together.")
    for run in runs.values():
        print_unscored(run, "drop")
        for warning in run.health.sentences:
            print(sanitize_text(f"Warning: {run.name}: {warning}"))


def _compare(runs: Mapping[str, Any]) -> dict[str, Any]:
    """The tuned cascade against each stage alone."""
    from archon_eval.report.compare import bonferroni_confidence, compare_runs

    others: Sequence[str] = [label for label in runs if label != "tuned"]
    confidence = bonferroni_confidence(len(others))
    return {label: compare_runs(runs["tuned"], runs[label], confidence) for label in others}


def _dump(tuning: Any, tuned: Any, runs: Mapping[str, Any]) -> dict[str, Any]:
    from archon_eval.report.compare import dump_comparison, dump_costs

    fitted, units = tuned.fitted, list(tuning.settings.limits)
    return {
        "architecture": str(tuning.settings.folder / "tuned.yaml"),
        "fingerprint": tuned.architecture.fingerprint,
        "thresholds": {name: None if value == math.inf else value for name, value in fitted.thresholds.items()},
        "rows": list(fitted.rows),
        "dev": {
            "answers": tuned.answers,
            "left_out": tuned.left_out,
            "score": fitted.score,
            "costs": dict(zip(units, fitted.costs, strict=True)),
            "shares": dict(fitted.shares),
            "stages": {
                name: {"score": score, "costs": dict(zip(units, costs, strict=True))}
                for name, (score, costs) in tuned.alone.items()
            },
        },
        "held_out": {
            label: {"score": run.estimate.value, **dump_costs(run), "stages": [s.to_metadata() for s in run.stages]}
            for label, run in runs.items()
        },
        "tuned_against": {label: dump_comparison(pair) for label, pair in _compare(runs).items()},
        "paid": dict(tuning.paid),
        "door": tuning.door_sentence,
    }
