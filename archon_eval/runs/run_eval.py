"""Runs an eval as users do, `inspect eval ... --solver archon`, in a process of its own, and gives back its log.

log = run_eval(Eval("archon_eval/math", ("sample=true",), ("architecture=single", "models=sim/pool")), Path("logs"))
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from secrets import token_hex
from typing import IO, TYPE_CHECKING

from archon_eval.errors import ArchonError, DataError, did_you_mean

if TYPE_CHECKING:
    from archon_eval.models.budget import CallLimits

POLL_INTERVAL = 0.2
"""Seconds between looks at how far an eval is."""
HOOKS_BANNER = re.compile(r"inspect_ai v\S+\n- hooks enabled: 1\n +\S*archon_progress.*\n*")
"""What Inspect prints because of `eval_process`."""
NO_TASK_MESSAGE = "No inspect tasks were found"
LOG_GRACE_SECONDS = 20.0
"""Seconds that an eval which must end has to write its log."""
SECRET_PATTERN = re.compile(
    r"(?i)(?:key|token|secret|password|credential)[\w-]*[\"']?\s*[:=]\s*[\"']?([^\s,;}\"']{8,})"
)
"""A secret among the given words; `output_tokens: 10000000` has the same form, and hiding it costs little."""


@dataclass(frozen=True, slots=True)
class Eval:
    """What to run; the texts are those of Inspect's command line."""

    task: str
    task_args: tuple[str, ...] = ()
    """`NAME=VALUE`, as -T takes them."""
    solver_args: tuple[str, ...] = ()
    """`NAME=VALUE`, as -S takes them."""
    roles: tuple[str, ...] = ()
    """`ROLE=MODEL`, as --model-role takes them."""
    epochs: int = 1
    seconds: float = inf
    """How long it may take; Inspect tries a model that cannot be reached again and again."""

    def __post_init__(self) -> None:
        if not self.task.strip() or self.task.startswith("-"):  # without a name Inspect runs every task it finds
            raise DataError(f"task {self.task!r}: name one, e.g. archon_eval/math")

    @property
    def limits(self) -> "CallLimits":
        """Of the budget of the whole eval, where it is given as text or a mapping that can be read."""
        import yaml

        from archon_eval.models.budget import CallLimits, parse_budget

        given = [value for name, _, value in (one.partition("=") for one in self.solver_args) if name == "budget"]
        try:
            return parse_budget(yaml.safe_load(given[-1]) if given else None).eval
        except (ArchonError, yaml.YAMLError):  # the eval itself refuses it, and says why
            return CallLimits()

    def build_command(self, folder: Path) -> list[str]:
        """The command line."""
        pairs = (("-T", self.task_args), ("-S", self.solver_args), ("--model-role", self.roles))
        given = [word for option, values in pairs for value in values for word in (option, value)]
        words = ["inspect", "eval", self.task, *given, "--epochs", str(self.epochs), "--model", "none"]
        return [*words, "--solver", "archon", "--log-dir", str(folder)]


@dataclass(frozen=True, slots=True)
class Spend:
    """What model calls took so far."""

    calls: int = 0
    """Paid."""
    calls_left: float | None = None
    """None: no limit."""
    dollars: float | None = 0.0
    """Paid; None: unknown."""
    dollars_left: float | None = None
    """None: no limit, or unknown."""
    reused: float = 0.0
    """Share of all calls, 0 to 1."""
    failed: int = 0
    """Answers that ended in an error."""

    @property
    def text(self) -> str:
        """`$0.21 paid, $4.79 left; 230 calls paid, 770 left; 51% reused`."""
        dollars = "dollars unknown" if self.dollars is None else f"${self.dollars:,.2f} paid"
        dollars += "" if self.dollars_left is None else f", ${self.dollars_left:,.2f} left"
        calls = f"{self.calls:,} calls paid" + ("" if self.calls_left is None else f", {self.calls_left:,.0f} left")
        parts = [dollars, calls, f"{self.reused:.0%} reused"]
        return "; ".join([*parts, *([f"{self.failed:,} failed"] if self.failed else [])])


@dataclass(frozen=True, slots=True)
class EvalProgress:
    """How far an eval is."""

    done: int = 0
    """Answers, one per question and epoch."""
    total: int | None = None
    """None until the questions are known."""
    failed: int = 0
    """Answers that ended in an error."""
    calls: int = 0
    """Of the architecture, reused ones too; judges' are not counted."""
    reused: int = 0
    dollars: float | None = 0.0
    """Paid; None is unknown."""

    def apply_event(self, line: str) -> "EvalProgress":
        """With one more line of `eval_process`."""
        said = json.loads(line)
        if "total" in said:
            return replace(self, total=said["total"])
        paid = None if self.dollars is None or said["dollars"] is None else self.dollars + said["dollars"]
        calls, reused = self.calls + said["calls"], self.reused + said["reused"]
        return EvalProgress(self.done + 1, self.total, self.failed + said["failed"], calls, reused, paid)


EvalProgressCallback = Callable[[EvalProgress], None]


def run_eval(eval: Eval, folder: Path, watch: EvalProgressCallback = lambda sofar: None) -> Path:
    """The log of the finished eval; its status may be an error, which `runs.read_run` then says.

    Args:
        watch: told how far it is, whenever that changed.

    Raises:
        ArchonError: no log was written, what the command printed is in the message without secrets; or several were,
            or it took too long.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise DataError(f"cannot write logs to {folder}: {exc.strerror or exc}") from exc
    words, mine = eval.build_command(folder), token_hex(4)  # other evals may be writing there
    pattern = {"INSPECT_EVAL_LOG_FILE_PATTERN": f"{{task}}_{mine}_{{id}}", "INSPECT_LOG_FORMAT": "eval"}
    with tempfile.TemporaryDirectory() as scratch:
        told, printed = Path(scratch) / "told.jsonl", Path(scratch) / "printed.txt"
        told.touch()
        # -P: as with `inspect eval`, the caller's statistics.py does not stand in for Python's own
        command = [sys.executable, "-P", "-m", "archon_eval.runs.eval_process", str(told), *words[1:]]
        with printed.open("wb") as out, told.open(encoding="utf-8") as lines:
            process = subprocess.Popen(
                [*command, "--display", "plain", "--no-log-realtime"],
                stdin=subprocess.PIPE,  # its end tells the eval to end, also where this process is killed
                start_new_session=True,  # so that Ctrl-C reaches it once, from here
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **pattern},
            )
            last = _follow_progress(process, lines, watch, eval.seconds)
        said = printed.read_text(encoding="utf-8", errors="replace")
    if last is not None:
        of = "?" if last.total is None else last.total
        raise ArchonError(
            _redact_secrets(
                f"no end after {eval.seconds:g} seconds, {last.done} of {of} answered: {shlex.join(words)}", words
            )
        )
    logs = sorted(folder.glob(f"*_{mine}_*.eval"))
    if not logs:
        hint = _suggest_task(eval.task) if NO_TASK_MESSAGE in said else ""
        raise ArchonError(
            _redact_secrets(f"{shlex.join(words)} failed{hint}:\n{HOOKS_BANNER.sub('', said)}".strip(), words)
        )
    if len(logs) > 1:
        raise ArchonError(
            f"{eval.task}: {len(logs)} tasks; name one, as in {eval.task}@NAME; logs: {', '.join(map(str, logs))}"
        )
    return logs[0]


def _redact_secrets(text: str, words: Sequence[str]) -> str:
    """The text without what the words give as a key, token, secret, password or credential, and as `redact` has it."""
    from archon_eval.models.conversion import redact

    for value in sorted({found for word in words for found in SECRET_PATTERN.findall(word)}, key=len, reverse=True):
        text = text.replace(value, "<secret>")
    return redact(text)


def _suggest_task(name: str) -> str:
    from inspect_ai.util import registry_info

    from archon_eval._inspect_compat import registry_find

    return did_you_mean(name, (registry_info(one).name for one in registry_find(lambda info: info.type == "task")))


def _follow_progress(
    process: "subprocess.Popen[bytes]", lines: IO[str], watch: EvalProgressCallback, seconds: float
) -> EvalProgress | None:
    """Until the process has ended, which never outlives this; how far it was where it took too long."""
    sofar, rest, running, until = EvalProgress(), "", True, time.monotonic() + seconds
    watch(sofar)
    try:
        while running:
            try:
                process.wait(POLL_INTERVAL)
                running = False
            except subprocess.TimeoutExpired:
                pass
            *whole, rest = (rest + lines.read()).split("\n")
            for line in whole:
                sofar = sofar.apply_event(line)
            if whole:
                watch(sofar)
            if running and time.monotonic() > until:
                return sofar
        return None
    finally:
        _stop_process(process)


def _stop_process(process: "subprocess.Popen[bytes]") -> None:
    """End the process; one that still runs is interrupted, and has LOG_GRACE_SECONDS to write a log of what it has."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(LOG_GRACE_SECONDS)
    finally:
        process.kill()
        process.wait()
