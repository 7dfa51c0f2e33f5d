"""Notes: what a user should know though nothing is wrong, such as the new name of an option.

    show_note("`reask` is now `max_parse_retries`")

In Python a note is a warning at the user's own line. In a command it is a line `note: ...` on standard error, and
`-W error` does not end the command.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from archon_eval.errors import sanitize_text

_PASSED_ON_BY = ("archon_eval", "inspect_ai")
"""Packages that call on behalf of the user; their lines would say nothing."""


class ArchonNote(FutureWarning):
    """The category of this package's notes; Python shows a FutureWarning where it hides a DeprecationWarning."""


def show_note(text: str) -> None:
    """Tell the user something, at the nearest line that is neither this package's nor Inspect's."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _PASSED_ON_BY:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, ArchonNote, stacklevel=level)


@contextmanager
def print_notes_plainly() -> Iterator[None]:
    """For the process of a command: within the context a note is one line on standard error, and no error."""
    with warnings.catch_warnings():
        replace_warning_output()
        yield


def replace_warning_output() -> None:
    """For the process of a command of another package's: from now on a note is one line, and no error."""
    warnings.simplefilter("default", ArchonNote)
    show_other = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, ArchonNote):
            return show_other(message, category, *place, **more)
        with suppress(OSError):  # nobody reads it
            sys.stderr.write(f"note: {sanitize_text(str(message))}\n")

    warnings.showwarning = show
