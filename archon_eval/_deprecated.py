"""Old names that still work for one release, each with a warning that says the new one.

For names of a module, for methods that are called, for methods that a subclass overrides, and for options:

    if not TYPE_CHECKING:  # a type checker shall see the new names only
        __getattr__ = deprecated_getattr(__name__, {"Desk": "archon_eval.components.base:CallContext"})

    class ComponentSpec:
        option = RenamedMethod("get_option")

    def __init_subclass__(cls, **kwargs): adopt_renamed_methods(cls, {"survivors": "count_survivors"})

    move_renamed_option(values, "reask", "max_parse_retries")
"""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from archon_eval._notes import show_note
from archon_eval.errors import ArchonError


def deprecated_getattr(module_name: str, moved: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__` that finds what has moved.

    Args:
        module_name: the old module's `__name__`.
        moved: old name -> `module:name` of what it is called now.

    >>> find = deprecated_getattr("archon_eval.kinds", {"pi": "math:pi"})
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     find("pi")
    3.141592653589793
    >>> str(caught[0].message)
    'archon_eval.kinds.pi is now math.pi; the old name goes with the next release'
    """

    def find_moved(name: str) -> Any:
        if name not in moved:
            raise AttributeError(f"module {module_name!r} has no attribute {name!r}")
        module, _, attribute = moved[name].partition(":")
        _warn(f"{module_name}.{name}", f"{module}.{attribute}", stacklevel=3)
        return getattr(import_module(module), attribute)

    return find_moved


class RenamedMethod:
    """A method's old name, as a class attribute: `option = RenamedMethod("get_option")`."""

    def __init__(self, new_name: str) -> None:
        self._new_name = new_name

    def __set_name__(self, owner: type, name: str) -> None:
        self._old_name = name

    def __get__(self, instance: object, owner: type) -> Any:
        _warn(f"{owner.__name__}.{self._old_name}", self._new_name, stacklevel=3)
        return getattr(owner if instance is None else instance, self._new_name)


def adopt_renamed_methods(cls: type, renamed: Mapping[str, str]) -> None:
    """Give a class that overrides a method under its old name the new one too, and one with the new name the old.

    To be called for every class of a hierarchy (in `__init_subclass__`), so that `super().old_name()` works as well.

    Args:
        renamed: old name -> new name of methods and properties.
    """
    for old, new in renamed.items():
        own = vars(cls)
        if new in own:
            setattr(cls, old, own.get(old, own[new]))
        elif old in own:
            _warn(f"{cls.__qualname__}.{old}", new, stacklevel=5)  # past __init_subclass__ and ABCMeta
            setattr(cls, new, own[old])


def move_renamed_option(values: dict[str, Any], old: str, new: str) -> None:
    """Put the value of an option's old name under the new one, with a note.

    Args:
        values: options as a user gave them; changed in place, and left as they are where the old name is not there.

    Raises:
        ArchonError: both names are there.

    >>> values = {"reask": 1}
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     move_renamed_option(values, "reask", "max_parse_retries")
    >>> values, str(caught[0].message)
    ({'max_parse_retries': 1}, '`reask` is now `max_parse_retries`; the old name goes with the next release')
    """
    if old not in values:
        return
    if new in values:
        raise ArchonError(f"`{old}` is the old name of `{new}`: give `{new}` alone")
    warn_renamed_option(old, new)
    values[new] = values.pop(old)


def warn_renamed_option(old: str, new: str) -> None:
    """Tell the user of an option's new name."""
    show_note(f"`{old}` is now `{new}`; the old name goes with the next release")


def _warn(old: str, new: str, stacklevel: int) -> None:
    warnings.warn(
        f"{old} is now {new}; the old name goes with the next release", DeprecationWarning, stacklevel=stacklevel
    )
