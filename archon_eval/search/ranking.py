"""Ranks the models before the search: every model alone, and every model as fuser of the same candidates."""

from collections.abc import Mapping
from random import Random

from archon_eval.architecture.spec import Architecture
from archon_eval.errors import BudgetSpentError, SearchError
from archon_eval.search.config import SearchSettings
from archon_eval.search.progress import ProgressReporter
from archon_eval.search.requests import build_from_layers, build_request, build_single_model
from archon_eval.search.scheduler import TrialScheduler
from archon_eval.search.trial import TrialRequest

FUSER_RANKING_MODELS = 10
"""Random models whose candidates a fuser is ranked on (v6 section 3.3)."""


def rank_models(
    scheduler: TrialScheduler, progress: ProgressReporter, *, fuse: bool = True
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The models as generators and as fusers, best first, without those that cannot be used.

    Args:
        fuse: whether fusers can be asked at all; without, they are in the order of the generators.

    Raises:
        SearchError: no model can be used, or the budget is spent.
    """
    settings = scheduler.settings
    if settings.skip_ranking:
        return settings.models, settings.fuser_models
    alone = {model: build_single_model(model) for model in settings.models}
    generators = _rank_role("generator", alone, scheduler, progress=progress)
    fusers = settings.fusers or generators
    if len(fusers) == 1 or not fuse:
        return generators, fusers
    some = Random(settings.seed).sample(sorted(generators), min(FUSER_RANKING_MODELS, len(generators)))
    fused = {model: build_from_layers(model, {"generator": some}, {"fuser": model}) for model in fusers}
    return generators, _rank_role("fuser", fused, scheduler, progress=progress)


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


def _rank_role(
    role: str, architectures: Mapping[str, Architecture], scheduler: TrialScheduler, *, progress: ProgressReporter
) -> tuple[str, ...]:
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
    scores: dict[str, float] = {}
    for model, trial in zip(architectures, trials, strict=True):
        if trial.performance is None:
            progress.notes.append(f"{model} is left out as a {role}: {trial.error}")
            continue
        scores[model] = trial.performance
        if trial.note:
            progress.notes.append(f"{model} as a {role}: {trial.note}")
    if not scores:
        task = scheduler.settings.tasks[0].name
        raise SearchError(f"no model can be used as a {role} on {task}; the first: {trials[0].error}")
    return tuple(sorted(scores, key=lambda model: -scores[model]))
