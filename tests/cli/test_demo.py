"""The demo's figures are those that a report has of the same logs."""

from pathlib import Path
from typing import Any

import pytest
from fakes.logs import write_log
from rich.console import Console

from archon_eval.cli.demo import create_results_table, read_result
from archon_eval.report.report_data import estimate_score
from archon_eval.runs.read_log import read_run

MIXED = {"q": ["C", "I"], "r": ["C", "C"], "s": ["I", "C"]}
ALL_RIGHT = {f"q{number}": ["C", "C"] for number in range(10)}


@pytest.mark.parametrize(("scores", "shown"), [(MIXED, "0-100"), (ALL_RIGHT, "72-100")], ids=["mixed", "all right"])
def test_a_system_has_one_interval_in_demo_and_report(tmp_path: Path, scores: dict[str, list[Any]], shown: str) -> None:
    log = write_log(tmp_path / "a.eval", scores)
    result = read_result("best model", log)
    assert result.score == estimate_score(read_run(log))
    console = Console(width=120)
    with console.capture() as capture:
        console.print(create_results_table([result]))
    assert shown in capture.get()
