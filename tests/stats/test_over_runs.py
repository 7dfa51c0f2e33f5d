"""The standard error over runs: what it is, where it is unknown, and how it differs from the one over questions."""

from math import sqrt
from pathlib import Path

import pytest
from fakes.logs import write_log

from archon_eval.runs.read_log import merge_alike, read_run, read_runs
from archon_eval.stats.metrics import MeanMetric, PartsMetric, PassAtKMetric, RatioMetric, ScoredAnswer
from archon_eval.stats.over_runs import estimate_over_runs

ACCURACY = MeanMetric("accuracy")


def build_run(**values: float) -> dict[str, list[ScoredAnswer]]:
    return {question: [ScoredAnswer(value)] for question, value in values.items()}


def test_the_two_errors_of_ten_runs_differ_as_documented(tmp_path: Path) -> None:
    """50 questions: 25 always right, 24 never, and one that is right in 5 of 10 runs."""
    answers = {f"q{n}": ["C" if n < 25 else "I"] * 10 for n in range(49)} | {"coin": ["C", "I"] * 5}
    run = read_run(write_log(tmp_path / "ten.eval", answers))
    spread = run.over_runs
    assert spread.values == (26 / 50, 25 / 50) * 5 and (spread.runs, spread.questions) == (10, 50)
    # values 0.51 +- 0.01: sd = sqrt(10 * 0.01^2 / 9)
    assert spread.stderr == pytest.approx(sqrt(10 * 0.01**2 / 9) / sqrt(10)) and spread.why == ""
    # means 1 (25 times), 0 (24 times), 0.5: squares 25 * 0.49^2 + 24 * 0.51^2 + 0.01^2
    over_questions = sqrt((25 * 0.49**2 + 24 * 0.51**2 + 0.01**2) / 49 / 50)
    assert run.estimate.stderr == pytest.approx(over_questions)
    assert over_questions > 20 * (spread.stderr or 0)


def test_equal_draws_have_no_spread_over_runs_but_an_interval_over_questions(tmp_path: Path) -> None:
    run = read_run(write_log(tmp_path / "same.eval", {f"q{n}": ["C" if n % 3 else "I"] * 4 for n in range(30)}))
    assert run.over_runs.values == (20 / 30,) * 4 and run.over_runs.stderr == 0
    low, high = run.estimate.low, run.estimate.high
    assert low is not None and high is not None and high - low > 0.2


def test_one_run_is_unknown_not_zero(tmp_path: Path) -> None:
    spread = read_run(write_log(tmp_path / "one.eval", {"q1": ["C"], "q2": ["I"]})).over_runs
    assert (spread.values, spread.stderr, spread.why) == ((0.5,), None, "one run tells nothing about spread")
    assert estimate_over_runs(ACCURACY, []).stderr is None


def test_a_metric_over_epochs_has_no_figure_of_one_run() -> None:
    spread = estimate_over_runs(PassAtKMetric(5), [build_run(q1=1.0)] * 5)
    assert (spread.values, spread.stderr, spread.why) == ((), None, "one run alone has no pass@5")


def test_the_figure_of_a_run_is_by_its_metric() -> None:
    weighted = [
        {"a": [ScoredAnswer(1.0, 3)], "b": [ScoredAnswer(0.0, 1)]},
        {"a": [ScoredAnswer(1.0, 1)], "b": [ScoredAnswer(0.0, 3)]},
    ]
    spread = estimate_over_runs(RatioMetric("win rate"), weighted)
    assert spread.values == (0.75, 0.25) and spread.stderr == pytest.approx(0.25)  # sd 0.5 / sqrt(2), over sqrt(2)
    parts = PartsMetric("overall", ("x", "y"))
    values = [(1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 1.0)]  # three questions of x, one of y; thirds are rounded
    rows = [
        {f"q{n}": [ScoredAnswer(v, facts={"part": "y" if n == 3 else "x"})] for n, v in enumerate(r)} for r in values
    ]
    assert estimate_over_runs(parts, rows).values == ((0.333 + 1) / 2, 0.5)


def test_all_runs_are_over_the_questions_that_every_one_has() -> None:
    """A question lost here and there must not move figures; a run of other questions does not count at all."""
    full = {f"q{n}": float(n % 2) for n in range(20)}
    lacking = {question: value for question, value in full.items() if question != "q1"}
    spread = estimate_over_runs(ACCURACY, [build_run(**full), build_run(**lacking), build_run(q1=1.0, q2=1.0)])
    assert spread.values == (9 / 19, 9 / 19) and spread.stderr == 0
    assert (spread.questions, spread.left_out_questions, spread.left_out_runs) == (19, 1, 1)
    apart = estimate_over_runs(ACCURACY, [build_run(a=1.0), build_run(b=0.0)])
    assert (apart.values, apart.stderr, apart.why) == ((), None, "the runs have no question in common")


def test_epochs_of_several_logs_are_runs_of_their_own(tmp_path: Path) -> None:
    """Also where a log lacks a question, so that answers of different logs stand at the same place of a question."""
    right = [f"q{n}" for n in range(10)]
    write_log(tmp_path / "a.eval", {**{q: ["C", "C"] for q in right}, "lost": [None, "C"], "x": ["C", "I"]})
    write_log(tmp_path / "b.eval", {**{q: ["I"] for q in right}, "lost": ["I"], "x": ["C"]})
    (run,) = read_runs(tmp_path, missing="drop")
    assert run.scores["lost"] == (0.0,) and len(run.repeats) == 3
    assert run.over_runs.values == (11 / 11, 10 / 11, 1 / 11)
    assert (run.over_runs.questions, run.over_runs.left_out_questions) == (11, 1)
    singly = [read_run(tmp_path / name, missing="drop") for name in ("a.eval", "b.eval")]
    assert [merged.over_runs for merged in merge_alike(singly)] == [run.over_runs]


def test_runs_that_overlap_in_part_are_not_said_to_have_nothing_in_common() -> None:
    first, second = (build_run(**{f"q{n}": 1.0 for n in places}) for places in (range(60), range(40, 100)))
    assert estimate_over_runs(ACCURACY, [first, second]).why == "every run lacks too many of the questions"
