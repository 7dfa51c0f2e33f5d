"""What tokens cost and how many a model takes: a versioned table of the package, and a file of the user's before it.

>>> prices = load_prices()                      # or load_prices("my-prices.yaml")
>>> prices.compute_cost("openai/gpt-4o", Usage(1_000_000, 200_000))
8.0
>>> prices.compute_cost("openai/unheard-of", Usage(1000, 200)) is None      # unknown, which is not zero
True
>>> prices.get_context("openai/gpt-4o")
128000
>>> prices.compute_flops("together/databricks/dbrx-instruct", Usage(800, 200))     # 2 x 36 billion x 1,000
72000000000000.0
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from archon_eval.errors import DataError, did_you_mean, quote
from archon_eval.models.call import Usage

MILLION = 1_000_000
BILLION = 1_000_000_000
FLOPS_PER_PARAMETER = 2
"""Floating-point operations of a forward pass per active parameter and token: a multiplication and an addition (Kaplan
et al., 2020, section 2.1). Attention over the context, which grows with its length, is left out as it is there."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens."""

    input: float
    output: float

    def compute_cost(self, usage: Usage) -> float:
        """Dollars of the given tokens."""
        return (usage.input_tokens * self.input + usage.output_tokens * self.output) / MILLION


@dataclass(frozen=True, slots=True)
class PriceTable:
    """A table: of each column, the first entry whose pattern fits a model's name decides."""

    version: str
    """Which prices these are, for records: `2024-11`, or `FILE over 2024-11`."""
    entries: tuple[tuple[str, Price], ...]
    """(pattern, price); patterns are lower-case Inspect model names in which `*` stands for anything."""
    contexts: tuple[tuple[str, int | float], ...] = ()
    """(pattern, tokens of the context window); infinite for models without one (simulated ones)."""
    parameters: tuple[tuple[str, float], ...] = ()
    """(pattern, billions of parameters that one token passes through); of a mixture of experts not all there are."""

    def get_context(self, model: str) -> int | float | None:
        """Tokens that a prompt and its reply may have together; None when the table does not know."""
        name = model.lower()
        return next((tokens for pattern, tokens in self.contexts if fnmatchcase(name, pattern)), None)

    def get_active_parameters(self, model: str) -> float | None:
        """Billions of parameters that a token passes through; None when the table does not know."""
        name = model.lower()
        return next((billions for pattern, billions in self.parameters if fnmatchcase(name, pattern)), None)

    def compute_flops(self, model: str, usage: Usage | None) -> float | None:
        """Floating-point operations for reading the prompts and writing the replies, or None when the size or the
        usage is unknown."""
        billions = self.get_active_parameters(model)
        if billions is None or usage is None:
            return None
        return FLOPS_PER_PARAMETER * billions * BILLION * (usage.input_tokens + usage.output_tokens)

    def get_price(self, model: str) -> Price | None:
        """The price of an Inspect model name; None when the table does not know it."""
        name = model.lower()
        return next((price for pattern, price in self.entries if fnmatchcase(name, pattern)), None)

    def compute_cost(self, model: str, usage: Usage | None) -> float | None:
        """Dollars, or None when the price or the usage is unknown."""
        price = self.get_price(model)
        return None if price is None or usage is None else price.compute_cost(usage)


def load_prices(path: str | os.PathLike[str] | None = None) -> PriceTable:
    """The package's table, preceded by the entries of the user's file if one is given.

    Raises:
        DataError: the file cannot be read or is malformed; says which entry and what is legal.
    """
    shipped = _load_shipped()
    if path is None:
        return shipped
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"cannot read price file {os.fspath(path)}: {exc}") from exc
    own = _parse(text, os.fspath(path))
    return PriceTable(
        f"{own.version} over {shipped.version}",
        own.entries + shipped.entries,
        own.contexts + shipped.contexts,
        own.parameters + shipped.parameters,
    )


@cache
def _load_shipped() -> PriceTable:
    """The package's own table, which never changes while a program runs."""
    packaged = resources.files("archon_eval.models") / "prices.yaml"
    return _parse(packaged.read_text(encoding="utf-8"), "prices.yaml")


def _parse(text: str, where: str) -> PriceTable:
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as exc:
        raise DataError(f"{where}: not readable as YAML: {exc}") from exc
    items = data.get("prices") if isinstance(data, Mapping) else None
    if not isinstance(items, list) or not items:
        raise DataError(f"{where}: a price file is a mapping with `version` and a list `prices`")
    _check_keys(data, ("version", "source", "prices"), where)
    entries: list[tuple[str, Price]] = []
    contexts: list[tuple[str, int | float]] = []
    parameters: list[tuple[str, float]] = []
    for number, item in enumerate(items, 1):
        names, price, context = _parse_entry(item, f"{where}: entry {number}")
        entries += [(name, price) for name in names if price is not None]
        contexts += [(name, context) for name in names if context is not None]
        if "active_parameters" in item:
            size = _parse_parameters(item["active_parameters"], f"{where}: entry {number}")
            parameters += [(name, size) for name in names]
    version = str(data.get("version", Path(where).name))
    return PriceTable(version, tuple(entries), tuple(contexts), tuple(parameters))


def _parse_entry(item: Any, where: str) -> tuple[list[str], Price | None, int | float | None]:
    """The patterns of an entry, and what it says of them: a price, a context window or both; their size is apart."""
    if not isinstance(item, Mapping):
        raise DataError(f"{where} must be {{models: [...], input: 5, output: 15}}, not {quote(str(item), 60)}")
    _check_keys(item, ("models", "input", "output", "context", "active_parameters"), where)
    models = item.get("models")
    names = [models] if isinstance(models, str) else models
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise DataError(f"{where}: `models` must be a list of names such as openai/gpt-4o, not {models!r}")
    context = _parse_context(item["context"], where) if "context" in item else None
    price = None
    if (context is None and "active_parameters" not in item) or "input" in item or "output" in item:
        price = Price(_parse_dollars(item, "input", where), _parse_dollars(item, "output", where))
    return [name.lower() for name in names], price, context


def _parse_context(value: Any, where: str) -> int | float:
    if value == "unlimited":
        return math.inf
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise DataError(f"{where}: `context` must be tokens, a whole number from 1, or unlimited, not {value!r}")
    return value


def _parse_parameters(value: Any, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise DataError(f"{where}: `active_parameters` must be billions, a number above 0, not {value!r}")
    return float(value)


def _parse_dollars(item: Mapping[str, Any], key: str, where: str) -> float:
    value = item.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise DataError(f"{where}: `{key}` must be dollars per million tokens, 0 or more, not {value!r}")
    return float(value)


def _check_keys(data: Mapping[str, Any], legal: tuple[str, ...], where: str) -> None:
    for key in data:
        if key not in legal:
            raise DataError(f"{where}: unknown key {key!r}{did_you_mean(str(key), legal)}")
