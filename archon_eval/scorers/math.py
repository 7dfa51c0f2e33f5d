r"""Marks mathematical answers: `\frac{1}{2}`, `0.5` and `50/100` are one number, "5" is not "15".

The answer of a reply is its last `\boxed{...}`; without one, what math-verify reads in the last lines. What stands
between `<think>` tags is no answer. Equality is decided by math-verify in a few worker processes with limits, so that
a reply of `9^{9^{9^{9}}}` costs one of those:

    >>> import asyncio
    >>> asyncio.run(compare_answers(r"So it is $\boxed{1/2}$.", "1/2"))
    MathVerdict(correct=True, answer='1/2', extraction='box', status='identical')

A reply that is empty, unreadable or beyond the limits is incorrect, and the score's metadata says which. A verifier
that cannot run at all is an error, never a score.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from threading import Timer
from typing import Any, Literal

import anyio
from anyio.lowlevel import RunVar
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import TaskState

from archon_eval.components.parsing.final_answer import extract_last_box
from archon_eval.components.parsing.structured import normalize_reply
from archon_eval.errors import DataError, JudgeError
from archon_eval.scorers._account import get_account_metadata

CPU_SECONDS = 5.0
"""CPU time for one comparison. A usual one takes a millisecond; 5 s is what math-verify itself allows for parsing."""
WALL_SECONDS = 60.0
"""The fallback where the system has no CPU timer, or a worker sleeps; also the time a worker has to start."""
MAX_ANSWER_CHARS = 2_000
"""Longest answer in characters. A longer box is incorrect; of a longer text without a box only the end is read."""
_NORMALIZED_SPELLINGS = ((r"\varnothing", r"\emptyset"), ("{:}", ":"))

_TIMEOUT_EXIT_CODES = {-getattr(signal, name) for name in ("SIGPROF", "SIGKILL") if hasattr(signal, name)}

Extraction = Literal["box", "text", "none"]
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
    """Whether a reply gives the expected answer, and how the comparison went."""

    correct: bool
    answer: str | None
    """The answer as the reply spells it; None if there is none."""
    extraction: Extraction
    """Where the answer was: in the last box, in running text, or nowhere."""
    status: MathStatus
    """How the comparison went. After `timeout` and `crashed` nothing is known of the answer; it counts as incorrect."""

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

    Raises:
        DataError: `gold` is blank.
        JudgeError: no verifier can be started.
    """
    gold = _normalize_answer(extract_last_box(gold) or gold)
    if not gold:
        raise DataError("the expected answer is blank: nothing can be compared with it")
    reply = normalize_reply(reply)
    if not reply:
        return MathVerdict(correct=False, answer=None, extraction="none", status="empty")
    box = extract_last_box(reply)
    if box is None:
        status, answer = await _compare_in_worker(reply[-MAX_ANSWER_CHARS:], boxed=False, gold=gold)
        extraction: Extraction = "none" if answer is None else "text"
        return MathVerdict(correct=status == "verified", answer=answer, extraction=extraction, status=status)
    if len(box) > MAX_ANSWER_CHARS:
        return MathVerdict(correct=False, answer=box[:MAX_ANSWER_CHARS], extraction="box", status="too long")
    answer = _normalize_answer(box)
    status = "identical" if answer == gold else (await _compare_in_worker(answer, boxed=True, gold=gold))[0]
    return MathVerdict(correct=status in ("identical", "verified"), answer=box, extraction="box", status=status)


async def _compare_in_worker(text: str, boxed: bool, gold: str) -> tuple[MathStatus, str | None]:
    compare = partial(_compare, text, boxed, gold)
    return await anyio.to_thread.run_sync(compare, abandon_on_cancel=True, limiter=_get_limiter())


def _normalize_answer(answer: str) -> str:
    """Spellings that math-verify does not know, and the full stop of the sentence."""
    for spelling, usual in _NORMALIZED_SPELLINGS:
        answer = answer.replace(spelling, usual)
    return answer.strip().removesuffix(".").rstrip()


class _VerifierProcess:
    """One verifying process. Not thread-safe: it belongs to the caller that took it from the idle ones."""

    def __init__(self) -> None:
        program = Path(__file__).with_name("_math_worker.py")
        passed_on = (
            "PATH",
            "PYTHONPATH",
            "LD_LIBRARY_PATH",
            "SYSTEMROOT",
        )  # no keys for a program that reads hostile text
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(program)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in passed_on if name in os.environ},
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
    """The idle workers of this process; they end with it."""
    workers: list[_VerifierProcess] = []
    atexit.register(lambda: [worker.close() for worker in workers])
    return workers


_limiters: RunVar[anyio.CapacityLimiter] = RunVar("archon_eval.scorers.math")


def _get_limiter() -> anyio.CapacityLimiter:
    """The bound on the number of workers, one per event loop: a comparison that waits for a worker holds no thread."""
    try:
        return _limiters.get()
    except LookupError:
        _limiters.set(limiter := anyio.CapacityLimiter(min(4, os.cpu_count() or 1)))
        return limiter


@lru_cache(maxsize=10_000)
def _compare(text: str, boxed: bool, gold: str) -> tuple[MathStatus, str | None]:
    """Ask a worker, once more if it broke. The result is cached, because a search compares the same pairs often."""
    request = {"text": text, "boxed": boxed, "gold": gold, "cpu_seconds": CPU_SECONDS}
    for _ in range(2):
        try:
            worker = _get_idle_workers().pop()
        except IndexError:
            worker = _VerifierProcess()
        reply = worker.ask(request)
        if reply is not None:
            _get_idle_workers().append(worker)
            answer = reply["answer"]
            return "verified" if reply["correct"] else "unreadable" if answer is None else "different", answer
        if worker.close() in _TIMEOUT_EXIT_CODES:
            return "timeout", None
    return "crashed", None
