"""Arena-Hard-Auto v0.1 (Li et al., 2024): 500 hard prompts, each judged twice against a baseline's answer.

inspect eval archon_eval/arena_hard --solver archon -S architecture=moa --model-role judge=openai/gpt-4-1106-preview
inspect eval archon_eval/arena_hard -T baseline=claude-3-5-sonnet-20240620 --model-role judge=openai/gpt-4-turbo
"""

from inspect_ai import Task, task
from inspect_ai.dataset import Sample

from archon_eval.errors import DataError, did_you_mean
from archon_eval.scorers._judge import JudgeCachePolicy, needs_judge
from archon_eval.scorers.arena_hard import arena_hard as arena_hard_scorer
from archon_eval.tasks._data import Row, build_task, load_rows
from archon_eval.tasks._pinned import collect_model_answers, load_hub_file, read_rows

REPO = "lmarena-ai/arena-hard-auto"
REVISION = "15f3746e21432264ce9b453999bde4f3c946d2e6"
FOLDER = "data/arena-hard-v0.1"
BASELINES = ("gpt-4-0314", "claude-3-5-sonnet-20240620")
"""The baselines of the papers (v6, Table 28); any other is given as a file of answers."""


@task
def arena_hard(
    split: str = "all",
    sample: bool = False,
    data: str | None = None,
    baseline: str = BASELINES[0],
    n: int | None = None,
    seed: int = 0,
    judge_prompts: str | None = None,
    stored: JudgeCachePolicy = "reuse",
    allow_main_model: bool = False,
) -> Task:
    """Win rate over a baseline's answers, with its interval.

    Args:
        split: `dev` (a fifth, for searching), `test` (the rest, for reporting) or `all`.
        sample: use the prompts and baseline answers bundled with the package; no network.
        data: a local file in the form of the official `question.jsonl`: `uid` and `prompt` (or `question_id`, `turns`).
        baseline: `gpt-4-0314`, `claude-3-5-sonnet-20240620`, or a local file in the form of `model_answer/*.jsonl`.
        n: how many prompts to draw before the split; all by default.
        seed: changes the draw and the split.
        judge_prompts, stored, allow_main_model: as for the scorer.

    Raises:
        DataError: a source that cannot be read, a question without baseline answer, an unknown split or baseline.
    """
    rows = load_rows(sample=sample, data=data, bundled="arena_hard.jsonl", hub=lambda: _load_official("question.jsonl"))
    answers = (
        {str(r.require("uid")): [r.require_text("baseline_output")] for r in rows}
        if sample
        else _load_baseline_answers(baseline)
    )
    samples = [build_sample(row, answers) for row in rows]
    scorer, setup = arena_hard_scorer(judge_prompts, stored, allow_main_model), needs_judge(allow_main_model)
    return build_task("arena_hard", samples, scorer, split=split, n=n, seed=seed, setup=setup)


def build_sample(row: Row, answers: dict[str, list[str]]) -> Sample:
    """A question with the baseline's answer."""
    id = str(row.get("uid") or row.require("question_id"))
    turns = row.get("turns")
    prompt = (
        row.require_text("prompt")
        if not turns
        else str(turns[0]["content"] if isinstance(turns[0], dict) else turns[0])
    )
    if id not in answers:
        raise DataError(f"{row.location}: the baseline has no answer to question {id!r}")
    facts = {"instruction": prompt, "baseline_output": answers[id][0], "cluster": row.get("cluster")}
    return Sample(input=prompt, id=id, metadata=facts)


def _load_official(file: str) -> list[Row]:
    return load_hub_file(REPO, REVISION, f"{FOLDER}/{file}")


def _load_baseline_answers(baseline: str) -> dict[str, list[str]]:
    if baseline in BASELINES:
        return collect_model_answers(_load_official(f"model_answer/{baseline}.jsonl"))
    if ".json" not in baseline:
        raise DataError(f"baseline={baseline}: unknown{did_you_mean(baseline, BASELINES)}, or a .jsonl file of answers")
    return collect_model_answers(read_rows(baseline))
