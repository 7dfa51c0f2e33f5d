"""`on_overflow`: a component's work is done again with less of the candidates where its prompt does not fit the model.

    after = await fit_candidates(component, state.candidates, work, ctx)

The component itself knows nothing of it: it is given fewer candidates (`drop_longest`) or shorter ones (`truncate`), so
what its prompt numbers is what its parser counts. What goes on are the candidates as they were, whole.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from archon_eval.components.component import Component
from archon_eval.engine.call_context import EngineCallContext
from archon_eval.errors import ContextOverflowError
from archon_eval.types import Candidate, State

T = TypeVar("T")
Candidates = tuple[Candidate, ...]
KEPT_SHARE = 0.75
"""What a step leaves of the candidates' text, at least: how much is too much, a refusal does not say reliably."""
DROPPED_PERCENT = 2
"""What a step of `drop_longest` takes of the candidates' text, at least. Of up to 50 candidates that is the longest one
alone; ten thousand take as many calls as some hundred do, and time in proportion to their text."""
SHORTEST = 200
"""Characters of a candidate that stay at least."""
MAX_LISTED = 10
"""Ids in a note."""


async def fit_candidates(
    component: Component,
    candidates: Sequence[Candidate],
    work: Callable[[Candidates, EngineCallContext], Awaitable[T]],
    ctx: EngineCallContext,
    *,
    about: str = "",
) -> tuple[T, Candidates]:
    """What the work on the candidates comes to, and the candidates that it was done with.

    Args:
        work: is called with the candidates, and again with less of them while its prompt does not fit.
        about: id of the candidate concerned, for the note.

    Raises:
        ModelError: a call failed for good, or the prompt does not fit with the least of the candidates.
    """
    whole = tuple(candidates)
    shown, problem = whole, ""
    try:
        while (smaller := _shrink(component, shown, whole)) is not None:
            try:
                return await work(shown, ctx.with_overflow_raised()), shown
            except (ContextOverflowError, BaseExceptionGroup) as exc:
                overflow = _find_overflow(exc)
                if overflow is None:
                    raise
                shown, problem = smaller, problem or str(overflow)
        return await work(shown, ctx), shown
    finally:
        if problem:
            ctx.record_event("overflow", f"{_describe_change(shown, whole)}: {problem}", about)


def _shrink(component: Component, shown: Candidates, whole: Candidates) -> Candidates | None:
    """A step less of the candidates; None where nothing more may go, or would leave the component nothing to do."""
    policy = component.spec.on_overflow
    if policy == "drop_longest":
        return _drop_longest(component, shown)
    if policy == "truncate":
        critiques = component.type.reads_critiques is not False
        lengths = [len(candidate.text) for candidate in shown]
        lengths += [len(candidate.critique or "") for candidate in shown if critiques]
        limit = max(SHORTEST, _find_limit(lengths, int(KEPT_SHARE * sum(lengths))))
        if limit < max(lengths, default=0):
            return tuple(_truncate_candidate(candidate, limit) for candidate in whole)
    return None


def _drop_longest(component: Component, shown: Candidates) -> Candidates | None:
    """The candidates without the longest, of which there are several where one is next to nothing of the text."""
    lengths = [len(candidate.text) + len(candidate.critique or "") for candidate in shown]
    dropped: set[int] = set()
    whole = left = sum(lengths)
    for place in sorted(range(len(shown)), key=lambda place: -lengths[place]):
        fewer = len(shown) - len(dropped) - 1
        if (
            (dropped and 100 * left <= (100 - DROPPED_PERCENT) * whole)
            or fewer < 1
            or not component.count_calls((fewer, fewer))[1]
        ):
            break
        dropped.add(place)
        left -= lengths[place]
    return tuple(each for place, each in enumerate(shown) if place not in dropped) if dropped else None


def _truncate_candidate(candidate: Candidate, limit: int) -> Candidate:
    """A candidate of whose text and critique at most so many characters each are shown."""
    critique = candidate.critique and truncate_middle(candidate.critique, limit)
    return replace(candidate, text=truncate_middle(candidate.text, limit), critique=critique)


def _find_limit(lengths: Sequence[int], total: int) -> int:
    """The limit on each length with which they come to no more than the total: only the longest are cut."""
    rest = sorted(lengths)
    while rest and rest[0] * len(rest) <= total:
        total -= rest.pop(0)
    return total // len(rest) if rest else max(lengths, default=0)


def truncate_middle(text: str, limit: int) -> str:
    """The text without its middle, at most so many characters with the mark that says what is missing.

    >>> truncate_middle("First, " + "x" * 90 + " so 7.", 50)
    'First, x\\n[... 88 characters left out ...]\\nx so 7.'
    """
    if len(text) <= limit:
        return text
    room = max(0, limit - len(_MARK.format(count=len(text))))
    head, tail = (room + 1) // 2, room // 2
    mark = _MARK.format(count=len(text) - head - tail)
    return text[:head] + mark + text[len(text) - tail :]


_MARK = "\n[... {count} characters left out ...]\n"


def _find_overflow(exc: BaseException) -> ContextOverflowError | None:
    """The overflow that ended the work; None where something else did, too."""
    if isinstance(exc, BaseExceptionGroup):
        found = [_find_overflow(inner) for inner in exc.exceptions]
        return None if None in found else found[0]
    return exc if isinstance(exc, ContextOverflowError) else None


def _describe_change(shown: Candidates, whole: Candidates) -> str:
    by_id = {candidate.id: candidate for candidate in shown}
    left_out = [candidate.id for candidate in whole if candidate.id not in by_id]
    if left_out:
        return f"{len(left_out)} of {len(whole)} candidates left out ({_list(left_out)})"
    cut = [candidate.id for candidate in whole if candidate != by_id[candidate.id]]
    length = max(len(text) for candidate in shown for text in (candidate.text, candidate.critique or ""))
    return f"{len(cut)} of {len(whole)} candidates shortened to {length:,} characters ({_list(cut)})"


def _list(ids: Sequence[str]) -> str:
    return ", ".join(ids[:MAX_LISTED]) + (", ..." if len(ids) > MAX_LISTED else "")


def restore_candidate(after: Candidate, shown: Candidates, whole: Sequence[Candidate]) -> Candidate:
    """A candidate that a component was shown shortened, with all it was given; a text of the component's own stays."""
    return _restore(after, {candidate.id: candidate for candidate in shown}, {each.id: each for each in whole})


def _restore(after: Candidate, shown: Mapping[str, Candidate], whole: Mapping[str, Candidate]) -> Candidate:
    before = shown.get(after.id)
    if before is None:
        return after
    given = whole[after.id]
    text = given.text if after.text == before.text else after.text
    return replace(after, text=text, critique=given.critique if after.critique == before.critique else after.critique)


def restore_state(component: Component, after: State, shown: Candidates, whole: Candidates) -> State:
    """What leaves a list component, with its candidates whole and those it was not shown behind them.

    These go on as far as the component lets so many candidates go on.
    """
    if shown == whole:
        return after
    by_id = [{candidate.id: candidate for candidate in candidates} for candidates in (shown, whole)]
    kept = [_restore(candidate, *by_id) for candidate in after.candidates]
    left_out = [] if component.type.replaces else [candidate for candidate in whole if candidate.id not in by_id[0]]
    most = max(len(kept), component.count_survivors((len(whole), len(whole)))[1])
    candidates = [*kept, *left_out][:most]
    if component.keeps_order:
        places = {candidate.id: place for place, candidate in enumerate(whole)}
        candidates.sort(key=lambda candidate: places.get(candidate.id, len(whole)))
    return replace(after, candidates=tuple(candidates))
