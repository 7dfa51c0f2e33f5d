"""What is kept for the end of a search: controls at equal calls, the smallest budget, a budget that is used."""

import json
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from archon_eval.errors import SearchError
from archon_eval.runs.eval_worker import EvalJob, EvalResult, run_job
from archon_eval.search.config import SearchSettings, load_settings
from archon_eval.search.controls import ControlBuilder
from archon_eval.search.forecast import forecast
from archon_eval.search.loop import search
from archon_eval.search.summary import write_results
from archon_eval.search.task_facts import TaskFacts, find_vote_obstacle

TASK = {"name": "archon_eval/math", "args": {"sample": True}}
MODELS = ["sim/qwen2-72b-instruct", "sim/llama-3.1-70b-instruct"]
FACTS = {"t": TaskFacts()}


def settings(**more: Any) -> SearchSettings:
    given = {"tasks": [TASK], "models": MODELS, "space": "small", "skip_ranking": True, "finalists": 3, **more}
    return load_settings(given)


def build(calls: int, facts: dict[str, TaskFacts] = FACTS, **more: Any) -> tuple[dict[str, str], list[str]]:
    """The controls' names, and notes."""
    builder = ControlBuilder(settings(**more), "sim/gpt-4o", facts)
    return {key: control.architecture.name for key, control in builder.build(calls).items()}, builder.list_notes(calls)


def test_controls_make_as_many_calls_as_the_winner() -> None:
    assert build(12) == (
        {"best-of-n": "sim/gpt-4o x 11, ranked", "majority": "sim/gpt-4o x 12, majority"},
        [],
    )
    names, [note] = build(100)
    assert names == {"best-of-n": "sim/gpt-4o x 24, ranked", "majority": "sim/gpt-4o x 100, majority"}
    assert note.startswith("best of n has 24 samples of 99 at equal calls") and "`max_candidates`" in note
    assert build(2) == (
        {"best-of-n": "sim/gpt-4o x 2, ranked"},
        ["no majority of equal calls: of 2 answers none outvotes another"],
    )
    assert build(1)[0] == {}


def test_where_the_space_has_many_samples_best_of_n_is_as_large_as_a_ranker_can_read() -> None:
    assert build(501, space="high-sample")[0]["best-of-n"] == "sim/gpt-4o x 500, ranked"  # its window has no end
    builder = ControlBuilder(settings(space="high-sample"), "openai/gpt-4o", FACTS)
    control = builder.build(1001)["best-of-n"].architecture
    samples = control.layers[0][0].get_option("samples")
    assert 24 < samples < 1000
    assert any(f"best of n has {samples} samples of 1000" in note for note in builder.list_notes(1001))


@pytest.mark.parametrize(
    ("scorer", "targets", "votes"),
    [
        ("math_answer", [r"\frac{1}{2}"], True),
        ("archon_eval/letter_answer", ["B"], True),
        ("programs", ["18"], False),
        ("arena_hard", ["18"], False),
        ("match", ["18", "Paris"], True),
        ("", ["She sold 48 / 2 = 24 clips in May, and 48 + 24 in all.\n#### 72"], True),
        ("model_graded_qa", ["An answer is good if it names the sea, the tides and the ships."], False),
        ("model_graded_qa", [""], False),
        ("mine", [], False),
    ],
)
def test_what_can_be_voted_on(scorer: str, targets: list[str], votes: bool) -> None:
    assert (not find_vote_obstacle(scorer, targets)) == votes


def test_a_majority_that_makes_no_sense_is_left_out_and_said() -> None:
    names, notes = build(12, {"t": TaskFacts(), "essays": TaskFacts("a judge reads them")})
    assert names.keys() == {"best-of-n"}
    assert notes == ["no majority of equal calls: essays cannot be voted on, as a judge reads them"]


def test_the_smallest_budget_pays_for_everything_and_less_is_refused(tmp_path: Path, fake_run: Any) -> None:
    with pytest.raises(SearchError, match="budget calls=300 cannot pay for one trial") as refused:
        search(settings(budget={"calls": 300}), tmp_path, fake_run)
    least = int(str(refused.value).rpartition(" ")[2].replace(",", ""))
    assert not fake_run.jobs and not (tmp_path / "search.jsonl").exists()
    assert forecast(settings(budget={"calls": least}))["smallest_budget"]["calls"] == least
    with pytest.raises(SearchError, match=f"the smallest that can is {least}"):
        forecast(settings(budget={"calls": least - 1}))
    summary = write_results(search(settings(budget={"calls": least}), tmp_path, fake_run), tmp_path)
    assert summary["trials"] >= 1 and summary["calls_paid"] <= least
    assert {"single", "winner"} <= summary["held_out"].keys()
    assert not any("did not allow" in note for note in summary["notes"])


def test_dollars_are_refused_alike(tmp_path: Path, fake_run: Any) -> None:
    with pytest.raises(
        SearchError, match=r"budget dollars=0.01 cannot pay for one trial \(\$0.0.*smallest that can is \$"
    ):
        search(settings(budget={"dollars": 0.01}), tmp_path, fake_run)
    assert not fake_run.jobs


@pytest.mark.parametrize("calls", [2000, 3000])
def test_a_budget_is_used_where_trials_remain_and_no_control_is_left_out(
    tmp_path: Path, fake_run: Any, calls: int
) -> None:
    found = search(settings(budget={"calls": calls}, finalists=10), tmp_path, fake_run)
    assert 0.9 * calls <= found.ledger.calls <= calls
    assert {"single", "best-of-n", "winner"} <= found.report.keys()
    assert not any("did not allow" in note for note in found.notes)
    draws = {name: {len(epochs) for epochs in trial.parts[0].answers.values()} for name, trial in found.report.items()}
    assert all(len(each) == 1 for each in draws.values())


def run(job: EvalJob) -> "Future[EvalResult]":
    future: Future[EvalResult] = Future()
    future.set_result(run_job(job))
    return future


def test_a_forecast_is_within_a_factor_of_what_is_paid(tmp_path: Path) -> None:
    space = {"preset": "small", "generators": [1, 2], "layers": [0, 1], "evaluations": "none"}
    given = settings(space=space, budget={"calls": 900})
    expected = forecast(given)
    summary = write_results(search(given, tmp_path, run), tmp_path)
    assert 1 / 1.5 <= expected["calls"]["expected"] / summary["calls_paid"] <= 1.5
    assert 1 / 1.5 <= expected["dollars"] / summary["dollars_paid"] <= 1.5
    rows = [row["calls"] for row in expected["stages"]]
    assert rows[-1] == pytest.approx(sum(rows[:-1]), abs=3)
    assert json.dumps(expected)


def test_a_dry_run_shows_the_stages_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    from archon_eval.cli import main

    words = "search --task archon_eval/math -T sample=true --models sim/gpt-4o --space small --budget calls=3000"
    assert main([*words.split(), "--dry-run"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["stage", "evals", "calls", "dollars", "hours", "answers", "to", "score"]
    assert [line[0] for line in lines[1:6]] == ["ranking", "trials", "confirming", "report", "in"]
    assert any(line[:3] == ["smallest", "budget,", "calls:"] for line in lines)


def test_an_earlier_process_with_more_budget_leaves_its_architectures_in_the_space(
    tmp_path: Path, fake_run: Any
) -> None:
    first = search(settings(budget={"calls": 6000}), tmp_path, fake_run)
    fake_run.jobs = []
    again = search(settings(budget={"calls": first.ledger.calls}), tmp_path, fake_run)
    assert not fake_run.jobs and len(again.options) == len(first.options)
    assert again.winner == first.winner and again.report == first.report
