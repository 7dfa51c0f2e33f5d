"""Which figure a run is reported by: the benchmark's own, the log's under its name, or the mean of values."""

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from fakes.logs import write_scored_log
from inspect_ai import Epochs, Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import (
    Metric,
    SampleScore,
    Score,
    Scorer,
    Target,
    accuracy,
    mean,
    metric,
    scorer,
    stderr,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver

from archon_eval.errors import DataError
from archon_eval.report.compare import compare_paths
from archon_eval.report.report_data import format_beside, read_report_data
from archon_eval.runs.read_log import read_run, read_runs

ANSWERS = {"a": "yy", "b": "yn", "c": "nn", "d": "ny"}
"""Question -> whether each epoch's answer is right."""


@solver
def recite() -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.output = ModelOutput.from_content("none", ANSWERS[str(state.sample_id)][state.epoch - 1])
        return state

    return solve


@metric
def corpus_figure() -> Metric:
    """Not the mean of anything."""

    def compute(scores: list[SampleScore]) -> float:
        return 0.25 + 0.5 * max(score.score.as_float() for score in scores)

    return compute


@scorer(metrics=[accuracy(), stderr()])
def plain() -> Scorer:
    return mark


@scorer(metrics=[stderr(), corpus_figure()])
def corpus() -> Scorer:
    return mark


@scorer(metrics={"strict": [mean()], "loose": [mean(), stderr()]})
def two_keys() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        right = float(state.output.completion == "y")
        return Score(value={"strict": right, "loose": (1 + right) / 2})

    return score


async def mark(state: TaskState, target: Target) -> Score:
    return Score(value="C" if state.output.completion == "y" else "I")


def run_eval(folder: Path, scorer: Scorer | list[Scorer], epochs: Any = 2) -> Path:
    task = Task(dataset=[Sample(id=id, input=id) for id in ANSWERS], solver=recite(), scorer=scorer)
    [log] = inspect_eval(task, model=None, epochs=epochs, log_dir=str(folder), display="none")
    assert log.status == "success"
    return Path(log.location)


def test_a_logs_own_mean_has_its_name(tmp_path: Path) -> None:
    run = read_run(run_eval(tmp_path, plain()))
    assert (run.metric.name, run.headline, run.estimate.value) == ("accuracy", None, 0.5)
    assert read_run(run.log, metric="mean").metric.name == "mean of values"


def test_a_figure_that_is_no_mean_stands_beside_the_mean_of_values(tmp_path: Path) -> None:
    run = read_run(run_eval(tmp_path, corpus()))
    assert (run.metric.name, run.estimate.value) == ("mean of values", 0.5)
    assert run.headline == ("corpus_figure", 0.75)
    assert run.estimate_companions()["corpus_figure"].value == 0.75
    assert run.estimate_companions()["corpus_figure"].low is None
    assert read_run(run.log, metric="corpus_figure").headline == ("corpus_figure", 0.75)
    [both] = [read_runs(tmp_path)[0]]
    assert both.headline == ("corpus_figure", 0.75)


def test_keys_of_one_scorer_are_chosen_by_name(tmp_path: Path) -> None:
    log = run_eval(tmp_path, [two_keys(), plain()])
    loose = read_run(log, "two_keys/loose")
    assert (loose.metric.name, loose.estimate.value, loose.headline) == ("mean", 0.75, None)
    assert read_run(log, "plain").metric.name == "accuracy"
    with pytest.raises(DataError, match="several values; name one"):
        read_run(log)


@pytest.mark.parametrize(("reducer", "name", "value"), [("pass_at_2", "pass@2", 0.75), ("pass_at_1", "pass@1", 0.5)])
def test_a_reducer_of_pass_at_k_is_pass_at_k(tmp_path: Path, reducer: str, name: str, value: float) -> None:
    run = read_run(run_eval(tmp_path, plain(), Epochs(2, reducer)))
    assert (run.metric.name, run.headline) == (name, None)
    assert run.estimate.value == pytest.approx(value)


def test_another_reducer_is_named_beside_the_mean_of_values(tmp_path: Path) -> None:
    run = read_run(run_eval(tmp_path, plain(), Epochs(2, "max")))
    assert (run.metric.name, run.headline) == ("mean of values", ("accuracy (max)", 0.75))


def test_pass_at_k_of_any_run_with_enough_epochs(tmp_path: Path) -> None:
    log = run_eval(tmp_path, plain())
    run = read_run(log, metric="pass@2")
    assert (run.metric.name, run.estimate.value) == ("pass@2", 0.75)
    with pytest.raises(DataError, match="pass@3: question a has 2 answers; run at least --epochs 3"):
        read_run(log, metric="pass@3")
    with pytest.raises(DataError, match=r"no metric 'acuracy'.*did you mean 'accuracy'"):
        read_run(log, metric="acuracy")


def test_runs_by_different_figures_are_not_compared(tmp_path: Path) -> None:
    first = run_eval(tmp_path / "a", plain(), Epochs(2, "pass_at_2"))
    second = run_eval(tmp_path / "b", plain())
    with pytest.raises(DataError, match="different metrics: pass@2 and accuracy"):
        compare_paths(first, second)
    assert compare_paths(first, second, metric="mean")[0].overall.paired.difference.value == 0


def write_mixeval(path: Path, missing: str = "") -> Path:
    """Three free-form and two multiple-choice questions in two epochs, with the log's own figures."""
    rows = {"f1": ("free-form", [1.0, 0.5]), "f2": ("free-form", [0.2, 0.3]), "f3": ("free-form", [0.6, 0.0])}
    rows |= {"m1": ("multiple-choice", [1.0, 1.0]), "m2": ("multiple-choice", [0.0, 1.0])}
    scores = {
        question: [Score(value=v, metadata={"part": part, "benchmark": "DROP", "verdict": v}) for v in values]
        for question, (part, values) in rows.items()
    }
    facts = {question: {"part": part, "benchmark": "DROP"} for question, (part, _) in rows.items()}
    return write_scored_log(path, scores, scorer="archon_eval/mixeval", metadata=facts)


def test_mixeval_is_reported_as_published(tmp_path: Path) -> None:
    run = read_run(write_mixeval(tmp_path / "a.eval"))
    epochs = [(round(1.8 / 3, 3) + 0.5) / 2, (round(0.8 / 3, 3) + 1.0) / 2]  # each part rounded, of every epoch
    assert (run.metric.name, run.estimate.value) == ("overall", pytest.approx(fmean(epochs), abs=1e-12))
    assert run.estimate.low is not None and run.estimate.low < run.estimate.value
    assert read_run(run.log, metric="mean").estimate.value == pytest.approx((0.75 + 0.25 + 0.3 + 1 + 0.5) / 5)


def test_a_scorer_of_that_name_from_elsewhere_declares_nothing(tmp_path: Path) -> None:
    scores = {q: [Score(value=v, metadata={})] for q, v in (("a", 1.0), ("b", 0.0))}
    log = write_scored_log(tmp_path / "a.eval", scores, scorer="theirs/arena_hard", metrics={"elo": 1200.0})
    run = read_run(log)
    assert (run.metric.name, run.headline) == ("mean of values", ("elo", 1200.0))
    local = write_scored_log(tmp_path / "b.eval", scores, scorer="arena_hard", metrics={"mean": 0.5})
    assert read_run(local).metric.name == "mean"


def test_a_score_of_ours_without_what_its_metric_reads_is_an_error(tmp_path: Path) -> None:
    scores = {"a": [Score(value=1.0, metadata={"games": [{"rows": [1.0]}]})], "b": [Score(value=0.0, metadata={})]}
    log = write_scored_log(tmp_path / "a.eval", scores, scorer="arena_hard")
    with pytest.raises(DataError, match=r"a\.eval: b: the score's metadata lacks what its metric reads: .*games"):
        read_run(log)


def test_a_failed_answer_counts_as_wrong_only_where_the_metric_allows_it(tmp_path: Path) -> None:
    games = {"games": [{"rows": [1.0]}, {"rows": [1.0]}]}
    arena = {"a": [Score(value=1.0, metadata=games)], "b": [Score(value="N/A")]}
    log = write_scored_log(tmp_path / "a.eval", arena, scorer="archon_eval/arena_hard")
    with pytest.raises(DataError, match="'N/A' is no number"):
        read_run(log, missing="zero")
    assert read_run(log, missing="drop").estimate.value == 1.0


def test_answers_that_could_not_be_read_are_counted(tmp_path: Path) -> None:
    facts = {"part": "multiple-choice", "benchmark": "MMLU"}
    statuses = {"a": "read", "b": "no choice", "c": "beyond the options", "d": "no choice"}
    scores = {q: [Score(value=0.0, metadata={**facts, "verdict": "none", "status": s})] for q, s in statuses.items()}
    log = write_scored_log(tmp_path / "a.eval", scores, scorer="archon_eval/mixeval")
    assert read_run(log).notes == {"answer no choice": 2, "answer beyond the options": 1}
    theirs = write_scored_log(tmp_path / "b.eval", scores, scorer="theirs/mixeval")
    assert read_run(theirs).notes == {}


def test_epochs_of_other_questions_do_not_weigh_as_whole_runs(tmp_path: Path) -> None:
    for name, questions in (("a", "f1 f2 m1 m2"), ("b", "f1 f3 m3 m4")):
        scores = {}
        for question in questions.split():
            part = "free-form" if question.startswith("f") else "multiple-choice"
            facts = {"part": part, "benchmark": "DROP", "verdict": ""}
            scores[question] = [Score(value=float(part == "free-form"), metadata=facts)]
        write_scored_log(tmp_path / f"{name}.eval", scores, scorer="archon_eval/mixeval")
    for run in read_runs(tmp_path):
        assert run.estimate.value == 0.5
        assert run.estimate.low is not None and run.estimate.low < 0.5


def test_a_reducer_of_a_scorer_of_ours_is_said(tmp_path: Path) -> None:
    facts = {"extraction": "box", "status": "verified"}
    scores = {q: [Score(value=v, metadata=facts) for v in each] for q, each in (("a", "CCI"), ("b", "IIC"))}
    log = write_scored_log(
        tmp_path / "a.eval", scores, scorer="archon_eval/math_answer", metrics={"accuracy": 0.5}, reducer="mode"
    )
    run = read_run(log)
    assert (run.metric.name, run.headline) == ("accuracy", ("accuracy (mode)", 0.5))
    assert "took the mode of each question's answers" in run.metric_note


def test_an_index_that_the_text_does_not_have_gives_no_length_control(tmp_path: Path) -> None:
    facts = {"length_controlled": True, "calibration": None, "preference": 1.5, "baseline_length": 10}
    scores = {
        f"q{n}": [Score(value=n % 2, metadata={**facts, "index": n, "length": 10 + n})] for n in range(20)
    }  # as a version left them that believed the place in the file
    own = {question: {"instruction": f"Do my own thing, {question}."} for question in scores}
    run = read_run(write_scored_log(tmp_path / "a.eval", scores, scorer="archon_eval/alpaca_eval", metadata=own))
    assert run.metric.name == "win rate" and run.headline is None
    assert run.metric_note.startswith("no length-controlled rate") and "20 of 20 are not its own" in run.metric_note


def test_another_scorer_whose_name_ends_alike_changes_nothing(tmp_path: Path) -> None:
    facts = {"games": [{"rows": [1.0] * 3}, {"rows": [1.0] * 3}]}
    scores = {
        "a": [Score(value=1.0, metadata=facts)],
        "b": [Score(value=0.0, metadata={"games": [{"rows": [0.0] * 2}]})],
    }
    log = write_scored_log(tmp_path / "a.eval", scores, scorer="archon_eval/arena_hard", others=["mine/my_arena_hard"])
    assert read_run(log).metric.name == "win rate" and read_run(log).estimate.value == 0.75


@pytest.mark.parametrize("figure", [float("inf"), float("nan")])
def test_a_figure_that_is_no_number_is_none(tmp_path: Path, figure: float) -> None:
    scores = {q: [Score(value=v)] for q, v in (("a", 1.0), ("b", 0.0))}
    log = write_scored_log(tmp_path / "a.eval", scores, scorer="theirs/f1", metrics={"f1": figure})
    assert (read_run(log).metric.name, read_run(log).headline) == ("mean of values", None)


def test_means_of_two_names_are_compared_as_means_of_values(tmp_path: Path) -> None:
    """One system's F1 is the mean of values by chance, the other's is not."""
    for name, values, f1 in (("a", (1.0, 1.0), 1.0), ("b", (1.0, 0.0), 0.7)):
        scores = {q: [Score(value=v)] for q, v in zip("qr", values, strict=True)}
        write_scored_log(tmp_path / f"{name}.eval", scores, scorer="theirs/f1", name=name, metrics={"f1": f1})
    [pair] = compare_paths(tmp_path / "a.eval", tmp_path / "b.eval")
    assert pair.overall.metric.name == "mean of values" and pair.overall.paired.difference.value == 0.5
    [bench] = read_report_data([tmp_path]).benchmarks
    assert bench.metric == "mean of values" and bench.beside == ("f1",)
    assert [format_beside(bench, system) for system in bench.systems] == [["1"], ["0.7"]]


def test_a_failed_sample_changes_no_metrics_name(tmp_path: Path) -> None:
    whole = run_eval(tmp_path / "a", plain())
    scores: dict[str, list[Score]] = {q: [Score(value=v)] for q, v in (("a", "C"), ("b", "I"), ("c", "N/A"))}
    cut = write_scored_log(tmp_path / "b.eval", scores, scorer="plain", metrics={"accuracy": 1 / 3})
    assert read_run(cut, missing="drop").metric.name == read_run(whole).metric.name == "accuracy"


def test_registered_names_and_needless_keys(tmp_path: Path) -> None:
    scores = {"a": [Score(value=1.0, metadata={"games": [{"rows": [1.0]}]})]}
    log = write_scored_log(tmp_path / "a.eval", scores, scorer="archon_eval/arena_hard")
    assert read_run(log, "archon_eval/arena_hard").scorer == "arena_hard"
    with pytest.raises(DataError, match="gives one value and no key"):
        read_run(log, "arena_hard/x")
    with pytest.raises(DataError, match="no metric 'pass@0'"):
        read_run(log, metric="pass@0")


def test_a_score_beyond_all_sums_is_none(tmp_path: Path) -> None:
    log = write_scored_log(tmp_path / "a.eval", {"a": [Score(value=1e308)]}, scorer="theirs/x")
    with pytest.raises(DataError, match="too large to be averaged"):
        read_run(log)
