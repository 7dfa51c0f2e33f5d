"""The table of a search's first stage: what every model scored alone and as a fuser, and what that took (v6 Table 35).

rows = rank_role_scores({"openai/gpt-4o": score_role(scored)}, {})
dump_ranking(rows)[0]["generation"]["value"]
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from archon_eval.runs.performance import TaskAnswers, estimate_performance

ROLES = ("generation", "fusion")
"""What a model is ranked by, in the table's order."""


class Scored(Protocol):
    """What a trial, or the results of an eval, came to."""

    @property
    def parts(self) -> tuple[TaskAnswers, ...]: ...
    @property
    def performance(self) -> float | None: ...
    @property
    def error(self) -> str: ...
    @property
    def questions(self) -> int: ...
    @property
    def calls(self) -> float: ...
    @property
    def tokens(self) -> float: ...
    @property
    def dollars(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class RoleScore:
    """What a model scored in one role on the dev questions."""

    value: float | None
    """Performance, 0 to 1; None where it failed."""
    low: float | None
    """The ends of its 95% interval, over questions; None where nothing is known of the spread."""
    high: float | None
    questions: int
    """With a score."""
    calls_per_question: float | None
    """None where it failed, as for tokens and dollars."""
    tokens_per_question: float | None
    dollars_per_question: float | None
    """None also where a price or a usage is unknown."""
    problem: str = ""
    """Why the model is left out; empty where it is not."""


@dataclass(frozen=True, slots=True)
class RankedModel:
    """A row of the table."""

    rank: int | None
    """As a generator, from 1; None for one that is left out or was not asked."""
    model: str
    generation: RoleScore | None
    """None where the model was not asked."""
    fusion_rank: int | None
    fusion: RoleScore | None


def score_role(scored: Scored) -> RoleScore:
    """The score of a model's eval in one role, with its interval."""
    estimate = None if scored.performance is None else estimate_performance(scored.parts)
    failed = scored.performance is None
    return RoleScore(
        value=scored.performance,
        low=None if estimate is None else estimate.low,
        high=None if estimate is None else estimate.high,
        questions=scored.questions,
        calls_per_question=None if failed else scored.calls,
        tokens_per_question=None if failed else scored.tokens,
        dollars_per_question=None if failed else scored.dollars,
        problem=(scored.error or "no question has a score") if failed else "",
    )


def rank_role_scores(generation: Mapping[str, RoleScore], fusion: Mapping[str, RoleScore]) -> tuple[RankedModel, ...]:
    """The table's rows, the best generator first; models left out come last, by their fusion score."""
    ranks = [list_ranked(scores) for scores in (generation, fusion)]
    places = [{model: place for place, model in enumerate(ranked, 1)} for ranked in ranks]
    models = dict.fromkeys([*ranks[0], *ranks[1], *generation, *fusion])
    return tuple(RankedModel(places[0].get(m), m, generation.get(m), places[1].get(m), fusion.get(m)) for m in models)


def list_ranked(scores: Mapping[str, RoleScore]) -> tuple[str, ...]:
    """The models with a score, best first; of equal ones the first in order."""
    values = {model: score.value for model, score in scores.items() if score.value is not None}
    return tuple(sorted(values, key=lambda model: -values[model]))


def dump_ranking(rows: Sequence[RankedModel]) -> list[dict[str, Any]]:
    """The rows as plain values."""
    return [asdict(row) for row in rows]


def load_ranking(rows: Sequence[Mapping[str, Any]]) -> tuple[RankedModel, ...]:
    """The rows that `dump_ranking` made plain.

    Raises:
        TypeError, KeyError: they have another form.
    """
    return tuple(
        RankedModel(**{**row, **{role: RoleScore(**row[role]) if row[role] is not None else None for role in ROLES}})
        for row in rows
    )


def render_ranking_csv(rows: Sequence[RankedModel]) -> str:
    """The table as CSV: a row per model, empty where there is no figure."""
    fields = [name for name in RoleScore.__dataclass_fields__ if name != "value"]
    head = ["rank", "model", "fusion_rank"]
    for role in ROLES:
        head += [role, *(f"{role}_{name}" for name in fields)]
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, head, restval="")
    table.writeheader()
    for row in rows:
        cells: dict[str, Any] = {"rank": row.rank, "model": row.model, "fusion_rank": row.fusion_rank}
        for role in ROLES:
            score: RoleScore | None = getattr(row, role)
            if score is not None:
                cells |= {role: score.value, **{f"{role}_{name}": getattr(score, name) for name in fields}}
        table.writerow({name: "" if value is None else value for name, value in cells.items()})
    return text.getvalue()
