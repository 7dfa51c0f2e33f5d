"""MBPP (Austin et al., 2021): short Python tasks in a sentence with three assertions each; marked by those.

inspect eval archon_eval/mbpp -T sample=true --model none --solver archon -S architecture=single -S models=sim/pool
"""

from inspect_ai import Task, task
from inspect_ai.dataset import Sample

from archon_eval.errors import DataError
from archon_eval.sandbox.function_calls import build_mbpp_case
from archon_eval.scorers._options import spread_options
from archon_eval.tasks._data import Selection, make_stable_id
from archon_eval.tasks._pinned import load_hub_rows
from archon_eval.tasks._programs import ProgramOptions, build_call_metadata, build_program_task, require_texts
from archon_eval.tasks._rows import Row

HUB = ("google-research-datasets/mbpp", "4bb6404fdc6cacfda99d4ac4205087b89d32030c")
TEST_IDS = range(11, 511)
"""The official test split; other numbers are for prompting, validation and training."""
PROMPT = """\
{text}

The code is right if these assertions hold; they also show the names and arguments to use:

{tests}

Close your reply with all of the code, without the assertions, in one fenced block that begins with ```python and ends \
with ```."""


@task
@spread_options
def mbpp(selection: Selection, options: ProgramOptions) -> Task:
    """MBPP: the 500 tasks of the test split, the bundled ones, or a file of your own. Errors as `code_contests`.

    Args:
        selection: `data` has `text`, `test_list`, and optionally `task_id`, `test_setup_code`, `code`. Of rows with a
            number as `task_id`, only 11 to 510 are used; a note says how many are not.
        options: where programs run, see `ProgramOptions`.
    """
    rows = selection.load_rows("mbpp.jsonl", lambda: load_hub_rows(*HUB, config="full"))
    samples = [build_sample(row) for row in rows if not isinstance(id := row.get("task_id"), int) or id in TEST_IDS]
    if not samples:
        raise DataError(f"{selection.data}: no task of the test split (task_id 11 to 510)")
    dropped = {"a task_id outside the test split (11 to 510)": len(rows) - len(samples)}
    return build_program_task("mbpp", samples, selection, options=options, dropped=dropped)


def build_sample(row: Row) -> Sample:
    """A row in the official form."""
    text, tests, setup = row.require_text("text"), require_texts(row, "test_list"), str(row.get("test_setup_code", ""))
    code = str(row.get("code") or "")
    if not tests:
        raise DataError(f"{row.location}: no 'test_list', or an empty one")
    return Sample(
        input=PROMPT.format(text=text.strip(), tests="\n".join(tests)),
        id=str(row.get("task_id") or make_stable_id("mbpp", text)),
        metadata=build_call_metadata([build_mbpp_case(test, setup, code) for test in tests]),
    )
