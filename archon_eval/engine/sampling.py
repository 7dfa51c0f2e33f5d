"""Draws the candidates of a layer in rounds, until the vote on them is settled or enough of them passed a filter.

    rounds = SampleRounds(generators, slots, rule, verdicts)
    while drawn := await rounds.begin_next():       # a range of samples per generator
        ...                                         # ask for them, and wait

A layer has a slot for every candidate that may be drawn. Those that are not drawn stay empty. A candidate has the same
draw whatever the rounds, so that a call store shares it with a layer that draws all of them at once.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import anyio

from archon_eval.architecture.samples import (
    AdaptiveSamples,
    compute_share,
    count_until_settled,
    is_settled,
)
from archon_eval.components.base import CandidateGenerator, ListComponent
from archon_eval.components.component import Component
from archon_eval.engine.dataflow import CandidateSlot


@dataclass(frozen=True, slots=True)
class SamplingRule:
    """When a layer has drawn enough."""

    samples: AdaptiveSamples
    """Of the first of its generators that draw in rounds; all have one rule."""
    vote: ListComponent | None
    """What is to be settled, of `stop: settled`."""
    filter_layer: int
    """The number of the layer whose verdicts count, of `stop: passes`; 0 for none."""


def find_sampling(layers: Sequence[Sequence[Component]]) -> Mapping[int, SamplingRule]:
    """The layers that draw in rounds, by their number."""
    rules = {}
    for number, layer in enumerate(layers, 1):
        found = [each.samples for each in layer if isinstance(each, CandidateGenerator)]
        for samples in found:
            if isinstance(samples, AdaptiveSamples):
                behind = next((place for place in range(number, len(layers)) if not layers[place][0].beside), number)
                vote = layers[behind][0]
                if samples.stop == "settled" and isinstance(vote, ListComponent):
                    rules[number] = SamplingRule(samples, vote, 0)
                else:
                    rules[number] = SamplingRule(samples, None, behind + 1)
                break
    return rules


class VerdictCount:
    """The verdicts of a filter on the candidates of one question, as they come."""

    def __init__(self) -> None:
        self.judged = self.passed = 0
        self._changed: anyio.Event | None = None

    def report(self, passes: bool) -> None:
        """A candidate is judged, or needs no verdict any more."""
        self.judged += 1
        self.passed += passes
        if self._changed is not None:
            self._changed.set()

    async def wait(self, *, judged: int, passed: int) -> None:
        """Until so many are judged, or so many passed."""
        while self.judged < judged and self.passed < passed:
            self._changed = anyio.Event()
            await self._changed.wait()


class SampleRounds:
    """Which samples of each generator of a layer are drawn in which round."""

    outcome: tuple[str, str] | None = None
    """The word of EVENT_TYPES for how the last round ended, and the detail; None where there is but one round."""

    def __init__(
        self,
        generators: Sequence[CandidateGenerator],
        slots: Sequence[Sequence[CandidateSlot]],
        rule: SamplingRule | None,
        verdicts: VerdictCount | None,
    ) -> None:
        self._slots, self._rule, self._verdicts = slots, rule, verdicts
        self._samples = [each.samples for each in generators]
        self._drawn = [0] * len(slots)
        self._rounds = 0

    async def begin_next(self) -> list[range] | None:
        """The samples of the next round, by generator; None when it is enough, and slots that are not drawn are empty.

        The samples of the round before must be there.
        """
        sizes = await self._choose_sizes() if self._rounds else self._start()
        if not any(sizes):
            for group, drawn in zip(self._slots, self._drawn, strict=True):
                for slot in group[drawn:]:
                    slot.fill(None)
            return None
        parts = [range(drawn, drawn + size) for drawn, size in zip(self._drawn, sizes, strict=True)]
        self._drawn = [part.stop for part in parts]
        self._rounds += 1
        return parts

    def _start(self) -> list[int]:
        return [
            min(samples.least, len(group)) if isinstance(samples, AdaptiveSamples) else len(group)
            for samples, group in zip(self._samples, self._slots, strict=True)
        ]

    async def _choose_sizes(self) -> list[int]:
        """Samples of each generator in the next round; none when it is enough."""
        rule = self._rule
        if rule is None:
            return []
        left = sum(map(len, self._slots)) - sum(self._drawn)
        if rule.vote is not None:
            wanted = await self._count_unsettled(rule.samples, rule.vote, left)
        elif self._verdicts is not None:
            wanted = await self._count_unpassed(rule.samples, self._verdicts, left)
        else:
            wanted = 0
        return self._share(min(wanted, left))

    async def _count_unsettled(self, samples: AdaptiveSamples, vote: ListComponent, left: int) -> int:
        """The fewest samples after which the vote can be settled: none of them could have been saved."""
        candidates = [slot.candidate for group in self._slots for slot in group if slot.candidate is not None]
        ballots: Sequence[Hashable] = (await vote.list_ballots(candidates))[0] if candidates else ()
        counted = Counter(ballot for ballot in ballots if ballot is not None)
        leader, second = ([count for _, count in counted.most_common(2)] + [0, 0])[:2]
        if not (done := is_settled(leader, second, left, samples)) and left:
            return count_until_settled(leader, second, samples, left)
        share = compute_share(leader, second)
        agree = f"{leader} agree, {second} have the next answer"
        sure = f"the first stays ahead with a probability of {share:.3f}"
        if share >= samples.confidence and done:
            self._end("sampled", f"settled: {agree}, {sure}")
        elif left:
            self._end("sampled", f"decided: {agree}, and the {left} that are left cannot change it")
        else:
            self._end("unsettled", f"{agree}, {sure}, below {samples.confidence:g}")
        return 0

    async def _count_unpassed(self, samples: AdaptiveSamples, verdicts: VerdictCount, left: int) -> int:
        """As many again as there are, so that no more than half are too many and the rounds stay few."""
        drawn = sum(self._drawn)
        await verdicts.wait(judged=drawn, passed=samples.passes)
        undrawn = [slot for group, done in zip(self._slots, self._drawn, strict=True) for slot in group[done:]]
        if verdicts.passed >= samples.passes:
            self._end("sampled", f"{verdicts.passed} passed, of {samples.passes} wanted")
        elif undrawn and all(slot.is_filled for slot in undrawn):
            self._end("sampled", f"{verdicts.passed} passed, and a later layer has enough")
        elif not left:
            self._end("unpassed", f"{verdicts.passed} passed, of {samples.passes} wanted")
        else:
            return max(samples.passes - verdicts.passed, drawn)
        return 0

    def _end(self, event: str, why: str) -> None:
        most, rounds = sum(map(len, self._slots)), f"{self._rounds} round{'s' if self._rounds > 1 else ''}"
        self.outcome = event, f"{sum(self._drawn)} of at most {most} candidates drawn, in {rounds}: {why}"

    def _share(self, wanted: int) -> list[int]:
        """The samples of a round by generator: its `step` where it has one, else an equal part of what is wanted."""
        sizes = [0] * len(self._slots)
        rest = [len(group) - drawn for group, drawn in zip(self._slots, self._drawn, strict=True)]
        if not wanted:
            return sizes
        for place, samples in enumerate(self._samples):
            if isinstance(samples, AdaptiveSamples) and samples.step is not None:
                sizes[place] = min(samples.step, rest[place])
        open = [
            place
            for place, samples in enumerate(self._samples)
            if isinstance(samples, AdaptiveSamples) and samples.step is None
        ]
        wanted -= sum(sizes)
        while wanted > 0 and (free := [place for place in open if sizes[place] < rest[place]]):
            for place in free[:wanted]:
                sizes[place] += 1
            wanted -= len(free[:wanted])
        return sizes
