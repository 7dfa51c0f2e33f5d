"""What judging the answers of an eval took: the calls of its scorers, whichever model or role made them.

usage = read_judge_usage(log.samples, load_prices())
usage.calls, usage.dollars        # 160, 0.84

A call is one request that a scorer sent and that was answered: Inspect's model event in its span of scorers. A judge
that is an architecture counts its own calls. Replies from a call store or from Inspect's cache were not sent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archon_eval.models.prices import PriceTable
from archon_eval.models.replies import to_usage
from archon_eval.models.usage_totals import sum_dollars
from archon_eval.runs.account import QuestionAccount
from archon_eval.runs.answer_usage import NO_EVENTS, sort_calls


@dataclass(frozen=True, slots=True)
class JudgeUsage:
    """What judging took."""

    calls: int | None = 0
    """Paid; None where the log does not say."""
    dollars: float | None = 0.0
    """Paid; None where the log does not say, or a price or a usage is unknown."""
    reused: int = 0
    """Replies of judges of this package that came from the call store, so far as their scores say."""
    unknown: str = ""
    """Why calls or dollars are None; empty where both are known."""


def read_judge_usage(samples: Sequence[Any], prices: PriceTable) -> JudgeUsage:
    """What judging logged samples took, failed ones too.

    Args:
        samples: Inspect's, with their events.
    """
    parts = [_read_sample(sample, prices) for sample in samples]
    calls = [part.calls for part in parts]
    return JudgeUsage(
        calls=None if None in calls else sum(count for count in calls if count is not None),
        dollars=sum_dollars(part.dollars for part in parts),
        reused=sum(part.reused for part in parts),
        unknown=next((part.unknown for part in parts if part.unknown), ""),
    )


def _read_sample(sample: Any, prices: PriceTable) -> JudgeUsage:
    if not sample.events:
        if sample.role_usage or any(True for _ in _iterate_judgments(sample)):
            return JudgeUsage(None, None, unknown=NO_EVENTS)
        return JudgeUsage()
    judging = sort_calls(sample.events).judging
    costs = [_price_call(event, prices) for event in judging.calls]
    costs += [_price_account(account) for account in judging.accounts]
    replies = sum(len(record.get("replies", ())) for record in _iterate_judgments(sample))
    return JudgeUsage(
        calls=len(judging.calls) + sum(account.usage.paid_calls for account in judging.accounts),
        dollars=sum_dollars(dollars for dollars, _ in costs),
        reused=max(0, replies - len(judging.calls)),
        unknown=next((why for _, why in costs if why), ""),
    )


def _price_call(event: Any, prices: PriceTable) -> tuple[float | None, str]:
    """Dollars of a judge's call, or why they are unknown."""
    usage = to_usage(event.output.usage)
    if usage is None:
        return None, f"no usage reported by {event.model}"
    dollars = prices.compute_cost(event.model, usage)
    return dollars, "" if dollars is not None else f"no price of {event.model}"


def _price_account(account: QuestionAccount) -> tuple[float | None, str]:
    """Dollars of an answer of an architecture that judges, or why they are unknown."""
    dollars = account.usage.paid_dollars
    return dollars, "" if dollars is not None else f"no price of a model of the judge {account.architecture}"


def _iterate_judgments(sample: Any) -> Iterator[Mapping[str, Any]]:
    """The records of models that judged, in the scores of this package's scorers; not of architectures."""
    for score in (sample.scores or {}).values():
        records = (score.metadata or {}).get("judgments")
        for record in records if isinstance(records, list) else ():
            if isinstance(record, Mapping) and "judge" in record and not record.get("fingerprint"):
                yield record
