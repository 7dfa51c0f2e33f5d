"""`archon demo`: the main job at a glance, as real `inspect eval` commands on the bundled problems.

Four systems answer the same questions: the best single model, the same model sampled ten times and ranked, an
ensemble that is fused, and an ensemble that is criticised, ranked and fused.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from archon_eval.cli.progress import EvalSeries, ProgressDisplay
from archon_eval.errors import DataError, sanitize_text
from archon_eval.runs.run_eval import Eval, run_eval

if TYPE_CHECKING:
    from archon_eval.stats.estimates import Estimate

SYSTEMS = (
    ("best model", "single"),
    ("best model x 10, ranker", "best-of-n"),
    ("ensemble, fuser", "ensemble-fuser"),
    ("ensemble, critic, ranker, fuser", "ensemble-critic-ranker-fuser"),
)
EPOCHS = 2


@dataclass(frozen=True)
class DemoResult:
    """What came of one system's eval."""

    name: str
    right: dict[str, list[float]]
    """Question -> score of each epoch."""
    score: "Estimate"
    """With the interval that reports give it."""
    calls: int
    tokens: int
    dollars: float | None
    seconds: float
    notes: dict[str, int]
    log: str
    warnings: tuple[str, ...] = ()
    """Sentences on layers that never worked, and on replies that were cut or lost."""


def run_demo(models: str, folder: Path, console: Console, *, events: bool = False) -> list[DemoResult]:
    """Run the four evals one after the other and print the table; with `events`, only progress as JSON on stderr.

    Raises:
        ArchonError: an eval that failed; what it printed is in the message.
    """
    if not events and all(name.strip().startswith("sim/") for name in models.split(",")):
        console.print("Models: the simulated pool (sim/...), made from the papers' published single-model scores.")
    results = []
    with ProgressDisplay("demo", events) as progress:
        evals = EvalSeries(progress, len(SYSTEMS), EPOCHS)
        for name, preset in SYSTEMS:
            solver_args = (f"architecture={preset}", f"models={models}")
            eval = Eval("archon_eval/math", ("sample=true",), solver_args, epochs=EPOCHS)
            if not events:
                with progress.pause():
                    console.print(
                        f"[dim]$ {shlex.join(eval.build_command(folder))}[/dim]", soft_wrap=True, highlight=False
                    )
            results.append(read_result(name, run_eval(eval, folder, evals.start_eval(name, eval))))
    if events:
        return results
    for warning in (f"{result.name}: {text}" for result in results for text in result.warnings):
        console.print(sanitize_text(f"Warning: {warning}"), markup=False, highlight=False, soft_wrap=True)
    console.print(create_results_table(results))
    for line in describe_results(results):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(
        f"Logs: {folder}. Look at them with: inspect view --log-dir {shlex.quote(str(folder))}", soft_wrap=True
    )
    return results


def read_result(name: str, path: Path) -> DemoResult:
    """The figures of one finished log.

    Raises:
        DataError: an eval that did not finish, or a question without a score.
    """
    from archon_eval.report.report_data import estimate_score
    from archon_eval.runs.read_log import read_run

    run = read_run(path, missing="drop")
    for question, why in run.missing.items():
        raise DataError(f"{path}: question {question} has no score: {why}")
    return DemoResult(
        name=name,
        right={question: list(scores) for question, scores in run.scores.items()},
        score=estimate_score(run),
        calls=run.usage.calls,
        tokens=run.usage.tokens,
        dollars=run.usage.dollars,
        seconds=run.seconds,
        notes=dict(run.notes),
        log=str(path),
        warnings=run.health.sentences,
    )


def create_results_table(results: list[DemoResult]) -> Table:
    """One row per system: accuracy with its interval, and what it took."""
    questions = len(results[0].right)
    runs = sum(map(len, results[0].right.values()))
    title = f"{questions} bundled problems x {runs // questions} epochs; calls, tokens and dollars are per question"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("system", no_wrap=True)
    for column in ("accuracy", "95%", "calls", "tokens", "$", "seconds"):
        table.add_column(column, justify="right", no_wrap=True)
    for result in results:
        accuracy, interval = result.score, "unknown"
        if accuracy.low is not None and accuracy.high is not None:
            interval = f"{100 * accuracy.low:.0f}-{100 * accuracy.high:.0f}"
        dollars = "unknown" if result.dollars is None else f"{result.dollars / runs:.4f}"
        row = (f"{100 * accuracy.value:.1f}%", interval, f"{result.calls / runs:.1f}", f"{result.tokens / runs:,.0f}")
        table.add_row(result.name, *row, dollars, f"{result.seconds:.0f}")
    return table


def describe_results(results: list[DemoResult]) -> list[str]:
    """How each system compares with the first on the same questions, and what went otherwise than planned."""
    from archon_eval.report.compare import bonferroni_confidence, explain_doubt
    from archon_eval.stats.comparison import compare, decide_verdict

    lines, confidence = [], bonferroni_confidence(len(results) - 1)
    for result in results[1:]:
        paired = compare(result.right, results[0].right, confidence=confidence)
        low, high = paired.difference.low, paired.difference.high
        at = f", {100 * confidence:.3g}%"
        interval = "" if low is None or high is None else f"{at} {100 * low:+.1f} to {100 * high:+.1f}"
        difference = f"{100 * paired.difference.value:+.1f} points{interval}"
        why = f" ({explain_doubt(paired)})" if explain_doubt(paired) else ""
        lines.append(f"{result.name} - {results[0].name}: {difference}: {decide_verdict(paired)}{why}")
    for result in results:
        if result.notes:
            notes = ", ".join(f"{count} {word}" for word, count in result.notes.items())
            lines.append(f"{result.name}, notes: {notes}")
    return lines
