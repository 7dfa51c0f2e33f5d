"""What the answers of a run took on average: in all, per model and per layer.

average_usages(read_answer_usages(path, log)).cost["calls"]        # 11.0
"""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from archon_eval._notes import ArchonNote
from archon_eval.architecture.component_types import BUILT_IN_COMPONENTS
from archon_eval.architecture.flags import apply_flags
from archon_eval.architecture.spec import Architecture
from archon_eval.architecture.user_code import forbid_user_code
from archon_eval.components import build_component
from archon_eval.errors import ArchonError
from archon_eval.models.conversion import read_settings
from archon_eval.models.usage_totals import UsageTotals
from archon_eval.runs.account import QuestionAccount
from archon_eval.runs.answer_usage import AnswerUsage
from archon_eval.runs.benchmark_run import COST_NAMES, MODEL_COST_NAMES, LayerUsage


@dataclass(frozen=True, slots=True)
class AverageUsage:
    """What the answers of a run took on average; the fields are those of `Run`."""

    cost: Mapping[str, float | None]
    unknown_costs: Mapping[str, str]
    cost_by_model: Mapping[str, Mapping[str, float | None]]


def average_usages(usages: Sequence[AnswerUsage]) -> AverageUsage:
    """Means over answers, of which none is known where it is unknown of one answer: no part passes for the whole."""
    problems = [usage.find_problems() for usage in usages]
    costs = [usage.get_costs() for usage in usages]
    unknown = {name: _describe_problems([found.get(name, ()) for found in problems]) for name in COST_NAMES}
    unknown = {name: why or "no answer without an error" for name, why in unknown.items() if why or not usages}
    return AverageUsage(
        cost={name: _average([cost[name] for cost in costs]) for name in COST_NAMES},
        unknown_costs=unknown,
        cost_by_model=_average_models(usages) if all(usage.has_models for usage in usages) else {},
    )


def _average_models(usages: Sequence[AnswerUsage]) -> dict[str, dict[str, float | None]]:
    """Model -> a name of MODEL_COST_NAMES -> its mean; None where that cost is unknown of an answer."""
    unsaid = {name for usage in usages for name in usage.unknown}
    each = [usage.models for usage in usages]
    models = sorted({model for models in each for model in models})
    averages: dict[str, dict[str, float | None]] = {}
    for model in models:
        costs = [AnswerUsage(other={model: models.get(model, UsageTotals())}).get_costs() for models in each]
        averages[model] = {
            name: None if name in unsaid else _average([cost[name] for cost in costs]) for name in MODEL_COST_NAMES
        }
    return averages


def _describe_problems(reasons: Sequence[Sequence[str]]) -> str:
    """The reasons of all answers, each with how many answers it holds for where not for all."""
    counts = Counter(reason for each in reasons for reason in dict.fromkeys(each))
    total = len(reasons)
    return "; ".join(
        reason if count == total else f"{reason} in {count} of {total} answers" for reason, count in counts.items()
    )


def summarize_layers(
    accounts: Sequence[QuestionAccount], architecture: Architecture | None = None, *, questions: int | None = None
) -> tuple[LayerUsage, ...]:
    """Means per layer and question.

    Args:
        accounts: of one architecture.
        architecture: the same, where it is known: it names the models of built-in components.
        questions: how many the accounts are of, since a question may have several; None: one each.
    """
    summaries = []
    questions = questions or len(accounts)
    numbered = [account.numbered_layers for account in accounts]
    for place, number in enumerate(sorted({number for layers in numbered for number in layers}), 1):
        layers = [layers[number] for layers in numbered if number in layers]
        specs = architecture.layers[number - 1] if architecture is not None else ()
        if specs and all(spec.kind in BUILT_IN_COMPONENTS for spec in specs):
            pairs = [pair for spec in specs for pair in build_component(spec, f"layer {number}").list_models()]
            models = tuple(model for model, count in pairs if model for _ in range(count))
        else:  # a log must not bring code of a user's to run
            models = tuple(part.model for part in layers[0].components)
        total = UsageTotals.add_up(layer.usage for layer in layers)
        summaries.append(
            LayerUsage(
                kind=layers[0].kind,
                components=models,
                candidates=fmean(layer.candidates for layer in layers),
                calls=total.calls / questions,
                tokens=None if total.calls_without_usage else total.tokens / questions,
                dollars=None if total.dollars is None else total.dollars / questions,
                number=0 if number == place else number,
            )
        )
    return tuple(summaries)


def reload_architecture(log: Any, fingerprint: str) -> Architecture | None:
    """The architecture that answered, where the arguments in the log still lead to the same one.

    None where a component, a solver or a function of a user's own is in it: a log must not have a module imported.
    """
    from archon_eval.architecture.load import list_named_code, load_architecture
    from archon_eval.simulation.model_names import parse_model_names

    args = log.eval.solver_args or log.eval.model_args or {}
    source = args.get("architecture") or str(log.eval.model).removeprefix("archon/")
    try:
        if list_named_code(source):
            return None
        models, fusers, judges = (parse_model_names(args.get(name), name) for name in ("models", "fusers", "judges"))
        # the run itself has shown the notes
        with warnings.catch_warnings(action="ignore", category=ArchonNote), forbid_user_code():
            architecture = load_architecture(source, models, fusers=fusers, judges=judges)
    except (ArchonError, OSError):
        return None
    if architecture.fingerprint == fingerprint:
        return architecture
    typed = replace(read_settings(log.eval.model_generate_config), seed=None)
    flagged = apply_flags(architecture, typed)
    return flagged if flagged.fingerprint == fingerprint else None


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None
