"""The gate over files and evals, shared by the command, the action and the pytest plugin: whatever goes wrong on the
way (no baseline, calls missing from a recording, an eval that fails) makes the outcome "cannot decide".

    outcome = run_gate("baseline.json", Path("logs/new.eval"), Path("logs"))
"""

import os
from dataclasses import replace
from pathlib import Path

from archon_eval.errors import ArchonError, DataError
from archon_eval.report.baseline import FORMAT_OF_PROMPTS, load_baseline
from archon_eval.report.gate import GateOutcome, GateThresholds, check_regression
from archon_eval.runs.progress import EvalProgressCallback
from archon_eval.runs.read_log import find_single_log, read_run
from archon_eval.runs.run_eval import Eval
from archon_eval.runs.run_lm_eval import run_plan


def run_gate(
    baseline: str | os.PathLike[str],
    source: Eval | Path,
    folder: Path,
    *,
    limits: GateThresholds | None = None,
    scorer: str | None = None,
    metric: str | None = None,
    ignore_prompts: bool = False,
    on_progress: EvalProgressCallback = lambda progress: None,
) -> GateOutcome:
    """Compare a finished log, or an eval that is run now with its log in `folder`, with a baseline file.

    Args:
        scorer, metric: as for `read_run`; None for the baseline's.
        ignore_prompts: whether the run may have been asked with other prompts than the baseline.
        on_progress: called with how far the eval is.
    """
    limits, door = limits or GateThresholds(), ""
    try:
        expected = load_baseline(baseline)
        if isinstance(source, Eval):
            source, choice = source.choose_door()
            door = choice.sentence
            if expected.format < FORMAT_OF_PROMPTS and choice.door == "model" and not ignore_prompts:
                raise DataError(
                    f"baseline {baseline}, of an earlier version, does not say what was sent, and that version's gate "
                    "would have replaced this task's own solver: save it again, or --ignore-prompts"
                )
        log = run_plan(source, folder, on_progress) if isinstance(source, Eval) else find_single_log(source)
        run = read_run(
            log,
            scorer or expected.scorer,
            missing="drop",
            metric=metric or expected.metric or None,
            ignore_prompts=ignore_prompts,
        )
        outcome = check_regression(expected, run, limits)
    except ArchonError as exc:
        outcome = GateOutcome(2, (str(exc),), limits)
    return replace(outcome, door=door, notes=(*filter(None, [door]), *outcome.notes))
