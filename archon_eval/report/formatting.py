"""How the reports write costs and shares, and how they cut long texts.

>>> format_cost(12345.6), format_cost(0.01234), format_cost(None)
('12,346', '0.0123', 'unknown')
>>> truncate("a long question", 7)
'a long…'
"""


def format_cost(value: float | None) -> str:
    """A cost in few digits; `unknown` for None."""
    return "unknown" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def format_percent(value: float | None) -> str:
    """A share of 1 as percent; empty for None."""
    return "" if value is None else f"{100 * value:.1f}%"


def truncate(text: str, limit: int = 160) -> str:
    """The first characters of a long text, `limit` with the ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
