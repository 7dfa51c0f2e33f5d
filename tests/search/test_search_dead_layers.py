"""A search whose verifier never gives a verdict: real evals in this process, and the summary says so first."""

import json
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from fakes import mute_models  # noqa: F401, the provider `mute`
from rich.console import Console

from archon_eval.cli.search_output import print_summary
from archon_eval.report.report_data import read_report_data
from archon_eval.runs.eval_worker import EvalJob, EvalResult, run_job
from archon_eval.search.config import load_settings
from archon_eval.search.loop import search
from archon_eval.search.summary import write_results

TASK = {"name": "archon_eval/math", "args": {"sample": True, "n": 25}}


def run(job: EvalJob) -> "Future[EvalResult]":
    future: Future[EvalResult] = Future()
    future.set_result(run_job(job))
    return future


def search_with(model: str, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The summary, and what the terminal shows of it."""
    space = {"preset": "small", "generators": [1], "samples": [2], "layers": [1], "evaluations": "verifier"}
    given = {"tasks": [TASK], "models": [model], "space": space, "budget": {"trials": 2}, "finalists": 1}
    given |= {"acquisition": "ei", "draws": 3}
    summary = write_results(search(load_settings(given), folder, run), folder)
    assert json.loads((folder / "summary.json").read_text(encoding="utf-8")) == json.loads(json.dumps(summary))
    console = Console(width=400)
    with console.capture() as capture:
        print_summary(summary, console)
    return summary, capture.get().splitlines()


def test_dead_layers_of_held_out_runs_finalists_and_trials(tmp_path: Path) -> None:
    summary, lines = search_with("mute/prose", tmp_path)
    assert summary["warnings"] == [
        "candidate: Layer 2 (verifier mute/prose) never worked: none of its 40 verdicts could be read (fallback: the "
        "candidate is kept, unverified).",
        "best-of-n: Layer 2 (ranker mute/prose) never worked: none of its 20 rankings could be read (fallback: "
        "unranked candidates stay in their order, after the ranked ones).",
        "1 of 2 finalists had a layer that never worked: verifier mute/prose in 1.",
        "2 of 2 trials had a layer that never worked: verifier mute/prose in 2, critic mute/prose in 1, ranker "
        "mute/prose in 1.",
    ]
    assert lines[:4] == [f"Warning: {text}" for text in summary["warnings"]]
    assert summary["trials_with_dead_layers"] == 2
    [named] = [finalist["warnings"] for finalist in summary["finalists"] if finalist["warnings"]]
    assert named[0].startswith("Layer 2 (verifier mute/prose) never worked: none of its 20 verdicts could be read")
    assert summary["held_out"]["best-of-n"]["warnings"] == [summary["warnings"][1].removeprefix("best-of-n: ")]
    # the page names each once, although it has the held-out logs too
    assert read_report_data([tmp_path]).warnings == tuple(f"Search in {tmp_path}: {t}" for t in summary["warnings"])
    again, _ = search_with("mute/prose", tmp_path)  # from the journal
    assert again["warnings"] == summary["warnings"]


def test_results_of_an_earlier_version_are_unknown(tmp_path: Path, fake_run: Any) -> None:
    given = {"tasks": [{"name": TASK["name"], "args": {"sample": True}}], "models": ["sim/gpt-4o"], "space": "small"}
    found = search(load_settings({**given, "budget": {"trials": 3}, "finalists": 1}), tmp_path, fake_run)
    summary = write_results(found, tmp_path)
    tried = summary["trials"]
    assert summary["trials_with_dead_layers"] is None and tried - summary["free_trials"] == 3
    assert summary["warnings"] == [
        f"Whether layers of {tried} of {tried} trials worked is unknown: their results do not say."
    ]


def test_a_search_whose_layers_work_says_nothing(tmp_path: Path) -> None:
    summary, lines = search_with("mute/good", tmp_path)
    assert summary["warnings"] == [] and summary["trials_with_dead_layers"] == 0
    assert not any("Warning" in line for line in lines) and read_report_data([tmp_path]).warnings == ()
