"""What a search recommends, by real evals of models whose outcome is known, and by made-up scores."""

import json
from concurrent.futures import Future
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from fakes import adding_models
from rich.console import Console

from archon_eval.architecture.load import load_architecture
from archon_eval.cli.search_output import print_summary
from archon_eval.report.markdown import render_markdown
from archon_eval.report.report_data import read_report_data
from archon_eval.runs.eval_worker import EvalJob, EvalResult, run_job
from archon_eval.runs.performance import TaskAnswers
from archon_eval.search.choose_winner import choose_candidate
from archon_eval.search.config import SearchSettings, TaskSpec, load_settings
from archon_eval.search.confirm import SINGLE, Confirmed
from archon_eval.search.deviations import compute_sampling_deviation, estimate_value
from archon_eval.search.loop import search
from archon_eval.search.requests import build_from_layers, build_single_model
from archon_eval.search.summary import NO_WINNER, write_results
from archon_eval.search.trial import Trial
from archon_eval.stats.metrics import MeanMetric, ScoredAnswer

SPACE = {"preset": "small", "generators": [1], "samples": [1, 2], "layers": [0, 1], "critic_ranker": False}
COMMAND = "inspect eval archon_eval/math -S architecture=out/best.yaml"


def run(job: EvalJob) -> "Future[EvalResult]":
    future: Future[EvalResult] = Future()
    future.set_result(run_job(job))
    return future


def search_with(model: str, folder: Path, **more: Any) -> tuple[dict[str, Any], list[str]]:
    """The summary, and what the terminal shows of it."""
    data = folder / "questions.jsonl"
    data.write_text("\n".join(map(json.dumps, adding_models.list_questions(60))))
    task = {"name": "archon_eval/math", "args": {"data": str(data)}}
    given = {"tasks": [task], "models": [model], "space": {**SPACE, "evaluations": "none"}, "finalists": 2, **more}
    result = search(load_settings({"budget": {"trials": 3}, **given}), folder / "out", run)
    summary = write_results(result, folder / "out", commands=[COMMAND])
    console = Console(width=1000)
    with console.capture() as capture:
        print_summary(summary, console)
    return summary, capture.get().splitlines()


def test_a_true_winner_is_recommended_with_what_it_brings_and_costs(tmp_path: Path) -> None:
    summary, lines = search_with("adding/half", tmp_path)
    found = summary["recommendation"]
    assert found["use"] == "architecture" and found["gain"]["verdict"] == "better"
    assert found["sentence"].startswith(
        f"Use {summary['winner']} (best.yaml): it brings +{100 * found['gain']['value']:.1f} points ("
    )
    assert (
        "95%, 48 held-out questions) over the best single model adding/half, for 2.0 calls per question instead of"
        in (found["sentence"])
    )
    assert "(dollars are not known)" in found["sentence"] and "never worked" not in found["sentence"]
    assert found["commands"] == [COMMAND] and lines[-1] == COMMAND
    assert found["sentence"] in lines and not summary["verdict"]
    # the cheapest of the two that fuse equally well
    assert summary["held_out"]["winner"]["calls_per_question"] == 2.0
    assert len(load_architecture(tmp_path / "out" / "best.yaml").layers) == 2
    assert not (tmp_path / "out" / "candidate.yaml").exists()
    page = render_markdown(read_report_data([tmp_path / "out"]))
    assert "it brings" in page and COMMAND in page


def test_where_all_architectures_are_equal_the_single_model_is_recommended(tmp_path: Path) -> None:
    summary, lines = search_with("adding/plain", tmp_path)
    found = summary["recommendation"]
    assert summary["verdict"] == NO_WINNER and found["use"] == "single model"
    assert found["sentence"].startswith(
        "Use the best single model, adding/plain (best.yaml): no architecture is shown better: g1x"
    )
    assert "(candidate.yaml), chosen of" in found["sentence"] and "brings +0.0 points" in found["sentence"]
    assert found["effect"] == 0.03 and found["more_questions"] > 0
    assert f"about {found['more_questions']:,} more questions ({found['more_calls']:,} calls)" in found["sentence"]
    assert found["sentence"] in lines
    assert len(load_architecture(tmp_path / "out" / "best.yaml").layers) == 1
    candidate = load_architecture(tmp_path / "out" / "candidate.yaml")
    assert candidate.fingerprint == summary["held_out"]["candidate"]["fingerprint"]
    assert {"winner", "candidate", "single"} <= summary["held_out"].keys()
    report = read_report_data([tmp_path / "out"])
    assert {run.name.partition(":")[0] for run in report.searches[0].runs} >= {"candidate", "single"}


def test_a_verifier_that_never_answers_is_in_the_sentence(tmp_path: Path) -> None:
    space = {**SPACE, "layers": [1], "evaluations": "verifier"}
    summary, _ = search_with("adding/plain", tmp_path, space=space, budget={"trials": 2})
    found = summary["recommendation"]
    assert found["use"] == "single model" and found["never_worked"] == ["verifier adding/plain"]
    assert found["sentence"].endswith(
        "; verifier adding/plain never worked, so that this says nothing of architectures in which it would."
    )


SETTINGS = load_settings({"tasks": ["t"], "models": ["sim/gpt-4o"]})


def make_trial(rights: int, *, calls: float, name: str = "single", questions: int = 100) -> Trial:
    """A trial that is right on the first so many questions."""
    answers = {str(n): (ScoredAnswer(float(n < rights)),) for n in range(questions)}
    part = TaskAnswers(TaskSpec("t"), MeanMetric("accuracy"), answers)
    single = build_single_model("sim/gpt-4o")
    fused = build_from_layers(name, {"generator": {"model": "sim/gpt-4o", "samples": 2}}, {"fuser": "sim/gpt-4o"})
    return Trial(
        key=name,
        architecture=single if name == "single" else fused,
        results=(),
        performance=rights / questions,
        parts=(part,),
        calls=calls,
        cost=calls,
    )


def choose(
    *finalists: tuple[str, int, float], deviation: float | None = None, settings: SearchSettings = SETTINGS
) -> str | None:
    """The key of the candidate among (key, right answers of 100, calls); the best first."""
    confirmed = [
        Confirmed(key, make_trial(rights, calls=calls, name=key), rights / 100 - settings.cost_weight * calls)
        for key, rights, calls in finalists
    ]
    confirmed.sort(key=lambda each: -each.value)
    deviations = {} if deviation is None else {each.key: deviation for each in confirmed if each.key != SINGLE}
    candidate = choose_candidate(confirmed, deviations, settings)
    return candidate and candidate.key


def test_the_cheapest_that_is_not_shown_worse_is_the_candidate() -> None:
    assert choose(("dear", 72, 10), ("cheap", 71, 3), ("single", 50, 1)) == "cheap"
    assert choose(("dear", 72, 10), ("cheap", 50, 3), ("single", 50, 1)) == "dear"
    # the surrogate knows more than these answers
    assert choose(("dear", 72, 10), ("cheap", 71, 3), ("single", 50, 1), deviation=0.002) == "dear"
    assert choose(("dear", 72, 10), ("cheap", 71, 3), ("single", 50, 1), deviation=0.02) == "cheap"


def test_where_the_single_model_is_best_the_best_other_is_compared_unless_it_is_shown_worse() -> None:
    assert choose(("single", 72, 1), ("dear", 71, 10), ("cheap", 70, 3)) == "dear"
    assert choose(("single", 72, 1), ("dear", 40, 10)) is None
    assert choose(("single", 72, 1)) is None


def test_with_a_weight_of_cost_the_objective_decides() -> None:
    weighed = load_settings({"tasks": ["t"], "models": ["sim/gpt-4o"], "cost_weight": 0.05})
    assert choose(("dear", 72, 10), ("single", 50, 1), settings=weighed) is None  # 9 calls cost 45 points
    assert choose(("dear", 72, 4), ("single", 50, 1), settings=weighed) == "dear"


@pytest.mark.parametrize("rights", [17, 20])
def test_a_deviation_holds_the_sampling_error_of_the_questions(rights: int) -> None:
    trial = make_trial(rights, calls=1, questions=20)
    assert trial.performance is not None
    share = (rights + 1) / 22
    expected = sqrt(share * (1 - share) / 20)
    for surrogate in (None, (0.85, 0.0005), (0.85, 0.05)):
        value, deviation = estimate_value(trial, surrogate)
        assert value == (trial.performance if surrogate is None else 0.85)
        assert deviation is not None and deviation >= 0.6 * expected
        assert surrogate is None or deviation > surrogate[1]
    assert compute_sampling_deviation(make_trial(1, calls=1, questions=1)) is None
    assert estimate_value(make_trial(1, calls=1, questions=1), (0.9, 0.1)) == (0.9, None)


def test_progress_and_table_show_the_same_deviation(tmp_path: Path, fake_run: Any) -> None:
    from csv import DictReader

    task = {"name": "archon_eval/math", "args": {"sample": True}}
    for algorithm in ("smac", "random"):
        seen: list[Any] = []
        given = {"tasks": [task], "models": ["sim/gpt-4o"], "space": "small", "algorithm": algorithm}
        given |= {"acquisition": "ei"} if algorithm == "smac" else {}  # its last layer is drawn once
        asked = load_settings({**given, "budget": {"trials": 1}, "finalists": 1})
        write_results(search(asked, tmp_path / algorithm, fake_run, on_progress=seen.append), tmp_path / algorithm)
        [shown] = {step.deviation for step in seen if step.trials == 1}
        assert shown > 0.08  # one trial of 15 questions
        [row] = DictReader((tmp_path / algorithm / "trials.csv").open())
        assert float(row["deviation"]) > 0.08 and bool(row["surrogate"]) == (algorithm == "smac")
