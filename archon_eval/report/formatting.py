"""How the reports write costs and shares, why a cost is unknown, and how they cut long texts.

>>> format_cost(12345.6), format_cost(0.01234), format_cost(None)
('12,346', '0.0123', 'unknown')
>>> truncate("a long question", 7)
'a long…'
"""

from collections.abc import Mapping

from archon_eval.runs.benchmark_run import COST_COLUMNS


def format_cost(value: float | None) -> str:
    """A cost in few digits; `unknown` for None."""
    return "unknown" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def explain_unknown_costs(unknown: Mapping[str, str]) -> str:
    """What of `Run.unknown_costs` is in tables, as words; empty where all of it is known.

    >>> explain_unknown_costs({"calls": "no events", "tokens": "no usage", "dollars": "no price of a/x"})
    'calls unknown (no events), dollars unknown (no price of a/x)'
    """
    by_reason: dict[str, list[str]] = {}
    for name in COST_COLUMNS:
        if name in unknown:
            by_reason.setdefault(unknown[name], []).append(name.replace("_", " "))
    return ", ".join(f"{' and '.join(names)} unknown ({reason})" for reason, names in by_reason.items())


def format_percent(value: float | None) -> str:
    """A share of 1 as percent; empty for None."""
    return "" if value is None else f"{100 * value:.1f}%"


def truncate(text: str, limit: int = 160) -> str:
    """The first characters of a long text, `limit` with the ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
