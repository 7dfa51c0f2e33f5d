"""Function-call tests: the program in one process, its tests in another, plain values between them.

The tests decide, and the program cannot reach them: it may end early, lie about its values or print what it likes, but
only values that the tests accept make the tests' process exit with 0.
"""
# ruff: noqa: BLE001 (whatever a program raises is its own)

import builtins
import contextlib
import importlib
import json
import marshal
import operator
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from archon_eval.sandbox.guest.child import create_main_namespace, finish, flush, run_program
from archon_eval.sandbox.guest.wire import MEBI, UNFIT_EXIT_CODE

STDLIB_ENCODERS: dict[str, Callable[[Any], list[object]]] = {
    "builtins.range": lambda v: [v.start, v.stop, v.step],
    "builtins.dict_keys": lambda v: [dict.fromkeys(v)],
    "builtins.dict_values": lambda v: [dict(enumerate(v))],
    "builtins.dict_items": lambda v: [dict(v)],
    "collections.deque": lambda v: [list(v), v.maxlen],
    "fractions.Fraction": lambda v: [v.numerator, v.denominator],
    "decimal.Decimal": lambda v: [str(v)],
    "datetime.date": lambda v: [v.year, v.month, v.day],
    "datetime.time": lambda v: [v.isoformat()],
    "datetime.datetime": lambda v: [v.isoformat()],
    "datetime.timedelta": lambda v: [v.days, v.seconds, v.microseconds],
}
"""How values of the standard library that go by value, too, are taken apart."""
MAX_LINE = 64 * MEBI
"""Bytes of one answer: more would be the program's attempt to fill the tests' memory."""
MAX_ERROR_CHARACTERS = 1000
"""Characters of an error's text that the tests get."""
ISO_FORMAT_TYPES = ("datetime.time", "datetime.datetime")
"""Types that are rebuilt from their ISO text."""


def rebuild_value(name: str, parts: list[Any]) -> object:
    """Rebuild a value that `STDLIB_ENCODERS` took apart; a `ValueError` for any other type.

    >>> rebuild_value("fractions.Fraction", [1, 2])
    Fraction(1, 2)
    """
    if name not in STDLIB_ENCODERS:
        raise ValueError(f"no standard type: {name!r}")
    module, _, kind = name.partition(".")
    if kind.startswith("dict_"):
        return getattr(parts[0], kind[5:])()
    maker = getattr(importlib.import_module(module), kind)
    return maker.fromisoformat(*parts) if name in ISO_FORMAT_TYPES else maker(*parts)


def encode(value: object, keep: Callable[[object], int]) -> object:
    """A value as JSON: plain data by value, everything else by the number that `keep` gives it.

    >>> encode((1, "a"), keep=id)
    {'t': [{'i': '0x1'}, 'a']}
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    for kind, tag in ((int, "i"), (float, "f")):
        if isinstance(value, kind):
            return {tag: hex(value) if tag == "i" else float.hex(value)}  # type: ignore[arg-type]
    if isinstance(value, complex):
        return {"c": [value.real.hex(), value.imag.hex()]}
    if isinstance(value, (bytes, bytearray)):
        return {"b": value.hex()}
    if isinstance(value, dict):
        return {"d": [[encode(k, keep), encode(v, keep)] for k, v in value.items()]}
    for sequence, tag in ((list, "l"), (tuple, "t"), (set, "s"), (frozenset, "z")):
        if isinstance(value, sequence):
            return {tag: [encode(item, keep) for item in value]}
    if isinstance(value, RemoteObject):
        return {"r": object.__getattribute__(value, "number")}
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if name in STDLIB_ENCODERS:
        return {"S": [name, encode(STDLIB_ENCODERS[name](value), keep)]}
    return {"r": keep(value)}


def decode(data: object, number: object) -> object:
    """The value of `encode`'s JSON; `number` turns a reference into an object. Builds nothing but plain data.

    >>> decode({"t": [{"i": "0x1"}, "a"]}, int)
    (1, 'a')
    """
    if not isinstance(data, dict):
        return data
    ((tag, body),) = data.items()
    if tag in "ltsz":
        return {"l": list, "t": tuple, "s": set, "z": frozenset}[tag](decode(item, number) for item in body)
    if tag == "d":
        return {decode(k, number): decode(v, number) for k, v in body}
    if tag == "S":
        return rebuild_value(body[0], decode(body[1], number))  # type: ignore[arg-type]
    if tag == "c":
        return complex(*map(float.fromhex, body))
    return {"i": lambda b: int(b, 16), "f": float.fromhex, "b": bytes.fromhex, "r": number}[tag](body)  # type: ignore[operator]


class RemoteObject:
    """In the tests' process: an object that lives in the program's process (attributes, calls, items, text).

    It equals no plain value, whatever the program claims; two of them are equal if the program says so.
    """

    def __init__(self, number: object, ask: object) -> None:
        object.__setattr__(self, "number", number)
        object.__setattr__(self, "ask", ask)

    def __getattr__(self, name: str) -> object:
        return object.__getattribute__(self, "ask")("get", self, name)

    def __setattr__(self, name: str, value: object) -> None:
        object.__getattribute__(self, "ask")("set", self, name, value)

    def __call__(self, *args: object, **kwargs: object) -> object:
        return object.__getattribute__(self, "ask")("call", self, list(args), kwargs)

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, RemoteObject) and bool(object.__getattribute__(self, "ask")("eq", self, other))
        )


def delegate(operation: str) -> Callable[..., object]:
    """A special method that the program's process carries out."""
    return lambda self, *values: object.__getattribute__(self, "ask")(operation, self, *values)


OPERATIONS: dict[str, Callable[..., object]] = {
    "name": lambda space, name: space[name],
    "get": getattr,
    "set": setattr,
    "call": lambda f, args, kwargs: f(*args, **kwargs),
    "eq": lambda a, b: bool(a == b),
}
SPECIAL_METHODS: dict[str, Callable[..., object]] = {
    "iter": iter,
    "next": next,
    "len": len,
    "str": str,
    "repr": repr,
    "bool": bool,
    "hash": hash,
    "contains": operator.contains,
    "getitem": operator.getitem,
    "setitem": operator.setitem,
}
for special in SPECIAL_METHODS:
    setattr(RemoteObject, f"__{special}__", delegate(special))


def serve(code: bytes, wire: int) -> int:
    """The program's process: run it, then answer the tests' process until that disconnects."""
    namespace = create_main_namespace("program")
    status = run_program(code, namespace)
    flush(0)
    if status:
        return status
    kept: list[object] = [namespace]

    def keep(value: object) -> int:
        kept.append(value)
        return len(kept) - 1

    operations = OPERATIONS | SPECIAL_METHODS
    with socket.socket(fileno=wire) as link, link.makefile("rwb") as lines:
        for line in lines:
            operation, *arguments = json.loads(line)
            values = [decode(a, kept.__getitem__) for a in arguments]
            try:
                reply = {"ok": encode(operations[operation](*values), keep)}
            except BaseException as e:
                reply = {"error": type(e).__name__, "text": str(e)[:MAX_ERROR_CHARACTERS]}
            lines.write(json.dumps(reply).encode() + b"\n")
            lines.flush()
    return finish(0)


def rebuild_error(name: str, text: str) -> Exception:
    """The built-in exception of that name, else a `RuntimeError`; never calls anything but an exception class."""
    known = getattr(builtins, name, None)
    if isinstance(known, type) and issubclass(known, Exception):
        with contextlib.suppress(TypeError):
            return known(text)
    return RuntimeError(f"{name}: {text}")


def reject_argument(value: object) -> NoReturn:
    """The tests are at fault, not the program: `SystemExit` passes through whatever they catch."""
    sys.stderr.write(f"a program can be given plain values only, not {type(value).__name__} objects\n")
    raise SystemExit(UNFIT_EXIT_CODE)


def run_tests(code: bytes, wire: int) -> int:
    """The tests' process: exit code 0 says that every test ran and passed. Never loads the program."""
    lines = socket.socket(fileno=wire).makefile("rwb")

    def ask(operation: str, *arguments: object) -> object:
        try:
            lines.write(json.dumps([operation, *(encode(a, reject_argument) for a in arguments)]).encode() + b"\n")
            lines.flush()
            line = lines.readline(MAX_LINE)
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            raise EOFError("the program ended before its tests did")
        reply = json.loads(line)
        if "error" in reply:
            raise rebuild_error(str(reply["error"]), str(reply.get("text")))
        return decode(reply["ok"], lambda number: RemoteObject(int(number), ask))

    setup, tests, names = marshal.loads(code)
    space = RemoteObject(0, ask)

    def bind(namespace: dict[str, object]) -> None:
        for name in names:
            namespace.pop(name, None)
            with contextlib.suppress(KeyError):
                namespace[name] = ask("name", space, name)

    namespace = create_main_namespace()
    try:
        bind(namespace)
        status = run_program(setup, namespace)
        bind(namespace)
    except EOFError as e:
        sys.stderr.write(f"{e}\n")
        return 1
    return status or run_program(tests, namespace)


def compile_harness() -> int:
    """As `compile_program`, for `[setup, tests, names]` as JSON."""
    try:
        setup, tests, names = json.loads(os.pread(0, os.fstat(0).st_size, 0))
        parts = [marshal.dumps(compile(text, "tests.py", "exec", dont_inherit=True)) for text in (setup, tests)]
        os.write(1, marshal.dumps((*parts, names)))
    except BaseException as e:
        sys.excepthook(type(e), e.with_traceback(None), None)
        return 1
    return 0
