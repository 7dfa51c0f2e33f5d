"""Strength of each simulated model: Archon v6 (ICML 2025), Table 35, and rules that fill its gaps.

    >>> round(get_generation_accuracy("gpt-4o", "math"), 2)    # share it answers rightly alone
    0.82
    >>> round(get_fusion_accuracy("gpt-4o", "math"), 2)        # share right when it fuses 10 random models
    0.81

Gaps ("-") are filled on the probit scale, where distances compare. A missing generation figure is 50% for the model
that is the benchmark's baseline (against itself); else the benchmark's mean plus the model's mean distance from the
mean on the other benchmarks. A missing fusion figure is the generation figure plus the mean gain of the others.
"""

from collections.abc import Mapping
from functools import cache
from statistics import NormalDist, fmean

from archon_eval.errors import SimulationError, did_you_mean

FAMILIES = ("mt_bench", "alpaca", "arena_hard", "mixeval", "mixeval_hard", "math", "code_contests")
"""The benchmarks of the table; every question belongs to one."""
OPEN_ENDED = frozenset(FAMILIES[:3])
"""Families judged by preference: their figures are win rates against the benchmark's baseline answers."""
BASELINES = frozenset({("claude-3.5-sonnet", "mt_bench"), ("claude-3.5-sonnet", "arena_hard")})
"""Models whose answers are the baseline (section 4.1)."""

_TABLE = """
gpt-4o                   44.7/61.9 57.5/64.5 48.1/69.2 88.0/89.4 63.6/65.4 82.0/81.0 17.9/19.4
gpt-4-turbo              42.2/63.1 55.0/65.8 48.1/61.9 88.9/89.0 64.1/64.4 79.5/73.5  9.3/14.2
claude-3-opus            30.9/57.2 40.5/-    27.0/47.9 88.3/88.2 63.6/64.0 74.5/74.0 10.0/12.5
claude-3.5-sonnet           -/71.9 52.4/63.6    -/73.2 89.7/89.3 68.9/69.5 83.5/86.5 12.1/15.5
qwen2-72b-instruct       35.0/59.7 37.5/56.0 14.5/49.5 86.5/87.5 58.7/61.1 81.0/78.5  3.6/5.2
deepseek-llm-67b         18.4/20.0 17.8/17.1    -/-    79.2/-    42.5/-    57.0/-     5.7/-
qwen1.5-72b-chat         24.7/46.3 36.6/55.7 14.4/36.4 84.5/82.5 50.3/52.2 71.5/67.5 15.0/13.9
qwen1.5-110b-chat        34.4/50.3 43.6/55.9 21.9/39.7 85.3/86.5 51.8/55.6 67.0/75.5  3.6/7.8
wizardlm-2-8x22b         53.8/57.2 44.7/50.6 45.6/51.2 83.0/78.1 54.3/50.4 76.0/60.5  7.1/10.4
llama-3.1-8b-instruct    33.1/45.9 25.6/34.9 11.9/28.6 75.0/57.5 41.3/46.5 65.5/60.5  8.6/7.8
llama-3.1-70b-instruct   45.0/51.9 35.6/40.2 23.8/37.2 85.7/83.5 61.1/65.5 74.0/73.5 20.7/23.4
llama-3.1-405b-instruct  44.7/-    40.3/-    28.4/-    88.9/-    66.2/-    78.0/-    27.1/-
"""
"""Percent, alone/fusing, in the order of FAMILIES; `-` where the paper prints none."""
_NORMAL = NormalDist()

FiguresByModel = Mapping[tuple[str, str], float]


@cache
def _parse_table() -> tuple[FiguresByModel, FiguresByModel]:
    """Generation and fusion figures as printed, on the probit scale, by (model, family)."""
    alone: dict[tuple[str, str], float] = {}
    fused: dict[tuple[str, str], float] = {}
    for line in _TABLE.strip().splitlines():
        name, *cells = line.split()
        for family, cell in zip(FAMILIES, cells, strict=True):
            for figures, figure in zip((alone, fused), cell.split("/"), strict=True):
                if figure != "-":
                    figures[name, family] = _NORMAL.inv_cdf(float(figure) / 100)
    return alone, fused


@cache
def list_models() -> tuple[str, ...]:
    """The twelve names, without `sim/`."""
    return tuple(line.split()[0] for line in _TABLE.strip().splitlines())


@cache
def _fill_gaps() -> tuple[FiguresByModel, FiguresByModel]:
    alone, fused = (dict(figures) for figures in _parse_table())
    means = {f: fmean(v for (_, family), v in _parse_table()[0].items() if family == f) for f in FAMILIES}
    gains = {f: fmean(fused[key] - alone[key] for key in fused if key[1] == f and key in alone) for f in FAMILIES}
    for name in list_models():
        known = [f for f in FAMILIES if (name, f) in _parse_table()[0]]
        distance = fmean(alone[name, f] - means[f] for f in known)
        for f in FAMILIES:
            alone.setdefault((name, f), 0.0 if (name, f) in BASELINES else means[f] + distance)
            fused.setdefault((name, f), alone[name, f] + gains[f])
    return alone, fused


def get_generation_accuracy(model: str, family: str) -> float:
    """Share of questions the model answers rightly alone (open-ended: share of wins against the baseline)."""
    return _NORMAL.cdf(get_strength(model, family))


def has_fusion_figure(model: str, family: str) -> bool:
    """Whether the paper prints a fusion figure for the model, so that it was among the fusers to choose from."""
    return (model, family) in _parse_table()[1]


def get_strength(model: str, family: str) -> float:
    """`get_generation_accuracy` on the probit scale: 0 is one half."""
    return _fill_gaps()[0][model, family]


def get_fusion_accuracy(model: str, family: str) -> float:
    """Share right (or won) when the model fuses the candidates of 10 random models."""
    return _NORMAL.cdf(_fill_gaps()[1][model, family])


def rank_models(family: str | None = None) -> tuple[str, ...]:
    """The models by strength, strongest first: on one family, or by the mean over all.

    Raises:
        SimulationError: no such family.
    """
    if family is not None and family not in FAMILIES:
        raise SimulationError(f"no benchmark family {family!r}{did_you_mean(family, FAMILIES)}")
    families = FAMILIES if family is None else (family,)
    return tuple(sorted(list_models(), key=lambda name: -fmean(get_strength(name, f) for f in families)))


def find_model(name: str) -> str:
    """The model behind `sim/NAME` or `NAME`.

    Raises:
        SimulationError: no such model (the nearest is offered), or `pool`, which is a list and not a model.
    """
    short = name.removeprefix("sim/")
    if short == "pool":
        members = ", ".join(f"sim/{member}" for member in rank_models())
        raise SimulationError(
            f"sim/pool is not one model: it stands for {members}, where a list is expected (-S models=sim/pool)"
        )
    if short not in list_models():
        raise SimulationError(f"no simulated model {name!r}{did_you_mean(short, list_models())}")
    return short
