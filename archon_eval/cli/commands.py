"""The one way to add a command, so that its own help says the same as the list of commands.

>>> commands = argparse.ArgumentParser().add_subparsers()
>>> add_command(commands, "show", "what an architecture consists of", run=print).description
'What an architecture consists of.'
"""

import argparse
from collections.abc import Callable
from typing import Any

RunCommand = Callable[[argparse.Namespace], int]
"""Runs a command with its options and returns the exit code."""


def add_command(commands: Any, name: str, summary: str, *, run: RunCommand | None = None) -> argparse.ArgumentParser:
    """Add a command with its help.

    Args:
        commands: argparse's subparsers.
        name: as it is typed.
        summary: one line of help, without capital and full stop.
        run: takes the options and returns the exit code; none for a group of further commands.
    """
    description = f"{summary[0].upper()}{summary[1:]}."
    command: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=description)
    if run is not None:
        command.set_defaults(run=run)
    return command
