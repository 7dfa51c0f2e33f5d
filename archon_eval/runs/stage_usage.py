"""What the stages of a cascade did over a run: how often each was asked, and how often its answer stood.

>>> stages = (StageUsage("vote", 77, 77, 58, calls=385, dollars=0.1), StageUsage("strong", 77, 19, 19, 171, 0.9))
>>> print(describe_stages(stages))
vote answered 75.3% of 77 answers; strong 24.7%, asked in 24.7%
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from archon_eval.models.usage_totals import UsageTotals, parse_count, sum_dollars
from archon_eval.runs.account import QuestionAccount, StageAccount


@dataclass(frozen=True, slots=True)
class StageUsage:
    """One stage over all answers of a cascade."""

    name: str
    answers: int
    """Of the cascade, whether they came to this stage or not."""
    asked: int
    """Answers for which it was asked."""
    stood: int
    """Answers that are its own."""
    calls: int
    """Of all of them together, its rule's among them."""
    dollars: float | None
    """None where a price or a usage is unknown."""
    unmeasured: int = 0
    """Answers of which its rule could measure nothing, so that the next stage was asked."""

    def to_metadata(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_metadata(cls, plain: Mapping[str, Any]) -> "StageUsage":
        """Reads what `to_metadata` wrote."""
        counts = {name: parse_count(plain, name) for name in ("answers", "asked", "stood", "calls", "unmeasured")}
        dollars = plain.get("dollars")
        return cls(name=str(plain["name"]), dollars=None if dollars is None else float(dollars), **counts)


def summarize_stages(accounts: Iterable[QuestionAccount]) -> tuple[StageUsage, ...]:
    """The stages of a run's accounts, in the order in which they are asked; empty where no cascade answered."""
    found: dict[str, list[StageAccount]] = {}
    answers = 0
    order: list[str] = []
    for account in accounts:
        answers += bool(account.stages)
        place = 0
        for stage in account.stages:
            if stage.name not in found:
                found[stage.name] = []
                order.insert(place, stage.name)
            found[stage.name].append(stage)
            place = order.index(stage.name) + 1
    return tuple(_summarize(name, found[name], answers) for name in order)


def _summarize(name: str, stages: Sequence[StageAccount], answers: int) -> StageUsage:
    usage = UsageTotals.add_up(stage.usage for stage in stages)
    return StageUsage(
        name=name,
        answers=answers,
        asked=len(stages),
        stood=sum(stage.stands for stage in stages),
        calls=usage.calls,
        dollars=usage.dollars,
        unmeasured=sum(stage.rule_usage is not None and stage.score is None for stage in stages),
    )


def merge_stages(first: Sequence[StageUsage], second: Sequence[StageUsage]) -> tuple[StageUsage, ...]:
    """The stages of two runs of one cascade, in which a stage may be missing that was never asked."""
    answers = max((stage.answers for stage in first), default=0) + max((stage.answers for stage in second), default=0)
    by_name: dict[str, list[StageUsage]] = {}
    for stage in (*first, *second):
        by_name.setdefault(stage.name, []).append(stage)
    return tuple(
        StageUsage(
            name=name,
            answers=answers,
            asked=sum(stage.asked for stage in stages),
            stood=sum(stage.stood for stage in stages),
            calls=sum(stage.calls for stage in stages),
            dollars=sum_dollars(stage.dollars for stage in stages),
            unmeasured=sum(stage.unmeasured for stage in stages),
        )
        for name, stages in by_name.items()
    )


def describe_stages(stages: Sequence[StageUsage]) -> str:
    """Which share of the answers is whose, in a sentence without its full stop; empty where there are no stages."""
    parts = []
    for place, stage in enumerate(stages):
        answers = max(1, stage.answers)
        stood, asked = (f"{100 * count / answers:.1f}%" for count in (stage.stood, stage.asked))
        text = f"{stage.name} answered {stood} of {stage.answers:,} answers" if not place else f"{stage.name} {stood}"
        text += f", asked in {asked}" if stage.asked < stage.answers else ""
        parts.append(text + (f", its rule without a measurement in {stage.unmeasured:,}" if stage.unmeasured else ""))
    return "; ".join(parts)
