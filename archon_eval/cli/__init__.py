"""The console script `archon`: shows, plans and checks architectures, and runs the tools around them.

    $ archon plan moa-lite --models sim/pool

Exit codes: 0 fine; 1 something is wrong or failed; 2 the command itself was wrong; 130 Ctrl-C. An error that the
package raises on purpose is one message on stderr, without a traceback. Heavy packages are imported by the command that
needs them.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from errno import EIO, ENOSPC
from typing import TextIO

from archon_eval import __version__
from archon_eval._notes import print_notes_plainly
from archon_eval._signals import interrupt_on_sigterm
from archon_eval.cli import ablate, architectures, eval, export, report, search, store, tools, tune
from archon_eval.cli.commands import CommandParser
from archon_eval.cli.eval_options import set_docker_hosts
from archon_eval.errors import ArchonError, sanitize_text
from archon_eval.models.store_address import refuse_passwords


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; each group of commands adds its own."""
    parser = CommandParser(
        prog="archon", description="Inference-time architectures: look at them, plan them, check them."
    )
    parser.add_argument("--version", action="version", version=f"archon {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in (architectures, tools, eval, search, report, store, ablate, tune, export):
        group.add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        _replace_unencodable(stream)
    interrupt_on_sigterm()
    code, failures = 0, list[OSError]()
    try:
        refuse_passwords(sys.argv[1:] if arguments is None else arguments)
        options = build_parser().parse_args(arguments)
        with print_notes_plainly():
            set_docker_hosts(options)
            code = int(options.run(options))
    except BrokenPipeError:  # the reader, e.g. `| head`, has seen enough
        pass
    except ArchonError as exc:
        with suppress(OSError):  # nobody reads it
            print(sanitize_text(f"archon: {exc}"), file=sys.stderr)
        code = 1
    except OSError as exc:
        if exc.errno not in (ENOSPC, EIO) or exc.filename is not None:  # not a full or broken output
            raise
        failures.append(exc)
    except KeyboardInterrupt:
        code = 130
    failures += [failure for stream in (sys.stdout, sys.stderr) if (failure := _flush_stream(stream))]
    if not failures:
        return code
    with suppress(OSError):
        print(f"archon: cannot write: {failures[0].strerror or failures[0]}", file=sys.stderr, flush=True)
    return code or 1


def _flush_stream(stream: TextIO | None) -> OSError | None:
    """Why not everything was written to a reader who is still there; Python's own flush at exit then finds nothing."""
    if stream is None:
        return None
    try:
        stream.flush()
    except OSError as exc:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return None if isinstance(exc, BrokenPipeError) else exc
    return None


def _replace_unencodable(stream: TextIO) -> None:
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
