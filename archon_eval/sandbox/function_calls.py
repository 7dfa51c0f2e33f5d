"""Function-call tests of HumanEval and MBPP as `CallCase`s.

    >>> build_mbpp_case("assert add(1, 2) == 3").names
    ('add',)
    >>> build_humaneval_case("", "def check(f): assert f(1) == 2", "increment").tests.splitlines()[-1]
    'check(increment)'

The tests run apart from the program: they call it, plain values go over and come back, so a program can neither read
the expected values nor end the run as if they had passed.
"""

import ast
import builtins
import importlib
import symtable
from collections.abc import Iterator

from archon_eval.errors import DataError
from archon_eval.sandbox.types import CallCase

IMPORTED_MODULES = (
    "bisect cmath collections copy datetime decimal fractions functools heapq itertools json math operator random re "
    "statistics string"
)
"""Modules that tests use (`math.isclose`) and now and then forget to import."""
IMPORTED_NAMES = {
    "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
    "datetime": "datetime timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "math": "ceil floor inf isclose nan pi sqrt",
}
"""Names that they use without their modules."""


def build_humaneval_case(prompt: str, test: str, entry_point: str) -> CallCase:
    """HumanEval: helpers come from the prompt, which is trusted; `entry_point` comes from the program."""
    return CallCase(f"{test}\n\ncheck({entry_point})\n", (entry_point,), prompt)


def build_mbpp_case(test: str, setup: str = "", code: str = "") -> CallCase:
    """MBPP: names that the assertion and its setup use but do not define come from the program, with two exceptions.

    What their own imports should bring (`math.isclose`, `Counter`) is imported for them: a program must not bring it.
    Where nothing else is left to test, the program's are the functions that they call by a built-in one's name (`sum`).

    Args:
        test: the assertion.
        setup: trusted Python before it.
        code: a right program, where there is one: names that it defines are the program's in any case.

    Raises:
        DataError: the test is not Python.
    """
    source = f"{setup}\n{test}"
    free, defined = find_free_names(source), find_defined_names(code)
    imports = {name: line for name in free if name not in defined and (line := _find_import(name, source))}
    names = tuple(name for name in free if name not in imports)
    if not names:
        shadowed = (_find_used(_read_symbols(source)) & defined) if defined else _find_builtin_calls(source)
        names, imports = (tuple(sorted(shadowed)), imports) if shadowed else (free, {})
    return CallCase(test, names, "\n".join(filter(None, [*imports.values(), setup])))


def find_free_names(source: str) -> tuple[str, ...]:
    """Global names read but never bound in a piece of Python, built-in ones left out; sorted."""
    table = _read_symbols(source)
    return tuple(sorted(_find_used(table) - _find_bound(table) - set(dir(builtins))))


def find_defined_names(source: str) -> frozenset[str]:
    """Global names that a piece of Python defines itself, by anything but an import; none where it is not Python."""
    try:
        table = _read_symbols(source)
    except DataError:
        return frozenset()
    return frozenset(s.get_name() for s in table.get_symbols() if s.is_assigned() and not s.is_imported())


def _read_symbols(source: str) -> symtable.SymbolTable:
    try:
        return symtable.symtable(source, "tests.py", "exec")
    except (SyntaxError, ValueError) as e:
        raise DataError(f"a test that is not Python: {source[:200]!r}: {e}") from e


def _walk_tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _walk_tables(child)


def _find_used(table: symtable.SymbolTable) -> set[str]:
    """Names read as global ones, in any scope."""
    symbols = (s for t in _walk_tables(table) for s in t.get_symbols() if t is table or s.is_global())
    return {s.get_name() for s in symbols if s.is_referenced()}


def _find_bound(table: symtable.SymbolTable) -> set[str]:
    """Names bound as global ones."""
    symbols = (s for t in _walk_tables(table) for s in t.get_symbols() if t is table or s.is_declared_global())
    return {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}


def _find_import(name: str, source: str) -> str:
    """The import that brings a free name of this source; empty for a name that is none of a module's."""
    if name in IMPORTED_MODULES.split() and _is_module(name, source):
        return f"import {name}"
    return next((f"from {m} import {name}" for m, names in IMPORTED_NAMES.items() if name in names.split()), "")


def _is_module(name: str, source: str) -> bool:
    """Whether the name is only ever used for attributes that the module of that name has."""
    nodes = list(ast.walk(ast.parse(source)))
    attributes = [n for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)]
    used = [a.attr for a in attributes if isinstance(a.value, ast.Name) and a.value.id == name]
    reads = sum(isinstance(n, ast.Name) and n.id == name for n in nodes)
    return len(used) == reads and all(hasattr(importlib.import_module(name), attribute) for attribute in used)


def _find_builtin_calls(source: str) -> set[str]:
    """Built-in functions (not types) that are called and have no such call among their arguments."""
    found = set[str]()
    calls = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and _is_builtin_function(n.func)]
    for call in calls:
        inner = [n for argument in [*call.args, *call.keywords] for n in ast.walk(argument)]
        if isinstance(call.func, ast.Name) and not any(n is other for n in inner for other in calls):
            found.add(call.func.id)
    return found - _find_bound(_read_symbols(source))


def _is_builtin_function(node: ast.expr) -> bool:
    function = getattr(builtins, node.id, None) if isinstance(node, ast.Name) else None
    return callable(function) and not isinstance(function, type)
