"""Inspect logs as evals write them, made from scores by question."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalMetric,
    EvalResults,
    EvalSample,
    EvalScore,
    EvalSpec,
    write_eval_log,
)
from inspect_ai.model import GenerateConfig, ModelOutput
from inspect_ai.scorer import Score


def build_account(name: str = "system", calls: int = 3, **more: Any) -> dict[str, Any]:
    """The account of one question, as the solver leaves it."""
    totals = {"calls": calls, "input_tokens": 100 * calls, "output_tokens": 50 * calls, "dollars": 0.001 * calls}
    layers = [
        {**totals, "calls": calls - 1, "kind": "generator", "candidates": calls - 1, "seconds": 1.0},
        {**totals, "calls": 1, "kind": "fuser", "candidates": 1, "seconds": 2.0},
    ]
    fingerprint = f"{abs(hash(name)):016x}"[:16]
    return {
        "architecture": name,
        "fingerprint": fingerprint,
        **totals,
        "notes": {},
        "layers": layers,
        "seconds": 2.0,
        **more,
    }


def write_log(
    path: Path,
    scores: Mapping[str, Sequence[Any]],
    *,
    name: str = "system",
    task: str = "bench",
    text: str = "What is {id}?",
    answer: str = "the answer",
    subjects: Mapping[str, str] | None = None,
    judge: str = "",
    facts: Mapping[str, Any] | None = None,
    status: str = "success",
    scorer: str = "right",
    plain: bool = False,
    solver: str = "generate",
    version: int = 1,
    temperature: float | None = None,
    **more: Any,
) -> Path:
    """One finished eval: question -> score of each epoch; None is a sample that failed.

    `plain` is an eval of the model `name` without an architecture, by the `solver`.
    """
    samples = []
    for id, values in scores.items():
        for epoch, value in enumerate(values, 1):
            metadata: dict[str, Any] = {} if plain else {"archon": build_account(name, **more)}
            if subjects:
                metadata["subject"] = subjects[id]
            judged = {"judgments": [{"judge": judge}], "prompt": {"name": "pair", "digest": "d1"}} if judge else {}
            samples.append(
                EvalSample(
                    id=id,
                    epoch=epoch,
                    input=text.format(id=id),
                    target="42",
                    metadata=metadata,
                    output=ModelOutput.from_content("archon/x", answer.format(id=id, name=name)),
                    scores=None
                    if value is None
                    else {scorer: Score(value=value, metadata={**judged, **(facts or {})})},
                    error=None if value is not None else _build_error(),
                )
            )
    spec = EvalSpec(
        created="2026-01-01T00:00:00+00:00",
        task=task,
        task_version=version,
        dataset=EvalDataset(name=task, samples=len(scores)),
        model=name if plain else "none/none",
        config=EvalConfig(),
        solver=solver if plain else "archon",
        model_generate_config=GenerateConfig(temperature=temperature),
        solver_args={} if plain else {"architecture": name},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_eval_log(EvalLog(status=status, eval=spec, samples=samples), str(path))  # type: ignore[arg-type]
    return path


def write_scored_log(
    path: Path,
    scores: Mapping[str, Sequence[Score]],
    *,
    scorer: str,
    name: str = "system",
    task: str = "bench",
    metrics: Mapping[str, float] | None = None,
    reducer: str | None = None,
    metadata: Mapping[str, Mapping[str, Any]] | None = None,
    others: Sequence[str] = (),
) -> Path:
    """One finished eval of the model `name`: question -> score of each epoch, as a scorer leaves it.

    Args:
        scorer: registered name, such as `archon_eval/arena_hard`; the samples have it without the package.
        metrics: the log's own figures.
        metadata: of samples, by question.
        others: further scorers of the eval, without scores.
    """
    short = scorer.rpartition("/")[2]
    samples = [
        EvalSample(
            id=id,
            epoch=epoch,
            input=f"What is {id}?",
            target="42",
            metadata=dict((metadata or {}).get(id, {})),
            output=ModelOutput.from_content(name, "the answer"),
            scores={short: score},
        )
        for id, values in scores.items()
        for epoch, score in enumerate(values, 1)
    ]
    spec = EvalSpec.model_validate(
        {
            "created": "2026-01-01T00:00:00+00:00",
            "task": task,
            "dataset": {"name": task, "samples": len(scores)},
            "model": name,
            "config": {},
            "scorers": [{"name": name} for name in (scorer, *others)],
        }
    )
    figures = {key: EvalMetric(name=key, value=value) for key, value in (metrics or {}).items()}
    results = EvalResults(scores=[EvalScore(name=short, scorer=short, reducer=reducer, metrics=figures)])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_eval_log(EvalLog(status="success", eval=spec, samples=samples, results=results), str(path))
    return path


def _build_error() -> Any:
    from inspect_ai.log import EvalError

    return EvalError(message="the model is gone", traceback="", traceback_ansi="")
