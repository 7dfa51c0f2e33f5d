"""Examples in docstrings: those with a prompt are run; the others use only names that exist."""

import ast
import builtins
import doctest
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import inspect_ai.solver
import inspect_ai.tool
import pytest

import archon_eval

RUN_ELSEWHERE = ("archon_eval.sandbox.guest", "archon_eval.integrations._lm_eval_hook", "archon_eval.cli.__main__")
"""Programs that run in a container, at Python's start, or on import."""
BLOCK = re.compile(r"(?:\A|\n\n)((?:(?: {4}[^\n]*|[ \t]*)(?:\n|\Z))+)")
"""Indented lines after an empty one: an example by this project's convention."""


def _list_modules() -> list[str]:
    names = [module.name for module in pkgutil.walk_packages(archon_eval.__path__, "archon_eval.")]
    return [name for name in names if not name.startswith(RUN_ELSEWHERE)]


MODULES = _list_modules()
PLACEHOLDERS = {"caller": None, "client": None}
"""Objects that an example is given and calls."""


@cache
def _collect_names() -> dict[str, Any]:
    """Everything that a module of the package defines or imports: an example may take a name from another module."""
    names: dict[str, Any] = {**vars(builtins), **vars(inspect_ai.solver), **vars(inspect_ai.tool), **PLACEHOLDERS}
    for name in MODULES:
        names |= vars(importlib.import_module(name))
    return names


@pytest.mark.parametrize("name", MODULES)
def test_examples_with_a_prompt_run(name: str) -> None:
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(example, out=report.append)
    assert not runner.summarize(verbose=False).failed, "".join(report)


@pytest.mark.parametrize("name", MODULES)
def test_other_examples_use_names_that_exist(name: str) -> None:
    module = importlib.import_module(name)
    problems = [problem for text in _list_docstrings(module) for problem in _find_unknown_names(text, module)]
    assert not problems, f"{name}: {problems}"


def test_the_map_of_the_package_names_files_that_exist() -> None:
    root = Path(archon_eval.__file__).parent
    places = re.findall(r"`([\w/]+(?:\.py|/))`", archon_eval.__doc__ or "")
    assert len(places) > 10 and not [place for place in places if not (root / place).exists()]


def test_the_check_finds_a_name_that_is_gone() -> None:
    text = "Does it.\n\n    result = run_gone(1)\n    result.value, missing_module.thing()"
    assert _find_unknown_names(text, doctest) == ["run_gone"]
    assert _find_unknown_names("Does it.\n\n    DocTestFinder().gone()\n    run_docstring_examples()", doctest) == []
    assert _find_unknown_names("Does it.\n\n    from doctest import gone", doctest) == ["doctest.gone"]
    assert _find_unknown_names("Does it.\n\n    DocTestFinder.gone()", doctest) == ["DocTestFinder.gone"]


def _list_docstrings(module: ModuleType) -> Iterator[str]:
    """Of the module, its classes and functions, and their methods; not of what it imports."""
    yield inspect.getdoc(module) or ""
    members = [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
    for member in members:
        if inspect.isclass(member) or inspect.isfunction(member):
            yield inspect.getdoc(member) or ""
        if inspect.isclass(member):
            yield from (inspect.getdoc(part) or "" for part in vars(member).values() if inspect.isfunction(part))


def _find_unknown_names(text: str, module: ModuleType) -> list[str]:
    """Functions, classes and imports of the examples that nothing defines; examples that are no Python are skipped."""
    problems: list[str] = []
    for block in BLOCK.findall(f"\n\n{text}" if text.startswith("    ") else text):
        code = textwrap.dedent(block)
        if ">>>" in code:
            continue
        try:
            tree = ast.parse(code)
        except SyntaxError:
            continue
        problems += _check_tree(tree, vars(module))
    return problems


def _check_tree(tree: ast.AST, own_module: dict[str, Any]) -> list[str]:
    problems: list[str] = []
    own = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {argument.arg for argument in ast.walk(tree) if isinstance(argument, ast.arg)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            source = importlib.import_module(node.module)
            own |= {alias.asname or alias.name for alias in node.names}
            problems += [f"{node.module}.{alias.name}" for alias in node.names if not hasattr(source, alias.name)]
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else node if _is_class_name(node) else None
        if isinstance(called, ast.Name) and called.id not in own | own_module.keys() | _collect_names().keys():
            problems.append(called.id)
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id not in own:
            owner = own_module.get(called.value.id)
            if owner is not None and not hasattr(owner, called.attr):
                problems.append(f"{called.value.id}.{called.attr}")
    return list(dict.fromkeys(problems))


def _is_class_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and re.fullmatch(r"[A-Z]+[a-z]\w*", node.id) is not None
