"""What a stated confidence counts: models say that they are surer than they are (ReConcile, Chen et al., 2024).

>>> [recalibrate_confidence(stated) for stated in (1.0, 0.95, 0.8, 0.6, 0.3, None)]
[1.0, 0.8, 0.5, 0.3, 0.1, 0.1]
"""

from collections.abc import Sequence

from archon_eval.types import Candidate

CONFIDENCE = "confidence"
"""The key of `Candidate.values` under which the confidence is, from 0 to 1; absent where none was stated."""
STEPS: Sequence[tuple[float, float]] = ((1.0, 1.0), (0.9, 0.8), (0.8, 0.5), (0.6, 0.3))
"""ReConcile's recalibration: (stated at least, counts), the highest first."""
LEAST_WEIGHT = 0.1
"""What a lower confidence counts, and one that could not be read."""


def get_confidence(candidate: Candidate) -> float | None:
    """The confidence that was stated with a candidate; None where none was, or none could be read."""
    return candidate.values.get(CONFIDENCE)


def recalibrate_confidence(stated: float | None) -> float:
    """What a candidate of this confidence counts in a vote."""
    return next((weight for least, weight in STEPS if stated is not None and stated >= least), LEAST_WEIGHT)
