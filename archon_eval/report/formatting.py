"""How the reports write costs and shares, why a cost is unknown, and how they cut long texts.

>>> format_cost(12345.6), format_cost(0.01234), format_cost(None)
('12,346', '0.0123', 'unknown')
>>> truncate("a long question", 7)
'a long…'
"""

import json
import math
from collections.abc import Mapping
from typing import Any

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


def format_error(value: float | None, scale: float) -> str:
    """A standard error on the shown scale, to hundredths, or in two digits where that would say 0; `unknown` for None.

    >>> format_error(0.0178, 100), format_error(0.00001, 100), format_error(0.0, 100)
    ('1.78', '0.001', '0.00')
    """
    if value is None:
        return "unknown"
    shown = scale * value
    return f"{shown:.2f}" if shown == 0 or shown >= 0.005 else f"{shown:.2g}"


def dump_json(value: Any) -> str:
    """Plain values as JSON that every reader takes: a number that is none, or has no end, is null.

    >>> dump_json({"value": float("nan")})
    '{\\n  "value": null\\n}'
    """
    return json.dumps(_replace_endless(value), indent=2, allow_nan=False)


def _replace_endless(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _replace_endless(each) for key, each in value.items()}
    return [_replace_endless(each) for each in value] if isinstance(value, (list, tuple)) else value


def format_percent(value: float | None) -> str:
    """A share of 1 as percent; empty for None."""
    return "" if value is None else f"{100 * value:.1f}%"


def format_percent_interval(value: float | None, low: float | None, high: float | None) -> str:
    """`71.4% (66.0 to 77.0)` of shares of 1; only the value where the spread is unknown or none; empty for None.

    >>> format_percent_interval(0.98, 0.95, 1.02), format_percent_interval(0.5, None, None)
    ('98.0% (95.0 to 100.0)', '50.0%')
    """
    if value is None or low is None or high is None or low == high:
        return format_percent(value)
    return f"{format_percent(value)} ({100 * max(0.0, low):.1f} to {100 * min(1.0, high):.1f})"


def truncate(text: str, limit: int = 160) -> str:
    """The first characters of a long text, `limit` with the ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
