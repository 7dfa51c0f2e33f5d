"""What the answers of a run took on average, in all and per layer.

average_cost(samples, records, "openai/gpt-4o")["calls"]        # 11.0
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from archon_eval.architecture.component_types import BUILT_IN_COMPONENTS
from archon_eval.architecture.spec import Architecture
from archon_eval.components import build_component
from archon_eval.errors import ArchonError
from archon_eval.runs.account import QuestionAccount
from archon_eval.runs.benchmark_run import COST_NAMES, LayerUsage
from archon_eval.runs.records import AnswerRecord

Costs = dict[str, float | None]


def average_cost(samples: Sequence[Any], records: Sequence[AnswerRecord], model: str) -> Costs:
    """A name of COST_NAMES -> its mean over the answers that did not fail; None where it is unknown of one.

    Args:
        samples: Inspect's, in the order of the records; read where no architecture answered.
        model: whose usage counts there.
    """
    costs = [
        _sum_turns(record) if record.accounts else _price_usage(sample, model)
        for sample, record in zip(samples, records, strict=True)
        if not record.failed
    ]
    return {name: _average([cost[name] for cost in costs]) for name in COST_NAMES}


def _sum_turns(record: AnswerRecord) -> Costs:
    usage = record.usage
    tokens, calls = float(usage.tokens), float(usage.calls)
    return {"dollars": usage.dollars, "tokens": tokens, "calls": calls, "seconds": usage.seconds}


def _price_usage(sample: Any, model: str) -> Costs:
    """Of an answer without an architecture: its calls are not in the log."""
    from archon_eval.models.prices import load_prices
    from archon_eval.models.replies import to_usage

    usage = to_usage((sample.model_usage or {}).get(model))
    tokens = float(usage.input_tokens + usage.output_tokens) if usage else None
    dollars = load_prices().compute_cost(model, usage)
    return {"dollars": dollars, "tokens": tokens, "calls": None, "seconds": sample.working_time}


def summarize_layers(
    accounts: Sequence[QuestionAccount], architecture: Architecture | None = None
) -> tuple[LayerUsage, ...]:
    """Means per layer over the accounts; models from the architecture, where it is known, of built-in components."""
    summaries = []
    for number in range(max((len(account.layers) for account in accounts), default=0)):
        layers = [account.layers[number] for account in accounts if len(account.layers) > number]
        specs = architecture.layers[number] if architecture is not None else ()
        if specs and all(spec.kind in BUILT_IN_COMPONENTS for spec in specs):
            pairs = [pair for spec in specs for pair in build_component(spec, f"layer {number + 1}").list_models()]
            models = tuple(model for model, count in pairs if model for _ in range(count))
        else:  # a log must not bring code of a user's to run
            models = tuple(part.model for part in layers[0].components)
        summaries.append(
            LayerUsage(
                kind=layers[0].kind,
                components=models,
                candidates=fmean(layer.candidates for layer in layers),
                calls=fmean(layer.usage.calls for layer in layers),
                tokens=fmean(layer.usage.tokens for layer in layers),
                dollars=_average([layer.usage.dollars for layer in layers]),
            )
        )
    return tuple(summaries)


def reload_architecture(log: Any, fingerprint: str) -> Architecture | None:
    """The architecture that answered, where the arguments in the log still lead to the same one.

    None where a component of a user's own is in it: a log must not have a module imported.
    """
    from archon_eval.architecture.load import list_named_kinds, load_architecture
    from archon_eval.simulation.model_names import parse_model_names

    args = log.eval.solver_args or log.eval.model_args or {}
    source = args.get("architecture") or str(log.eval.model).removeprefix("archon/")
    try:
        if not list_named_kinds(source) <= set(BUILT_IN_COMPONENTS):
            return None
        architecture = load_architecture(source, parse_model_names(args.get("models")))
    except (ArchonError, OSError):
        return None
    return architecture if architecture.fingerprint == fingerprint else None


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None
