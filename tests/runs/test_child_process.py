"""Children that evaluate: they answer lines, end with their parent whatever ends that, and their last words name no
secret."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archon_eval.runs.child_process import ChildProcess, hide_secrets, join_words

ECHO = """
import os, queue
from archon_eval.runs.child_process import follow_parent
lines = queue.Queue()
follow_parent(on_end=lambda: os._exit(7), on_line=lines.put)
while True:
    print(lines.get().upper(), flush=True)
"""
PARENT = f"""
import time
from archon_eval.runs.child_process import ChildProcess
child = ChildProcess(["-c", {ECHO!r}], replies=True)
child.ask("ready?")
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_child_answers_lines_and_ends_when_its_input_does() -> None:
    child = ChildProcess(["-c", ECHO], replies=True)
    long = "é" * 100_000
    assert child.ask("hello") == "HELLO\n" and child.ask(long) == long.upper() + "\n"
    assert not child.wait(0.01)
    child.stop()
    assert child.describe_end() == "ended with code 7"
    child.close()


def test_a_child_that_died_answers_nothing_and_says_why_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "from-the-environment")
    child = ChildProcess(
        ["-c", "import os, sys; input(); sys.exit(os.environ['SOME_API_KEY'] + ' is wrong')"], replies=True
    )
    assert child.ask("hello") == "" == child.ask("again")
    end = child.describe_end()
    assert end.startswith("ended with code 1: ") and "is wrong" in end and "from-the-environment" not in end
    child.close()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
def test_a_child_ends_with_its_parent_whatever_ends_that(how: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())
    parent.send_signal(how)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{child}").exists():
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            pytest.fail("the child outlives its parent")
        time.sleep(0.05)


def test_secrets_among_a_commands_words_are_hidden() -> None:
    words = ["-T", "access_token=abcdefgh", "judge={api_key: 'sk-long-one'}", "n=10"]
    assert hide_secrets("abcdefgh and sk-long-one failed, n=10", words) == "<secret> and <secret> failed, n=10"


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ('api_key="it\'s-a-secret-1"', "'api_key=<secret>'"),
        ("api_key=abc def ghi jkl", "'api_key=<secret>'"),
        ("token=abcdefgh,ijklmnop", "'token=<secret>'"),
        ("headers={Authorization: Bearer sk-123456789012}", "'headers={Authorization: <secret>}'"),
        ("header=Bearer sk-123456789012", "'header=Bearer <secret>'"),
        ("base_url=https://user:hunter2@host/v1", "'base_url=https://<secret>@host/v1'"),
        ("grader={password: correct horse, pass, model: openai/x}", "'grader={password: <secret>, model: openai/x}'"),
        ('grader={"api_key": "a\\"bcdefgh, }", "n": 1}', """'grader={"api_key": <secret>, "n": 1}'"""),
        ("grader={api_key: 'it''s-a-secret', n: 1}", "'grader={api_key: <secret>, n: 1}'"),
        ("max_tokens=512", "max_tokens=512"),
    ],
)
def test_a_commands_secrets_are_hidden_before_its_words_are_quoted(word: str, shown: str) -> None:
    assert join_words(["inspect", "-T", word]) == f"inspect -T {shown}"


def test_a_part_of_a_commands_secret_is_hidden_in_what_it_printed() -> None:
    words = ["-T", "token=abcdefgh,ijklmnop", 'key="it\'s-a-secret-1"']
    printed = "no ijklmnop, no it's-a-secret-1, no Authorization: Bearer sk-123456789012"
    assert hide_secrets(printed, words) == "no <secret>, no <secret>, no Authorization: Bearer <secret>"
