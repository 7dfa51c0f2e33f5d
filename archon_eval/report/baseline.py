"""The baseline file of a gate: one run's scores, with what must be the same for another run to be compared with it.

save_baseline(read_run("logs/good.eval"), "baseline.json")
baseline = load_baseline("baseline.json")
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archon_eval._files import write_whole
from archon_eval.errors import ArchonError, DataError
from archon_eval.runs.benchmark_run import Run
from archon_eval.stats.metrics import ScoredAnswer, is_mean

BASELINE_FORMAT = FORMAT_OF_PROMPTS = 3
"""Of the file; a later one is refused. Format 1 had plain scores alone, for a metric that is their mean; format 2 did
not say what was sent for a question."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The run that later runs are compared with, as the baseline file keeps it."""

    task: str
    version: str
    scorer: str
    metric: str
    """Its name; empty in a file of format 1."""
    is_mean: bool
    """Whether it is the mean of values, whatever its name."""
    judges: tuple[str, ...]
    name: str
    fingerprint: str
    scored: Mapping[str, tuple[ScoredAnswer, ...]]
    """Question -> the score of each epoch's answer, with what the metric reads besides."""
    digests: Mapping[str, str]
    """Question -> digest of its sample's input, choices and expected answer."""
    cost: Mapping[str, float | None]
    """A name of COST_NAMES -> mean per answer; None is unknown. Older files lack some names."""
    prompts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Question -> what was sent (`archon_eval.runs.prompts`); without those of which the log did not say it."""
    targets: Mapping[str, str] = field(default_factory=dict)
    """Question -> digest of its expected answer; empty in older files."""
    format: int = BASELINE_FORMAT
    asked: Mapping[str, str] = field(default_factory=dict)
    """`Run.asked`; empty in older files."""


def create_baseline(run: Run) -> Baseline:
    """The run as a baseline."""
    questions = {question: run.questions[question] for question in run.scored}
    return Baseline(
        task=run.task,
        version=run.version,
        scorer=run.scorer,
        metric=run.metric.name,
        is_mean=is_mean(run.metric),
        judges=run.judges,
        name=run.name,
        fingerprint=run.fingerprint,
        scored=dict(run.scored),
        digests={id: question.digest for id, question in questions.items()},
        cost=dict(run.cost),
        asked=dict(run.asked),
        prompts={id: question.prompt for id, question in questions.items() if question.prompt},
        targets={id: question.target_digest for id, question in questions.items()},
    )


def save_baseline(run: Run, path: str | os.PathLike[str]) -> None:
    """Write a baseline file: JSON, one question a line, so that a diff shows what changed.

    Raises:
        DataError: the file cannot be written.
    """
    baseline = create_baseline(run)
    head = {
        name: getattr(baseline, name)
        for name in ("format", "task", "version", "scorer", "metric", "is_mean", "judges", "name")
    }
    head |= {
        "fingerprint": baseline.fingerprint,
        "cost": {k: v and round(v, 8) for k, v in baseline.cost.items() if k != "seconds"},
    }
    head |= {"asked": dict(baseline.asked)} if baseline.asked else {}
    lines = [f" {json.dumps(name)}: {json.dumps(value)}," for name, value in head.items()]
    rows = []
    for question, answers in sorted(baseline.scored.items()):
        sent = " ".join(baseline.prompts.get(question, ()))
        row = [baseline.digests[question], baseline.targets[question], sent, *map(_dump_answer, answers)]
        rows.append(f"  {json.dumps(question)}: {json.dumps(row)}")
    text = "\n".join(["{", *lines, ' "questions": {', ",\n".join(rows), " }", "}", ""])
    try:
        write_whole(path, text)
    except OSError as exc:
        raise DataError(f"cannot write baseline {path}: {exc.strerror or exc}") from exc


def load_baseline(path: str | os.PathLike[str]) -> Baseline:
    """Read a baseline file.

    Raises:
        DataError: unreadable, or no baseline of this format.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if data["format"] not in range(1, BASELINE_FORMAT + 1):
            raise DataError(
                f"baseline {path} has format {data['format']}, this version reads 1 to {BASELINE_FORMAT}: save it again"
            )
        questions, first = data["questions"], 3 if data["format"] >= FORMAT_OF_PROMPTS else 1
        told = questions if data["format"] >= FORMAT_OF_PROMPTS else {}
        return Baseline(
            task=str(data["task"]),
            version=str(data["version"]),
            scorer=str(data["scorer"]),
            metric=str(data["metric"]) if data["format"] > 1 else "",
            is_mean=bool(data["is_mean"]) if data["format"] > 1 else True,
            judges=tuple(map(str, data["judges"])),
            name=str(data["name"]),
            fingerprint=str(data["fingerprint"]),
            scored={question: tuple(map(_parse_answer, row[first:])) for question, row in questions.items()},
            digests={question: str(row[0]) for question, row in questions.items()},
            cost={str(name): None if value is None else float(value) for name, value in data["cost"].items()},
            asked={str(name): str(value) for name, value in data.get("asked", {}).items()},
            prompts={question: tuple(str(row[2]).split()) for question, row in told.items() if row[2]},
            targets={question: str(row[1]) for question, row in told.items()},
            format=data["format"],
        )
    except OSError as exc:
        raise DataError(f"cannot read baseline {path}: {exc.strerror or exc}; make one with --save-baseline") from exc
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as exc:
        if isinstance(exc, ArchonError):
            raise
        raise DataError(
            f"{path} is no baseline file ({type(exc).__name__}: {exc}); make one with --save-baseline"
        ) from exc


def _dump_answer(answer: ScoredAnswer) -> Any:
    """The value alone where the metric reads nothing besides."""
    if answer.weight == 1 and not answer.facts:
        return answer.value
    return {"value": answer.value, "weight": answer.weight, "facts": dict(answer.facts)}


def _parse_answer(plain: Any) -> ScoredAnswer:
    if isinstance(plain, Mapping):
        return ScoredAnswer(float(plain["value"]), float(plain["weight"]), dict(plain["facts"]))
    return ScoredAnswer(float(plain))
