"""Ranks the models before the search: every model alone, and every model as fuser of the same candidates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from archon_eval.architecture.spec import Architecture
from archon_eval.errors import BudgetSpentError, SearchError
from archon_eval.runs.model_ranking import RankedModel, rank_role_scores, score_role
from archon_eval.search.config import SearchSettings
from archon_eval.search.controls import Control, ControlBuilder
from archon_eval.search.progress import ProgressReporter
from archon_eval.search.requests import build_from_layers, build_request, build_single_model
from archon_eval.search.scheduler import TrialScheduler
from archon_eval.search.trial import Trial, TrialRequest

FUSER_RANKING_MODELS = 10
"""Random models whose candidates a fuser is ranked on (v6 section 3.3)."""
RANKED_FUSER = "ranked-fuser"
"""The best fuser as it was ranked, among the finalists."""


@dataclass(frozen=True, slots=True)
class RankingResult:
    """The models in order, and the evals that say so, each a full one on the dev questions."""

    generators: tuple[str, ...]
    """Best first, without those that cannot be used."""
    fusers: tuple[str, ...]
    generation: Mapping[str, Trial] = field(default_factory=dict)
    """Model -> its trial alone, of those that are left out too; empty where models were not ranked."""
    fusion: Mapping[str, Trial] = field(default_factory=dict)
    """Model -> its trial as fuser of the candidates of up to ten models; empty where fusers were not ranked."""

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All that have a score: single models and fusers, which are architectures like others."""
        trials = (*self.generation.values(), *self.fusion.values())
        return tuple(trial for trial in trials if trial.performance is not None)

    @property
    def table(self) -> tuple[RankedModel, ...]:
        """A row per model, the best generator first; empty where models were not ranked."""
        generation, fusion = (
            {model: score_role(trial) for model, trial in trials.items()} for trials in (self.generation, self.fusion)
        )
        return rank_role_scores(generation, fusion)

    @property
    def note(self) -> str:
        """Why there is no table, or none of fusion; empty where there is."""
        if not self.generation:
            return "there is no ranking table: the models were taken in the order given (--skip-ranking)"
        return "" if self.fusion else "the ranking table has no fusion scores: there were no fusers to choose between"


def rank_models(scheduler: TrialScheduler, progress: ProgressReporter, *, fuse: bool = True) -> RankingResult:
    """The models as generators and as fusers, best first, without those that cannot be used.

    Args:
        fuse: whether fusers can be asked at all; without, they are in the order of the generators.

    Raises:
        SearchError: no model can be used, or the budget is spent.
    """
    settings = scheduler.settings
    if settings.skip_ranking:
        return RankingResult(settings.models, settings.fuser_models)
    alone = {model: build_single_model(model) for model in settings.models}
    generation = _rank_role("generator", alone, scheduler, progress=progress)
    generators = _list_best(generation)
    fusers = settings.fusers or generators
    if len(fusers) == 1 or not fuse:
        return RankingResult(generators, fusers, generation)
    some = Random(settings.seed).sample(sorted(generators), min(FUSER_RANKING_MODELS, len(generators)))
    names = {model: f"{model} fuses {len(some)} models" for model in fusers}  # the best of them may be the winner
    fused = {model: build_from_layers(names[model], {"generator": some}, {"fuser": model}) for model in fusers}
    fusion = _rank_role("fuser", fused, scheduler, progress=progress)
    return RankingResult(generators, _list_best(fusion), generation, fusion)


def list_ranking_requests(settings: SearchSettings) -> list[tuple[TrialRequest, int]]:
    """What ranking asks if all models can be used, each with how many of its calls those before it have paid for."""
    if settings.skip_ranking:
        return []
    requests = [(build_request(settings, "", build_single_model(model), part="dev"), 0) for model in settings.models]
    some = settings.models[:FUSER_RANKING_MODELS]
    for model in settings.fuser_models if len(settings.fuser_models) > 1 else ():
        fused = build_from_layers(model, {"generator": list(some)}, {"fuser": model})
        requests.append((build_request(settings, "", fused, part="dev"), len(some)))
    return requests


def build_baselines(
    controls: ControlBuilder, settings: SearchSettings, fused: Architecture | None
) -> dict[str, Control]:
    """What is a finalist without having been searched for: the best fuser as it was ranked, on the candidates of
    several models; and best of n and majority of the best single model, at about as many calls. Later ones share calls
    with earlier ones.

    Args:
        fused: that fuser's; None where fusers were not ranked.
    """
    if not settings.chooses_draws:
        return {}
    ranked = {RANKED_FUSER: Control(fused, 0)} if fused else {}
    return {**ranked, **controls.build(FUSER_RANKING_MODELS + 1)}


def _rank_role(
    role: str, architectures: Mapping[str, Architecture], scheduler: TrialScheduler, *, progress: ProgressReporter
) -> dict[str, Trial]:
    """The trial of each model; at least one has a score."""
    requests = [
        build_request(scheduler.settings, f"rank/{role}/{model}", architecture, part="dev")
        for model, architecture in architectures.items()
    ]
    try:
        trials = scheduler.run_all(requests, progress.make_step(f"ranking models as {role}s"))
    except BudgetSpentError as exc:
        raise SearchError(
            f"the budget is spent while ranking models as {role}s ({exc}); raise it, or name models best first "
            "and use --skip-ranking"
        ) from None
    for model, trial in zip(architectures, trials, strict=True):
        if trial.performance is None:
            progress.notes.append(f"{model} is left out as a {role}: {trial.error}")
        elif trial.note:
            progress.notes.append(f"{model} as a {role}: {trial.note}")
    ranked = dict(zip(architectures, trials, strict=True))
    if not _list_best(ranked):
        task = scheduler.settings.tasks[0].name
        raise SearchError(f"no model can be used as a {role} on {task}; the first: {trials[0].error}")
    return ranked


def _list_best(trials: Mapping[str, Trial]) -> tuple[str, ...]:
    """The models with a score, best first."""
    scores = {model: trial.performance for model, trial in trials.items() if trial.performance is not None}
    return tuple(sorted(scores, key=lambda model: -scores[model]))
