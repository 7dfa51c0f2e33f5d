"""Values of options as a specification keeps them: they cannot change, and can be compared and hashed.

>>> freeze_value({"weights": [1, 2]}, "layer 2: `extra`")
FrozenMapping({'weights': (1, 2)})
>>> thaw_value(freeze_value({"weights": [1, 2]}, ""))
{'weights': [1, 2]}
"""

from collections.abc import Iterator, Mapping
from typing import Any

from archon_eval.errors import ArchitectureError, quote


class FrozenMapping(Mapping[str, Any]):
    """A mapping that cannot change; equal to a dict with the same entries."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return f"FrozenMapping({self._values!r})"


def freeze_value(value: Any, where: str) -> Any:
    """The value with tuples for lists and `FrozenMapping` for mappings.

    Raises:
        ArchitectureError: there is something in it that a file cannot hold; begins with `where`.
    """
    if isinstance(value, list | tuple):
        return tuple(freeze_value(item, where) for item in value)
    if isinstance(value, Mapping):
        return FrozenMapping({str(key): freeze_value(item, where) for key, item in value.items()})
    if not isinstance(value, str | int | float | bool | None):
        raise ArchitectureError(
            f"{where} must be text, numbers, true/false, or lists or mappings of them, not {describe_value(value)}"
        )
    return value


def thaw_value(value: Any) -> Any:
    """Lists and dicts again, as a file is written."""
    if isinstance(value, Mapping):
        return {key: thaw_value(item) for key, item in value.items()}
    return [thaw_value(item) for item in value] if isinstance(value, tuple) else value


def describe_value(value: Any) -> str:
    """What somebody wrote in place of something else: `text ('hello')`."""
    if value is None:
        return "nothing"
    names = {dict: "a mapping", list: "a list", str: "text", int: "a number", float: "a number", bool: "true/false"}
    return f"{names.get(type(value), type(value).__name__)} ({quote(str(value), 60)})"
