"""Tables of the command line: for people on a terminal, plain and wide in a pipe.

rows = create_table("preset", "calls", numbers="calls")
"""

import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from archon_eval.errors import sanitize_text


def print_table(rows: Table) -> None:
    """A table on stdout; piped, it is plain text and wide."""
    console = Console(
        width=None if sys.stdout and sys.stdout.isatty() else 160, highlight=False, markup=False, emoji=False
    )
    with console.capture() as captured:
        console.print(rows)
    for line in captured.get().splitlines():
        print(line.rstrip())


class EscapedTable(Table):
    """A table whose cells may come from elsewhere."""

    def add_row(self, *cells: Any, **more: Any) -> None:
        super().add_row(*(sanitize_text(one) if isinstance(one, str) else one for one in cells), **more)


def create_table(*columns: str, numbers: str = "") -> Table:
    """A plain table; the columns named in `numbers` are set right."""
    found = EscapedTable(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        found.add_column(
            sanitize_text(column), justify="right" if column in numbers.split(",") else "left", overflow="fold"
        )
    return found
