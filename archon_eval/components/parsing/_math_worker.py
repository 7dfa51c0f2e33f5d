r"""The program inside a verifying process: one JSON request per line in, one JSON reply per line out.

math-verify runs only here: on the wrong input it computes for ever or eats all memory, and its own alarms fail outside
the main thread. This process has a memory limit and a limit of CPU time per request (not of wall time, so a busy
machine changes no score). The kernel ends a process that goes over a limit, and `math_equality.py` starts another.

    $ echo '{"table": [[[["\\\\frac12", ["0.5"]]]]], "cpu_seconds": 5}' | python -P _math_worker.py
    {"ready": true}
    {"correct": true}

It is run as a file, with `-P` (a neighbour called math.py would shadow the standard library), and imports nothing of
this package, so that it starts quickly.

math-verify parses and compares; what it holds for equal too easily is replaced here: it rounds to six decimals, takes
differences below 1e-15 for zero, writes all letters small, and takes two equations without solutions for one.
"""

import json
import os
import re
import signal
import sys
from contextlib import suppress
from functools import lru_cache
from typing import Any, TextIO, TypedDict

MEMORY_BYTES = 2 << 30
"""Address space in bytes: ample for Python with SymPy, and a machine can spare it for each of four workers."""
DIGITS = 50
"""Digits to which irrational numbers are computed; numbers that agree in 40 of them are one."""
_IMAGINARY = re.compile(r"(?<!_\{)(?<![A-Za-z\\_])i(?![A-Za-z])|\\imath\b|\\mathbb\{C\}")
_SAMPLE_POINTS = (("37", "29"), ("-41", "31"))
"""Two fractions from which the values of variables are made, to see quickly that expressions differ."""


class CompareRequest(TypedDict):
    """A row for each value of one answer and in it a column for each of the other's, see `prepare_comparison`."""

    table: list[list[Any]]
    cpu_seconds: float


class ExtractRequest(TypedDict):
    """Running text with an answer somewhere in it; the reply names the last one."""

    text: str
    cpu_seconds: float


def main() -> None:
    """Announce readiness or the reason against it, then answer until stdin closes."""
    replies = _claim_stdout()
    _limit_memory()
    try:
        hello: dict[str, object] = {"ready": True} if _works() else {"error": "math-verify fails its self-test"}
    except ImportError as error:
        hello = {"error": f"math-verify cannot be imported: {error}"}
    print(json.dumps(hello), file=replies, flush=True)
    if "error" in hello:
        return
    for line in sys.stdin:
        request: Any = json.loads(line)
        _limit_cpu(request["cpu_seconds"])
        if "text" in request:
            reply: dict[str, object] = {"answer": extract(request["text"])}
        else:
            reply = {"correct": compare(request["table"])}
        _limit_cpu(0)
        print(json.dumps(reply), file=replies, flush=True)


def compare(table: list[list[Any]]) -> bool:
    """Whether every row finds a column of its own whose value it equals.

    A cell is a verdict, or expected expressions, each with the spellings of the other of which one must equal it.
    """
    cells = [cell for row in table for cell in row if not isinstance(cell, bool)]
    texts = [text for cell in cells for expected, spellings in cell for text in (expected, *spellings)]
    is_complex = any(map(_IMAGINARY.search, texts))

    def holds(cell: Any) -> bool:
        if isinstance(cell, bool):
            return cell
        return all(any(_are_equal(expected, text, is_complex) for text in texts) for expected, texts in cell)

    left = set(range(len(table[0])))
    for row in table:
        found = next((column for column in sorted(left) if holds(row[column])), None)
        if found is None:
            return False
        left.remove(found)
    return True


def extract(text: str) -> str | None:
    """The last answer that math-verify finds in running text."""
    from latex2sympy2_extended.latex2sympy2 import NormalizationConfig
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    spelling = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="all")
    config = [LatexExtractionConfig(boxed_match_priority=0, normalization_config=spelling), ExprExtractionConfig()]
    found = parse(text, config, parsing_timeout=None)
    return str(found[-1]) if found else None


def _works() -> bool:
    equal = [("0.5", r"\frac{1}{2}"), (r"\sqrt{117}", r"3\sqrt{13}"), ("x+x", "2x"), ("(1,2]", r"\left(1,2\right]")]
    different = [("0.0000001", "0.0000003"), (r"\frac{1}{2^{98}}", r"\frac{1}{2^{97}}"), ("2M", "2m"), ("1=2", "4=7")]
    return all(compare([[[[a, [b]]]]]) for a, b in equal) and not any(compare([[[[a, [b]]]]]) for a, b in different)


def _are_equal(gold: str, answer: str, is_complex: bool) -> bool:
    if "".join(gold.split()) == "".join(answer.split()):
        return True
    expected, got = _parse(gold, is_complex), _parse(answer, is_complex)
    if expected is None or got is None:
        return False
    try:
        return bool(_get_grader().sympy_expr_eq(expected, got, 6, 15, allow_set_relation_comp=True))
    except Exception:  # noqa: BLE001  SymPy raises anything on what it does not know
        return False


@lru_cache(maxsize=1_000)
def _parse(latex: str, is_complex: bool) -> Any:
    """The SymPy object of an expression, decimals as exact fractions; None if it cannot be read or is undefined."""
    from latex2sympy2_extended.latex2sympy2 import (
        ConversionConfig,
        NormalizationConfig,
        latex2sympy,
        normalize_latex,
    )
    from math_verify.parser import get_last_eq

    config = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
    text = normalize_latex(latex, config)
    for spelling in dict.fromkeys((text, get_last_eq(text))):
        try:
            parsed = latex2sympy(
                spelling,
                is_real=not is_complex,
                normalization_config=None,
                conversion_config=ConversionConfig(lowercase_symbols=False),
            )
            return _make_exact(parsed, is_complex)
        except Exception:  # noqa: BLE001  whatever the parser stumbles over
            continue
    return None


def _make_exact(parsed: Any, is_complex: bool) -> Any:
    from sympy import Float, I, Rational, Symbol, nan, zoo

    exact: dict[Any, Any] = {number: Rational(str(number)) for number in parsed.atoms(Float)}
    if is_complex:
        exact |= {symbol: I for symbol in parsed.atoms(Symbol) if symbol.name == "i"}
    parsed = parsed.xreplace(exact) if exact else parsed
    return None if parsed.has(zoo, nan) else parsed


@lru_cache(maxsize=1)
def _get_grader() -> Any:
    """math-verify's grader with the comparisons of this module."""
    from math_verify import grader

    solve_and_compare = grader.sympy_solve_and_compare

    def compare_solutions(gold: Any, pred: Any, *rest: Any) -> bool:
        from sympy import Eq, simplify, solve

        if not gold.free_symbols or gold.free_symbols != pred.free_symbols:
            return False
        if isinstance(gold, Eq) and isinstance(pred, Eq):
            ratio = simplify((gold.lhs - gold.rhs) / (pred.lhs - pred.rhs))
            if ratio.is_number and not ratio.is_zero and ratio.is_finite:
                return True
        return bool(solve(gold, gold.free_symbols)) and bool(solve_and_compare(gold, pred, *rest))

    grader.sympy_numeric_eq = _are_numerically_equal
    grader.sympy_symbolic_eq = _are_symbolically_equal
    grader.sympy_solve_and_compare = compare_solutions
    return grader


def _are_numerically_equal(a: Any, b: Any, *_: Any) -> bool:
    """Whether two numbers are one; matrices element by element. False where variables are in them."""
    from sympy import MatrixBase

    if isinstance(a, MatrixBase) and isinstance(b, MatrixBase):
        equal = _get_grader().sympy_expr_eq
        return a.shape == b.shape and all(equal(x, y, 6, 15) for x, y in zip(a.flat(), b.flat(), strict=True))
    grader = _get_grader()
    a, b = grader.safe_sympy_doit(a), grader.safe_sympy_doit(b)
    if isinstance(a, MatrixBase) or isinstance(b, MatrixBase) or a.free_symbols or b.free_symbols:
        return False
    if a.is_Rational and b.is_Rational:
        return bool(a == b)
    return _find_distance(a, b) is not None and bool(_find_distance(a, b) < 10 ** (10 - DIGITS))


def _are_symbolically_equal(a: Any, b: Any) -> bool:
    """Whether two expressions with variables are one: where they differ at a point they are not, else by `simplify`."""
    from sympy import MatrixBase, Rational, default_sort_key, simplify

    doit = _get_grader().safe_sympy_doit
    a, b = doit(a), doit(b)
    difference = a - b
    if isinstance(difference, MatrixBase):
        return bool(simplify(difference).is_zero_matrix)
    symbols = sorted(difference.free_symbols, key=default_sort_key)
    if not symbols:  # numbers are compared as such
        return bool(difference == 0)
    for numerator, denominator in _SAMPLE_POINTS:
        point = {s: Rational(int(numerator) + 6 * n, int(denominator) + 4 * n) for n, s in enumerate(symbols)}
        distance = _find_distance(a.subs(point), b.subs(point))
        if distance is not None and distance > 1e-12:
            return False
    return bool(simplify(difference).is_zero)


def _find_distance(a: Any, b: Any) -> Any:
    """How far two numbers are apart, as a part of the larger one; None if that cannot be computed."""
    try:
        size = max(abs(a.evalf(DIGITS)), abs(b.evalf(DIGITS)))
        distance = abs((a - b).evalf(DIGITS))
        ratio = distance / size if size > 0 else distance
        return ratio if ratio.is_Float or ratio.is_Rational else None
    except Exception:  # noqa: BLE001  no number
        return None


def _claim_stdout() -> TextIO:
    """Stdout for replies alone; whatever a library prints goes nowhere."""
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return replies


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _limit_cpu(seconds: float) -> None:
    """After that much CPU time the default action of SIGPROF ends the process, even inside C code; 0 disarms."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    main()
