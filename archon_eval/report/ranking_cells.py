"""The ranking table of a search as cells of text, for the page and for Markdown (v6 Table 35's form, with costs).

>>> from archon_eval.runs.model_ranking import RankedModel, RoleScore
>>> alone = RoleScore(0.5, 0.4, 0.6, 80, 1.0, 320.0, None)
>>> list_ranking_cells([RankedModel(1, "openai/gpt-4o", alone, None, None)])[0][:4]
['1', 'openai/gpt-4o', '50.0% (40.0 to 60.0)', '']
"""

from collections.abc import Sequence

from archon_eval.report.formatting import format_cost, format_percent_interval
from archon_eval.runs.model_ranking import RankedModel, RoleScore

RANKING_COLUMNS = (
    "rank",
    "model",
    "generation (95%)",
    "fusion (95%)",
    "rank as fuser",
    "calls alone",
    "tokens alone",
    "dollars alone",
    "calls fusing",
    "tokens fusing",
    "dollars fusing",
    "left out because",
)
RANKING_NUMBERS = (0, *range(2, 11))
"""The columns of numbers."""
RANKING_NOTE = "Performance on the dev questions; costs are per question, of the model's calls and those it fuses."


def list_ranking_cells(rows: Sequence[RankedModel]) -> list[list[str]]:
    """A row of cells per model, in the order of `RANKING_COLUMNS`; empty where there is no figure."""
    return [
        [
            "" if row.rank is None else str(row.rank),
            row.model,
            _format_score(row.generation),
            _format_score(row.fusion),
            "" if row.fusion_rank is None else str(row.fusion_rank),
            *_format_costs(row.generation),
            *_format_costs(row.fusion),
            "; ".join(f"{role}: {s.problem}" for role, s in _list_roles(row) if s is not None and s.problem),
        ]
        for row in rows
    ]


def _list_roles(row: RankedModel) -> tuple[tuple[str, RoleScore | None], ...]:
    return ("as a generator", row.generation), ("as a fuser", row.fusion)


def _format_score(score: RoleScore | None) -> str:
    return "" if score is None else format_percent_interval(score.value, score.low, score.high)


def _format_costs(score: RoleScore | None) -> tuple[str, ...]:
    if score is None or score.problem:
        return "", "", ""
    costs = (score.calls_per_question, score.tokens_per_question, score.dollars_per_question)
    return tuple(format_cost(cost) for cost in costs)
