"""AlpacaEval 2.0 (Dubois et al., 2024): 805 instructions, judged against GPT-4-Turbo's answers, length-controlled.

    inspect eval archon_eval/alpaca_eval --model archon/moa --model-role judge=openai/gpt-4-1106-preview
    inspect eval archon_eval/alpaca_eval -T sample=true --model sim/pool --model-role judge=sim/judge

One judge call per answer. Length control needs `pip install 'archon-eval[alpaca]'` and the official instructions.
"""

from inspect_ai import Task, task
from inspect_ai.dataset import Sample

from archon_eval.errors import DataError
from archon_eval.scorers._judge import needs_judge
from archon_eval.scorers._options import JudgeOptions, spread_options
from archon_eval.scorers.alpaca_eval import alpaca_eval as alpaca_eval_scorer
from archon_eval.stats.length_control import HUB_REPO, HUB_REVISION, NUM_QUESTIONS, get_calibration_file
from archon_eval.tasks._data import Selection, make_stable_id
from archon_eval.tasks._pinned import load_hub_file
from archon_eval.tasks._rows import Row


@task
@spread_options
def alpaca_eval(
    selection: Selection, judging: JudgeOptions, *, length_controlled: bool = True, calibration: str | None = None
) -> Task:
    """Win rate over the baseline's answers, raw and length-controlled.

    Args:
        selection: `data` has the form of `alpaca_eval_gpt4_baseline.json`: `instruction`, `output` (the baseline's
            answer), optionally `index` (official position, 0 to 804) and `dataset`.
        judging, length_controlled, calibration: as for the scorer.

    Raises:
        DataError: no calibration file where one is needed.
    """
    rows = selection.load_rows("alpaca_eval.jsonl", _load_official)
    is_complete = len(rows) == NUM_QUESTIONS and not selection.sample
    samples = [build_sample(row, place if is_complete else None) for place, row in enumerate(rows)]
    if length_controlled and all((s.metadata or {})["index"] is not None for s in samples):
        get_calibration_file(calibration)  # fails now, not after the judge has been paid
    scorer = alpaca_eval_scorer(**judging.to_arguments(), length_controlled=length_controlled, calibration=calibration)
    return selection.build_task("alpaca_eval", samples, scorer, setup=needs_judge(judging.allow_main_model))


def build_sample(row: Row, place: int | None) -> Sample:
    """A row of the official, bundled or local file; `place` is its index if the file does not say."""
    instruction, index = row.require_text("instruction"), row.get("index", place)
    if index is not None and not (isinstance(index, int) and not isinstance(index, bool) and index >= 0):
        raise DataError(f"{row.location}: 'index' must be the official position from 0, not {index!r}")
    id = f"alpaca-{index:03d}" if index is not None else str(row.get("id", make_stable_id("alpaca", instruction)))
    facts = {"instruction": instruction, "baseline_output": row.require_text("output"), "index": index}
    return Sample(input=instruction, id=id, metadata={**facts, "dataset": row.get("dataset")})


def _load_official() -> list[Row]:
    return load_hub_file(HUB_REPO, HUB_REVISION, "alpaca_eval_gpt4_baseline.json")
