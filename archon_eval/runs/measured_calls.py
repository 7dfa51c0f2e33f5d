"""What an architecture's answers took in logs that are there already, layer by layer: a plan's interval, narrowed down.

measured = measure_calls(["logs"], architecture.fingerprint)
measured.layers[0].calls        # (3, 5.2, 9): least, mean and most per answer
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from archon_eval.errors import DataError
from archon_eval.models.usage_totals import UsageTotals
from archon_eval.runs.account import LayerAccount
from archon_eval.runs.answer_usage import read_answer_usages
from archon_eval.runs.read_log import find_logs, open_log

Spread = tuple[float, float, float]
"""Least, mean and most."""


@dataclass(frozen=True, slots=True)
class MeasuredLayer:
    """One layer, per answer; of a cascade, answers for which it was not asked took nothing in it."""

    number: int
    kind: str
    calls: Spread
    tokens: Spread | None
    """None where a model reported none."""
    dollars: Spread | None
    """None where a price is unknown."""


@dataclass(frozen=True, slots=True)
class MeasuredCalls:
    """What the answers of one architecture took."""

    answers: int
    logs: tuple[str, ...]
    """Where they are."""
    layers: tuple[MeasuredLayer, ...]


def measure_calls(places: Sequence[str | os.PathLike[str]], fingerprint: str) -> MeasuredCalls:
    """The calls, tokens and dollars of all answers with this fingerprint in Inspect's logs.

    Args:
        places: logs, and folders of them; other logs in a folder are passed over.

    Raises:
        DataError: nothing is there, or no answer of this architecture.
    """
    used: list[str] = []
    answers: list[Mapping[int, LayerAccount]] = []
    for place in places:
        for path in find_logs(place):
            found = _read_layers(path, fingerprint) if path.suffix in (".eval", ".json") else []
            used += [str(path)] if found else []
            answers += found
    if not answers:
        raise DataError(
            f"{', '.join(map(str, places))}: no answer of this architecture (fingerprint {fingerprint}) with these "
            "models and settings"
        )
    numbers = sorted({number for answer in answers for number in answer})
    layers = [_measure_layer(number, [answer.get(number) for answer in answers]) for number in numbers]
    return MeasuredCalls(len(answers), tuple(used), tuple(layers))


def _read_layers(path: os.PathLike[str], fingerprint: str) -> list[Mapping[int, LayerAccount]]:
    usages = read_answer_usages(path, open_log(path))
    accounts = [account for usage in usages for account in usage.accounts]
    return [account.numbered_layers for account in accounts if account.fingerprint == fingerprint]


def _measure_layer(number: int, layers: Sequence[LayerAccount | None]) -> MeasuredLayer:
    """Of a layer that was asked for one of the answers at least."""
    usages = [UsageTotals(dollars=0.0) if layer is None else layer.usage for layer in layers]
    dollars = [usage.dollars for usage in usages if usage.dollars is not None]
    is_counted = not any(usage.calls_without_usage for usage in usages)
    return MeasuredLayer(
        number,
        next(layer.kind for layer in layers if layer is not None),
        calls=_spread([usage.calls for usage in usages]),
        tokens=_spread([usage.tokens for usage in usages]) if is_counted else None,
        dollars=_spread(dollars) if len(dollars) == len(usages) else None,
    )


def _spread(values: Sequence[float]) -> Spread:
    return min(values), fmean(values), max(values)
