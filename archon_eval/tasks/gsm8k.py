"""GSM8K (Cobbe et al., 2021): word problems in arithmetic with a whole number as answer, marked by `math_answer`.

inspect eval archon_eval/gsm8k -T sample=true --model none --solver archon -S architecture=single -S models=sim/pool
"""

import re

from inspect_ai import Task, task
from inspect_ai.dataset import Sample

from archon_eval.errors import DataError, quote
from archon_eval.scorers.math import math_answer
from archon_eval.tasks._data import Row, build_task, load_hub_rows, load_rows, make_stable_id

HUB = ("openai/gsm8k", "cc7b047b6e5bb11b4f1af84efc572db110a51b3c")
PROMPT = """\
{question}

Work it out step by step. Then close your reply with the final number and nothing after it, inside \\boxed{{}}."""


@task
def gsm8k(
    split: str = "all", sample: bool = False, data: str | None = None, n: int | None = None, seed: int = 0
) -> Task:
    """GSM8K: the 1,319 questions of the test set, the bundled ones, or a file of your own.

    Args:
        split: `dev` (a fifth, for searching), `test` (the rest, for reporting) or `all`.
        sample: use the questions bundled with the package; no network.
        data: a local file with `question` and `answer` (worked out, the number after `####`; or the number alone).
        n: how many questions to draw before the split; all if not given.
        seed: changes the draw and the split.

    Raises:
        DataError: a source that cannot be read or is not as described, an unknown split, an impossible `n`.
    """
    rows = load_rows(sample=sample, data=data, bundled="gsm8k.jsonl", hub=lambda: load_hub_rows(*HUB, config="main"))
    return build_task("gsm8k", [build_sample(row) for row in rows], math_answer(), split=split, n=n, seed=seed)


def build_sample(row: Row) -> Sample:
    """A row in the official form, or with the bare number as its answer."""
    question, answer = (
        row.require_text("question"),
        row.require_text("answer").split("####")[-1].strip().replace(",", ""),
    )
    if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)", answer):
        raise DataError(f"{row.location}: 'answer' must end with `#### NUMBER`, not {quote(answer, 60)}")
    id = str(row.get("id", make_stable_id("gsm8k", question)))
    return Sample(input=PROMPT.format(question=question), target=answer, id=id)
