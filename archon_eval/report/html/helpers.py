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
