"""MixEval and MixEval-Hard (Ni et al., 2024; version 2024-06-01): a mixture of benchmarks with known answers.

    inspect eval archon_eval/mixeval_hard --model archon/moa --model-role judge=openai/gpt-3.5-turbo-0125

Free-form and multiple-choice questions in equal numbers (4,000; hard: 1,000); one judge call each, which only reads the
answer. The whole prompt is in the sample, options included.
"""

from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import Sample

from archon_eval.errors import DataError, did_you_mean
from archon_eval.scorers._judge import needs_judge
from archon_eval.scorers._options import JudgeOptions, spread_options
from archon_eval.scorers.mixeval import PARTS
from archon_eval.scorers.mixeval import mixeval as mixeval_scorer
from archon_eval.tasks._data import Selection
from archon_eval.tasks._filters import BenchmarkFilter
from archon_eval.tasks._pinned import load_github_file
from archon_eval.tasks._rows import Row

SOURCE = ("Psycoy/MixEval", "bac9c1c164dffc80cb40f05fc0b772b87d66f00e")
FOLDER = "mix_eval/data/mixeval-2024-06-01"
STEPWISE_BENCHMARKS = ("BBH", "GSM8k", "MATH")
"""Free-form sub-benchmarks that are answered step by step, as upstream; the others in a phrase."""


@task
@spread_options
def mixeval(selection: Selection, judging: JudgeOptions, where: BenchmarkFilter) -> Task:
    """Accuracy over both parts and every sub-benchmark.

    Args:
        selection: `data` has the form of the official `free-form.json` and `multiple-choice.json`, one or both
            (`-T data=free-form.json,multiple-choice.json`).
        judging: as for the scorer.
        where: parts and sub-benchmarks, see `BenchmarkFilter`.
    """
    return _build_task("mixeval", selection, judging, where)


@task
@spread_options
def mixeval_hard(selection: Selection, judging: JudgeOptions, where: BenchmarkFilter) -> Task:
    """The hard subset; options as for `mixeval`."""
    return _build_task("mixeval_hard", selection, judging, where)


def _build_task(name: str, selection: Selection, judging: JudgeOptions, where: BenchmarkFilter) -> Task:
    folder = f"{FOLDER}/{name.replace('_', '-')}"
    rows = selection.load_rows(
        f"{name}.jsonl", lambda: [row for part in PARTS for row in load_github_file(*SOURCE, f"{folder}/{part}.json")]
    )
    samples, scorer = [build_sample(row) for row in rows], mixeval_scorer(**judging.to_arguments())
    return selection.build_task(name, samples, scorer, where=where, setup=needs_judge(judging.allow_main_model))


def build_sample(row: Row) -> Sample:
    """A question of either part, its context and options in the prompt."""
    part, question, targets = row.require_text("problem_type"), row.require_text("prompt"), row.require("target")
    if part not in PARTS:
        raise DataError(f"{row.location}: problem_type {part!r}{did_you_mean(part, PARTS)}")
    if not isinstance(targets, list) or not targets:
        raise DataError(f"{row.location}: 'target' must be a list with at least one answer")
    facts: dict[str, Any] = {"part": part, "benchmark": row.require_text("benchmark_name"), "question": question}
    shown = [str(row.get("context", "")), question]
    if part == "free-form":
        facts["answers"] = targets = [str(target) for target in targets]
    else:
        options = row.require("options")
        if not all(isinstance(target, int) and 0 <= target < len(options) for target in targets):
            raise DataError(f"{row.location}: 'target' must be indexes of the {len(options)} options, not {targets}")
        facts["options"], facts["correct"] = [str(option) for option in options], targets
        shown.append("\n".join(f"{chr(65 + place)}. {option}" for place, option in enumerate(options)))
        targets = [chr(65 + target) for target in targets]
    shown.append(_choose_instruction(part, facts["benchmark"]))
    prompt = "\n\n".join(text for text in shown if text.strip())
    return Sample(input=prompt, target=targets, id=f"{part}-{row.require('id')}", metadata=facts)


def _choose_instruction(part: str, benchmark: str) -> str:
    if part == "multiple-choice":
        return "Choose one of the options and give its letter."
    if benchmark in STEPWISE_BENCHMARKS:
        return "Work it out step by step, then state the final answer."
    return "Answer with a word or a short phrase."
