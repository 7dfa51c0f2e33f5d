"""The one way to add a command, so that its own help says the same as the list of commands.

>>> commands = argparse.ArgumentParser().add_subparsers()
>>> add_command(commands, "show", "what an architecture consists of", run=print).description
'What an architecture consists of.'
"""

import argparse
from collections.abc import Callable
from typing import Any

from archon_eval.errors import did_you_mean

RunCommand = Callable[[argparse.Namespace], int]
"""Runs a command with its options and returns the exit code."""


class CommandParser(argparse.ArgumentParser):
    """A parser that names the nearest legal option, command or choice where it is given an unknown one."""

    keeps_other_words = False
    """Whether what it does not know is another command's, and goes to `words`, in its order."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse's own; each command refuses what it does not know, of which the parser above knows no options."""
        found, others = super().parse_known_args(args, namespace)
        if self.keeps_other_words:
            found.words = others
            return found, []
        for word in others:
            name = word.partition("=")[0]
            if name.startswith("-"):
                options = [option for action in self._actions for option in action.option_strings]
                self.error(f"unknown option {name}{did_you_mean(name, options)}")
        if others:
            self.error(f"unrecognized arguments: {' '.join(others)}")
        return found, others

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            hint = did_you_mean(str(value), map(str, action.choices))
            raise argparse.ArgumentError(action, f"unknown choice {value!r}{hint}")


def add_command(commands: Any, name: str, summary: str, *, run: RunCommand | None = None) -> CommandParser:
    """Add a command with its help.

    Args:
        commands: argparse's subparsers.
        name: as it is typed.
        summary: one line of help, without capital and full stop.
        run: takes the options and returns the exit code; none for a group of further commands.
    """
    description = f"{summary[0].upper()}{summary[1:]}."
    command: CommandParser = commands.add_parser(name, help=summary, description=description)
    if run is not None:
        command.set_defaults(run=run)
    return command
