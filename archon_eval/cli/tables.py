"""Tables of the command line: laid out for a terminal, plain and wide in a pipe.

>>> table = create_table("preset", "calls", numbers="calls")
>>> table.add_row("moa-lite", "7")
>>> table.row_count
1
"""

import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from archon_eval.errors import sanitize_text

PIPE_WIDTH = 160
"""Characters of a line in a pipe: enough that no table of this package wraps its columns."""


def print_table(table: Table) -> None:
    """Print a table to stdout; in a pipe it is plain text of `PIPE_WIDTH` characters."""
    width = None if sys.stdout and sys.stdout.isatty() else PIPE_WIDTH
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())


class EscapedTable(Table):
    """A table whose cells may hold text from elsewhere: control characters are taken out."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        super().add_row(*(sanitize_text(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def create_table(*columns: str, numbers: str = "") -> Table:
    """A plain table.

    Args:
        columns: their headings.
        numbers: headings of the columns that are aligned to the right, separated by commas.
    """
    table = EscapedTable(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            sanitize_text(column), justify="right" if column in numbers.split(",") else "left", overflow="fold"
        )
    return table
