"""The standard errors over questions and over runs, wherever commands show them: never one under the other's name."""

import json
import re
from pathlib import Path

import pytest
from fakes.logs import write_log

from archon_eval.cli import main

SEVERAL = {"q1": ["C", "I", "C", "C"], "q2": ["I", "I", "C", "I"], "q3": ["C"] * 4, "q4": ["I"] * 4}
"""Means of runs 0.5, 0.25, 0.75, 0.5: over runs sqrt(0.125 / 3) / 2. Of questions 0.75, 0.25, 1, 0: over questions
sqrt(0.625 / 3 / 4)."""
OVER_QUESTIONS, OVER_RUNS = "22.82", "10.21"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    write_log(tmp_path / "logs" / "several" / "a.eval", SEVERAL, name="several")
    write_log(tmp_path / "logs" / "single" / "b.eval", {q: ["C"] for q in SEVERAL}, name="single", calls=9)
    return tmp_path / "logs"


def test_the_page_and_the_text_name_both(logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(logs), "--format", "md"]) == 0
    lines = capsys.readouterr().out.splitlines()
    place = lines.index("| system | standard error over questions | standard error over runs | runs |")
    assert lines[place + 2] == f"| several | {OVER_QUESTIONS} | {OVER_RUNS} | 4 |"
    assert lines[place + 3] == "| single | 0.00 | unknown: one run tells nothing about spread | 1 |"
    assert main(["report", str(logs), "-o", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    heads = re.findall(r"<th[^>]*>(standard error[^<]*)</th>", page)
    assert heads == ["standard error over questions", "standard error over runs"]
    row = re.search(
        r"<tr><td>several</td><td class=n>([^<]*)</td><td class=n>([^<]*)</td><td class=n>4</td></tr>", page
    )
    assert row and row.groups() == (OVER_QUESTIONS, OVER_RUNS)
    assert main(["report", str(logs / "single"), "--format", "md"]) == 0  # a single run has no second error to show
    assert "standard error" not in capsys.readouterr().out


def test_json_has_each_run(logs: Path, tmp_path: Path) -> None:
    assert main(["report", str(logs), "-o", str(tmp_path / "r.json")]) == 0
    several, single = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["benches"][0]["systems"]
    assert several["over_runs"]["values"] == [0.5, 0.25, 0.75, 0.5]
    assert several["over_runs"]["stderr"] == pytest.approx((0.125 / 3) ** 0.5 / 2)
    assert several["score"]["stderr"] == pytest.approx((0.625 / 12) ** 0.5)
    assert (single["over_runs"]["values"], single["over_runs"]["stderr"]) == ([1.0], None)


def test_compare_says_both_of_a_system_with_several_runs(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", str(logs / "several"), str(logs / "single")]
    assert main(words) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Standard error")]
    assert lines == [f"Standard error of several: over questions {OVER_QUESTIONS}, over 4 runs {OVER_RUNS}"]
    assert main([*words, "--json"]) == 0
    (pair,) = json.loads(capsys.readouterr().out)
    several, single = (system["over_runs"] for system in pair["systems"])
    assert several["values"] == [0.5, 0.25, 0.75, 0.5] and single["stderr"] is None


def test_a_log_that_two_paths_lead_to_counts_once(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(logs), str(logs / "single" / "b.eval"), str(logs / "several"), "--format", "md"]) == 0
    text = capsys.readouterr().out
    assert "(2)" not in text and f"| several | {OVER_QUESTIONS} | {OVER_RUNS} | 4 |" in text
