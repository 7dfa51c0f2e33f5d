"""The program inside a verifying process: one JSON request per line in, one JSON reply per line out.

math-verify runs only here: on the wrong input it computes for ever or eats all memory, and its own alarms fail outside
the main thread. This process has a memory limit and a limit of CPU time per request (not of wall time, so a busy
machine changes no score). The kernel ends a process that goes over a limit, and `scorers/math.py` starts another.

    $ echo '{"text": "0.5", "boxed": true, "gold": "\\\\frac12", "cpu_seconds": 5}' | python -P _math_worker.py
    {"ready": true}
    {"correct": true, "answer": "0.5"}

It is run as a file, with `-P` (a neighbour called math.py would shadow the standard library), and imports nothing of
this package, so that it starts quickly.
"""

import json
import os
import re
import signal
import sys
from contextlib import suppress
from typing import TextIO, TypedDict

MEMORY_BYTES = 2 << 30
"""Address space in bytes: ample for Python with SymPy, and a machine can spare it for each of four workers."""
_BASE_SUFFIX = re.compile(r"\d\}?_\{?(\d+)\}?\W*$")


class VerifyRequest(TypedDict):
    """What the parent asks."""

    text: str
    """The content of the answer's box, or (not `boxed`) running text with an answer somewhere in it."""
    boxed: bool
    gold: str
    cpu_seconds: float


def main() -> None:
    """Announce readiness or the reason against it, then answer until stdin closes."""
    replies = _claim_stdout()
    _limit_memory()
    try:
        working = _verify("0.5", True, r"\frac{1}{2}")[0] and _verify(r"20\%", True, r"20\%")[0]
        hello: dict[str, object] = {"ready": True} if working else {"error": "math-verify fails its self-test"}
    except ImportError as error:
        hello = {"error": f"math-verify cannot be imported: {error}"}
    print(json.dumps(hello), file=replies, flush=True)
    if "error" in hello:
        return
    for line in sys.stdin:
        request: VerifyRequest = json.loads(line)
        _limit_cpu(request["cpu_seconds"])
        correct, answer = _verify(request["text"], request["boxed"], request["gold"])
        _limit_cpu(0)
        print(json.dumps({"correct": correct, "answer": answer}), file=replies, flush=True)


def _verify(text: str, boxed: bool, gold: str) -> tuple[bool, str | None]:
    """Whether the answer equals `gold`, and the answer that was read (None if there was none)."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    if boxed and _has_different_base(text, gold):
        return False, text
    reply_config = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    expected = parse(f"$\\boxed{{{gold}}}$", [LatexExtractionConfig()], parsing_timeout=None)
    answer = parse(f"$\\boxed{{{text}}}$" if boxed else text, reply_config, parsing_timeout=None)
    same = verify(expected, answer, allow_set_relation_comp=True, timeout_seconds=None)
    return bool(same), str(answer[-1]) if answer else None


def _has_different_base(text: str, gold: str) -> bool:
    """Whether both are numerals with a base and the bases differ: math-verify does not look at the base."""
    base, expected = _BASE_SUFFIX.search(text), _BASE_SUFFIX.search(gold)
    return bool(base and expected and base[1] != expected[1])


def _claim_stdout() -> TextIO:
    """Stdout for replies alone; whatever a library prints goes nowhere."""
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return replies


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _limit_cpu(seconds: float) -> None:
    """After that much CPU time the default action of SIGPROF ends the process, even inside C code; 0 disarms."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    main()
