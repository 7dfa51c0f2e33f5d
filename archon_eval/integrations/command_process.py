"""What an eval may change about its process, and only a command's process: a user's own program is left as it is.

    freeze_imports_in_command()      # after the imports, where an architecture is built
    end_inspect_plainly_in_command()  # where Inspect finds this package

The processes of `inspect`, `lm_eval` and `archon`, and the worker processes of this package, are commands. A program
that imports this package, a notebook and a test run are not.
"""

import gc
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from archon_eval._inspect_compat import INSPECT_COMMAND
from archon_eval._notes import replace_warning_output
from archon_eval._signals import interrupt_on_sigterm
from archon_eval.errors import ArchonError, sanitize_text

COMMAND_PACKAGES = ("inspect_ai", "lm_eval", "archon_eval")
"""Run with `python -m`, a module of these is a command, or a worker of this package."""
CONSOLE_SCRIPTS = {
    (INSPECT_COMMAND, "main"),
    ("lm_eval.__main__", "cli_evaluate"),
    ("archon_eval.cli", "main"),
}
"""Module and name of the function that the installed script of each command imports, under that name, and calls."""
MODEL_ARG_CLASH = re.compile(r"(?:get_model|model_wrapper)\(\) got multiple values for keyword argument '(\w+)'")
GC_THRESHOLD = 10_000
"""New objects after which the garbage collector looks at them; Python's own is 700. Fewer rounds cost less, and what
waits for one in a cycle is still small."""


def is_command(main: Mapping[str, Any], packages: Collection[str] = COMMAND_PACKAGES) -> bool:
    """Whether the variables of a `__main__` module are those of a command of one of the packages.

    >>> is_command({"__spec__": None, "archon": 1})
    False
    """
    if (spec := main.get("__spec__")) is not None:
        return str(spec.name).partition(".")[0] in packages
    return any(
        getattr(main.get(name), "__module__", None) == module and getattr(main.get(name), "__name__", None) == name
        for module, name in CONSOLE_SCRIPTS
        if module.partition(".")[0] in packages
    )


def end_inspect_plainly_in_command() -> None:
    """In the process of `inspect`, end the command with the message of an error that this package raises on purpose.

    So it is with a task whose data or options are wrong, a judge that there is not, and with a `-M` of an architecture
    that has a name which Inspect gives itself: it fails at that with a TypeError before it asks this package.
    """
    if not is_command(vars(sys.modules["__main__"]), ("inspect_ai",)):
        return
    handle_others = sys.excepthook
    has_architecture = any("archon/" in word for word in sys.argv)

    def handle(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        text = str(error) if isinstance(error, ArchonError) else ""
        if has_architecture and isinstance(error, TypeError) and (clash := MODEL_ARG_CLASH.search(str(error))):
            text = f"-M {clash[1]}=...: Inspect gives {clash[1]} itself; an architecture's models are -M models=a,b"
        if text:
            sys.stderr.write(sanitize_text(f"archon: {text}") + "\n")
        else:
            handle_others(kind, error, traceback)

    sys.excepthook = handle


def print_notes_plainly_in_command() -> None:
    """In the processes of `inspect` and `lm_eval`, show this package's notes as lines, without a place in some code."""
    if is_command(vars(sys.modules["__main__"]), ("inspect_ai", "lm_eval")):
        replace_warning_output()


def interrupt_on_sigterm_in_command() -> None:
    """In a command's process, let SIGTERM do what Ctrl-C does: logs are written and children end before it does."""
    if is_command(vars(sys.modules["__main__"])):
        interrupt_on_sigterm()


@contextmanager
def end_lm_eval_plainly() -> Iterator[None]:
    """In the process of `lm_eval`, end the command with the message of an error that this package raises on purpose."""
    try:
        yield
    except (ArchonError, NotImplementedError) as exc:
        if is_command(vars(sys.modules["__main__"]), ("lm_eval",)):
            raise SystemExit(sanitize_text(f"archon: {exc}")) from None
        raise


def freeze_imports_in_command() -> None:
    """`freeze_imports` where this process is a command; elsewhere nothing happens.

    In a program of a user's, objects that were there (a large model, say) would never be freed if they were in a cycle.
    """
    if is_command(vars(sys.modules["__main__"])):
        freeze_imports()


@cache
def freeze_imports() -> None:
    """Have the garbage collector leave what is there alone, and look at the rest less often; once in a process.

    The harness's modules are hundreds of thousands of objects, which it would go through again and again for the few
    that a call makes.
    """
    gc.freeze()
    if 0 < gc.get_threshold()[0] < GC_THRESHOLD:
        gc.set_threshold(GC_THRESHOLD)
