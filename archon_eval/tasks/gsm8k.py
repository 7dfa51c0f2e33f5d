"""GSM8K (Cobbe et al., 2021): word problems in arithmetic with a whole number as answer, marked by `math_answer`.

inspect eval archon_eval/gsm8k -T sample=true --model none --solver archon -S architecture=single -S models=sim/pool
"""

import re

from inspect_ai import Task, task
from inspect_ai.dataset import Sample

from archon_eval.errors import DataError, quote
from archon_eval.scorers._options import spread_options
from archon_eval.scorers.math import math_answer
from archon_eval.tasks._data import Selection, make_stable_id
from archon_eval.tasks._pinned import load_hub_rows
from archon_eval.tasks._rows import Row

HUB = ("openai/gsm8k", "cc7b047b6e5bb11b4f1af84efc572db110a51b3c")
PROMPT = """\
{question}

Work it out step by step. Then close your reply with the final number and nothing after it, inside \\boxed{{}}."""


@task
@spread_options
def gsm8k(selection: Selection) -> Task:
    """GSM8K: the 1,319 questions of the test set, the bundled ones, or a file of your own.

    Args:
        selection: `data` has `question` and `answer` (worked out, the number after `####`; or the number alone).
    """
    rows = selection.load_rows("gsm8k.jsonl", lambda: load_hub_rows(*HUB, config="main"))
    return selection.build_task("gsm8k", [build_sample(row) for row in rows], math_answer())


def build_sample(row: Row) -> Sample:
    """A row in the official form, or with the bare number as its answer."""
    question = row.require_text("question")
    answer = row.require_text("answer").split("####")[-1].strip().replace(",", "")
    if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)", answer):
        raise DataError(f"{row.location}: 'answer' must end with `#### NUMBER`, not {quote(answer, 60)}")
    id = str(row.get("id", make_stable_id("gsm8k", question)))
    return Sample(input=PROMPT.format(question=question), target=answer, id=id)
