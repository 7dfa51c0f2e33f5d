"""Arena-Hard-Auto v0.1 (Li et al., 2024): 500 hard prompts, each judged twice against a baseline's answer.

inspect eval archon_eval/arena_hard --solver archon -S architecture=moa --model-role judge=openai/gpt-4-1106-preview
inspect eval archon_eval/arena_hard -T baseline=claude-3-5-sonnet-20240620 --model-role judge=openai/gpt-4-turbo
"""

from functools import partial

from inspect_ai import Task, task
from inspect_ai.dataset import Sample

from archon_eval.errors import DataError
from archon_eval.scorers._judge import needs_judge
from archon_eval.scorers._options import JudgeOptions, spread_options
from archon_eval.scorers.arena_hard import arena_hard as arena_hard_scorer
from archon_eval.tasks._data import Selection
from archon_eval.tasks._pinned import load_baseline_answers, load_hub_file
from archon_eval.tasks._rows import Row

REPO = "lmarena-ai/arena-hard-auto"
REVISION = "15f3746e21432264ce9b453999bde4f3c946d2e6"
FOLDER = "data/arena-hard-v0.1"
BASELINES = ("gpt-4-0314", "claude-3-5-sonnet-20240620")
"""The baselines of the papers (v6, Table 28); any other is given as a file of answers."""


@task
@spread_options
def arena_hard(selection: Selection, judging: JudgeOptions, baseline: str = BASELINES[0]) -> Task:
    """Win rate over a baseline's answers, with its interval.

    Args:
        selection: `data` has the form of the official `question.jsonl`: `uid` and `prompt` (or `question_id`, `turns`).
        judging: as for the scorer.
        baseline: `gpt-4-0314`, `claude-3-5-sonnet-20240620`, or a local file in the form of `model_answer/*.jsonl`.

    Raises:
        DataError: an unknown baseline, or a question that it does not answer.
    """
    rows = selection.load_rows("arena_hard.jsonl", lambda: _load_official("question.jsonl"))
    if selection.sample:
        answers = {str(row.require("uid")): [row.require_text("baseline_output")] for row in rows}
    else:
        official = {name: partial(_load_official, f"model_answer/{name}.jsonl") for name in BASELINES}
        answers = load_baseline_answers(baseline, official)
    samples = [build_sample(row, answers) for row in rows]
    scorer = arena_hard_scorer(**judging.to_arguments())
    return selection.build_task("arena_hard", samples, scorer, setup=needs_judge(judging.allow_main_model))


def build_sample(row: Row, answers: dict[str, list[str]]) -> Sample:
    """A question with the baseline's answer."""
    id = str(row.get("uid") or row.require("question_id"))
    turns = row.get("turns")
    if not turns:
        prompt = row.require_text("prompt")
    elif not isinstance(turns, list) or len(turns) > 1:
        raise DataError(f"{row.location}: 'turns' must be a list of one turn, as only one would be asked")
    else:
        prompt = str(turns[0]["content"] if isinstance(turns[0], dict) else turns[0])
    if id not in answers:
        raise DataError(f"{row.location}: the baseline has no answer to question {id!r}")
    facts = {"instruction": prompt, "baseline_output": answers[id][0], "cluster": row.get("cluster")}
    return Sample(input=prompt, id=id, metadata=facts)


def _load_official(file: str) -> list[Row]:
    return load_hub_file(REPO, REVISION, f"{FOLDER}/{file}")
