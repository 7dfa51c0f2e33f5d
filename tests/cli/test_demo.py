"""The demo's figures are those that a report has of the same logs."""

from pathlib import Path
from typing import Any

import pytest
from fakes.logs import write_log
from rich.console import Console

from archon_eval.cli.demo import create_results_table, read_result
from archon_eval.runs.read_log import read_run

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
