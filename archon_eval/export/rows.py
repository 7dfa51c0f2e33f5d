"""Rows of training data from the answers to one question: conversations, or pairs of a better and a worse answer.

Columns are those that TRL documents for conversations: `messages`, or `prompt`, `chosen` and `rejected`. What a row
comes from is its column `provenance`.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeVar

from archon_eval.export.answers import LoggedAnswer, LoggedQuestion, Turns
from archon_eval.runs.candidates import LoggedCandidate

SCORE = "score"
"""The source of pairs that is the log's own score of final answers."""
Row = dict[str, Any]
T = TypeVar("T")
PROBLEMS = {
    "failed": "answers that failed",
    "empty": "empty answers",
    "cut": "answers cut at a limit",
    "refused": "answers refused by the model or its provider's filter",
    "filtered": "answers refused by the model or its provider's filter",
    "not text": "answers with tools or images",
    "tool calls": "answers with tools or images",
    "shared score": "answers that share a score with others to their question",
}
"""The problem of an answer or candidate -> what is left out because of it."""


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Which rows are wanted, and in what form."""

    min_score: float | None = None
    """Of the answer; of pairs by judgments, of the answer to which they led."""
    per_question: int | None = None
    by: tuple[str, ...] = ()
    """Sources of pairs; all where it is empty."""
    with_thoughts: bool = False


def build_conversations(question: LoggedQuestion, wanted: RowFilter, left_out: Counter[str]) -> list[Row]:
    """A row per different final answer, best first.

    Args:
        left_out: counts the answers that make no row, by reason.
    """
    kept: dict[str, tuple[LoggedAnswer, Row]] = {}
    for answer in question.answers:
        if reason := PROBLEMS.get(answer.problem, "") or _refuse_score(answer, wanted):
            left_out[reason] += 1
            continue
        row = {
            "messages": [*map(dict, answer.prompt), _build_turn(answer.text, answer.thoughts, wanted)],
            "provenance": {
                **_describe_question(question),
                **_describe_origin(answer),
                "scorer": answer.scorer,
                "score": answer.score,
                "why": "final answer",
            },
        }
        key = json.dumps(row["messages"], sort_keys=True)
        if key in kept:
            left_out["equal answers"] += 1
        if key not in kept or _rank_score(answer) > _rank_score(kept[key][0]):
            kept[key] = (answer, row)
    ordered = sorted(kept.values(), key=lambda each: -_rank_score(each[0]))
    return _cut_rows([row for _, row in ordered], wanted, left_out)


def _rank_score(answer: LoggedAnswer) -> float:
    return float("-inf") if answer.score is None else answer.score


def _refuse_score(answer: LoggedAnswer, wanted: RowFilter) -> str:
    """Why an answer's score keeps it out; empty where it does not."""
    if wanted.min_score is None:
        return ""
    if answer.score is None:
        return "answers without a score"
    return "" if answer.score >= wanted.min_score else "answers below --min-score"


def _cut_rows(rows: list[T], wanted: RowFilter, left_out: Counter[str]) -> list[T]:
    """The first so many as are wanted of a question."""
    most = len(rows) if wanted.per_question is None else wanted.per_question
    left_out["rows beyond --per-question"] += len(rows[most:])
    return rows[:most]


def _build_turn(text: str, thoughts: str, wanted: RowFilter) -> Row:
    turn = {"role": "assistant", "content": text}
    return {**turn, "thinking": thoughts} if wanted.with_thoughts and thoughts else turn


def _describe_question(question: LoggedQuestion) -> Row:
    return {"task": question.task, "question": question.id, "split": question.side or None}


def _describe_origin(answer: LoggedAnswer, candidate: LoggedCandidate | None = None) -> Row:
    """Whose text it is."""
    return {
        "log": answer.log,
        "epoch": answer.epoch,
        "architecture": answer.architecture or None,
        "fingerprint": answer.fingerprint or None,
        "models": list(answer.models) if candidate is None else [candidate.model],
        "candidate": None if candidate is None else candidate.id,
    }


@dataclass(frozen=True, slots=True)
class _Side:
    """One of two texts that are compared."""

    text: str
    thoughts: str
    origin: Mapping[str, Any]
    value: float


@dataclass(frozen=True, slots=True)
class _Pair:
    """A text that a source says is better than another one."""

    prompt: Turns
    prompt_key: str
    """What tells it from other prompts; one text for all pairs of a judgment, of which there may be a million."""
    chosen: _Side
    rejected: _Side
    source: str
    gap: float
    """How much better, from 0 to 1 of the widest gap of the same judgment."""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.prompt_key, self.chosen.text, self.rejected.text


def build_pairs(question: LoggedQuestion, wanted: RowFilter, left_out: Counter[str], found: Counter[str]) -> list[Row]:
    """A row per pair of different texts, widest gap first; pairs on which sources contradict each other are none.

    Args:
        left_out: counts what makes no row, by reason.
        found: counts pairs by source, before any is left out.
    """
    pairs: dict[tuple[str, str, str], list[_Pair]] = {}
    for pair in _find_pairs(question, wanted, left_out):
        found[pair.source] += 1
        if not wanted.by or pair.source in wanted.by:
            pairs.setdefault(pair.key, []).append(pair)
    agreed = []
    for (prompt, chosen, rejected), same in pairs.items():
        if (prompt, rejected, chosen) in pairs:
            left_out["pairs that another source contradicts"] += 1
        else:
            agreed.append(sorted(same, key=lambda pair: -pair.gap))
    agreed.sort(key=lambda same: -same[0].gap)
    return [_build_pair_row(question, same, wanted) for same in _cut_rows(agreed, wanted, left_out)]


def _build_pair_row(question: LoggedQuestion, same: Sequence[_Pair], wanted: RowFilter) -> Row:
    pair = same[0]
    reasons = [f"{each.source} {each.chosen.value:g} > {each.rejected.value:g}" for each in same]
    return {
        "prompt": [*map(dict, pair.prompt)],
        "chosen": [_build_turn(pair.chosen.text, pair.chosen.thoughts, wanted)],
        "rejected": [_build_turn(pair.rejected.text, pair.rejected.thoughts, wanted)],
        "provenance": {
            **_describe_question(question),
            "sources": list(dict.fromkeys(each.source for each in same)),
            "why": ", ".join(dict.fromkeys(reasons)),
            "chosen": dict(pair.chosen.origin),
            "rejected": dict(pair.rejected.origin),
        },
    }


def _find_pairs(question: LoggedQuestion, wanted: RowFilter, left_out: Counter[str]) -> Iterator[_Pair]:
    by_score: dict[tuple[str, str], list[LoggedAnswer]] = {}
    for answer in question.answers:
        if not answer.problem and answer.score is not None:
            key = (json.dumps(answer.prompt, sort_keys=True), answer.scorer)
            by_score.setdefault(key, []).append(answer)
        elif answer.problem:
            left_out[PROBLEMS[answer.problem]] += 1
        yield from _find_judged_pairs(answer, wanted, left_out)
    for answers in by_score.values():
        sides = [
            _Side(each.text, each.thoughts, _describe_origin(each), each.score)
            for each in answers
            if each.score is not None
        ]
        for pair in _compare_sides(answers[0].prompt, sides, SCORE):
            if wanted.min_score is None or pair.chosen.value >= wanted.min_score:
                yield pair


def _find_judged_pairs(answer: LoggedAnswer, wanted: RowFilter, left_out: Counter[str]) -> Iterator[_Pair]:
    for record in answer.candidates:
        if not record.judgments:
            continue
        if reason := _refuse_score(answer, wanted) if record.messages else PROBLEMS["not text"]:
            left_out[reason] += 1
            continue
        judged = {place for judgment in record.judgments for place in judgment.values}
        for place in sorted(judged):
            if problem := record.candidates[place].problem:
                left_out[PROBLEMS[problem].replace("answers", "candidates", 1)] += 1
        for judgment in record.judgments:
            sides = [
                _Side(each.text, each.thoughts, _describe_origin(answer, each), value)
                for place, value in sorted(judgment.values.items())
                if not (each := record.candidates[place]).problem
            ]
            yield from _compare_sides(record.messages, sides, judgment.source)


def _compare_sides(prompt: Turns, sides: Sequence[_Side], source: str) -> Iterable[_Pair]:
    """The pairs of different texts of which one has the higher value."""
    prompt_key = json.dumps(prompt, sort_keys=True)
    widest = max((side.value for side in sides), default=0.0) - min((side.value for side in sides), default=0.0)
    for one, other in combinations(sides, 2):
        if one.value != other.value and one.text != other.text:
            better, worse = (one, other) if one.value > other.value else (other, one)
            yield _Pair(prompt, prompt_key, better, worse, source, (better.value - worse.value) / widest)
