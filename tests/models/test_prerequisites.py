"""Messages reach a user as they were written, through Inspect's printer and through the doors without one."""

from typing import Any

import pytest
from inspect_ai._util.error import PrerequisiteError, exception_hook

from archon_eval.models.prerequisites import plain, prerequisite

MESSAGE = "pip install 'archon-eval[docker]', a file [/tmp/x], [bold]no colour[/bold]"


def test_inspect_prints_the_message_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    hook: Any = exception_hook()
    error = prerequisite(MESSAGE)
    hook(PrerequisiteError, error, None)
    assert " ".join(capsys.readouterr().out.split()) == MESSAGE
    assert plain(error) == MESSAGE


def test_inspects_own_colours_are_left_out() -> None:
    assert (
        plain(PrerequisiteError("No [bold][blue]OPENAI_API_KEY[/blue][/bold] defined")) == "No OPENAI_API_KEY defined"
    )
    assert plain(ValueError("[bold] stays")) == "[bold] stays"
