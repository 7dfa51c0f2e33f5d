r"""MATH (Hendrycks et al., 2021): competition problems with one answer each, marked by `math_answer`.

The papers report pass@1 on 200 questions sampled from the test set (v6, Table 28); that is the default here, with a
seed. The bundled problems need no network:

    inspect eval archon_eval/math --model openai/gpt-4o
    inspect eval archon_eval/math -T sample=true -T split=dev --model mockllm/model

The whole prompt is in the sample, so that `--solver` loses none of it.
"""

import re

from inspect_ai import Task, task
from inspect_ai.dataset import Sample

from archon_eval.components.parsing.final_answer import extract_last_box
from archon_eval.errors import DataError
from archon_eval.scorers._options import spread_options
from archon_eval.scorers.math import math_answer
from archon_eval.tasks._data import Selection, make_stable_id
from archon_eval.tasks._filters import LevelFilter
from archon_eval.tasks._pinned import load_hub_rows
from archon_eval.tasks._rows import Row

REPO = "EleutherAI/hendrycks_math"
REVISION = "21a5633873b6a120296cce3e2df9d5550074f4a3"
CONFIGS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
HUB_SAMPLE_SIZE = 200
"""Questions taken from the 5,000 of the test set unless `n` says otherwise (paper v6, Table 28)."""
PROMPT = """\
{problem}

Think the problem through step by step. Then close your reply with the final answer and nothing after it: \
only the answer, in LaTeX, inside \\boxed{{}}."""


@task
@spread_options
def math(selection: Selection, where: LevelFilter) -> Task:
    """MATH: a seeded sample of the test set, the bundled problems, or a file of your own.

    Args:
        selection: `data` has `problem`, `answer` (or a boxed `solution`), optionally `id`, `subject`, `level`; `n` is
            200 by default for the official test set, or all that `where` leaves, if they are fewer.
        where: subjects and levels, see `LevelFilter`.
    """
    rows = selection.load_rows("math.jsonl", _load_test_set)
    samples = [build_sample(row) for row in rows]
    return selection.build_task("math", samples, math_answer(), where=where, official_size=HUB_SAMPLE_SIZE)


def build_sample(row: Row) -> Sample:
    """A row of the bundled file, of the Hub's MATH or MATH-500, or of a local file in any of these forms."""
    problem = row.require_text("problem")
    id = next((str(row.get(key)) for key in ("id", "unique_id") if row.get(key) is not None), None)
    level = re.search(r"\d", str(row.get("level", "")))
    return Sample(
        input=PROMPT.format(problem=problem),
        target=_read_answer(row),
        id=id or make_stable_id("math", problem),
        metadata={"subject": row.get("subject", row.get("type")), "level": int(level[0]) if level else None},
    )


def _read_answer(row: Row) -> str:
    """The key `answer`, or the last box of the `solution`."""
    if row.get("answer") is not None or row.get("solution") is None:
        return row.require_text("answer")
    answer = extract_last_box(row.require_text("solution"))
    if answer is None:
        raise DataError(f"{row.location}: no 'answer', and the 'solution' has no \\boxed{{...}} to take it from")
    return answer


def _load_test_set() -> list[Row]:
    """All 5,000 test problems; a problem's id is its subject and its place in the pinned file."""
    return [
        Row(row.location, {**row.values, "id": f"{config}-{place:04d}"})
        for config in CONFIGS
        for place, row in enumerate(load_hub_rows(REPO, REVISION, config=config))
    ]
