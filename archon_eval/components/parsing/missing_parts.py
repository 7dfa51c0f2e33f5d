"""Reads a reply together with those before it, which lacked parts: the model was asked for these alone.

>>> from archon_eval.components.parsing.test_results import parse_test_verdicts
>>> read = JoiningParser(lambda reply: parse_test_verdicts(reply, 2))
>>> read("Unit Test #1: [Passed]")
Traceback (most recent call last):
...
archon_eval.errors.MissingPartsError: no single verdict on test #2 in 'Unit Test #1: [Passed]'
>>> read("Unit Test #2: [Failed]")
(True, False)
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from archon_eval.components.parsing.structured import normalize_reply
from archon_eval.errors import MissingPartsError, ParseError

T = TypeVar("T")


class JoiningParser(Generic[T]):
    """A parser for all attempts at one reply, in their order."""

    def __init__(self, parse: Callable[[str], T]) -> None:
        """`parse` raises a MissingPartsError for a reply that lacks nothing but parts."""
        self._parse = parse
        self._earlier = ""
        self._error: MissingPartsError | None = None

    def __call__(self, reply: str) -> T:
        """What the reply says by itself, or else with the earlier ones before it."""
        try:
            return self._parse(reply)
        except ParseError as exc:
            error = exc
        joined = f"{self._earlier}\n\n{normalize_reply(reply)}" if self._error else normalize_reply(reply)
        if self._error:
            try:
                return self._parse(joined)
            except ParseError as exc:
                error = exc
        lacked = len(self._error.missing) if self._error else None
        if isinstance(error, MissingPartsError) and (lacked is None or len(error.missing) < lacked):
            self._earlier, self._error = joined, error
        if self._error is None:
            raise error
        raise MissingPartsError(str(error), self._error.partial, self._error.request, self._error.missing)
