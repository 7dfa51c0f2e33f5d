"""AlpacaEval 2.0 (Dubois et al., 2024): 805 instructions, judged against GPT-4-Turbo's answers, length-controlled.

    inspect eval archon_eval/alpaca_eval --model archon/moa --model-role judge=openai/gpt-4-1106-preview
    inspect eval archon_eval/alpaca_eval -T sample=true --model sim/pool --model-role judge=sim/judge

One judge call per answer. Length control needs `pip install 'archon-eval[alpaca]'` and the official instructions.
"""

from inspect_ai import Task, task
from inspect_ai.dataset import Sample

from archon_eval.errors import DataError
from archon_eval.scorers._judge import JudgeCachePolicy, needs_judge
from archon_eval.scorers._length_control import HUB_REPO, HUB_REVISION, NUM_QUESTIONS, get_calibration_file
from archon_eval.scorers.alpaca_eval import alpaca_eval as alpaca_eval_scorer
from archon_eval.tasks._data import Row, build_task, load_rows, make_stable_id
from archon_eval.tasks._pinned import load_hub_file


@task
def alpaca_eval(
    split: str = "all",
    sample: bool = False,
    data: str | None = None,
    n: int | None = None,
    seed: int = 0,
    judge_prompts: str | None = None,
    length_controlled: bool = True,
    calibration: str | None = None,
    stored: JudgeCachePolicy = "reuse",
    allow_main_model: bool = False,
) -> Task:
    """Win rate over the baseline's answers, raw and length-controlled.

    Args:
        split: `dev` (a fifth, for searching), `test` (the rest, for reporting) or `all`.
        sample: use the instructions bundled with the package; no network.
        data: a local file in the form of `alpaca_eval_gpt4_baseline.json`: `instruction`, `output` (the baseline's
            answer), optionally `index` (official position, 0 to 804) and `dataset`.
        n: how many instructions to draw before the split; all by default.
        seed: changes the draw and the split.
        judge_prompts, length_controlled, calibration, stored, allow_main_model: as for the scorer.

    Raises:
        DataError: a source or the calibration file that cannot be had, an unknown split, an impossible `n`.
    """
    rows = load_rows(sample=sample, data=data, bundled="alpaca_eval.jsonl", hub=_load_official)
    complete = len(rows) == NUM_QUESTIONS and not sample
    samples = [build_sample(row, place if complete else None) for place, row in enumerate(rows)]
    if length_controlled and all((s.metadata or {})["index"] is not None for s in samples):
        get_calibration_file(calibration)  # fails now, not after the judge has been paid
    scorer = alpaca_eval_scorer(judge_prompts, stored, allow_main_model, length_controlled, calibration)
    setup = needs_judge(allow_main_model)
    return build_task("alpaca_eval", samples, scorer, split=split, n=n, seed=seed, setup=setup)


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
