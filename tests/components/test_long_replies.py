"""A megabyte of anything is read in time proportional to its length.

Each pattern is repeated to two lengths, one eight times the other. Work that grows with the square of the length would
take 64 times as long; the limit of 24 leaves room for a busy machine. Times are of this process's own work, the least
of a few runs, and pairs too quick to measure pass.
"""

import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from archon_eval.components.parsing.critiques import parse_critiques
from archon_eval.components.parsing.ranking import parse_ranking
from archon_eval.components.parsing.test_results import parse_test_verdicts
from archon_eval.components.parsing.unit_tests import parse_tests
from archon_eval.components.parsing.verdict import parse_verdict
from archon_eval.errors import ParseError

PARSERS: dict[str, Callable[[str], object]] = {
    "critic": lambda reply: parse_critiques(reply, 20),
    "ranker": lambda reply: parse_ranking(reply, 20, 5),
    "verifier": parse_verdict,
    "tests": lambda reply: parse_tests(reply, 10),
    "results": lambda reply: parse_test_verdicts(reply, 10),
}
UNITS = [
    *("\n", " ", "\t", "a", "1", "[", "{", "(", "<", ">", "=", "-", "*", "#", "|", "`", "```", "\\", '"', "é", "✅"),
    *("[1]", "[1]\n", "[1]\nx\n", "[1]: x\n", "[1]-[20]\nx\n", "[1]-[20], ", "[1] and ", "[1] > ", "[1]>[2]\n", "1>2 "),
    *(
        "[1, ",
        "[[1], ",
        "1. [2]\n",
        "response ",
        "Response 1: x\n",
        "[Correct]",
        "[correct ",
        "not [Correct]\n",
        "so my ",
    ),
    *("Unit Test #1: [Passed]\n", "Unit Tests #1, ", "test 1-2 ", "[passed ", "passed\n", "all unit tests "),
    *(
        "```a\n[\n",
        '["a"]\n',
        '["a",',
        '{"a":',
        "x=[\n",
        "- a\n  b\n",
        "  - a\n",
        "<think>",
        "</think>\n",
        "&gt;",
        "not is ",
    ),
]
SHORT, TIMES, LIMIT, UNMEASURED = 4_000, 8, 24, 0.004


def seconds(parse: Callable[[str], object], reply: str, runs: int) -> float:
    found = []
    for _ in range(runs):
        started = time.process_time()
        with suppress(ParseError):
            parse(reply)
        found.append(time.process_time() - started)
    return min(found)


@pytest.mark.parametrize("name", PARSERS)
def test_work_grows_in_proportion(name: str) -> None:
    parse = PARSERS[name]
    slow = {}
    for unit in UNITS:
        for before, after in (("", ""), ("", "x"), ("[1]\n", "]")):
            pair = [before + unit * (length // len(unit)) + after for length in (SHORT, SHORT * TIMES)]
            if seconds(parse, pair[1], 1) < UNMEASURED:
                continue
            ratio = seconds(parse, pair[1], 3) / max(seconds(parse, pair[0], 5), 1e-5)
            if ratio > LIMIT:
                slow[unit] = ratio
    assert not slow


@pytest.mark.parametrize("name", PARSERS)
def test_a_megabyte_is_read(name: str) -> None:
    """A right answer behind a megabyte of prose is still found."""
    prose = "The response is long, and so is this remark on it. " * 20_000
    right = {
        "critic": "".join(f"[{n}]\n- fine\n" for n in range(1, 21)),
        "ranker": " > ".join(f"[{n}]" for n in range(20, 0, -1)),
        "verifier": "[Correct]",
        "tests": '["It states 4."]',
        "results": "".join(f"Unit Test #{n}: [Passed]\n" for n in range(1, 11)),
    }
    assert PARSERS[name](f"{prose}\n{right[name]}") == PARSERS[name](right[name])
