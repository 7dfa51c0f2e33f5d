"""Pure functions around a program: put its prelude before it, compare its output, estimate pass@k.

>>> match_outputs(b"0.5000001 yes\\n", b"0.5 YES")
True
>>> pass_at_k(n=10, c=3, k=1)
0.3
"""

import re
from math import comb

_WHITESPACE = bytes.maketrans(b"\n\t\r\v", b"    ")
_NUMBER = re.compile(rb"[+-]?(\d+(\.\d*)?(e[+-]?\d+)?|\.\d+(e[+-]?\d+)?|inf(inity)?|nan)", re.ASCII)
TOLERANCE = 1e-5
"""Absolute difference within which numbers are equal, as in CodeContests."""


def prepend_prelude(prelude: str, program: str) -> str:
    """The program after its prelude; `from __future__` lines that lead the program stay first, as they must."""
    lines = program.split("\n")
    leading: list[str] = []
    closing = ""
    for i, line in enumerate(lines):
        text = line.strip()
        if closing:
            closing = "" if closing in text else closing
        elif text.startswith(('"""', "'''")):
            closing = text[:3] if text[:3] not in text[3:] else ""
        elif line.startswith("from __future__ import") and "(" not in line:
            leading.append(text)
            lines[i] = ""
        elif text and not text.startswith("#"):
            break
    return "\n".join(filter(None, [*leading, prelude, "\n".join(lines)]))


def _split_tokens(text: bytes) -> list[bytes]:
    return [token for token in text.translate(_WHITESPACE).lower().split(b" ") if token]


def _match_tokens(left: bytes, right: bytes) -> bool:
    if _NUMBER.fullmatch(left) and _NUMBER.fullmatch(right):
        return abs(float(left) - float(right)) <= TOLERANCE
    return left == right


def match_outputs(actual: bytes, expected: bytes) -> bool:
    """CodeContests' comparison: equal lists of tokens, case ignored, or pair by pair, numbers within 1e-5 absolutely.

    Tokens are split at space, newline, tab, carriage return and vertical tab (not at form feed).
    In the pairwise comparison NaN and infinity equal nothing, not even themselves.
    """
    left, right = _split_tokens(actual), _split_tokens(expected)
    if left == right:
        return True
    return len(left) == len(right) and all(map(_match_tokens, left, right))


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased estimate of pass@k from `c` passing among `n` samples: 1 - C(n-c, k) / C(n, k) (Chen et al., 2021).

    Raises:
        ValueError: 0 <= c <= n and 1 <= k <= n do not hold.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, got n={n}, c={c}, k={k}")
    return (comb(n, k) - comb(n - c, k)) / comb(n, k)
