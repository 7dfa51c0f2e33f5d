"""Whether code that an architecture names may be imported: a file that a user gives may have it so, a log may not.

with forbid_user_code():
    load_architecture(mapping_out_of_a_log)     # an ArchitectureError where it would import something
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from archon_eval.errors import ArchitectureError

_is_forbidden: ContextVar[bool] = ContextVar("archon_user_code_forbidden", default=False)


@contextmanager
def forbid_user_code() -> Iterator[None]:
    """Inside, nothing that an architecture names is imported."""
    token = _is_forbidden.set(True)
    try:
        yield
    finally:
        _is_forbidden.reset(token)


def check_user_code(name: str, where: str) -> None:
    """Refuse to import what a name leads to, where that is forbidden.

    Raises:
        ArchitectureError: it is; begins with `where`.
    """
    if _is_forbidden.get():
        raise ArchitectureError(f"{where}: {name!r} is code of a user's own, which must not be imported here")
