"""Trials all of whose calls are paid, and finalists that need no search: what they may take, and who they may be."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from archon_eval.cli.search_output import print_summary
from archon_eval.errors import SearchError
from archon_eval.search.config import load_settings
from archon_eval.search.loop import search
from archon_eval.search.smac_optimizer import SmacOptimizer
from archon_eval.search.space import Configuration
from archon_eval.search.summary import write_results

MODELS = ["sim/gpt-4o", "sim/qwen2-72b-instruct", "sim/llama-3.1-8b-instruct"]
TASK = {"name": "archon_eval/math", "args": {"sample": True}}


def settings(**more: Any) -> Any:
    given = {"tasks": [TASK], "models": MODELS, "space": "small", "budget": {"trials": 8}, "finalists": 3}
    return load_settings({**given, **more})


def list_lines(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "search.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def make_free_trials_free(fake_run: Any, folder: Path) -> None:
    """As the call store does: it has all of their calls."""
    count = fake_run.count_calls

    def count_calls(job: Any) -> tuple[int, int]:
        calls, reused = count(job)
        free = {str(line["number"]) for line in list_lines(folder, "ask") if line["free"]}
        stage, number = job.key.split("/")[:2]
        return (0, calls + reused) if stage == "search" and number in free else (calls, reused)

    fake_run.count_calls = count_calls


def list_free_keys(folder: Path) -> list[str]:
    return [f"search/{line['number']}/" for line in list_lines(folder, "ask") if line["free"]]


def test_a_free_trial_that_was_cut_counts_as_free_when_it_is_run_again(tmp_path: Path, fake_run: Any) -> None:
    make_free_trials_free(fake_run, tmp_path)
    run = fake_run

    def run_until_free(job: Any) -> Any:
        if any(job.key.startswith(key) for key in list_free_keys(tmp_path)):
            raise KeyboardInterrupt
        return run(job)

    with pytest.raises(KeyboardInterrupt):
        search(settings(), tmp_path, run_until_free)
    [cut] = {line["key"] for line in list_lines(tmp_path, "start")} - {
        line["result"]["key"] for line in list_lines(tmp_path, "result")
    }
    search(settings(), tmp_path, run)
    [found] = [line["result"] for line in list_lines(tmp_path, "result") if line["result"]["key"] == cut]
    assert found["calls"] == 0 and found["reused"] > 0


def test_a_free_trial_begins_with_what_is_kept_for_the_end_alone(tmp_path: Path, fake_run: Any) -> None:
    make_free_trials_free(fake_run, tmp_path)
    found = search(settings(budget={"trials": 30, "calls": 900}), tmp_path, fake_run)
    begun = {line["key"] for line in list_lines(tmp_path, "start")}
    free = list_free_keys(tmp_path)
    assert free and all(any(key.startswith(each) for key in begun) for each in free)
    assert found.ledger.calls <= 900


def test_what_is_under_way_or_failed_has_paid_for_nothing_yet() -> None:
    configurations = [Configuration(generators=n, fusers=(), critic_ranker=False) for n in range(1, 7)]
    optimizer = SmacOptimizer(configurations, np.zeros(6), 0, calls=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    suggested = optimizer.suggest({5: 1})
    assert suggested is not None and optimizer.list_paid(1) == []
    failed = next(number for number in (3, 4) if number != suggested.number)
    optimizer.tell(failed, None)
    assert optimizer.list_paid(1) == []
    optimizer.tell(5, 0.5)
    assert optimizer.list_paid(1) == sorted({0, 1, 2, 3, 4} - {failed, suggested.number})


def test_what_needs_no_search_is_a_finalist_within_the_limits_alone(tmp_path: Path, fake_run: Any) -> None:
    found = search(settings(limits={"calls": 4}), tmp_path, fake_run)
    names = {finalist.key for finalist in found.finalists}
    assert not names & {"best-of-n", "majority"} and all(finalist.trial.calls <= 4 for finalist in found.finalists)
    assert any("best-of-n is no finalist: it exceeds the limits per question (calls" in note for note in found.notes)
    free = search(settings(), tmp_path / "free", fake_run)
    names = {finalist.key: finalist.trial.architecture.name for finalist in free.finalists}
    assert "best-of-n" in names and names["ranked-fuser"] == f"3 models, fused by {free.fusers[0]}"


@pytest.mark.parametrize(("first", "then"), [({}, {"draws": 3}), ({"draws": 3}, {})])
def test_fresh_draws_stay_those_that_no_trial_took(first: Any, then: Any, tmp_path: Path, fake_run: Any) -> None:
    fake_run.stop_after = 4
    with pytest.raises(KeyboardInterrupt):
        search(settings(**first), tmp_path, fake_run)
    fake_run.stop_after = -1
    with pytest.raises(SearchError, match=r"other settings \(draws\)"):
        search(settings(**then), tmp_path, fake_run)


def test_with_several_tasks_the_table_has_room_for_its_columns(tmp_path: Path, fake_run: Any) -> None:
    fake_run.chance = lambda job: 0.5
    given = settings(tasks=[TASK, {**TASK, "args": {"sample": True, "n": 60}}], finalists=1, acquisition="ei")
    summary = write_results(search(given, tmp_path, fake_run), tmp_path)
    console = Console(width=80, record=True, quiet=False, file=io.StringIO())
    print_summary(summary, console)
    text = console.export_text()
    assert f"Score: {summary['metric']}" in " ".join(text.split())
    assert "│ best-of-n │" in text and "score (95%)" in text
    assert "which alone was confirmed" in " ".join(text.split())
