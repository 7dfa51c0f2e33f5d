"""MT-Bench (Zheng et al., 2023): 80 questions of two turns, judged against a baseline or rated from 1 to 10.

    inspect eval archon_eval/mt_bench --model archon/moa --model-role judge=openai/gpt-4-turbo
    inspect eval archon_eval/mt_bench -T grading=single --model openai/gpt-4o --model-role judge=openai/gpt-4

Both turns are answered in one conversation. The task's own solver and `--solver archon` ask them; any other solver that
answers only what stands in the sample is wrapped: `--solver archon_eval/each_turn -S solver=NAME`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageUser
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver
from inspect_ai.util import registry_create

from archon_eval.errors import DataError, did_you_mean
from archon_eval.scorers._judge import needs_judge
from archon_eval.scorers._options import JudgeOptions, spread_options
from archon_eval.scorers.mt_bench import mt_bench_pair, mt_bench_single
from archon_eval.tasks._data import Selection
from archon_eval.tasks._filters import CategoryFilter
from archon_eval.tasks._pinned import collect_model_answers, load_baseline_answers, load_github_file
from archon_eval.tasks._rows import Row, load_local_rows

FASTCHAT = ("lm-sys/FastChat", "587d5cfa1609a43d192cedb8441cac3c17db105d")
ANSWERS_REPO = ("muhan421/fastchat-eval", "a5c1f25eb61f108bec11d97d5cb2616ff9df03fe")
FOLDER = "fastchat/llm_judge/data/mt_bench"
BASELINE = "claude-3-5-sonnet-20240620"
"""The baseline of the papers (v6, Table 28)."""
REFERENCE_CATEGORIES = ("math", "reasoning", "coding")
"""Categories whose judge sees a reference answer."""
GRADINGS = {"pairwise": mt_bench_pair, "single": mt_bench_single}


@task
@spread_options
def mt_bench(
    selection: Selection,
    judging: JudgeOptions,
    where: CategoryFilter,
    *,
    grading: str = "pairwise",
    baseline: str = BASELINE,
    reference: str | None = None,
) -> Task:
    """Win rate over a baseline's answers, or the mean rating.

    Args:
        selection: `data` has the form of FastChat's `question.jsonl`: `question_id`, `category`, `turns`.
        judging: as for the scorers.
        where: categories, see `CategoryFilter`.
        grading: `pairwise` (adjusted win rate, as in the papers) or `single` (1 to 10).
        baseline: `claude-3-5-sonnet-20240620`, or a local file in the form of FastChat's `model_answer/*.jsonl`.
        reference: a local file in the form of FastChat's `reference_answer/gpt-4.jsonl`; the official one by default.

    Raises:
        DataError: an unknown grading or baseline, or a question without the answers it needs.
    """
    if grading not in GRADINGS:
        raise DataError(f"grading={grading!r}{did_you_mean(grading, GRADINGS)}")
    is_pairwise = grading == "pairwise"
    rows = selection.load_rows("mt_bench.jsonl", lambda: _load_official("question.jsonl"))
    if selection.sample:
        references = {str(r.require("question_id")): r.get("reference_turns", []) for r in rows}
        answers = {str(r.require("question_id")): r.require("baseline_turns") for r in rows}
    else:
        references = _load_references(reference, rows)
        official = {BASELINE: partial(load_github_file, *ANSWERS_REPO, f"{FOLDER}/model_answer/{BASELINE}.jsonl")}
        answers = load_baseline_answers(baseline, official) if is_pairwise else {}
    samples = [build_sample(row, references, answers if is_pairwise else None) for row in rows]
    unsorted = sum(not (sample.metadata or {})["category"] for sample in samples)
    notes = [f"{unsorted} of {len(rows)} questions have no category, so the judge sees no reference for them"]
    scorer, setup = GRADINGS[grading](**judging.to_arguments()), needs_judge(judging.allow_main_model)
    return selection.build_task(
        "mt_bench", samples, scorer, where=where, notes=notes if unsorted else (), setup=setup, solver=each_turn()
    )


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
    """A question; the first turn is the input. `answers` are the baseline's, None where they are not needed.

    Raises:
        DataError: not two turns, or not two answers where they are needed.
    """
    id, category, turns = str(row.require("question_id")), str(row.get("category", "")), row.require("turns")
    if not isinstance(turns, list) or len(turns) != 2 or not all(isinstance(turn, str) for turn in turns):
        raise DataError(f"{row.location}: 'turns' must be two texts")
    facts: dict[str, Any] = {"turns": turns, "category": category, "reference": None, "baseline_turns": None}
    for key, is_needed, answers_by_id in (
        ("reference", category in REFERENCE_CATEGORIES, references),
        ("baseline_turns", answers is not None, answers or {}),
    ):
        if is_needed and len(answers_by_id.get(id, ())) != 2:
            raise DataError(f"{row.location}: question {id} ({category}) needs two answers in the file of {key}")
        if is_needed:
            facts[key] = answers_by_id[id]
    return Sample(input=turns[0], id=id, metadata=facts)


def _load_official(file: str) -> list[Row]:
    return load_github_file(*FASTCHAT, f"{FOLDER}/{file}")


def _load_references(path: str | None, rows: Sequence[Row]) -> dict[str, list[str]]:
    """The reference answers of a file; by default the official ones, if a question needs one."""
    if path is not None:
        return collect_model_answers(load_local_rows(path))
    is_needed = any(str(row.get("category", "")) in REFERENCE_CATEGORIES for row in rows)
    return collect_model_answers(_load_official("reference_answer/gpt-4.jsonl")) if is_needed else {}
