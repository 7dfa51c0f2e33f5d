"""Adds up what calls took: replies, tokens, dollars and seconds, and how much of that came from the call store.

total_usage(replies)   # {"calls": 3, "input_tokens": 900, ..., "dollars": 0.012, "reused": {"calls": 1, ...}}

The figures are of all replies, paid or reused, so that a replay accounts for the same; what was paid, and what the
harness counts, is the figure less the one under `reused`.
"""

from collections.abc import Iterable
from math import fsum
from typing import Any

from archon_eval.models.call import Reply


def total_usage(replies: Iterable[Reply | None]) -> dict[str, Any]:
    """Totals of the replies; None stands for a call that failed or was cancelled.

    `dollars` is None where a price or a usage is unknown, which is not zero. Absent keys (`failed`,
    `calls_without_usage`, `reused`) are none at all.
    """
    given = list(replies)
    found = [reply for reply in given if reply is not None]
    totals = _sum_replies(found)
    if failed := len(given) - len(found):
        totals["failed"] = failed
    if unknown := [reply for reply in found if reply.usage is None]:
        totals["calls_without_usage"] = len(unknown)
    if reused := [reply for reply in found if reply.reused]:
        totals["reused"] = _sum_replies(reused)
    return totals


def _sum_replies(replies: list[Reply]) -> dict[str, Any]:
    usages = [reply.usage for reply in replies if reply.usage]
    costs = [reply.dollars for reply in replies if reply.dollars is not None]
    return {
        "calls": len(replies),
        "input_tokens": sum([usage.input_tokens for usage in usages]),
        "output_tokens": sum([usage.output_tokens for usage in usages]),
        "dollars": round(fsum(costs), 8) if len(costs) == len(replies) else None,
        "seconds": round(fsum([reply.seconds for reply in replies]), 3),
    }
