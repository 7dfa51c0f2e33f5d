"""Builds the engine of an architecture from a user's options: for the solver, the model providers and plain Python.

engine = build_engine("moa-lite", ["openai/gpt-4o", "openai/gpt-4o-mini"])   # raises for whatever is wrong with them
answer = await engine.run(to_conversation(state.messages), epoch=state.epoch)
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from archon_eval._inspect_compat import make_prerequisite_error
from archon_eval._notes import show_note
from archon_eval.architecture.load import ArchitectureSource, load_architecture
from archon_eval.architecture.spec import Architecture, choose_settings
from archon_eval.components import build_layer
from archon_eval.engine.engine import Engine
from archon_eval.engine.plan import plan
from archon_eval.engine.plan_notes import describe_raised_limits
from archon_eval.errors import ArchitectureError, ArchonError, quote
from archon_eval.integrations.inspect_transcript import TranscriptObserver
from archon_eval.models.budget import Budget, BudgetConfig, require_max_tokens, require_score_price
from archon_eval.models.call import Caller
from archon_eval.models.client import build_client
from archon_eval.models.prices import PriceTable, load_prices
from archon_eval.models.store_base import Store
from archon_eval.simulation.model_names import parse_model_names

PATH_TYPES: Any = str | os.PathLike
OPTION_TYPES: Mapping[str, tuple[Any, str]] = {
    "architecture": (PATH_TYPES | Mapping | Architecture, "a preset's name, a file, a mapping or an Architecture"),
    **dict.fromkeys(
        ("models", "fusers", "judges"),
        (str | Sequence | None, "a list of names such as openai/gpt-4o, or text with commas"),
    ),
    "store": (PATH_TYPES | Store | None, "the path or address of a call store"),
    "store_policy": (str | None, "off, reuse, record or replay"),
    "budget": (str | Mapping | BudgetConfig | Budget | None, "limits such as {eval: {dollars: 20}}"),
    "prices": (PATH_TYPES | PriceTable | None, "the path of a price file"),
    "trace": (str, "full, compact or calls"),
}
"""What each option of `build_engine` may be, and how to say so; what its text may be is checked where it is read."""


def build_engine(
    architecture: ArchitectureSource,
    models: str | Sequence[str] | None,
    *,
    fusers: str | Sequence[str] | None = None,
    judges: str | Sequence[str] | None = None,
    store: str | os.PathLike[str] | Store | None = None,
    store_policy: str | None = None,
    budget: Mapping[str, Any] | str | BudgetConfig | Budget | None = None,
    prices: str | os.PathLike[str] | PriceTable | None = None,
    trace: str = "full",
) -> Engine:
    """The engine of an architecture with its models looked up.

    Args:
        architecture: a preset's name, a file or a mapping.
        models: fill its placeholders, strongest first.
        fusers, judges: fill those of components that fuse, and of those that judge or write tests, instead of `models`.
        store: path or address of the call store; the environment variable ARCHON_STORE where it is None.
        store_policy: off, reuse (the default with a store), record or replay.
        budget: hard limits, `{question: {calls: 50}, eval: {dollars: 20}}` or `question.calls=50 eval.dollars=20`.
        prices: a price file, before the package's table.
        trace: full (an event per component), compact (one per question) or calls (Inspect's own per call).

    Raises:
        PrerequisiteError: any mistake in these options, as Inspect's error that ends a command with its message.
    """
    try:
        _check_types(
            architecture=architecture,
            models=models,
            fusers=fusers,
            judges=judges,
            store=store,
            store_policy=store_policy,
            budget=budget,
            prices=prices,
            trace=trace,
        )
        lists = {"models": models, "fusers": fusers, "judges": judges}
        names = {option: parse_model_names(value, option) for option, value in lists.items()}
        loaded = load_architecture(architecture).with_models(**names)
        table = prices if isinstance(prices, PriceTable) else load_prices(prices or None)
        layers = [build_layer(number, layer) for number, layer in enumerate(loaded.layers, 1)]
        components = [component for layer in layers for component in layer]
        caller = build_client(
            loaded.models,
            store=store,
            policy=store_policy,
            budget=budget,
            prices=table,
            trace=trace,
            cancels=any(component.stop_after is not None for component in components),
        )
        for component in components:
            if component.scorer is not None and caller.allowance.in_dollars:
                require_score_price(component.scorer)
            if component.scorer is not None and caller.policy != "replay":
                component.scorer.check_requirements()
            if caller.allowance.needs_max_tokens:
                for model in component.spec.models:
                    require_max_tokens(model, choose_settings(component.spec, model))
        engine = Engine(loaded, caller, TranscriptObserver(trace))
        warnings = (*plan(loaded, prices=table).warnings, *describe_raised_limits(loaded))
        for warning in () if caller.policy == "replay" else warnings:
            show_note(f"{loaded.name}: {warning}")
        return engine
    except ArchonError as exc:
        raise make_prerequisite_error(str(exc)) from None


def check_whole_number(door: str, option: str, value: Any, *, minimum: int) -> None:
    """Refuse an option that is no whole number from `minimum`.

    Args:
        door: what has the option, for the message: `solver archon`.

    Raises:
        PrerequisiteError: so it is.
    """
    if type(value) is not int or value < minimum:
        raise make_prerequisite_error(f"{door}: {option} must be a whole number from {minimum}, not {value!r}")


def note_unshared_draws(door: str, caller: Caller, last_draws: int) -> None:
    """Say that several draws of the last layer share nothing where no call store holds the layers before."""
    if last_draws > 1 and getattr(caller, "store", None) is None:
        show_note(
            f"{door}: last_draws={last_draws} without a call store (store=calls.db): the layers before the last are "
            f"asked anew, and paid, for each of the {last_draws} draws"
        )


def _check_types(**options: Any) -> None:
    for name, value in options.items():
        types, words = OPTION_TYPES[name]
        if not isinstance(value, types):
            raise ArchitectureError(f"{name} must be {words}, not {quote(repr(value))} ({type(value).__name__})")
