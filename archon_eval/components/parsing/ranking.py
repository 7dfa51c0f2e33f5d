"""Reads a ranker's reply: the candidates in order of quality.

>>> parse_ranking("[2] > [3] > [1]", count=3, top_k=2)
(1, 2, 0)
"""

import html
import re
from dataclasses import dataclass
from itertools import islice

from archon_eval.components.parsing.structured import normalize_reply
from archon_eval.errors import ParseError, quote

MAX_COMPARISONS = 1000
"""Comparisons in a reply from which on it holds no ranking."""
_WORD = r"(?:response|candidate|answer)s?\s{0,3}#?"
_ID = rf"(?:{_WORD})?(?:\[\s{{0,9}}(?:{_WORD})?\d{{1,6}}\s{{0,9}}\]|(?<![\w.])\d{{1,6}}\b)"
_NOTE = r"\([^()\n]{0,60}\)"
_OP = r"[-=]{0,3}>{1,3}|→|≻|[<>=≥≤≈~,/&–-]{1,3}|\band\b"
_CHAIN = re.compile(rf"{_ID}(?:\s{{0,9}}(?:{_NOTE}\s{{0,9}})?(?:{_OP})\s{{0,9}}{_ID})++", re.I)
_BETTER = re.compile(r"[-=]*>+|→|≻")
_BEFORE = re.compile(r"[\s>#*_|\"'({$-]*(?:(?P<lead>[^\n\[\]<>]{1,100})[:=]\s{0,9}[\"']?)?")
_AFTER = re.compile(rf"[ \t]{{0,9}}(?:{_NOTE})?[ \t.*_\"')|}}$,]{{0,20}}$", re.M)
_BEST_FIRST = re.compile(r"rank|order|best|sort|top", re.I)
_ITEMS = "|".join(
    rf"{item}(?:\s{{0,9}},\s{{0,9}}{item})++" for item in (r"\d{1,6}", r"\[\d{1,6}\]", r"\"\[?\d{1,6}\]?\"")
)
_LIST = re.compile(rf"\[\s{{0,9}}(?:{_ITEMS})\s{{0,9}}\]")
_LINES = re.compile(
    rf"^[ \t|]{{0,9}}(\d{{1,6}})[ \t]{{0,9}}[.):|]\s{{0,9}}(?:{_WORD})?\[(\d{{1,6}})\](.*)", re.I | re.M
)
_SINGLE = re.compile(r"\[(\d{1,6})\]")


@dataclass(frozen=True, slots=True)
class _Chain:
    """Identifiers in a row."""

    ids: tuple[int, ...]
    ops: frozenset[str]
    certain: tuple[int, ...]
    """Those before the first operator that is not `>`."""
    alone: bool
    """Whether it has its lines to itself."""
    lead: str
    """Words before it on its line, up to a colon."""
    bracketed: bool

    @property
    def descending(self) -> bool:
        return any(_BETTER.fullmatch(op) for op in self.ops)

    @property
    def tied(self) -> bool:
        return not all(_BETTER.fullmatch(op) for op in self.ops)


def parse_ranking(reply: str, count: int, top_k: int) -> tuple[int, ...]:
    """Places (from 0) of the candidates, best first; at least the `top_k` best, never one twice.

    A ranking on a line of its own goes before comparisons in prose, and the last one before earlier ones.

    Raises:
        ParseError: no ranking, several that differ, a tie, an identifier repeated or out of range, or too few of them
            (`partial` has the best ones where they are certain).
    """
    text = html.unescape(normalize_reply(reply)).replace("*", "").replace("`", "")
    needed = min(top_k, count)
    matches = list(islice(_CHAIN.finditer(text), MAX_COMPARISONS))
    if len(matches) == MAX_COMPARISONS:
        raise ParseError(f"{MAX_COMPARISONS} rankings or more in {quote(reply)}")
    chains = [_parse_chain(text, match) for match in matches]
    chain = _choose_chain([chain for chain in chains if chain.descending], needed, count, reply=reply)
    if chain and chain.tied:
        certain = tuple(n - 1 for n in chain.certain)
        usable = "<" not in "".join(chain.ops) and len(set(certain)) == len(certain) and set(certain) <= {*range(count)}
        problem = f"no strict order, with only > between identifiers, in {quote(reply)}"
        raise ParseError(problem, partial=certain if usable and certain else None)
    ranking = chain.ids if chain else _parse_other_forms(text, chains, count)
    if not ranking:
        raise ParseError(f"no ranking of the form [2] > [1] in {quote(reply)}")
    if outside := [n for n in ranking if not 1 <= n <= count]:
        raise ParseError(f"identifier [{outside[0]}] is not one of [1] to [{count}] in {quote(reply)}")
    if len(set(ranking)) < len(ranking):
        raise ParseError(f"an identifier stands twice in the ranking {quote(reply)}")
    places = tuple(n - 1 for n in ranking)
    if len(places) < needed:
        raise ParseError(f"{len(places)} identifiers ranked, {needed} needed, in {quote(reply)}", partial=places)
    return places


def _parse_chain(text: str, match: re.Match[str]) -> _Chain:
    bare = re.sub(_NOTE, "", match[0])
    ids = tuple(int(n) for n in re.findall(r"\d+", bare))
    ops = re.findall(_OP, bare, re.I)
    certain = next((ids[:n] for n, op in enumerate(ops) if not _BETTER.fullmatch(op)), ids)
    alone, lead = _inspect_line(text, match)
    bracketed = bool(re.search(rf"\[|{_WORD}", bare, re.I))
    return _Chain(ids, frozenset(ops), certain, alone=alone, lead=lead, bracketed=bracketed)


def _inspect_line(text: str, match: re.Match[str]) -> tuple[bool, str]:
    start, end = match.span()
    line = text.rfind("\n", max(0, start - 200), start) + 1
    before = _BEFORE.fullmatch(text, line, start) if line or start <= 200 else None
    return bool(before and _AFTER.match(text, end)), (before and before["lead"]) or ""


def _choose_chain(chains: list[_Chain], needed: int, count: int, *, reply: str) -> _Chain | None:
    """The ranking meant by the last chain of the clearest kind; raises ParseError when others contradict it."""
    alone = [c for c in chains if c.alone and c.bracketed] or [c for c in chains if c.alone]
    pool = alone or [c for c in chains if c.bracketed]
    complete = [c for c in pool if set(c.ids) == set(range(1, count + 1))]
    tier = complete or [c for c in pool if len(set(c.ids)) >= needed] or pool
    if not tier:
        return None
    chosen = tier[-1]
    rivals = pool[pool.index(chosen) + 1 :] if alone else tier
    for rival in rivals:
        rest = iter(chosen.ids)
        if not all(n in rest for n in rival.ids):
            raise ParseError(f"several rankings that differ in {quote(reply)}")
    return chosen


def _parse_other_forms(text: str, chains: list[_Chain], count: int) -> tuple[int, ...]:
    """A list that holds every identifier once, numbered lines, or one best identifier."""
    lists = [(c.ids, c.alone, c.lead) for c in chains if c.ops == {","} and c.bracketed]
    lists += [(_extract_ints(match[0]), *_inspect_line(text, match)) for match in _LIST.finditer(text)]
    for ids, alone, lead in reversed(lists):
        if alone and (not lead or _BEST_FIRST.search(lead)) and sorted(ids) == list(range(1, count + 1)):
            return ids
    lines = _LINES.findall(text)
    ids = tuple(int(n) for _, n, _ in lines)
    ranks = [int(rank) for rank, _, _ in lines]
    commented = any(re.search(r"\w", rest) for _, _, rest in lines)
    if len(ids) > 1 and ranks == list(range(1, len(ids) + 1)) and not (commented and ids == tuple(sorted(ids))):
        return ids
    single = _SINGLE.search(text)
    if single and set(_SINGLE.findall(text)) == {single[1]}:
        alone, lead = _inspect_line(text, single)
        if alone and (_BEST_FIRST.search(lead) or len(text) <= len(single[0]) + 2):
            return (int(single[1]),)
    return ()


def _extract_ints(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", text))
