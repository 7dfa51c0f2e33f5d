"""Finalists that do not fit the budget, and searches that ask more after their end."""

import json
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from archon_eval._notes import ArchonNote
from archon_eval.errors import BudgetSpentError
from archon_eval.search.config import load_settings
from archon_eval.search.confirm import SINGLE, Confirmation, _Finalist
from archon_eval.search.loop import search
from archon_eval.search.trial import TrialRequest

MODELS = ["sim/qwen2-72b-instruct", "sim/llama-3.1-70b-instruct"]
TASK = {"name": "archon_eval/math", "args": {"sample": True}}


def settings(**more: Any) -> Any:
    given = {"tasks": [TASK], "models": MODELS, "space": "small", "skip_ranking": True, "finalists": 2}
    return load_settings({**given, "budget": {"trials": 3}, **more})


def run_finalists(unaffordable: set[str]) -> tuple[list[str], dict[str, float], list[str], list[tuple[Any, ...]]]:
    """Keys that were begun, the shared calls that each was begun with, notes, and for what a report was kept free."""
    started, kept = dict[str, float](), list[tuple[Any, ...]]()

    def start(request: TrialRequest, keep: object, keep_judging: object) -> None:
        if request.key in unaffordable:
            raise BudgetSpentError("no")
        started[request.key] = request.shared_calls

    plan: Any = None
    asked = {SINGLE: 0, "a": 0, "b": 0, "fuser": 0, "best-of-n": 1, "majority": 8}
    finalists = [
        _Finalist(name, TrialRequest(name, plan, plan, shared_calls=shared), {"a": 5, "b": 6}.get(name))
        for name, shared in asked.items()
    ]
    confirmation: Any = SimpleNamespace(
        _baselines=dict.fromkeys(("fuser", "best-of-n", "majority")),
        _scheduler=SimpleNamespace(
            start=start,
            count_running=lambda: 0,
            judging=SimpleNamespace(compute_report_reserve=lambda: (0, 0)),
        ),
        _costs=SimpleNamespace(
            compute_report_reserve=lambda numbers, others: kept.append((numbers, [r.key for r in others])) or (0, 0)
        ),
        notes=[],
    )
    for name in ("_start_when_affordable", "_take_shared_calls"):
        setattr(confirmation, name, getattr(Confirmation, name).__get__(confirmation))
    begun = Confirmation._run_finalists(confirmation, finalists, [5, 6], lambda done, total: None)
    return [each.key for each in begun], started, confirmation.notes, kept


def test_a_finalist_that_does_not_fit_takes_no_cheaper_one_with_it() -> None:
    begun, _, notes, kept = run_finalists({"a", "fuser"})
    assert begun == [SINGLE, "b", "best-of-n", "majority"]
    assert notes == ["the budget allowed 4 of 6 finalists, without a, fuser"]
    assert kept[-1] == ([6], ["best-of-n", "majority"]), "what cannot win needs no report"


def test_samples_that_a_dropped_baseline_would_have_paid_for_are_not_shared() -> None:
    assert run_finalists(set())[1]["majority"] == 8
    begun, started, _, _ = run_finalists({"best-of-n"})
    assert begun[-1] == "majority" and started["majority"] == 1, "the single model's call"
    assert run_finalists({"best-of-n", SINGLE})[1]["majority"] == 0


def test_nothing_is_asked_after_the_end_without_a_word(tmp_path: Path, fake_run: Any) -> None:
    """As a folder of an earlier version, whose results of the end have other keys."""
    search(settings(), tmp_path, fake_run)
    jobs = len(fake_run.jobs)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ArchonNote)
        search(settings(), tmp_path, fake_run)
    assert len(fake_run.jobs) == jobs
    journal = tmp_path / "search.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    kept = [line for line in lines if not _is_of(line, "confirm/") and line["kind"] != "confirm"]
    journal.write_text("".join(json.dumps(line) + "\n" for line in kept))
    with pytest.warns(ArchonNote, match=r"had ended; now confirm/\S+ is asked too, for about [\d,]+ calls") as told:
        result = search(settings(), tmp_path, fake_run)
    asked = [job.key.partition("@")[0] for job in fake_run.jobs[jobs:]]
    assert asked and all(any(f"now {key} is asked" in str(each.message) for each in told) for key in asked)
    assert sum("had ended" in note for note in result.notes) == len(asked)


def test_more_budget_is_a_reason_to_ask_more(tmp_path: Path, fake_run: Any) -> None:
    search(settings(), tmp_path, fake_run)
    jobs = len(fake_run.jobs)
    result = search(settings(budget={"trials": 5}), tmp_path, fake_run)
    assert len(fake_run.jobs) > jobs and not any("had ended" in note for note in result.notes)


def _is_of(line: dict[str, Any], stage: str) -> bool:
    return str(line.get("key", line.get("result", {}).get("key", ""))).startswith(stage)
