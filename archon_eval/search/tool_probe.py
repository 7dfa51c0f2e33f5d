"""Which tasks of a search offer tools, found out before anything is paid."""

from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from archon_eval.engine.engine import TOOLS_REFUSED
from archon_eval.errors import WorkerLostError
from archon_eval.runs.door import DoorChoice
from archon_eval.runs.eval_worker import EvalJob, EvalResult
from archon_eval.runs.executors import SubmitEval
from archon_eval.search.config import SearchSettings
from archon_eval.search.journal import Journal
from archon_eval.search.requests import build_from_layers
from archon_eval.search.trial import QuestionSplits

MAX_PROBES = 3
"""How often a probe is begun whose worker dies."""
_PROBE_MODEL = "sim/gpt-4o"


def find_tasks_with_tools(
    settings: SearchSettings,
    splits: QuestionSplits,
    doors: Mapping[str, DoorChoice],
    *,
    folder: Path,
    journal: Journal,
    submit: SubmitEval,
) -> tuple[str, ...]:
    """The keys of the tasks that offer tools, of those whose own solver asks the architecture.

    Each is asked one question by an architecture of simulated models that cannot be asked with tools: where it is
    refused, there are some. No call is paid. The journal remembers what was found.
    """
    asked = [task for task in settings.tasks if task.harness == "inspect"]
    asked = [task for task in asked if task.key in doors and doors[task.key].door == "model"]
    for line in journal.list_entries("tools"):
        if line["asked"] == [task.key for task in asked]:
            return tuple(line["offered"])
    architecture = build_from_layers("tools", {"generator": _PROBE_MODEL}, {"fuser": _PROBE_MODEL}).to_mapping()
    jobs = {
        task.key: EvalJob(
            key=f"tools@{task.key}",
            architecture=architecture,
            task=task,
            questions=tuple(splits[task.key]["dev"])[:1],
            log_dir=str(folder / "probe"),
            door="model",
        )
        for task in asked
    }
    futures = {key: submit(job) for key, job in jobs.items()}
    results = {key: _wait_for_probe(jobs[key], future, submit) for key, future in futures.items()}
    offered = [
        key
        for key, result in results.items()
        if any(TOOLS_REFUSED in why for why in (result.error, *result.failed.values()))
    ]
    if asked:
        journal.add("tools", {"asked": [*results], "offered": offered})
    return tuple(offered)


def _wait_for_probe(job: EvalJob, future: "Future[EvalResult]", submit: SubmitEval) -> EvalResult:
    """The result of an eval that costs nothing, begun again where its worker dies."""
    for _ in range(MAX_PROBES - 1):
        with suppress(WorkerLostError):
            return future.result()
        future = submit(job)
    return future.result()
