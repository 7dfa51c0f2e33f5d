"""Words of Inspect's command line for values that a program has.

>>> format_option(True), format_option("a.jsonl"), format_option("true"), format_option(["x", "y"])
('true', 'a.jsonl', '"true"', 'x,y')
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from archon_eval.errors import DataError, quote


def format_option(value: Any) -> str:
    """A value as Inspect's `NAME=VALUE` reads it back, which is as YAML, with commas between the items of a list."""
    if isinstance(value, list | tuple) and value and all(isinstance(item, str | int | float) for item in value):
        return ",".join(map(str, value))
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        plain = yaml.safe_load(value) == value
    except yaml.reader.ReaderError:  # a file's name that the locale cannot decode goes back to the shell as it came
        plain = True
    except yaml.YAMLError:
        plain = False
    return value if plain else json.dumps(value)


def parse_value(text: str, where: str, read: Callable[[str], Any] = yaml.safe_load) -> Any:
    """The value of `NAME=VALUE`; what the locale could not decode, such as a file's name, is text.

    Args:
        where: what an error begins with, such as `-T data=[a`.
        read: reads YAML.

    Raises:
        DataError: no YAML.
    """
    try:
        return read(text)
    except yaml.reader.ReaderError:
        return text
    except yaml.YAMLError as exc:
        why = quote(str(getattr(exc, "problem", None) or exc))[1:-1]
        raise DataError(f"{where}: the value is not readable as YAML ({why}); put text into quotes") from None


def format_options(args: Mapping[str, Any]) -> list[str]:
    """`NAME=VALUE` for Inspect's -T, -S and -M."""
    return [f"{name}={format_option(value)}" for name, value in args.items()]


def build_words(option: str, args: Mapping[str, Any]) -> list[str]:
    """`-S NAME=VALUE` and so on, two words per argument."""
    return [word for text in format_options(args) for word in (option, text)]
