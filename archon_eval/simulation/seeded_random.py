"""Chance that is the same in every process: numbers drawn from a hash of what they are about.

>>> round(draw_normal(0, "gpt-4o", "math/7"), 6) == round(draw_normal(0, "gpt-4o", "math/7"), 6)
True
"""

from hashlib import blake2b
from statistics import NormalDist

_NORMAL = NormalDist()


def hash_parts(*parts: object) -> int:
    """A hash of 56 bits of these texts and numbers: as many as a float holds, with room for the half that follows."""
    text = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=7).digest(), "big")


def draw_uniform(*parts: object) -> float:
    """A number between 0 and 1, both excluded."""
    return (hash_parts(*parts) + 0.5) / 2**56


def draw_normal(*parts: object) -> float:
    """A draw from the standard normal."""
    return _NORMAL.inv_cdf(draw_uniform(*parts))
