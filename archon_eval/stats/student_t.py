"""Student's t distribution, for intervals of few runs or questions, without SciPy.

>>> round(compute_t_quantile(0.95, 9), 4)
2.2622
"""

from math import atan, cos, pi, sin, sqrt
from statistics import NormalDist


def compute_t_quantile(confidence: float, freedom: int) -> float:
    """t with P(|T| < t) = confidence; normal beyond 1000 degrees of freedom (0.1% off), else by bisection."""
    if freedom > 1000:
        return NormalDist().inv_cdf(0.5 + confidence / 2)
    low, high = 0.0, 1.0
    while _compute_t_probability(high, freedom) < confidence:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _compute_t_probability(middle, freedom) < confidence else (low, middle)
    return high


def _compute_t_probability(t: float, freedom: int) -> float:
    """P(|T| < t) for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = atan(t / sqrt(freedom))
    odd = freedom % 2
    step = cos(angle) ** 2
    term = total = cos(angle) if odd else 1.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= (k - 1) / k * step
        total += term
    if not odd:
        return sin(angle) * total
    return 2 / pi * (angle + sin(angle) * total * (freedom > 1))
