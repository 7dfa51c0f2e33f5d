"""ProgressDisplay: real commands show it on a pseudo-terminal, are quiet elsewhere, and say it as JSON with --json."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes.logs import write_log

from archon_eval.cli.progress import EvalSeries, ProgressDisplay, ProgressUpdate
from archon_eval.runs.progress import EvalProgress, Spend
from archon_eval.runs.run_eval import Eval

RECORDINGS = Path(__file__).parents[1] / "recordings"
REPLAY = (
    *("gate", "--baseline", str(RECORDINGS / "baseline.json"), "--task", "archon_eval/math", "-T", "sample=true"),
    *("-T", "n=40", "-S", f"architecture={RECORDINGS / 'small.yaml'}", "-S", f"store={RECORDINGS / 'calls.db'}"),
    *("-S", "store_policy=replay", "-S", "budget=eval.dollars=3 eval.calls=900"),
)
SMALL = ("--task", "archon_eval/math", "-T", "sample=true", "-T", "n=10")
SEARCH = (
    *("search", "--task", "archon_eval/math", "-T", "sample=true", "-T", "n=25", "--models", "sim/gpt-4o"),
    *("--space", "small", "--trials", "2", "--finalists", "1", "--budget", "dollars=30", "-o", "out"),
)
FIELDS = {"event", "command", "stage", "done", "total", "unit", "seconds", "seconds_left"}
SPENT = {"calls", "calls_left", "dollars", "dollars_left", "reused", "failed"}


def archon(*words: str) -> list[str]:
    return [sys.executable, "-m", "archon_eval.cli", *words]


def on_terminal(folder: Path, *words: str) -> str:
    """What a command prints on a terminal, control sequences left out."""
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))  # type: ignore[attr-defined, unused-ignore]
    env = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen(
        archon(*words), cwd=folder, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=env
    ) as run:
        os.close(theirs)
        seen = b""
        try:
            while more := os.read(ours, 65536):
                seen += more
        except OSError:  # the other end is closed
            pass
        os.close(ours)
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", seen).decode()
    assert run.returncode == 0, text
    return text


def piped(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(archon(*words), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_a_gate_on_a_terminal_counts_questions_money_and_reuse(tmp_path: Path) -> None:
    text = on_terminal(tmp_path, *REPLAY)
    for shown in (
        "0/40 questions",
        "40/40 questions",
        "$0.00 paid, $3.00 left",
        "0 calls paid, 900 left",
        "100% reused",
    ):
        assert shown in text, shown
    assert re.search(r"0:\d\d, 0:\d\d left", text)
    assert "no regression: every score is the same" in text


def test_an_ablation_in_a_pipe_is_quiet_and_with_json_says_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(
        "layers:\n  - generator: {model: sim/gpt-4o, samples: 2}\n  - ranker: sim/gpt-4o\n"
    )
    assert piped(tmp_path, "ablate", "two.yaml", *SMALL).stderr == ""
    done = piped(tmp_path, "ablate", "two.yaml", *SMALL, "-S", "budget=eval.dollars=2", "--json", "--log-dir", "again")
    assert json.loads(done.stdout)["changes"]
    said = events(done.stderr)
    assert all(set(one) == FIELDS | SPENT and one["command"] == "ablate" for one in said)
    assert said[0]["stage"] == "the whole (1 of 3)" and said[-1]["stage"].endswith("(3 of 3)")
    assert (said[-1]["done"], said[-1]["total"], said[-1]["unit"]) == (30, 30, "questions")
    # 30 calls of the whole, 20 of them reused without the ranker, 20 and 10 new ones with a fuser
    assert said[-1]["calls"] == 40 and said[-1]["reused"] == 0.5 and said[-1]["calls_left"] is None
    assert 0 < said[-1]["dollars"] < 2 and said[-1]["dollars_left"] < 2
    assert [one["done"] for one in said] == sorted(one["done"] for one in said)


def test_a_search_on_a_terminal_and_in_a_pipe(tmp_path: Path) -> None:
    text = on_terminal(tmp_path, *SEARCH)
    for shown in ("ranking models as generators", "/2 trials", "reporting on the held-out questions"):
        assert shown in text, shown
    assert re.search(r"/[2-9] evals", text)  # of the finalists, and on the held-out questions
    assert re.search(r"\$\d+\.\d\d paid, \$\d+\.\d\d left; [\d,]+ calls paid; \d+% reused", text)
    done = piped(tmp_path, *SEARCH)  # finished before: nothing is asked again
    assert done.stderr == "" and "ranking models" not in done.stdout
    said = events(piped(tmp_path, *SEARCH, "--json").stderr)
    assert all(set(one) == FIELDS | SPENT for one in said) and said[-1]["dollars_left"] < 30


def test_logs_and_stores_are_counted(tmp_path: Path) -> None:
    for number in range(3):
        write_log(tmp_path / "logs" / f"{number}.eval", {"q": ["C"], "r": ["I"]}, name=f"system {number}")
    done = piped(tmp_path, "report", "logs", "-o", "report.md", "--json")
    said = events(done.stderr)
    stages = list(dict.fromkeys((one["stage"], one["total"]) for one in said))  # a slow machine says more than one
    assert stages == [("reading logs", 3), ("writing the report", None)]
    assert all(set(one) == FIELDS for one in said)
    assert piped(tmp_path, "report", "logs", "-o", "report.md").stderr == ""
    done = piped(tmp_path, "compare", "logs/0.eval", "logs/1.eval", "--json")
    assert events(done.stderr)[-1]["done"] == 1 and json.loads(done.stdout)
    done = piped(tmp_path, "store", "export", str(RECORDINGS / "calls.db"), "--to", "calls.jsonl", "--json")
    count = json.loads(done.stdout)["written"]
    [*_, last] = events(done.stderr)
    assert (last["done"], last["total"], last["unit"], last["command"]) == (count, count, "replies", "store export")
    done = piped(tmp_path, "sim-check", "--questions", "3", "--families", "math", "--json")
    [*_, last] = events(done.stderr)
    assert last["done"] == last["total"] > 30 and last["unit"] == "architectures" and json.loads(done.stdout)
    for words in (("verify", str(RECORDINGS / "calls.db")), ("import", "new.db", "--from", "calls.jsonl")):
        done = piped(tmp_path, "store", *words, "--json")
        assert json.loads(done.stdout) and events(done.stderr)[-1]["done"] == count
        assert piped(tmp_path, "store", *words).stderr == ""


def test_unknown_dollars_are_not_zero() -> None:
    assert Spend(3, None, None).text == "dollars unknown; 3 calls paid; 0% reused"
    assert Spend(3, 7, 0.5, 1.5, 0.25, 2).text == "$0.50 paid, $1.50 left; 3 calls paid, 7 left; 25% reused; 2 failed"
    one = EvalProgress().apply_event('{"calls": 2, "reused": 1, "dollars": 0.5, "failed": false}')
    two = one.apply_event('{"calls": 2, "reused": 0, "dollars": null, "failed": true}')
    assert (two.done, two.calls, two.reused, two.failed, two.dollars) == (2, 4, 1, 1, None)


def test_evals_add_up_and_time_is_estimated_from_the_pace(capsys: pytest.CaptureFixture[str]) -> None:
    eval = Eval("t", solver_args=("budget=eval.calls=10",))
    with ProgressDisplay("demo", events=True) as progress:
        evals = EvalSeries(progress, 2)
        for name in ("a", "b"):
            told = evals.start_eval(name, eval)
            told(EvalProgress(0, 4))
            told(EvalProgress(4, 4, 1, 8, 2, 0.25))
    said = events(capsys.readouterr().err)
    assert [(one["stage"], one["done"], one["total"]) for one in said] == [
        ("a (1 of 2)", 0, 8),
        ("b (2 of 2)", 4, 8),
        ("b (2 of 2)", 8, 8),
    ]
    last = said[-1]
    assert (last["calls"], last["calls_left"], last["dollars"], last["reused"], last["failed"]) == (12, 4, 0.5, 0.25, 2)
    assert last["seconds_left"] == 0


def test_nothing_is_said_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay("gate") as progress:
        progress(ProgressUpdate("reading", 1, 2, "logs"))
    assert capsys.readouterr() == ("", "")
