"""A gate's exit code and outputs where the place they go to is full, closed, or obeys what it is told."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fakes.logs import write_log

from archon_eval.cli import main
from archon_eval.report import ci_output as ci
from archon_eval.report.baseline import save_baseline
from archon_eval.report.gate import GateOutcome, GateThresholds
from archon_eval.runs.read_log import read_run

GATE = f"{sys.executable} -m archon_eval.cli gate"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (f"{GATE} bad.eval --baseline base.json | true", 1),
        (f"{GATE} bad.eval --baseline base.json >/dev/full", 1),
        (f"{GATE} good.eval --baseline base.json | true", 0),
        (f"{GATE} good.eval --baseline base.json >/dev/full", 2),  # nobody can read the light
        (f"{GATE} good.eval --baseline absent.json | true", 2),
        (f"{GATE} good.eval --baseline absent.json >&-", 2),
        (f"{GATE} good.eval --baseline absent.json --json 2>&1 >/dev/null | true", 2),
        (f"{GATE} good.eval --baseline absent.json --json >/dev/full 2>/dev/full", 2),
        (f"{GATE} --baseline absent.json 2>/dev/full", 2),
    ],
)
def test_where_the_outcome_is_printed_to_never_makes_it_better_or_red(
    logs: Path, command: str, code: int, unbuffered: str
) -> None:
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered, "PYTHONPATH": os.pathsep.join(sys.path)}
    env.pop("GITHUB_STEP_SUMMARY", None)
    script = f"{command}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=logs, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["compare good.eval bad.eval", "report good.eval --format md"])
def test_results_that_cannot_be_written_are_a_failure_in_words(logs: Path, words: str, unbuffered: str) -> None:
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = f"{sys.executable} -m archon_eval.cli {words} >/dev/full"
    done = subprocess.run(["bash", "-c", command], cwd=logs, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "archon: cannot write: No space left on device\n")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    right: dict[str, list[str]] = {f"q{n}": ["C"] for n in range(60)}
    save_baseline(read_run(write_log(folder / "good.eval", right)), folder / "base.json")
    write_log(folder / "bad.eval", {question: ["I"] for question in right})
    return folder


def test_a_baseline_with_a_cost_that_is_no_number_is_undecided(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (logs / "base.json").read_text(encoding="utf-8")
    (logs / "odd.json").write_text(text.replace('"calls": 3.0', '"calls": "many"'), encoding="utf-8")
    assert main(["gate", str(logs / "good.eval"), "--baseline", str(logs / "odd.json")]) == 2
    assert "odd.json is no baseline file (ValueError: could not convert" in capsys.readouterr().out


def test_a_crash_while_a_baseline_is_saved_is_no_regression(
    logs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*given: object) -> None:
        raise ZeroDivisionError("within")

    monkeypatch.setattr("archon_eval.report.baseline.save_baseline", breaks)
    assert main(["gate", str(logs / "good.eval"), "--baseline", "none.json", "--save-baseline"]) == 2
    assert "ZeroDivisionError: within" in capsys.readouterr().err


def test_what_a_model_says_is_no_command_to_the_runner_and_no_megabyte() -> None:
    huge = "z" * 2_000_000
    lost = tuple((f"{n}{huge}", 1.0) for n in range(30))
    reasons = (f"it said\n  ::add-mask::a\n::error::b ##[error]c {huge}",)
    outcome = GateOutcome(2, reasons, GateThresholds(), lost=lost, notes=(huge,))
    shown = ci.format_text(outcome)
    assert not any(line.strip().startswith("::") for line in shown.splitlines()) and "##[" not in shown
    assert "error::b" in shown  # it can still be read
    name = f"]]>\x00\ud800\ufffe{huge}"
    for text in (shown, ci.format_markdown(outcome, name)):
        assert len(text) < 200_000  # GitHub drops a summary above a megabyte
    found = ElementTree.fromstring(ci.format_junit(outcome, f"]]>\x00\ud800\ufffe{huge}").encode())
    case = found.find("testcase")
    assert case is not None and case.attrib["name"].startswith("]]>???z")
