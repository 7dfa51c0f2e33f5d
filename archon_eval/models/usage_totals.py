"""Adds up what calls took: replies, tokens, dollars and seconds, and how much of that came from the call store.

    >>> from archon_eval.models.call import Reply, Usage
    >>> total = total_usage([Reply("a", usage=Usage(300, 20), dollars=0.004), None])
    >>> total.calls, total.tokens, total.dollars, total.failed
    (1, 320, 0.004, 1)
    >>> sum_dollars([0.25, None]) is None
    True

The figures are of all replies, paid or reused, so that a replay accounts for the same. What was paid is the figure less
the one under `reused`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, inf
from typing import Any

from archon_eval.errors import DataError, quote
from archon_eval.models.call import Reply


def sum_dollars(amounts: Iterable[float | None]) -> float | None:
    """The sum; None where an amount is unknown, which is not zero."""
    known = list(amounts)
    return None if None in known else fsum([amount for amount in known if amount is not None])


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """What some calls took together, paid and reused ones alike."""

    calls: int = 0
    """Calls with a reply."""
    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float | None = 0.0
    """None where a price or a usage is unknown."""
    seconds: float = 0.0
    """The calls' durations added up, although many run at once."""
    failed: int = 0
    """Calls that failed or were cancelled."""
    calls_without_usage: int = 0
    """Calls whose provider reported no tokens."""
    reused: "UsageTotals | None" = None
    """The part that came from the call store; None where nothing did."""

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def reused_calls(self) -> int:
        return self.reused.calls if self.reused else 0

    @property
    def paid_calls(self) -> int:
        return self.calls - self.reused_calls

    @property
    def paid_dollars(self) -> float | None:
        """None where the dollars of a call are unknown."""
        reused = self.reused.dollars if self.reused else 0.0
        return None if self.dollars is None or reused is None else max(0.0, self.dollars - reused)

    def to_metadata(self) -> dict[str, Any]:
        """Plain values for JSON; a count of zero failed, unknown or reused calls is left out."""
        plain = {name: getattr(self, name) for name in ("calls", "input_tokens", "output_tokens", "dollars", "seconds")}
        plain |= {name: count for name in ("failed", "calls_without_usage") if (count := getattr(self, name))}
        return plain | ({"reused": self.reused.to_metadata()} if self.reused else {})

    @classmethod
    def from_metadata(cls, plain: Mapping[str, Any]) -> "UsageTotals":
        """Reads what `to_metadata` wrote. Dollars that are not there are unknown.

        Raises:
            DataError: a count that is no whole number from 0, or an amount that is no finite number from 0.
        """
        reused = plain.get("reused")
        return cls(
            calls=parse_count(plain, "calls"),
            input_tokens=parse_count(plain, "input_tokens"),
            output_tokens=parse_count(plain, "output_tokens"),
            dollars=None if plain.get("dollars") is None else _parse_amount(plain, "dollars"),
            seconds=_parse_amount(plain, "seconds"),
            failed=parse_count(plain, "failed"),
            calls_without_usage=parse_count(plain, "calls_without_usage"),
            reused=cls.from_metadata(reused) if reused else None,
        )

    @classmethod
    def add_up(cls, parts: Iterable["UsageTotals"]) -> "UsageTotals":
        """The totals of several totals."""
        several = list(parts)
        reused = [part.reused for part in several if part.reused]
        return cls(
            calls=sum(part.calls for part in several),
            input_tokens=sum(part.input_tokens for part in several),
            output_tokens=sum(part.output_tokens for part in several),
            dollars=sum_dollars(part.dollars for part in several),
            seconds=fsum(part.seconds for part in several),
            failed=sum(part.failed for part in several),
            calls_without_usage=sum(part.calls_without_usage for part in several),
            reused=cls.add_up(reused) if reused else None,
        )


def parse_count(plain: Mapping[str, Any], name: str, default: int = 0) -> int:
    """A count among plain values.

    Raises:
        DataError: no whole number from 0.
    """
    value = plain.get(name, default)
    if type(value) is not int or value < 0:
        raise DataError(f"{name} must be a whole number from 0, not {quote(repr(value))}")
    return value


def total_usage(replies: Iterable[Reply | None]) -> UsageTotals:
    """Totals of the replies; None stands for a call that failed or was cancelled."""
    calls = list(replies)
    answered = [reply for reply in calls if reply is not None]
    reused = [reply for reply in answered if reply.reused]
    return _add_replies(
        answered,
        failed=len(calls) - len(answered),
        calls_without_usage=sum([reply.usage is None for reply in answered]),
        reused=_add_replies(reused) if reused else None,
    )


def _parse_amount(plain: Mapping[str, Any], name: str) -> float:
    value = plain.get(name, 0.0)
    if type(value) not in (int, float) or not 0 <= value < inf:
        raise DataError(f"{name} must be a number from 0, not {quote(repr(value))}")
    return float(value)


def _add_replies(
    replies: Sequence[Reply], *, failed: int = 0, calls_without_usage: int = 0, reused: UsageTotals | None = None
) -> UsageTotals:
    """The sums, by lists: an account takes them some twenty times, most often of a single reply."""
    usages = [reply.usage for reply in replies if reply.usage]
    dollars = sum_dollars([reply.dollars for reply in replies])
    return UsageTotals(
        calls=len(replies),
        input_tokens=sum([usage.input_tokens for usage in usages]),
        output_tokens=sum([usage.output_tokens for usage in usages]),
        dollars=None if dollars is None else round(dollars, 8),  # one token of the cheapest models costs about 1e-8
        seconds=round(fsum([reply.seconds for reply in replies]), 3),
        failed=failed,
        calls_without_usage=calls_without_usage,
        reused=reused,
    )
