"""Architectures of the papers and of the systems they are compared with, as YAML, each citing its source.

>>> group_presets(["moa", "mine", "single"])
[('single models', ['single']), ('Mixture-of-Agents', ['moa']), ('others', ['mine'])]
"""

from collections.abc import Iterable, Mapping, Sequence

PRESET_GROUPS: Mapping[str, Sequence[str]] = {
    "single models": ("single", "reasoning-model"),
    "samples of one model": (
        "best-of-n",
        "best-of-n-reward",
        "self-consistency",
        "adaptive-consistency",
        "self-refine",
        "sample-unit-tests",
    ),
    "Mixture-of-Agents": ("llm-ranker", "moa-lite", "moa-single-proposer", "self-moa", "moa", "moa-gpt-4o"),
    "debates": ("debate", "moderated-debate", "reconcile"),
    "ADAS's seed agents": (
        "adas-chain-of-thought",
        "adas-self-consistency",
        "adas-self-refine",
        "adas-debate",
        "adas-step-back",
        "adas-quality-diversity",
        "adas-dynamic-roles",
    ),
    "AFlow-style workflows": ("aflow-math", "aflow-code"),
    "cascades": ("cascade", "routed-cascade"),
    "Archon's ablations": (
        "ensemble-fuser",
        "ensemble-ranker",
        "ensemble-pairwise",
        "ensemble-critic-fuser",
        "ensemble-ranker-fuser",
        "ensemble-critic-ranker-fuser",
        "ensemble-unit-tests",
        "ensemble-unit-tests-fuser",
        "ensemble-verifier",
        "ensemble-verifier-fuser",
        "ensemble-critic-verifier-fuser",
    ),
    "Archon's architectures": (
        "figure-3",
        "general-purpose",
        "figure-14",
        "figure-15",
        "figure-16",
        "v1-figure-9",
        "v1-figure-10",
        "v1-figure-11",
        "v1-figure-12",
    ),
}
"""The presets by group, in the order in which they are listed. One that is in no group is listed under `others`."""
OTHERS = "others"


def group_presets(names: Iterable[str]) -> list[tuple[str, list[str]]]:
    """The names by group, in the groups' order; groups of which none is there are left out."""
    left = list(names)
    groups = [(title, [name for name in members if name in left]) for title, members in PRESET_GROUPS.items()]
    known = {name for _, members in groups for name in members}
    groups.append((OTHERS, [name for name in left if name not in known]))
    return [(title, members) for title, members in groups if members]
