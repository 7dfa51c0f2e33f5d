"""How a command is added, so that its own help says what the list of commands does.

show = add_command(commands, "show", "what an architecture consists of", _show)
"""

import argparse
from typing import Any


def add_command(commands: Any, name: str, text: str, run: Any = None) -> argparse.ArgumentParser:
    """A command with its help; without `run` it is a group of others."""
    found: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    if run is not None:
        found.set_defaults(run=run)
    return found
