r"""Marks mathematical answers: `\frac{1}{2}`, `0.5` and `50/100` are one number, "5" is not "15".

The answer of a reply is its last `\boxed{...}`; without one, what math-verify finds in the last lines. Equality
is decided by math-verify in a few worker processes with limits, so that a reply of `9^{9^{9^{9}}}` costs one of those:

    Task(dataset=..., scorer=math_answer())
    verdict = await compare_answers(r"So it is $\boxed{1/2}$.", r"\frac{1}{2}")    # verdict.correct, verdict.answer

A reply that is empty, unreadable or beyond the limits is incorrect, and the score's metadata says which; a verifier
that cannot run at all is an error, never a score.
"""

import atexit
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from threading import Timer
from typing import Any, Literal

import anyio
from anyio.lowlevel import RunVar
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import TaskState

from archon_eval.errors import DataError, JudgeError
from archon_eval.scorers._account import get_account_metadata

CPU_SECONDS = 5.0
"""CPU time for one comparison. Usual ones take a millisecond."""
WALL_SECONDS = 60.0
"""The fallback where the system has no CPU timer, or a worker sleeps; also the time a worker has to start."""
MAX_ANSWER_CHARS = 2_000
"""Characters of an answer that are looked at; a longer box is incorrect, longer text is read from its end."""
_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\boxed\s+([^\s{}$]+)\s*\$")
_NORMALIZED_SPELLINGS = ((r"\varnothing", r"\emptyset"), ("{:}", ":"))

_TIMEOUT_EXIT_CODES = {-getattr(signal, name) for name in ("SIGPROF", "SIGKILL") if hasattr(signal, name)}

MathStatus = Literal["identical", "verified", "different", "unreadable", "empty", "too long", "timeout", "crashed"]
_EXPLANATIONS: dict[MathStatus, str] = {
    "identical": "The answer is spelt like the expected one.",
    "verified": "The answer equals the expected one.",
    "different": "The answer does not equal the expected one.",
    "unreadable": "No mathematical answer can be read from the reply.",
    "empty": "The reply is empty.",
    "too long": f"The answer is longer than {MAX_ANSWER_CHARS} characters.",
    "timeout": f"Comparing the answer took more than {CPU_SECONDS:g} s of CPU time; it counts as incorrect.",
    "crashed": "Comparing the answer ended the verifying process twice; it counts as incorrect.",
}


@dataclass(frozen=True, slots=True)
class MathVerdict:
    """Whether a reply gives the expected answer, and how that was found out."""

    correct: bool
    answer: str | None
    """The answer as the reply spells it; None if there is none."""
    extraction: Literal["box", "text", "none"]
    """Where the answer was: in the last box, in running text, or nowhere."""
    status: MathStatus
    """How the comparison went; `timeout` and `crashed` are incorrect by decree."""

    @property
    def explanation(self) -> str:
        """One sentence for readers of a log."""
        return _EXPLANATIONS[self.status]


@scorer(metrics=[accuracy(), stderr()])
def math_answer() -> Scorer:
    """Correct if the reply's answer equals the target (any of them, if there are several).

    Metadata: `extraction` and `status`, see `MathVerdict`. Inspect reduces epochs to one value per sample before the
    metrics, so the standard error is over questions, not over dependent draws.
    """

    async def score(state: TaskState, target: Target) -> Score:
        for gold in target:
            verdict = await compare_answers(state.output.completion, gold)
            if verdict.correct:
                break
        return Score(
            value=CORRECT if verdict.correct else INCORRECT,
            answer=verdict.answer,
            explanation=f"{verdict.explanation} Expected: {' or '.join(target)}",
            metadata={"extraction": verdict.extraction, "status": verdict.status, **get_account_metadata(state)},
        )

    return score


async def compare_answers(reply: str, gold: str) -> MathVerdict:
    """Compare the answer in `reply` with `gold` (LaTeX, with or without a box).

    DataError if `gold` is blank, JudgeError if no verifier can be started.
    """
    gold = _normalize_answer(extract_last_box(gold) or gold)
    if not gold:
        raise DataError("the expected answer is blank: nothing can be compared with it")
    if not reply.strip():
        return MathVerdict(False, None, "none", "empty")
    box = extract_last_box(reply)
    if box is not None and len(box) > MAX_ANSWER_CHARS:
        return MathVerdict(False, box[:MAX_ANSWER_CHARS], "box", "too long")
    if box is not None and _normalize_answer(box) == gold:
        return MathVerdict(True, box, "box", "identical")
    text = reply[-MAX_ANSWER_CHARS:] if box is None else _normalize_answer(box)
    status, found = await anyio.to_thread.run_sync(
        _compare, text, box is not None, gold, abandon_on_cancel=True, limiter=_get_limiter()
    )
    answer = found if box is None else box
    return MathVerdict(
        status == "verified", answer, "none" if answer is None else "text" if box is None else "box", status
    )


def extract_last_box(text: str) -> str | None:
    r"""The content of the last complete, non-blank `\boxed{...}` or `\fbox{...}`; also `$\boxed 5$`. In linear time."""
    best, best_start = None, -1
    stack: list[int] = []
    for match in _BRACES.finditer(text):
        token = match[0]
        if token == "}":
            start = stack.pop() if stack else -1
            content = text[start : match.start()].strip() if start > best_start else ""
            if content:
                best, best_start = content, start
        elif token[-1] == "{" and token != r"\{":
            stack.append(-1 if token == "{" else match.end())
    if best is None and (bare := _BARE_BOX.findall(text)):
        return str(bare[-1])
    return best


def _normalize_answer(answer: str) -> str:
    """Spellings that math-verify does not know, and the full stop of the sentence."""
    for spelling, usual in _NORMALIZED_SPELLINGS:
        answer = answer.replace(spelling, usual)
    return answer.strip().removesuffix(".").rstrip()


class _VerifierProcess:
    """One verifying process. Not thread-safe: it belongs to whoever took it from the idle ones."""

    def __init__(self) -> None:
        program = Path(__file__).with_name("_math_worker.py")
        kept = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT")  # no keys for a program that reads hostile text
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(program)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in kept if name in os.environ},
                encoding="ascii",
                start_new_session=True,
            )
        except OSError as error:
            raise JudgeError(f"the answer verifier cannot be started ({sys.executable}): {error}") from error
        hello = self.ask() or {"error": "it ended or hung at start"}
        if "error" in hello:
            self.close()
            raise JudgeError(f"the answer verifier cannot run: {hello['error']}")

    def ask(self, request: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """The next reply of the process, after sending `request` if there is one; None if the process has ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin and stdout
        watchdog = Timer(WALL_SECONDS, self._process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            if request is not None:
                stdin.write(json.dumps(request) + "\n")
                stdin.flush()
            line = stdout.readline()
            if line.endswith("\n"):
                return dict(json.loads(line))
            self._process.wait()
        except BrokenPipeError:
            self._process.wait()
        finally:
            watchdog.cancel()
        return None

    def close(self) -> int:
        """End the process and give its exit code, negative for the signal that ended it."""
        self._process.kill()
        with suppress(BrokenPipeError):
            self._process.communicate()
        return self._process.wait()


@cache
def _get_idle_workers() -> list[_VerifierProcess]:
    """The workers of this process that have nothing to do; they end with it."""
    workers: list[_VerifierProcess] = []
    atexit.register(lambda: [worker.close() for worker in workers])
    return workers


_limiters: RunVar[anyio.CapacityLimiter] = RunVar("archon_eval.scorers.math")


def _get_limiter() -> anyio.CapacityLimiter:
    """Bounds the workers, and lets comparisons that wait for one hold no thread meanwhile. One per event loop."""
    try:
        return _limiters.get()
    except LookupError:
        _limiters.set(limiter := anyio.CapacityLimiter(min(4, os.cpu_count() or 1)))
        return limiter


@lru_cache(maxsize=10_000)
def _compare(text: str, boxed: bool, gold: str) -> tuple[MathStatus, str | None]:
    """Ask a worker, once more if it broke. Remembered, because a search asks the same thing often."""
    request = {"text": text, "boxed": boxed, "gold": gold, "cpu_seconds": CPU_SECONDS}
    for _ in range(2):
        try:
            worker = _get_idle_workers().pop()
        except IndexError:
            worker = _VerifierProcess()
        reply = worker.ask(request)
        if reply is not None:
            _get_idle_workers().append(worker)
            found = reply["found"]
            return "verified" if reply["correct"] else "unreadable" if found is None else "different", found
        if worker.close() in _TIMEOUT_EXIT_CODES:
            return "timeout", None
    return "crashed", None
