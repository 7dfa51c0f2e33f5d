"""Goes through the stages of a search: rank models, try architectures, confirm finalists, report on the held-out rest.

    result = search(SearchSettings(tasks=..., models=...), Path("out"), run)

Every finished eval is in the folder's journal before anything is decided from it, and decisions depend on the journal
and the seed alone: the same command after a crash goes on where it stopped. The 80% that the search may not see are
asked once, by the winner, the best single model and the best of n samples.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from archon_eval.errors import SearchError
from archon_eval.runs.door import DoorChoice
from archon_eval.search.budget import BudgetLedger
from archon_eval.search.config import SearchSettings
from archon_eval.search.confirm import Confirmation, Confirmed
from archon_eval.search.executors import SubmitEval
from archon_eval.search.held_out import report_held_out
from archon_eval.search.journal import Journal
from archon_eval.search.optimizer import Optimizer, SmacChoices
from archon_eval.search.optimizers import build_optimizer
from archon_eval.search.prepare import (
    PlannedArchitecture,
    PlannedSpace,
    describe_split,
    plan_space,
    prepare_questions,
)
from archon_eval.search.progress import ProgressReporter, SearchProgress
from archon_eval.search.ranking import rank_models
from archon_eval.search.scheduler import AGENT_TURNS, TrialScheduler
from archon_eval.search.trial import Trial
from archon_eval.search.trial_loop import TrialLoop

OUTPUT_FILES = ("best.yaml", "trials.csv", "summary.json")
"""What a search writes at its end."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What the stages found; `summary` makes files and words of it."""

    settings: SearchSettings
    generators: tuple[str, ...]
    """The models ranked as generators, best first."""
    fusers: tuple[str, ...]
    options: tuple[PlannedArchitecture, ...]
    """The space."""
    tried: tuple[tuple[PlannedArchitecture, Trial], ...]
    """In the order told."""
    estimate: Mapping[str, tuple[float, float]]
    """Trial key -> the surrogate's mean and deviation of its performance."""
    finalists: tuple[Confirmed, ...]
    """Best first."""
    winner: str
    """A trial's key, or `single`: no architecture beats the best single model."""
    report: Mapping[str, Trial]
    """`winner`, `single` and `best-of-n` on the held-out questions; without those that the budget did not allow."""
    ledger: BudgetLedger
    notes: tuple[str, ...]
    doors: Mapping[str, DoorChoice] = field(default_factory=dict)
    """Task -> how architectures answered it."""


def search(
    settings: SearchSettings,
    folder: Path,
    run: SubmitEval,
    *,
    workers: int = 1,
    on_progress: Callable[[SearchProgress], None] = lambda progress: None,
) -> SearchResult:
    """Run a search in a folder, or go on with the one that is there.

    Args:
        run: where evals run (`executors.local`, `executors.dask`).
        workers: how many trials are under way at once.
        on_progress: told of every step.

    Raises:
        SearchError: it cannot be run as asked, or the folder holds another search.
    """
    splits, digest, doors = prepare_questions(settings)
    journal = Journal(folder)
    try:
        _check_same_search(journal, settings, digest, doors=doors, folder=folder)
        scheduler = TrialScheduler(settings, folder, journal, run=run, splits=splits, doors=doors)
        return SearchRun(scheduler, journal, workers=workers, on_progress=on_progress).run()
    finally:
        journal.close()


def _check_same_search(
    journal: Journal, settings: SearchSettings, digest: str, *, doors: Mapping[str, DoorChoice], folder: Path
) -> None:
    taken = {task: choice.door for task, choice in doors.items()}
    header = {"settings": settings.identity, "data": digest, "each": settings.digests, "doors": taken}
    for line in journal.list_entries("search"):
        changed = [name for name, value in settings.digests.items() if value != line.get("each", {}).get(name)]
        if line["settings"] != header["settings"]:
            raise _make_other_search_error(folder, f"other settings ({', '.join(changed)})")
        before = line.get("doors", dict.fromkeys(taken, "solver"))  # there was no other in earlier versions
        for task, choice in doors.items():
            if before.get(task) != choice.door:
                raise SearchError(
                    f"{folder} holds a search through another door ({task}: {before.get(task)}), and this one's is "
                    f"{choice.door} ({choice.reason}): choose another -o, or --door"
                )
        if line["data"] != header["data"]:
            raise _make_other_search_error(folder, "other data or prompts")
        return
    for name in OUTPUT_FILES:
        if (folder / name).exists():
            raise SearchError(f"{folder} has a {name}, and no search of its own: choose another -o, or move it")
    journal.add("search", {**header, "start": str(Path.cwd())})


def _make_other_search_error(folder: Path, difference: str) -> SearchError:
    return SearchError(f"{folder} holds a search with {difference}: choose another -o, or remove it")


class SearchRun:
    """One process's way through the stages."""

    def __init__(
        self,
        scheduler: TrialScheduler,
        journal: Journal,
        *,
        workers: int,
        on_progress: Callable[[SearchProgress], None],
    ) -> None:
        self._settings, self._scheduler, self._journal = scheduler.settings, scheduler, journal
        self._workers, self._began = workers, time.monotonic()
        self._progress = ProgressReporter(scheduler.ledger, on_progress)

    def run(self) -> SearchResult:
        """All stages, or what the journal does not have of them yet."""
        tools = self._find_tools()
        self._progress.report("ranking models")
        generators, fusers = rank_models(self._scheduler, self._progress, fuse=not tools)
        self._progress.report("planning the space")
        turns = self._scheduler.ledger.turns
        space = PlannedSpace.build(self._settings, generators, fusers, turns=turns, with_tools=tools)
        self._progress.notes += filter(None, [describe_split(self._settings, self._scheduler.splits), *space.notes])
        optimizer = self._build_optimizer(space)
        confirmation = Confirmation(self._settings, self._scheduler, space, journal=self._journal, model=generators[0])
        tried = TrialLoop(
            self._scheduler,
            space,
            optimizer,
            confirmation=confirmation,
            journal=self._journal,
            progress=self._progress,
            workers=self._workers,
            began=self._began,
        ).run()
        finalists = confirmation.confirm(optimizer, tried, self._progress.make_step("confirming finalists"))
        report, report_notes = report_held_out(
            finalists[0].key,
            finalists[0].trial.architecture,
            self._scheduler,
            journal=self._journal,
            model=generators[0],
            on_progress=self._progress.make_step("reporting on the held-out questions"),
        )
        estimate = optimizer.estimate()
        means = {t.key: (float(estimate[0][n]), float(estimate[1][n])) for n, t in tried.items()} if estimate else {}
        return SearchResult(
            settings=self._settings,
            generators=generators,
            fusers=fusers,
            options=space.options,
            tried=tuple((space.options[number], trial) for number, trial in tried.items()),
            estimate=means,
            finalists=tuple(finalists),
            winner=finalists[0].key,
            report=report,
            ledger=self._scheduler.ledger,
            notes=(*self._progress.notes, *confirmation.notes, *report_notes),
            doors=self._scheduler.doors,
        )

    def _find_tools(self) -> tuple[str, ...]:
        """The tasks that offer tools; refuses a space of which nothing can be asked with them."""
        tools = self._scheduler.find_tools()
        if tools:
            plan_space(self._settings, self._settings.models, self._settings.fuser_models, first=True, with_tools=tools)
            self._progress.notes.append(
                f"{', '.join(tools)} offers tools: architectures with fusers or unit tests are not in the space, and "
                f"budgets reserve {AGENT_TURNS} turns of an agent per question"
            )
        return tools

    def _build_optimizer(self, space: PlannedSpace) -> Optimizer:
        settings = self._settings
        return build_optimizer(
            settings.algorithm,
            [option.configuration for option in space.options],
            space.calls,
            penalty=settings.cost_weight * space.cost,
            seed=settings.seed,
            pareto=space.cost if settings.pareto else None,
            last_calls=space.last_calls,
            choices=SmacChoices(**{field.name: getattr(settings, field.name) for field in fields(SmacChoices)}),
        )
