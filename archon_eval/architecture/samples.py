"""How many candidates a generator makes: so many, or in rounds until enough is known.

>>> read_samples({"min": 3, "max": 40, "stop": "settled"})
AdaptiveSamples(most=40, stop='settled', min=3, confidence=0.95, passes=1, step=None)
>>> read_samples(8)
8
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb, exp, fsum, lgamma, log
from typing import TYPE_CHECKING, Any, Literal, get_args

from archon_eval.architecture.component_types import ComponentOption, resolve_component_type
from archon_eval.errors import ArchitectureError, did_you_mean

if TYPE_CHECKING:
    from archon_eval.architecture.spec import ComponentSpec

StopRule = Literal["settled", "passes"]
STOP_RULES: tuple[StopRule, ...] = get_args(StopRule)
DEFAULT_CONFIDENCE = 0.95
"""As in the paper (Aggarwal et al., 2023)."""
MAX_EXACT_VOTES = 500
"""Votes up to which the probability is summed in whole numbers."""
_KEYS = ("min", "max", "stop", "confidence", "passes", "step")
LEGAL_NUMBER = "a whole number of at least 1"
LEGAL_SAMPLES = f"{LEGAL_NUMBER}, or a mapping such as {{min: 3, max: 40, stop: settled}}"


@dataclass(frozen=True, slots=True)
class AdaptiveSamples:
    """Draws in rounds. Two generators of one layer share the rule, and each has its own numbers."""

    most: int
    stop: StopRule
    """`settled`: until the vote behind is settled. `passes`: until enough candidates passed the filter behind."""
    min: int | None = None
    """Candidates of the first round; None for the fewest after which it can be enough."""
    confidence: float = DEFAULT_CONFIDENCE
    """Of `settled`: the probability that the leading answer stays ahead of the second."""
    passes: int = 1
    """Of `passes`: how many have to pass."""
    step: int | None = None
    """Candidates of a further round; None to choose by what is known (`count_next_round`)."""

    @property
    def least(self) -> int:
        """Candidates of the first round."""
        if self.min is not None:
            return self.min
        return min(self.most, self.passes if self.stop == "passes" else count_until_settled(0, 0, self))

    @property
    def rule(self) -> tuple[StopRule, float, int]:
        """What generators of one layer must have in common."""
        return self.stop, self.confidence, self.passes

    @property
    def most_rounds(self) -> int:
        """Rounds at most: with a `step` of None one candidate may be asked for at a time, as replies that do not vote
        leave a vote as it was; of `passes` each round doubles what there is."""
        if self.step is not None or self.stop == "settled":
            return 1 + -(-(self.most - self.least) // (self.step or 1))
        rounds, drawn = 1, self.least
        while drawn < self.most:
            rounds, drawn = rounds + 1, drawn + max(self.passes, drawn)
        return rounds


Samples = int | AdaptiveSamples


def compute_share(leader: int, second: int) -> float:
    """The probability that the leading answer of a vote stays ahead of the second, by a Beta distribution over which
    of the two a further sample has (the Beta criterion of adaptive consistency).

    >>> compute_share(3, 0), compute_share(4, 0)
    (0.9375, 0.96875)
    """
    # P(Beta(leader + 1, second + 1) > 1/2): of whole numbers one less a sum of binomials
    throws = leader + second + 1
    if throws <= MAX_EXACT_VOTES:
        below: int = sum(comb(throws, heads) for heads in range(second + 1))
        return 1 - below / int(2**throws)
    whole = lgamma(throws + 1) - throws * log(2)
    return 1 - fsum(exp(whole - lgamma(heads + 1) - lgamma(throws - heads + 1)) for heads in range(second + 1))


def is_settled(leader: int, second: int, left: int, samples: AdaptiveSamples) -> bool:
    """Whether a vote is settled: by probability, or because the samples that are left cannot change it."""
    return leader > 0 and (leader - second > left or compute_share(leader, second) >= samples.confidence)


def count_until_settled(leader: int, second: int, samples: AdaptiveSamples, left: int | None = None) -> int:
    """The fewest further samples after which the vote can be settled: if all have the leading answer."""
    left = samples.most if left is None else left
    low, high = 1, max(1, left)
    while low < high:  # more votes for the leader never unsettle it
        middle = (low + high) // 2
        if is_settled(leader + middle, second, left - middle, samples):
            high = middle
        else:
            low = middle + 1
    return low


def read_samples(value: Any) -> Samples:
    """The value of `samples`, as an architecture file or an option has it.

    Raises:
        ArchitectureError: it is not legal; says what is, to be read behind the option's name.
    """
    if isinstance(value, AdaptiveSamples):
        return value
    if not isinstance(value, Mapping):
        if _is_count(value):
            return int(value)
        is_number = isinstance(value, int | float)
        raise ArchitectureError(f" must be {LEGAL_NUMBER if is_number else LEGAL_SAMPLES}, not {value!r}")
    for key in value:
        if key not in _KEYS:
            raise ArchitectureError(f": unknown key {key!r}{did_you_mean(str(key), _KEYS)}")
    for key in ("max", "stop"):
        if key not in value:
            raise ArchitectureError(f" needs `{key}:`, as in {{min: 3, max: 40, stop: settled}}")
    if value["stop"] not in STOP_RULES:
        hint = did_you_mean(str(value["stop"]), STOP_RULES)
        raise ArchitectureError(f": `stop` must be {' or '.join(STOP_RULES)}, not {value['stop']!r}{hint}")
    for key in ("min", "max", "passes", "step"):
        is_open = key in ("min", "step") and value.get(key, 1) is None
        if not is_open and not _is_count(value.get(key, 1)):
            raise ArchitectureError(f": `{key}` must be a whole number of at least 1, not {value[key]!r}")
    confidence = value.get("confidence", DEFAULT_CONFIDENCE)
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0.5 < confidence < 1:
        raise ArchitectureError(f": `confidence` must be a number between 0.5 and 1, both excluded, not {confidence!r}")
    for key, rule in (("confidence", "settled"), ("passes", "passes")):
        if key in value and value["stop"] != rule:
            raise ArchitectureError(
                f": `{key}` is of `stop: {rule}`, and this is `stop: {value['stop']}`: leave it out"
            )
    samples = AdaptiveSamples(
        most=value["max"],
        stop=value["stop"],
        min=value.get("min"),
        confidence=float(confidence),
        passes=value.get("passes", 1),
        step=value.get("step"),
    )
    if samples.least > samples.most:
        raise ArchitectureError(f": `min` is {samples.least}, more than `max`, {samples.most}")
    if samples.stop == "passes" and samples.passes > samples.most:
        raise ArchitectureError(f": `passes` is {samples.passes}, more than `max`, {samples.most}")
    return samples


def find_adaptive_samples(spec: "ComponentSpec") -> AdaptiveSamples | None:
    """The rule by which a component draws in rounds; None where it makes so many at once."""
    value = dict(spec.options).get("samples")
    option = resolve_component_type(spec.kind, spec.kind).options.get("samples")
    if not isinstance(value, Mapping) or option is None or option.read is None:
        return None
    return samples if isinstance(samples := read_samples(value), AdaptiveSamples) else None


def dump_samples(samples: Samples) -> Any:
    """The value as a file has it, without what is at its default; equal for equal behaviour.

    >>> dump_samples(read_samples({"stop": "passes", "max": 8, "passes": 1}))
    {'max': 8, 'stop': 'passes'}
    """
    if isinstance(samples, int):
        return samples
    values = {
        "min": samples.min,
        "max": samples.most,
        "stop": samples.stop,
        "confidence": samples.confidence if samples.confidence != DEFAULT_CONFIDENCE else None,
        "passes": samples.passes if samples.passes != 1 else None,
        "step": samples.step,
    }
    return {key: value for key, value in values.items() if value is not None}


def samples_option() -> ComponentOption:
    """The option `samples` of a component that makes candidates: a number, or a mapping for `AdaptiveSamples`."""

    def read(value: Any) -> Any:
        return dump_samples(read_samples(value))

    return ComponentOption(1, LEGAL_SAMPLES, lambda value: True, read=read, closed=True)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
