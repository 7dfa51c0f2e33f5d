"""`archon demo`: the main job at a glance, as real `inspect eval` commands on the bundled problems.

Four systems answer the same questions: the best single model, the same model sampled ten times and ranked, an
ensemble that is fused, and an ensemble that is criticised, ranked and fused. `--small` is for a small model on one's
own machine: fewer and easier questions, fewer samples, short replies.
"""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

import archon_eval
from archon_eval.cli.progress import EvalSeries, ProgressDisplay
from archon_eval.errors import DataError, sanitize_text
from archon_eval.runs.door import DoorOption, choose_door
from archon_eval.runs.run_eval import Eval, run_eval

if TYPE_CHECKING:
    from archon_eval.runs.benchmark_run import Run


@dataclass(frozen=True, slots=True)
class Comparison:
    """Systems, and the questions that all of them answer."""

    task: str
    task_args: tuple[str, ...]
    """`NAME=VALUE`, as -T takes them."""
    epochs: int
    systems: tuple[tuple[str, str], ...]
    """Name -> preset, or an architecture as YAML in one line."""


STANDARD = Comparison(
    "archon_eval/math",
    ("sample=true",),
    epochs=2,
    systems=(
        ("best model", "single"),
        ("best model x 10, ranker", "best-of-n"),
        ("ensemble, fuser", "ensemble-fuser"),
        ("ensemble, critic, ranker, fuser", "ensemble-critic-ranker-fuser"),
    ),
)
_SMALL_LAYERS = {
    "model": "{generator: $1}",
    "model x 3, ranker": "{generator: {model: $1, samples: 3}}, {ranker: {model: $1, top_k: 1}}",
    "model x 3, fuser": "{generator: {model: $1, samples: 3}}, {fuser: $1}",
    "model x 3, critic, ranker, fuser": "{generator: {model: $1, samples: 3}}, {critic: $1}, "
    "{ranker: {model: $1, top_k: 2}}, {fuser: $1}",
}
SMALL = Comparison(
    "archon_eval/gsm8k",
    (f"data={Path(archon_eval.__file__).parent / 'samples' / 'easy.jsonl'}",),
    epochs=1,
    systems=tuple(
        (name, f"{{max_tokens: 32, max_parse_retries: 1, layers: [{layers}]}}")
        for name, layers in _SMALL_LAYERS.items()
    ),
)
DEMO_COSTS = {"calls": ".1f", "input_tokens": ",.0f", "output_tokens": ",.0f", "dollars": ".4f"}
"""The costs that the table shows, and how."""


def run_demo(
    models: str, folder: Path, console: Console, *, small: bool = False, events: bool = False, door: DoorOption = "auto"
) -> "list[Run]":
    """Run the four evals one after the other and print the table; with `events`, only progress as JSON on stderr.

    Args:
        models: separated by commas, strongest first.
        folder: where the logs go.
        small: few easy questions and short replies, for a small model on this machine.
        door: how the architectures answer (`archon_eval.runs.door`).

    Raises:
        ArchonError: an eval that failed; what it printed is in the message.
    """
    if not events and all(name.strip().startswith("sim/") for name in models.split(",")):
        console.print("Models: the simulated pool (sim/...), made from the papers' published single-model scores.")
    if small and not events:
        console.print(
            f"Models: {sanitize_text(models)}. --small: easy questions, replies of a few words. The answers of a small "
            "model are weak: this shows that everything runs, not which system is best.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    comparison = SMALL if small else STANDARD
    results: list[Run] = []
    with ProgressDisplay("demo", events) as progress:
        evals = EvalSeries(progress, len(comparison.systems), comparison.epochs)
        for name, architecture in comparison.systems:
            solver_args = (f"architecture={architecture}", f"models={models}")
            asked = Eval(comparison.task, comparison.task_args, solver_args, epochs=comparison.epochs, door=door)
            eval, choice = asked.choose_door()
            if not events:
                with progress.pause():
                    if not results:
                        console.print(sanitize_text(choice.sentence.capitalize()), markup=False, soft_wrap=True)
                    console.print(
                        f"[dim]$ {shlex.join(eval.build_command(folder))}[/dim]", soft_wrap=True, highlight=False
                    )
            results.append(read_result(name, run_eval(eval, folder, evals.start_eval(name, eval))))
    if events:
        return results
    for warning in (f"{result.name}: {text}" for result in results for text in result.health.sentences):
        console.print(sanitize_text(f"Warning: {warning}"), markup=False, highlight=False, soft_wrap=True)
    console.print(create_results_table(results))
    for line in describe_results(results):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(
        f"Logs: {folder}. Look at them with: inspect view --log-dir {shlex.quote(str(folder))}", soft_wrap=True
    )
    return results


def read_result(name: str, path: Path) -> "Run":
    """The finished eval of the system `name`.

    Raises:
        DataError: an eval that did not finish, or a question without a score.
    """
    from archon_eval.runs.read_log import read_run

    run = read_run(path, missing="drop")
    for question, why in run.missing.items():
        raise DataError(f"{path}: question {question} has no score: {why}")
    return replace(run, name=name)


def dump_results(results: "list[Run]", door: DoorOption = "auto") -> list[dict[str, Any]]:
    """Plain values for JSON: each system's figures and scores."""
    choice = choose_door(STANDARD.task, {}, {}, door)
    return [
        {
            "name": run.name,
            "door": choice.sentence,
            "metric": run.metric.name,
            "score": asdict(run.estimate),
            "right": {question: list(scores) for question, scores in run.scores.items()},
            "cost": dict(run.cost),
            "unknown_costs": dict(run.unknown_costs),
            "seconds": run.seconds,
            "notes": dict(run.notes),
            "log": run.log,
            "warnings": list(run.health.sentences),
        }
        for run in results
    ]


def create_results_table(results: "list[Run]") -> Table:
    """One row per system: accuracy with its interval, and what it took."""
    first = results[0]
    questions, answers = len(first.scored), sum(map(len, first.scored.values()))
    title = f"{questions} bundled problems x {answers // questions} epochs; calls, tokens in and out, $: per question"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("system", no_wrap=True)
    for column in (first.metric.name, "95%", "calls", "in", "out", "$", "seconds"):
        table.add_column(column, justify="right", no_wrap=True)
    for run in results:
        score, interval = run.estimate, "unknown"
        if score.low is not None and score.high is not None:
            interval = f"{100 * score.low:.0f}-{100 * score.high:.0f}"
        costs = (_format_cost(run.cost, name, form) for name, form in DEMO_COSTS.items())
        table.add_row(run.name, f"{100 * score.value:.1f}%", interval, *costs, f"{run.seconds:.0f}")
    return table


def _format_cost(cost: Mapping[str, float | None], name: str, form: str) -> str:
    value = cost.get(name)
    return "unknown" if value is None else format(value, form)


def describe_results(results: "list[Run]") -> list[str]:
    """How each system compares with the first on the same questions, and what went otherwise than planned."""
    from archon_eval.report.compare import bonferroni_confidence, compare_runs, explain_doubt
    from archon_eval.report.formatting import explain_unknown_costs

    lines, confidence = [], bonferroni_confidence(len(results) - 1)
    for run in results[1:]:
        part = compare_runs(run, results[0], confidence).overall
        low, high = part.paired.difference.low, part.paired.difference.high
        at = f", {100 * confidence:.3g}%"
        interval = "" if low is None or high is None else f"{at} {100 * low:+.1f} to {100 * high:+.1f}"
        difference = f"{100 * part.paired.difference.value:+.1f} points{interval}"
        why = f" ({explain_doubt(part.paired)})" if explain_doubt(part.paired) else ""
        lines.append(f"{run.name} - {results[0].name}: {difference}: {part.verdict}{why}")
    for run in results:
        if why := explain_unknown_costs(run.unknown_costs):
            lines.append(f"{run.name}, cost: {why}")
        if run.notes:
            notes = ", ".join(f"{count} {word}" for word, count in run.notes.items())
            lines.append(f"{run.name}, notes: {notes}")
    return lines
