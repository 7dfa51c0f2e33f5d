"""The parts that the report's page is made of: everything that comes from elsewhere is escaped here.

render_cell("<b>")     # "<td>&lt;b&gt;</td>"
"""

from collections.abc import Iterable, Sequence
from html import escape


def render_chart(id: str) -> str:
    """Where a chart is drawn."""
    return f'<div class="chart" id="{id}"></div>'


def render_table(head: Sequence[str], rows: Sequence[str], numbers: Iterable[int]) -> str:
    """A table whose rows are HTML already; columns in `numbers` are set right."""
    right = set(numbers)
    cells = "".join(f"<th{' class=n' if n in right else ''}>{escape(text)}</th>" for n, text in enumerate(head))
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def render_cell(text: str, number: bool = False) -> str:
    """An escaped cell."""
    return f"<td{' class=n' if number else ''}>{escape(text)}</td>"


def format_cost(value: float | None) -> str:
    """A cost in few digits."""
    return "unknown" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def format_percent(value: float | None) -> str:
    """A share of 1 as percent; nothing for None."""
    return "" if value is None else f"{100 * value:.1f}%"


def truncate(text: str, limit: int = 160) -> str:
    """The beginning of a long text."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
