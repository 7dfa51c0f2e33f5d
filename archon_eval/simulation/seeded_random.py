"""Chance that is the same in every process: numbers drawn from a hash of what they are about.

draw_normal(0, "gpt-4o", "math/7")    # always the same draw from a standard normal
"""

from hashlib import blake2b
from statistics import NormalDist

_NORMAL = NormalDist()


def hash_parts(*about: object) -> int:
    """56 bits from the texts and numbers given."""
    text = "\x1f".join(map(str, about)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=7).digest(), "big")


def draw_uniform(*about: object) -> float:
    """A number between 0 and 1, both excluded."""
    return (hash_parts(*about) + 0.5) / 2**56


def draw_normal(*about: object) -> float:
    """A draw from the standard normal."""
    return _NORMAL.inv_cdf(draw_uniform(*about))
