"""Searches that a baseline wins, and what is written of trials that cost nothing."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.report.search_follower import SearchFollower
from archon_eval.runs.eval_worker import EvalJob
from archon_eval.search.config import load_settings
from archon_eval.search.loop import search
from archon_eval.search.summary import write_results

MODELS = ["sim/gpt-4o", "sim/qwen2-72b-instruct", "sim/llama-3.1-8b-instruct"]
SPACE = {"preset": "small", "generators": [1, 2], "samples": [1, 2], "layers": [0, 1], "evaluations": "none"}


def run(folder: Path, fake_run: Any, trials: int = 4) -> dict[str, Any]:
    task = {"name": "archon_eval/math", "args": {"sample": True}}
    given = {"tasks": [task], "models": MODELS, "space": SPACE, "budget": {"trials": trials}, "finalists": 2}
    return write_results(search(load_settings(given), folder, fake_run), folder)


@pytest.mark.parametrize(
    ("ending", "own", "others"),
    [
        (" x 11, majority", "majority", {"single", "best-of-n"}),
        (" x 10, ranked", "best-of-n", {"single", "majority"}),
        (" fuses 3 models", "", {"single", "best-of-n", "majority"}),
    ],
)
def test_a_baseline_that_wins_is_named_and_is_no_control_of_its_own(
    tmp_path: Path, fake_run: Any, ending: str, own: str, others: set[str]
) -> None:
    def find_chance(job: EvalJob) -> float:
        name = load_architecture(dict(job.architecture)).name
        if job.key.startswith("rank/"):
            return 0.4
        return 0.97 if name.endswith(ending) else 0.3

    fake_run.chance = find_chance
    summary = run(tmp_path, fake_run)
    assert summary["winner"].endswith(ending)
    assert summary["recommendation"]["sentence"].startswith(f"Use {summary['winner']} (best.yaml): it brings +")
    assert set(summary["winner_against"]) == others and set(summary["held_out"]) == {"winner", *others}
    assert set(summary["recommendation"]["controls"]) == others - {"single"}
    said = f"no {own} beside the architecture that was chosen: it is that itself"
    assert (said in summary["notes"]) is bool(own)
    assert summary["dev"] is None and summary["dev_fresh_draws"] >= 0.9


def test_trials_say_what_they_drew_and_which_cost_nothing(tmp_path: Path, fake_run: Any) -> None:
    summary = run(tmp_path, fake_run)
    rows = list(csv.DictReader((tmp_path / "trials.csv").open()))
    lines = [json.loads(line) for line in (tmp_path / "search.jsonl").read_text().splitlines()]
    asked = [line for line in lines if line["kind"] == "ask"]
    drawn = [(str(line["number"]), str(line["draws"]), str(line["last_draws"]), str(line["free"])) for line in asked]
    assert [(row["trial"], row["draws"], row["last_draws"], row["free"]) for row in rows] == drawn
    free = sum(line["free"] for line in asked)
    assert (summary["trials"], summary["free_trials"]) == (len(rows), free) and free > 0 and len(rows) - free == 4
    assert {line["total"] for line in lines if line["kind"] == "progress" and line["stage"] == "searching"} == {4}
    steps = [line for line in lines if line["kind"] == "progress" and line["stage"] == "searching"]
    assert (steps[-1]["done"], steps[-1]["trials"]) == (4, len(rows))
    assert [line["trials"] for line in steps if line["trials"]] == list(range(1, len(rows) + 1))


def test_trials_that_cost_nothing_leave_fewer_to_choose(tmp_path: Path, fake_run: Any) -> None:
    summary = run(tmp_path, fake_run, trials=1000)
    assert summary["trials"] == summary["space"] and summary["free_trials"] > 0
    lines = [json.loads(line) for line in (tmp_path / "search.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["kind"] == "progress" and line["stage"] == "searching"][-1]
    assert last["done"] == last["total"] == summary["space"] - summary["free_trials"]
    follower = SearchFollower(tmp_path)
    follower.update()
    progress = follower.build_progress()
    assert progress.chosen_trials == progress.max_trials == last["done"]
