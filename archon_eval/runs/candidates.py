"""What a log keeps of an architecture's candidates: their texts, and who said which of them are better.

The full trace of each answer has it as an event (`CANDIDATES_SOURCE`) where a component compared candidates; what the
transcript shows is Markdown for people, which nothing reads back.

    >>> candidates = (LoggedCandidate("1.1", "4", "openai/gpt-4o"), LoggedCandidate("1.2", "5", "openai/gpt-4o-mini"))
    >>> judged = LoggedJudgment(2, "ranker", "ranking", {0: -1.0, 1: -2.0})
    >>> log = LoggedCandidates(({"role": "user", "content": "2 + 2?"},), candidates, (judged,), answer=0)
    >>> LoggedCandidates.from_data(log.to_data()) == log
    True
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from archon_eval.engine.trace import Trace, TraceJudgment
from archon_eval.errors import DataError, quote
from archon_eval.models.call import Reply
from archon_eval.types import Candidate

CANDIDATES_SOURCE = "archon_candidates"
"""The source of the info event."""
CANDIDATES_VERSION = 1
"""Of its form."""


@dataclass(frozen=True, slots=True)
class LoggedCandidate:
    """A candidate as it reached a component that judged it, or as it left the last layer."""

    id: str
    text: str
    model: str = ""
    problem: str = ""
    """Why it is no whole answer: `cut`, `filtered`, `empty` or `tool calls`; empty where it is one."""
    thoughts: str = ""
    """What its model thought before, where it said so."""


@dataclass(frozen=True, slots=True)
class LoggedJudgment:
    """What one component said of candidates (`archon_eval.engine.trace.TraceJudgment`)."""

    layer: int
    kind: str
    source: str
    values: Mapping[int, float] = field(default_factory=dict)
    """Place of a candidate in the list -> its value, more being better."""


@dataclass(frozen=True, slots=True)
class LoggedCandidates:
    """Of one answer of an architecture."""

    messages: tuple[Mapping[str, str], ...]
    """What was asked, as `role` and `content`; empty where it was more than text."""
    candidates: tuple[LoggedCandidate, ...]
    judgments: tuple[LoggedJudgment, ...]
    answer: int | None = None
    """The place of the candidate that is the answer; None where there was none."""

    @classmethod
    def from_trace(cls, trace: Trace) -> "LoggedCandidates":
        """Those that were judged, and the answer."""
        places: dict[LoggedCandidate, int] = {}

        def add(candidate: Candidate) -> int:
            return places.setdefault(_describe_candidate(candidate, trace), len(places))

        judgments = []
        for (layer, _, source), parts in _group_judgments(trace.judgments).items():
            entering = _find_entering(trace, layer)
            values = {id: value for part in parts for id, value in part.values.items() if id in entering}
            if values:
                numbered = {add(entering[id]): value for id, value in values.items()}
                judgments.append(LoggedJudgment(layer, parts[0].kind, source, numbered))
        answer = None if trace.answer is None else add(trace.answer)
        is_text = all(message.is_text for message in trace.conversation)
        turns = tuple({"role": message.role, "content": message.content} for message in trace.conversation)
        return cls(turns if is_text else (), tuple(places), tuple(judgments), answer)

    @property
    def is_worth_keeping(self) -> bool:
        """Whether it says more than the answer itself."""
        return bool(self.judgments) or any(candidate.thoughts for candidate in self.candidates)

    def to_data(self) -> dict[str, Any]:
        """Plain values for JSON; what is empty is left out."""
        return {
            "version": CANDIDATES_VERSION,
            "messages": [dict(turn) for turn in self.messages],
            "candidates": [
                {name: value for name in LoggedCandidate.__dataclass_fields__ if (value := getattr(each, name))}
                for each in self.candidates
            ],
            "judgments": [
                {"layer": each.layer, "kind": each.kind, "source": each.source, "values": [*map(list, _pairs(each))]}
                for each in self.judgments
            ],
            "answer": self.answer,
        }

    @classmethod
    def from_data(cls, data: Any) -> "LoggedCandidates":
        """Reads what `to_data` wrote.

        Raises:
            DataError: it is damaged, or of a later version.
        """
        try:
            if data["version"] > CANDIDATES_VERSION:
                raise DataError(
                    f"its candidates have version {data['version']}, and this archon-eval reads up to "
                    f"{CANDIDATES_VERSION}: update it to read this log"
                )
            candidates = tuple(LoggedCandidate(**{"text": "", **each}) for each in data["candidates"])
            judgments = tuple(
                LoggedJudgment(
                    int(each["layer"]),
                    str(each["kind"]),
                    str(each["source"]),
                    {int(place): float(value) for place, value in each["values"]},
                )
                for each in data["judgments"]
            )
            places = {place for each in judgments for place in each.values}
            answer = data["answer"]
            if not {*places, answer or 0} <= {*range(len(candidates)), 0}:
                raise DataError(f"candidates {sorted(places)} are judged, and there are {len(candidates)}")
            turns = tuple({"role": str(turn["role"]), "content": str(turn["content"])} for turn in data["messages"])
            return cls(turns, candidates, judgments, answer)
        except DataError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise DataError(f"not the candidates of an answer, but {quote(repr(data))}: {exc}") from exc


def _pairs(judgment: LoggedJudgment) -> Sequence[tuple[int, float]]:
    return sorted(judgment.values.items())


def _group_judgments(judgments: Sequence[TraceJudgment]) -> dict[tuple[int, int, str], list[TraceJudgment]]:
    """What one component said by one source, in however many parts."""
    groups: dict[tuple[int, int, str], list[TraceJudgment]] = {}
    for each in judgments:
        groups.setdefault((each.layer, each.component, each.source), []).append(each)
    return groups


def _find_entering(trace: Trace, layer: int) -> dict[str, Candidate]:
    """Id -> the candidate as it reached a layer; ids are unique in an architecture."""
    before = [result for result in trace.layers if result.layer < layer]
    return {candidate.id: candidate for result in before for candidate in result.candidates}


def _describe_candidate(candidate: Candidate, trace: Trace) -> LoggedCandidate:
    reply = _find_reply(candidate, trace)
    if candidate.turn is not None:
        problem = "tool calls"
    elif not candidate.text.strip():
        problem = "empty"
    elif reply is not None and reply.status == "filtered":
        problem = "filtered"
    else:
        problem = "cut" if candidate.cut else ""
    return LoggedCandidate(candidate.id, candidate.text, candidate.model, problem, reply.thoughts if reply else "")


def _find_reply(candidate: Candidate, trace: Trace) -> Reply | None:
    """The last reply about a candidate that says its text, alone or with more around it (a confidence, an echo).

    Other replies about it are verdicts, another side's speeches, earlier versions, or a program that printed the text.
    """
    text = candidate.text.strip()
    replies = [step.reply for step in reversed(trace.steps) if step.about == candidate.id and step.reply is not None]
    equal = (reply for reply in replies if reply.text.strip() == text)
    begun = (reply for reply in replies if text and reply.text.strip().startswith(text))
    ended = (reply for reply in replies if text and reply.text.strip().endswith(text))
    return next(chain(equal, begun, ended), None)
