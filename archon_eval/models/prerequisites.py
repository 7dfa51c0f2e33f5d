"""Inspect's PrerequisiteError ends a command with its message alone, and reads it as rich's markup: unescaped,
`pip install 'archon-eval[docker]'` is shown without `[docker]`.

raise make_prerequisite_error("the sandbox needs: pip install 'archon-eval[docker]'")
"""

from inspect_ai._util.error import PrerequisiteError
from rich.markup import escape
from rich.text import Text


def make_prerequisite_error(message: str) -> PrerequisiteError:
    """An error that shows the message as it stands."""
    return PrerequisiteError(escape(message))


def get_error_text(error: BaseException) -> str:
    """What an error says, without markup; a PrerequisiteError has no text but its message."""
    return Text.from_markup(str(error.message)).plain if isinstance(error, PrerequisiteError) else str(error)
