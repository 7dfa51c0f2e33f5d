"""AlpacaEval 2.0 (Dubois et al., 2024): 805 instructions, judged against GPT-4-Turbo's answers, length-controlled.

    inspect eval archon_eval/alpaca_eval --model archon/moa --model-role judge=openai/gpt-4-1106-preview
    inspect eval archon_eval/alpaca_eval -T sample=true --model sim/pool --model-role judge=sim/judge

One judge call per answer. Length control needs `pip install 'archon-eval[alpaca]'` and the official instructions, which
are known by their text: a file may hold them in any order, or a part of them.
"""

from collections.abc import Sequence

from inspect_ai import Task, task
from inspect_ai.dataset import Sample

from archon_eval.scorers._judge import needs_judge
from archon_eval.scorers._options import JudgeOptions, spread_options
from archon_eval.scorers.alpaca_eval import alpaca_eval as alpaca_eval_scorer
from archon_eval.stats.length_control import HUB_REPO, HUB_REVISION, find_official_index, get_calibration_file
from archon_eval.tasks._data import Selection, make_stable_id
from archon_eval.tasks._filters import DatasetFilter
from archon_eval.tasks._pinned import load_hub_file
from archon_eval.tasks._rows import Row


@task
@spread_options
def alpaca_eval(
    selection: Selection,
    judging: JudgeOptions,
    where: DatasetFilter,
    *,
    length_controlled: bool = True,
    calibration: str | None = None,
) -> Task:
    """Win rate over the baseline's answers, raw and length-controlled.

    A note says how many instructions of a file are not AlpacaEval's: with any of them among the questions there is no
    length-controlled rate.

    Args:
        selection: `data` has the form of `alpaca_eval_gpt4_baseline.json`: `instruction`, `output` (the baseline's
            answer), optionally `dataset`. An `index` is the official position of the instruction; where it is not, a
            note says so, and the position that the text has is used.
        where: data sets that the instructions come from, see `DatasetFilter`.
        judging, length_controlled, calibration: as for the scorer.

    Raises:
        DataError: no calibration file where one is needed.
    """
    rows = selection.load_rows("alpaca_eval.jsonl", _load_official)
    samples = [build_sample(row) for row in rows]
    scorer = alpaca_eval_scorer(**judging.to_arguments(), length_controlled=length_controlled, calibration=calibration)
    notes = _describe_indexes(rows, samples) if length_controlled and not selection.sample else []
    setup = needs_judge(judging.allow_main_model)
    task = selection.build_task("alpaca_eval", samples, scorer, where=where, notes=notes, setup=setup)
    if length_controlled and all((sample.metadata or {})["index"] is not None for sample in task.dataset):
        get_calibration_file(calibration)  # fails now, not after the judge has been paid
    return task


def build_sample(row: Row) -> Sample:
    """A row of the official, bundled or local file; its `index` is the official one of its text, if it has one."""
    instruction = row.require_text("instruction")
    index = find_official_index(instruction)
    id = f"alpaca-{index:03d}" if index is not None else str(row.get("id", make_stable_id("alpaca", instruction)))
    facts = {"instruction": instruction, "baseline_output": row.require_text("output"), "index": index}
    return Sample(input=instruction, id=id, metadata={**facts, "dataset": row.get("dataset")})


def _describe_indexes(rows: Sequence[Row], samples: Sequence[Sample]) -> list[str]:
    """What a user should know of instructions that are not AlpacaEval's, and of indexes that are not theirs."""
    pairs = [(row, (sample.metadata or {})["index"]) for row, sample in zip(rows, samples, strict=True)]
    unknown = [row for row, index in pairs if index is None]
    wrong = [(row, index) for row, index in pairs if index is not None and str(row.get("index", index)) != str(index)]
    notes = []
    if unknown:
        notes.append(
            f"{len(unknown)} of {len(rows)} instructions are not AlpacaEval's (the first: {unknown[0].location}); with "
            "any of them among the questions there is no length-controlled win rate"
        )
    if wrong:
        row, index = wrong[0]
        notes.append(
            f"{len(wrong)} of {len(rows)} rows have another index than their instruction has in AlpacaEval (the first: "
            f"{row.location}: {row.get('index')!r} instead of {index}); the instruction's own is used"
        )
    return notes


def _load_official() -> list[Row]:
    return load_hub_file(HUB_REPO, HUB_REVISION, "alpaca_eval_gpt4_baseline.json")
