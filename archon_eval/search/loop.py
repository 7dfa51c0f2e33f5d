"""Goes through the stages of a search: rank models, try architectures, confirm finalists, report on the held-out rest.

    result = search(SearchSettings(tasks=..., models=...), Path("out"), run)

Every finished eval is in the folder's journal before anything is decided from it, and decisions depend on the journal
and the seed alone: the same command after a crash goes on where it stopped. The 80% that the search may not see are
asked once, by the winner, the best single model and the best of n samples.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from archon_eval.architecture.spec import Architecture
from archon_eval.engine.plan import plan
from archon_eval.errors import SearchError
from archon_eval.models.open_store import open_store
from archon_eval.models.prices import load_prices
from archon_eval.models.store_address import is_server
from archon_eval.runs.door import DoorChoice
from archon_eval.runs.executors import DaskExecutor, SubmitEval
from archon_eval.runs.log_folder import LogFolder
from archon_eval.runs.split_jobs import JobSplitter
from archon_eval.search.budget import BudgetLedger
from archon_eval.search.choose_winner import choose_candidate, is_shown_better
from archon_eval.search.config import SearchSettings
from archon_eval.search.confirm import SINGLE, Confirmation, Confirmed
from archon_eval.search.controls import Control, ControlBuilder
from archon_eval.search.deviations import estimate_value
from archon_eval.search.held_out import WINNER, report_held_out
from archon_eval.search.journal import Journal
from archon_eval.search.minimal_budget import require_budget, restrict_space
from archon_eval.search.optimizer import Optimizer, SmacChoices
from archon_eval.search.optimizers import build_optimizer
from archon_eval.search.prepare import (
    PlannedArchitecture,
    PlannedSpace,
    check_requirements,
    describe_overflows,
    describe_split,
    list_required,
    plan_space,
    prepare_questions,
)
from archon_eval.search.progress import ProgressReporter, SearchProgress, record_session
from archon_eval.search.proposal_registry import summarize_proposals
from archon_eval.search.proposer import build_registry
from archon_eval.search.ranked_forecast import describe_forecasts, forecast_run
from archon_eval.search.ranking import RankingResult, build_baselines, rank_models
from archon_eval.search.scheduler import AGENT_TURNS, TrialScheduler, find_store, is_replay
from archon_eval.search.space import Array
from archon_eval.search.task_facts import TaskFacts
from archon_eval.search.trial import Trial
from archon_eval.search.trial_loop import TrialLoop
from archon_eval.search.user_optimizers import build_user_optimizer, does_propose
from archon_eval.search.worker_check import build_checks, leave_word

Estimated = tuple[float | None, float | None]
"""Performance and its deviation, as `estimate_value` has them."""
CANDIDATE = "candidate"
OUTPUT_FILES = ("best.yaml", "trials.csv", "ranking.csv", "summary.json", "candidate.yaml")
"""What a search writes at its end; no ranking.csv where models were not ranked, and no candidate.yaml where an
architecture is the winner."""


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
    estimate: Mapping[str, Estimated]
    """Trial key -> its performance as the surrogate sees it, or as it scored without one, and the deviation of that."""
    finalists: tuple[Confirmed, ...]
    """Best first."""
    winner: str
    """A trial's key, or `single`: no architecture is shown better than the best single model."""
    report: Mapping[str, Trial]
    """On the held-out questions: `winner`, `single`, `best-of-n`, `majority`, and as `candidate` the architecture that
    is not shown better than the single model, which is then the winner."""
    ledger: BudgetLedger
    notes: tuple[str, ...]
    doors: Mapping[str, DoorChoice] = field(default_factory=dict)
    """Task -> how architectures answered it."""
    ranking: RankingResult = field(default_factory=lambda: RankingResult((), ()))
    """The evals that ranked the models."""
    candidate: str = ""
    """The key of the candidate's trial; empty where the winner is an architecture, or none was a candidate."""

    has_surrogate: bool = True
    """Whether `estimate` is a model's."""

    forecast: Mapping[str, Any] = field(default_factory=dict)
    """What the search was expected to take, see `forecast_run`."""
    proposals: Mapping[str, Any] = field(default_factory=dict)
    """What was proposed and what came of it, see `summarize_proposals`; empty where no model proposes."""

    @property
    def architecture(self) -> Architecture:
        """The winner's."""
        confirmed = self.confirmed_winner
        if confirmed is not None:
            return confirmed.trial.architecture
        return (self.report.get(WINNER) or self.finalists[0].trial).architecture

    @property
    def confirmed_winner(self) -> Confirmed | None:
        """The winner as it was confirmed; None where the best single model could not be."""
        return next((finalist for finalist in self.finalists if finalist.key == self.winner), None)


def search(
    settings: SearchSettings,
    folder: Path,
    run: SubmitEval,
    *,
    workers: int = 1,
    log_dir: str | Path | None = None,
    shards: int = 1,
    on_progress: Callable[[SearchProgress], None] = lambda progress: None,
) -> SearchResult:
    """Run a search in a folder, or go on with the one that is there.

    Args:
        run: where evals run (`archon_eval.search.local`, `archon_eval.search.dask`).
        workers: how many trials are under way at once.
        log_dir: where the logs of evals go, a path or an address such as `s3://bucket/logs`; `folder/logs` where it is
            None.
        shards: workers that share the questions of an eval.
        on_progress: told of every step.

    Raises:
        SandboxError: the space has programs to run, and none can be run here.
        SearchError: it cannot be run as asked, or the folder holds another search.
    """
    if shards > 1 and (others := [task.name for task in settings.tasks if task.harness != "inspect"]):
        raise SearchError(f"--shards {shards}: a task of lm-eval ({others[0]}) runs in one process")
    splits, digest, doors, facts = prepare_questions(settings)
    if not isinstance(run, DaskExecutor):  # whose workers are checked one by one
        check_requirements(list_required(settings))
    if not (folder / "search.jsonl").exists():  # what an earlier process paid for needs no budget
        require_budget(settings, splits, facts)
    with closing(Journal(folder)) as journal, ExitStack() as stack:
        _check_same_search(journal, settings, digest, doors=doors, folder=folder)
        logs, store = LogFolder(log_dir or folder / "logs"), find_store(settings, folder)
        logs.check()
        if isinstance(run, DaskExecutor):
            digests = dict(zip(splits, digest.split(), strict=True))
            word = stack.enter_context(leave_word(store))
            for check in build_checks(settings, run, digests=digests, store=store, word=word):
                run.require(check)
        elif is_server(store):
            open_store(store, is_replay(settings)).close()  # before a ranking that would fail in every eval
        with record_session(journal, settings):
            submit = JobSplitter(run, shards) if shards > 1 else run
            scheduler = TrialScheduler(
                settings, folder, journal, run=submit, splits=splits, doors=doors, facts=facts, log_dir=logs.place
            )
            result = SearchRun(scheduler, journal, facts=facts, workers=workers, on_progress=on_progress).run()
            said = run.cluster.notes if isinstance(run, DaskExecutor) else ()
            return replace(result, notes=(*result.notes, *said))


def _check_same_search(
    journal: Journal, settings: SearchSettings, digest: str, *, doors: Mapping[str, DoorChoice], folder: Path
) -> None:
    taken = {task: choice.door for task, choice in doors.items()}
    header: dict[str, Any] = {"settings": settings.identity, "data": digest, "each": settings.digests, "doors": taken}
    header["trial_draws"] = settings.trial_draws
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
        if line.get("trial_draws", settings.trial_draws) != settings.trial_draws:  # fresh ones begin after these
            raise _make_other_search_error(folder, "other settings (draws)")
        if line["data"] != header["data"]:
            raise _make_other_search_error(folder, "other data or prompts")
        return
    for name in OUTPUT_FILES:
        if (folder / name).exists():
            raise SearchError(f"{folder} has a {name}, and no search of its own: choose another -o, or move it")
    journal.add("search", {**header, "start": str(Path.cwd())})


def _estimate_trials(estimate: tuple[Array, Array] | None, tried: Mapping[int, Trial]) -> dict[str, Estimated]:
    """Of every trial with a score, by its key."""
    return {
        trial.key: estimate_value(trial, (float(estimate[0][number]), float(estimate[1][number])) if estimate else None)
        for number, trial in tried.items()
        if trial.performance is not None
    }


def _make_other_search_error(folder: Path, difference: str) -> SearchError:
    return SearchError(f"{folder} holds a search with {difference}: choose another -o, or remove it")


class SearchRun:
    """One process's way through the stages."""

    def __init__(
        self,
        scheduler: TrialScheduler,
        journal: Journal,
        *,
        facts: Mapping[str, TaskFacts],
        workers: int,
        on_progress: Callable[[SearchProgress], None],
    ) -> None:
        self._facts = facts
        self._settings, self._scheduler, self._journal = scheduler.settings, scheduler, journal
        self._workers, self._began = workers, time.monotonic()
        self._progress = ProgressReporter(scheduler.ledger, on_progress, journal)

    def run(self) -> SearchResult:
        """All stages, or what the journal does not have of them yet."""
        tools = self._find_tools()
        self._progress.report("ranking models")
        ranking = rank_models(self._scheduler, self._progress, fuse=not tools)
        generators, fusers = ranking.generators, ranking.fusers
        self._progress.report("planning the space")
        turns = self._scheduler.ledger.turns
        space = PlannedSpace.build(self._settings, generators, fusers, turns=turns, with_tools=tools)
        space, left_out = restrict_space(
            space,
            self._settings,
            self._scheduler.ledger,
            journal=self._journal,
            model=generators[0],
            facts=self._facts,
        )
        split = describe_split(self._settings, self._scheduler.splits)
        forecasts = forecast_run(
            self._scheduler, space, journal=self._journal, generators=generators, fusers=fusers, facts=self._facts
        )
        if expected := describe_forecasts(forecasts):
            self._progress.report("planning the space", note=expected)
        notes = ranking.note, split, *space.notes, describe_overflows(space.options), left_out
        self._progress.notes += filter(None, notes)
        optimizer = self._build_optimizer(space, ranking, tools)
        confirmation = Confirmation(
            self._settings,
            self._scheduler,
            space,
            journal=self._journal,
            model=generators[0],
            facts=self._facts,
            baselines=self._list_baselines(ranking),
        )
        trials = TrialLoop(
            self._scheduler,
            space,
            optimizer,
            confirmation=confirmation,
            journal=self._journal,
            progress=self._progress,
            workers=self._workers,
            began=self._began,
        )
        tried = trials.run()
        finalists = confirmation.confirm(optimizer, tried, self._progress.make_step("confirming finalists"))
        estimate = optimizer.estimate()
        candidate = choose_candidate(
            finalists,
            {trial.key: float(estimate[1][number]) for number, trial in tried.items()} if estimate else {},
            self._settings,
        )
        report, report_notes = report_held_out(
            candidate.trial.architecture if candidate else None,
            self._scheduler,
            ControlBuilder(self._settings, generators[0], self._facts),
            journal=self._journal,
            model=generators[0],
            spend_rest=trials.has_more or bool(left_out),
            on_progress=self._progress.make_step("reporting on the held-out questions"),
        )
        winner, report = self._decide_winner(candidate, report)
        return SearchResult(
            settings=self._settings,
            generators=generators,
            fusers=fusers,
            options=space.options,
            tried=tuple((space.options[number], trial) for number, trial in tried.items()),
            estimate=_estimate_trials(estimate, tried),
            finalists=tuple(finalists),
            winner=winner,
            report=report,
            ledger=self._scheduler.ledger,
            notes=(*self._progress.notes, *self._scheduler.notes, *confirmation.notes, *report_notes),
            doors=self._scheduler.doors,
            ranking=ranking,
            candidate=candidate.key if candidate and winner == SINGLE else "",
            has_surrogate=estimate is not None,
            forecast=forecasts,
            proposals=summarize_proposals(self._journal),
        )

    def _list_baselines(self, ranking: RankingResult) -> dict[str, Control]:
        """What is a finalist without having been searched for, less what exceeds the limits per question."""
        fused = ranking.fusion[ranking.fusers[0]].architecture if ranking.fusion else None
        builder = ControlBuilder(self._settings, ranking.generators[0], self._facts)
        found, prices = build_baselines(builder, self._settings, fused), load_prices(self._settings.prices)
        for name, control in [*found.items()]:
            if exceeded := self._settings.limits.find_exceeded(plan(control.architecture, prices=prices)):
                words = ", ".join(f"{limit} {takes:.4g}" for limit, takes in exceeded.items())
                self._progress.notes.append(f"{name} is no finalist: it exceeds the limits per question ({words})")
                del found[name]
        return found

    def _decide_winner(self, candidate: Confirmed | None, report: Mapping[str, Trial]) -> tuple[str, dict[str, Trial]]:
        """The winner's key, and the trials of the report under the names that they have by that."""
        tested, single = report.get(WINNER), report.get(SINGLE)
        if candidate and tested and not tested.error:
            cannot_compare = single is None or bool(single.error)
            if cannot_compare or (single and is_shown_better(tested, single, self._settings)):
                return candidate.key, dict(report)
        named = {WINNER: report[SINGLE]} if SINGLE in report else {}
        named |= {CANDIDATE if name == WINNER else name: trial for name, trial in report.items()}
        return SINGLE, named

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

    def _build_optimizer(self, space: PlannedSpace, ranking: RankingResult, tools: Sequence[str]) -> Optimizer:
        settings = self._settings
        if does_propose(settings.algorithm):
            registry = build_registry(
                self._scheduler, space, journal=self._journal, ranking=ranking, facts=self._facts, with_tools=tools
            )
            return build_user_optimizer(
                settings.algorithm,
                configurations=[option.configuration for option in space.options],
                calls=space.calls,
                penalty=settings.cost_weight * space.cost,
                seed=settings.seed,
                registry=registry,
            )
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
