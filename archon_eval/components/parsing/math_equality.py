r"""Whether two mathematical answers are equal: the one equality of scorers and votes.

    >>> import asyncio
    >>> asyncio.run(compare_math(r"0.5", r"\frac{1}{2}"))
    'verified'

The rules are in `math_spelling.py`. What is left to compute is done by math-verify in a few worker processes with
limits, so that an answer of `9^{9^{9^{9}}}` costs one of those.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, lru_cache, partial
from pathlib import Path
from threading import Timer
from typing import Any, Literal

import anyio
from anyio.lowlevel import RunVar

from archon_eval.components.parsing.math_spelling import prepare_comparison, read_answer
from archon_eval.errors import JudgeError

CPU_SECONDS = 5.0
"""CPU time for one comparison. A usual one takes a millisecond; 5 s is what math-verify itself allows for parsing."""
WALL_SECONDS = 60.0
"""The fallback where the system has no CPU timer, or a worker sleeps; also the time a worker has to start."""
MAX_ANSWER_CHARS = 2_000
"""Longest answer in characters; a longer one equals none."""

_TIMEOUT_EXIT_CODES = {-getattr(signal, name) for name in ("SIGPROF", "SIGKILL") if hasattr(signal, name)}

Equality = Literal["identical", "verified", "different", "too long", "timeout", "crashed"]
"""How a comparison went; of the last three nothing is known, and they count as different."""


async def compare_math(answer: str, gold: str) -> Equality:
    """Compare two answers in LaTeX or plain text, without their boxes.

    Raises:
        JudgeError: no verifier can be started, and one is needed.
    """
    if len(answer) > MAX_ANSWER_CHARS or len(gold) > MAX_ANSWER_CHARS:
        return "identical" if answer == gold else "too long"
    if answer == gold:
        return "identical"
    question = prepare_comparison(read_answer(answer), read_answer(gold))
    if isinstance(question, bool):
        return "verified" if question else "different"
    reply = await _ask({"table": question})
    return reply if isinstance(reply, str) else "verified" if reply["correct"] else "different"


async def extract_math(text: str) -> tuple[str | None, Literal["read", "timeout", "crashed"]]:
    """The last answer that math-verify finds in running text, None if there is none; and how the search went.

    Raises:
        JudgeError: no verifier can be started.
    """
    reply = await _ask({"text": text[-MAX_ANSWER_CHARS:]})
    return (None, reply) if isinstance(reply, str) else (reply["answer"], "read")


async def _ask(request: Mapping[str, Any]) -> dict[str, Any] | Literal["timeout", "crashed"]:
    ask = partial(_ask_worker, json.dumps(request))
    return await anyio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=_get_limiter())


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


_limiters: RunVar[anyio.CapacityLimiter] = RunVar("archon_eval.math_equality")


def _get_limiter() -> anyio.CapacityLimiter:
    """The bound on the number of workers, one per event loop: a comparison that waits for a worker holds no thread."""
    try:
        return _limiters.get()
    except LookupError:
        _limiters.set(limiter := anyio.CapacityLimiter(min(4, os.cpu_count() or 1)))
        return limiter


@lru_cache(maxsize=10_000)
def _ask_worker(request: str) -> dict[str, Any] | Literal["timeout", "crashed"]:
    """Ask a worker, once more if it broke. The result is cached, because a search compares the same pairs often."""
    for _ in range(2):
        try:
            worker = _get_idle_workers().pop()
        except IndexError:
            worker = _VerifierProcess()
        reply = worker.ask({**json.loads(request), "cpu_seconds": CPU_SECONDS})
        if reply is not None:
            _get_idle_workers().append(worker)
            return reply
        if worker.close() in _TIMEOUT_EXIT_CODES:
            return "timeout"
    return "crashed"
