"""MT-Bench (Zheng et al., 2023): 80 questions of two turns, judged against a baseline or rated from 1 to 10.

    inspect eval archon_eval/mt_bench --model archon/moa --model-role judge=openai/gpt-4-turbo
    inspect eval archon_eval/mt_bench -T grading=single --model openai/gpt-4o --model-role judge=openai/gpt-4

Both turns are answered in one conversation. The task's own solver and `--solver archon` ask them; any other solver that
answers only what stands in the sample is wrapped: `--solver archon_eval/each_turn -S solver=NAME`.
"""

from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageUser
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver
from inspect_ai.util import registry_create

from archon_eval.errors import DataError, did_you_mean
from archon_eval.scorers._judge import JudgeCachePolicy, needs_judge
from archon_eval.scorers.mt_bench import mt_bench_pair, mt_bench_single
from archon_eval.tasks._data import Row, build_task, load_rows
from archon_eval.tasks._pinned import collect_model_answers, load_github_file, read_rows

FASTCHAT = ("lm-sys/FastChat", "587d5cfa1609a43d192cedb8441cac3c17db105d")
ANSWERS_REPO = ("muhan421/fastchat-eval", "a5c1f25eb61f108bec11d97d5cb2616ff9df03fe")
FOLDER = "fastchat/llm_judge/data/mt_bench"
BASELINE = "claude-3-5-sonnet-20240620"
"""The baseline of the papers (v6, Table 28)."""
REFERENCE_CATEGORIES = ("math", "reasoning", "coding")
"""Categories whose judge sees a reference answer."""
GRADINGS = {"pairwise": mt_bench_pair, "single": mt_bench_single}


@task
def mt_bench(
    split: str = "all",
    sample: bool = False,
    data: str | None = None,
    grading: str = "pairwise",
    baseline: str = BASELINE,
    reference: str | None = None,
    n: int | None = None,
    seed: int = 0,
    judge_prompts: str | None = None,
    stored: JudgeCachePolicy = "reuse",
    allow_main_model: bool = False,
) -> Task:
    """Win rate over a baseline's answers, or the mean rating.

    Args:
        split: `dev` (a fifth, for searching), `test` (the rest, for reporting) or `all`.
        sample: use the questions and baseline answers bundled with the package; no network.
        data: a local file in the form of FastChat's `question.jsonl`: `question_id`, `category`, `turns`.
        grading: `pairwise` (adjusted win rate, as in the papers) or `single` (1 to 10).
        baseline: `claude-3-5-sonnet-20240620`, or a local file in the form of FastChat's `model_answer/*.jsonl`.
        reference: a local file in the form of FastChat's `reference_answer/gpt-4.jsonl`; the official one by default.
        n: how many questions to draw before the split; all by default.
        seed: changes the draw and the split.
        judge_prompts, stored, allow_main_model: as for the scorers.

    Raises:
        DataError: a source that cannot be read, a missing baseline or reference answer, an unknown split or grading.
    """
    if grading not in GRADINGS:
        raise DataError(f"grading={grading!r}{did_you_mean(grading, GRADINGS)}")
    rows = load_rows(sample=sample, data=data, bundled="mt_bench.jsonl", hub=lambda: _load_official("question.jsonl"))
    if sample:
        references = {str(r.require("question_id")): r.get("reference_turns", []) for r in rows}
        answers = {str(r.require("question_id")): r.require("baseline_turns") for r in rows}
    else:
        needed = any(str(row.get("category", "")) in REFERENCE_CATEGORIES for row in rows)
        given = read_rows(reference) if reference else _load_official("reference_answer/gpt-4.jsonl") if needed else []
        references = collect_model_answers(given)
        answers = _load_baseline_answers(baseline) if grading == "pairwise" else {}
    samples = [build_sample(row, references, answers if grading == "pairwise" else None) for row in rows]
    scorer, setup = GRADINGS[grading](judge_prompts, stored, allow_main_model), needs_judge(allow_main_model)
    return build_task("mt_bench", samples, scorer, split=split, n=n, seed=seed, setup=setup, solver=each_turn())


@solver
def each_turn(solver: str | None = None, **arguments: Any) -> Solver:
    """Asks every turn of `metadata["turns"]` in one conversation and lets a solver answer each; by default the model.

    Args:
        solver: name of a registered solver that answers the last user message, such as `archon`.
        arguments: its arguments.
    """
    answer = registry_create("solver", solver, **arguments) if solver else generate()

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state = await answer(state, generate)
        for turn in state.metadata["turns"][1:]:
            if any(m.role == "user" and m.text == turn for m in state.messages):
                continue  # the solver has asked it itself
            state.messages.append(ChatMessageUser(content=turn))
            state.completed = False
            state = await answer(state, generate)
        return state

    return solve


def build_sample(row: Row, references: dict[str, list[str]], answers: dict[str, list[str]] | None) -> Sample:
    """A question; the first turn is the input. `answers` are the baseline's, None where they are not needed."""
    id, category, turns = str(row.require("question_id")), str(row.get("category", "")), row.require("turns")
    if not isinstance(turns, list) or len(turns) != 2 or not all(isinstance(turn, str) for turn in turns):
        raise DataError(f"{row.location}: 'turns' must be two texts")
    facts: dict[str, Any] = {"turns": turns, "category": category, "reference": None, "baseline_turns": None}
    for key, wanted, found in (
        ("reference", category in REFERENCE_CATEGORIES, references),
        ("baseline_turns", answers is not None, answers or {}),
    ):
        if wanted and len(found.get(id, ())) != 2:
            raise DataError(f"{row.location}: question {id} ({category}) needs two answers in the file of {key}")
        if wanted:
            facts[key] = found[id]
    return Sample(input=turns[0], id=id, metadata=facts)


def _load_official(file: str) -> list[Row]:
    return load_github_file(*FASTCHAT, f"{FOLDER}/{file}")


def _load_baseline_answers(baseline: str) -> dict[str, list[str]]:
    if baseline == BASELINE:
        return collect_model_answers(load_github_file(*ANSWERS_REPO, f"{FOLDER}/model_answer/{baseline}.jsonl"))
    if ".json" not in baseline:
        raise DataError(f"baseline={baseline}: unknown (legal: {BASELINE}, or a .jsonl file of answers)")
    return collect_model_answers(read_rows(baseline))
