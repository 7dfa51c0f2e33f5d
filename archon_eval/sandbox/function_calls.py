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

from archon_eval.errors import DataError
from archon_eval.sandbox.types import CallCase


def build_humaneval_case(prompt: str, test: str, entry_point: str) -> CallCase:
    """HumanEval: helpers come from the prompt, which is trusted; `entry_point` comes from the program."""
    return CallCase(f"{test}\n\ncheck({entry_point})\n", (entry_point,), prompt)


def build_mbpp_case(test: str, setup: str = "") -> CallCase:
    """MBPP: every name that the assertion and its setup use but do not define comes from the program.

    Raises:
        DataError: the test is not Python.
    """
    return CallCase(test, find_free_names(f"{setup}\n{test}"), setup)


def find_free_names(source: str) -> tuple[str, ...]:
    """Names read but never bound in a piece of Python, built-in ones left out; sorted."""
    try:
        tree = ast.parse(source)
    except SyntaxError as e:
        raise DataError(f"a test that is not Python: {source[:200]!r}: {e}") from e
    used: set[str] = set()
    bound = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
    return tuple(sorted(used - bound))
