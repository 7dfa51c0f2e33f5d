"""HumanEval (Chen et al., 2021): complete a Python function from its signature and docstring; marked by its tests.

inspect eval archon_eval/humaneval -T sample=true --model none --solver archon -S architecture=single -S models=sim/pool
"""

from inspect_ai import Task, task
from inspect_ai.dataset import Sample

from archon_eval.sandbox.function_calls import build_humaneval_case
from archon_eval.scorers._options import spread_options
from archon_eval.tasks._data import Selection, make_stable_id
from archon_eval.tasks._pinned import load_hub_rows
from archon_eval.tasks._programs import ProgramOptions, build_call_metadata, build_program_task
from archon_eval.tasks._rows import Row

HUB = ("openai/openai_humaneval", "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544")
PROMPT = """\
Complete the last function of this Python code; its docstring says what it does.

```python
{prompt}
```

Close your reply with the whole function and the imports it needs in one fenced block that begins with ```python and \
ends with ```. Leave out examples of its use."""


@task
@spread_options
def humaneval(selection: Selection, options: ProgramOptions) -> Task:
    """HumanEval: its 164 problems, the bundled ones, or a file of your own. Options and errors as `code_contests`.

    Args:
        selection: `data` has `prompt`, `entry_point`, `test` (which defines `check(candidate)`), and `task_id`.
        options: where programs run, see `ProgramOptions`.
    """
    rows = selection.load_rows("humaneval.jsonl", lambda: load_hub_rows(*HUB))
    return build_program_task("humaneval", [build_sample(row) for row in rows], selection, options=options)


def build_sample(row: Row) -> Sample:
    """A row in the official form. The prompt is put before the program, so that a bare body counts too."""
    prompt = row.require_text("prompt")
    case = build_humaneval_case(prompt, row.require_text("test"), row.require_text("entry_point"))
    return Sample(
        input=PROMPT.format(prompt=prompt.strip("\n")),
        id=str(row.get("task_id") or make_stable_id("humaneval", prompt)).replace("/", "-"),
        metadata=build_call_metadata([case], prelude=prompt),
    )
