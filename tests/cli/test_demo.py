"""The demo's figures are those that a report has of the same logs."""

from pathlib import Path
from typing import Any

import pytest
from fakes.logs import write_log
from rich.console import Console

from archon_eval.architecture.load import load_architecture, parse_text
from archon_eval.cli import demo
from archon_eval.cli.demo import SMALL, create_results_table, read_result, run_demo
from archon_eval.runs.read_log import read_run
from archon_eval.tasks.gsm8k import gsm8k

MIXED = {"q": ["C", "I"], "r": ["C", "C"], "s": ["I", "C"]}
ALL_RIGHT = {f"q{number}": ["C", "C"] for number in range(10)}


@pytest.mark.parametrize("scores", [MIXED, ALL_RIGHT], ids=["mixed", "all right"])
def test_a_system_has_one_interval_in_demo_and_report(tmp_path: Path, scores: dict[str, list[Any]]) -> None:
    log = write_log(tmp_path / "a.eval", scores)
    result = read_result("best model", log)
    estimate = read_run(log).estimate
    assert result.estimate == estimate and estimate.low is not None and estimate.high is not None
    assert estimate.low < 1 and estimate.high - estimate.low > 0.2
    console = Console(width=120)
    with console.capture() as capture:
        console.print(create_results_table([result]))
    assert f"{100 * estimate.low:.0f}-{100 * estimate.high:.0f}" in capture.get()


def test_the_small_comparison_says_what_answers_and_how_weakly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = iter([write_log(tmp_path / f"{place}.eval", MIXED) for place in range(4)])
    commands = []

    def run_eval(eval: Any, folder: Path, on_progress: Any) -> Path:
        commands.append(eval.build_command(folder))
        return next(logs)

    monkeypatch.setattr(demo, "run_eval", run_eval)
    console = Console(width=120)
    with console.capture() as capture:
        run_demo("openai-api/llama/tiny", tmp_path, console, small=True)
    assert "Models: openai-api/llama/tiny. " in capture.get() and "model are weak" in capture.get()
    given = [word.partition("=")[2] for command in commands for word in command if word.startswith("architecture=")]
    found = [load_architecture(parse_text(text, "small"), ["openai-api/llama/tiny"]) for text in given]
    assert [[layer[0].kind for layer in architecture.layers][1:] for architecture in found] == [
        [],
        ["ranker"],
        ["fuser"],
        ["critic", "ranker", "fuser"],
    ]
    assert {layer[0].settings.max_tokens for architecture in found for layer in architecture.layers} == {32}


def test_the_small_comparisons_questions_are_of_its_task() -> None:
    (data,) = (arg.partition("=")[2] for arg in SMALL.task_args)
    assert [sample.target for sample in gsm8k(data=data).dataset] == ["5", "8", "6", "10", "4", "7"]
