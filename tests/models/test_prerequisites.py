"""Messages reach a user as they were written, through Inspect's printer and through the doors without one."""

import subprocess
import sys

from inspect_ai._util.error import PrerequisiteError

from archon_eval.models.prerequisites import get_error_text, make_prerequisite_error

MESSAGE = "pip install 'archon-eval[docker]', a file [/tmp/x], [bold]no colour[/bold]"


RAISE = """
import sys
from inspect_ai._util.error import exception_hook
from archon_eval.models.prerequisites import make_prerequisite_error
sys.excepthook = exception_hook()
raise make_prerequisite_error(sys.argv[1])
"""


def test_inspect_prints_the_message_as_it_stands() -> None:
    ended = subprocess.run([sys.executable, "-c", RAISE, MESSAGE], capture_output=True, text=True)
    assert " ".join(ended.stdout.split()) == MESSAGE, ended.stderr
    assert get_error_text(make_prerequisite_error(MESSAGE)) == MESSAGE


def test_inspects_own_colours_are_left_out() -> None:
    assert (
        get_error_text(PrerequisiteError("No [bold][blue]OPENAI_API_KEY[/blue][/bold] defined"))
        == "No OPENAI_API_KEY defined"
    )
    assert get_error_text(ValueError("[bold] stays")) == "[bold] stays"
