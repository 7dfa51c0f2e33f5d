"""HumanEval (Chen et al., 2021): complete a Python function from its signature and docstring; marked by its tests.

inspect eval archon_eval/humaneval -T sample=true --model none --solver archon -S architecture=single -S models=sim/pool
"""

from inspect_ai import Task, task
from inspect_ai.dataset import Sample

from archon_eval.sandbox.function_calls import build_humaneval_case
from archon_eval.scorers.programs import SandboxMode, TimeFactor
from archon_eval.tasks._data import Row, load_hub_rows, load_rows, make_stable_id
from archon_eval.tasks._programs import build_call_metadata, build_program_task

HUB = ("openai/openai_humaneval", "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544")
PROMPT = """\
Complete the last function of this Python code; its docstring says what it does.

```python
{prompt}
```

Close your reply with the whole function and the imports it needs in one fenced block that begins with ```python and \
ends with ```. Leave out examples of its use."""


@task
def humaneval(
    split: str = "all",
    sample: bool = False,
    data: str | None = None,
    n: int | None = None,
    seed: int = 0,
    sandbox: SandboxMode = "docker",
    time_factor: TimeFactor = "auto",
) -> Task:
    """HumanEval: its 164 problems, the bundled ones, or a file of your own. Arguments and errors as `code_contests`.

    Args:
        data: a local file with `prompt`, `entry_point`, `test` (which defines `check(candidate)`), and `task_id`.
    """
    rows = load_rows(sample=sample, data=data, bundled="humaneval.jsonl", hub=lambda: load_hub_rows(*HUB))
    samples = [build_sample(row) for row in rows]
    return build_program_task(
        "humaneval", samples, split=split, n=n, seed=seed, sandbox=sandbox, time_factor=time_factor
    )


def build_sample(row: Row) -> Sample:
    """A row in the official form. The prompt is put before the program, so that a bare body counts too."""
    prompt = row.require_text("prompt")
    case = build_humaneval_case(prompt, row.require_text("test"), row.require_text("entry_point"))
    return Sample(
        input=PROMPT.format(prompt=prompt.strip("\n")),
        id=str(row.get("task_id") or make_stable_id("humaneval", prompt)).replace("/", "-"),
        metadata=build_call_metadata([case], prelude=prompt),
    )
