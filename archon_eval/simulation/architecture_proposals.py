"""How a simulated model proposes an architecture: it changes one of those that the prompt shows, in one place.

It knows what the prompt says and nothing else. A strong model changes the best one more often than a weak one does.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import exp
from random import Random
from typing import Any, NamedTuple

import yaml

PROPOSAL_ERROR_RATE = 0.08
"""Share of proposals that break a rule or the grammar. Assumed: models that write files get some of them wrong."""
GREED = 60.0
"""By how much a point of performance raises the odds of being the one that is changed, for the strongest models."""
MAX_SAMPLES, FUSER_STEP, MAX_FUSERS = 5, 2, 8
JUDGING_KINDS = ("critic", "ranker", "verifier", "unit_test_generator", "unit_test_evaluator")
TRIED = re.compile(
    r'<tried name="([^"\n]*)" (?:performance="([\d.-]+)"|result="[^"\n]*") calls="[\d.]+">\n(.*?)\n</tried>', re.S
)
_MODELS = re.compile(r"^Models that may be used[^:\n]*: (.+)$", re.M)

Layers = list[dict[str, Any]]


class _Shown(NamedTuple):
    """An architecture of the prompt."""

    name: str
    performance: float
    layers: Layers


def write_proposal(text: str, strength: float, rng: Random) -> str:
    """A reply to the prompt of `archon search --algorithm proposer`.

    Args:
        strength: of the model, about -2 to 2.
    """
    listed = _MODELS.search(text)
    models = [name.strip() for name in listed[1].split(",") if name.strip()] if listed else []
    shown = [each for match in TRIED.finditer(text) if (each := _read_shown(match)) is not None]
    if not shown or not models:
        return "I see no architecture to change."
    best = max(each.performance for each in shown)
    greed = GREED / (1 + exp(-strength))
    parent = rng.choices(shown, [exp(greed * (each.performance - best)) for each in shown])[0]
    known = [each.layers for each in shown]
    layers, why = _change(parent.layers, models, rng)
    for _ in range(8):  # a model sees that a change leads back to what was tried
        if layers not in known:
            break
        layers, why = _change(layers, models, rng)
    if rng.random() < PROPOSAL_ERROR_RATE:
        layers = [*layers, {"selector": models[0]}] if rng.random() < 0.5 else layers[1:]
    file = yaml.safe_dump(
        {"layers": list(map(_shorten, layers))}, sort_keys=False, default_flow_style=None, width=10**6
    )
    return f"Parent: {parent.name}\nWhy: {why}\n```yaml\n{file}```"


def _read_shown(match: "re.Match[str]") -> _Shown | None:
    layers = _read_layers(match[3])
    return None if layers is None else _Shown(match[1], float(match[2] or 0.0), [dict(layer) for layer in layers])


@lru_cache(maxsize=256)
def _read_layers(text: str) -> tuple[dict[str, Any], ...] | None:
    """The layers of a file; None where it is none. A prompt shows what the one before it did, and YAML is slow."""
    try:
        return tuple(_normalize(layer) for layer in yaml.safe_load(text)["layers"])
    except (yaml.YAMLError, TypeError, KeyError, ValueError, AttributeError):
        return None


def _normalize(layer: Mapping[str, Any]) -> dict[str, Any]:
    """A layer with a list of components, each a mapping."""
    [(kind, value)] = layer.items()
    items = value if isinstance(value, list) else [value]
    return {kind: [{"model": item} if isinstance(item, str) else dict(item or {}) for item in items]}


def _shorten(layer: Mapping[str, Any]) -> dict[str, Any]:
    [(kind, items)] = layer.items()
    short = [item["model"] if list(item) == ["model"] else item for item in items]
    return {kind: short[0] if len(short) == 1 else short}


def _get_kind(layer: Mapping[str, Any]) -> str:
    return str(next(iter(layer), ""))


def _change(layers: Layers, models: Sequence[str], rng: Random) -> tuple[Layers, str]:
    """Another architecture, and what it is hoped to bring; the same where no change can be made."""
    changes = [*CHANGES]
    rng.shuffle(changes)
    copied: Layers = [{kind: [dict(item) for item in items] for kind, items in layer.items()} for layer in layers]
    for change in changes:
        if made := change(copied, models, rng):
            return made
    return layers, "It is as good as any."


def _change_generators(layers: Layers, models: Sequence[str], rng: Random) -> tuple[Layers, str] | None:
    items = layers[0].get("generator")
    if not items:
        return None
    used = [item.get("model") for item in items]
    free = [model for model in models if model not in used]
    if free and (len(items) == 1 or rng.random() < 0.7):
        added = {**items[-1], "model": free[0]}
        return [
            {"generator": [*items, added]},
            *layers[1:],
        ], "Another model makes other mistakes."
    if len(items) > 1:
        return [{"generator": items[:-1]}, *layers[1:]], "The weakest model misleads what reads its answers."
    return None


def _change_samples(layers: Layers, models: Sequence[str], rng: Random) -> tuple[Layers, str] | None:
    items = layers[0].get("generator")
    if not items or not all(isinstance(item.get("samples", 1), int) for item in items) or len(layers) == 1:
        return None
    step = rng.choice([1, 1, -1])
    changed = [{**item, "samples": item.get("samples", 1) + step} for item in items]
    if not all(1 <= item["samples"] <= MAX_SAMPLES for item in changed):
        return None
    changed = [{k: v for k, v in item.items() if (k, v) != ("samples", 1)} for item in changed]
    why = "More samples hold the right answer more often." if step > 0 else "Fewer samples are easier to tell apart."
    return [{"generator": changed}, *layers[1:]], why


def _change_width(layers: Layers, models: Sequence[str], rng: Random) -> tuple[Layers, str] | None:
    inner = [n for n, layer in enumerate(layers[:-1]) if _get_kind(layer) == "fuser"]
    if not inner:
        return None
    place = rng.choice(inner)
    items = layers[place]["fuser"]
    width = len(items) + rng.choice([FUSER_STEP, -FUSER_STEP])
    if not FUSER_STEP <= width <= MAX_FUSERS:
        return None
    names = [item["model"] for item in items if "model" in item] or [*models]
    pool = list(dict.fromkeys([*names, *models]))
    changed = [{**items[0], "model": pool[n % len(pool)]} for n in range(width)]
    why = (
        "A wider fusion keeps more of what the answers have." if width > len(items) else "Fewer fusers are enough here."
    )
    return [*layers[:place], {"fuser": changed}, *layers[place + 1 :]], why


def _change_depth(layers: Layers, models: Sequence[str], rng: Random) -> tuple[Layers, str] | None:
    fusers = [n for n, layer in enumerate(layers) if _get_kind(layer) == "fuser"]
    if len(fusers) > 1 and rng.random() < 0.4:
        start = fusers[-2]  # with the critic and the ranker that stand before it
        while start > 1 and _get_kind(layers[start - 1]) in ("critic", "ranker"):
            start -= 1
        return [*layers[:start], *layers[fusers[-2] + 1 :]], "A layer less loses less of a right answer."
    if not fusers:
        return [*layers, {"fuser": [{"model": models[0]}]}], "One answer from all of them can be better than any."
    if len(fusers) >= 4:
        return None
    start = fusers[-1]
    while start > 1 and _get_kind(layers[start - 1]) in JUDGING_KINDS:
        start -= 1
    before = [layer for layer in layers[start : fusers[-1]] if _get_kind(layer) in ("critic", "ranker")]
    wide = {"fuser": [{**layers[fusers[-1]]["fuser"][0], "model": model} for model in _cycle(models, FUSER_STEP)]}
    return [*layers[:start], *before, wide, *layers[start:]], "Another layer of fusion refines the answers once more."


def _change_evaluation(layers: Layers, models: Sequence[str], rng: Random) -> tuple[Layers, str] | None:
    kinds = list(map(_get_kind, layers))
    there = [n for n, kind in enumerate(kinds) if kind in JUDGING_KINDS[2:]]
    if there and rng.random() < 0.6:
        return [layer for n, layer in enumerate(layers) if n not in there], "Its verdicts drop too many right answers."
    if there or len(layers) == 1:
        return None
    judge = next((items[0].get("model") for layer in layers[:0:-1] for items in layer.values() if items), models[0])
    place = len(layers) - 1 if kinds[-1] in ("fuser", "vote") else len(layers)
    if rng.random() < 0.6:
        return [*layers[:place], {"verifier": [{"model": judge or models[0]}]}, *layers[place:]], (
            "A verifier keeps wrong answers from the last layer."
        )
    tests = [{kind: [{"model": judge or models[0]}]} for kind in JUDGING_KINDS[3:]]
    return [*layers[:place], *tests, *layers[place:]], "Unit tests keep wrong answers from the last layer."


def _change_ranking(layers: Layers, models: Sequence[str], rng: Random) -> tuple[Layers, str] | None:
    kinds = list(map(_get_kind, layers))
    if "ranker" in kinds:
        if kinds[-1] == "ranker" or rng.random() < 0.5:
            return None
        return [layer for layer in layers if _get_kind(layer) not in ("critic", "ranker")], (
            "Without critic and ranker the fuser sees all answers as they are."
        )
    fusers = [n for n, kind in enumerate(kinds) if kind == "fuser"]
    if not fusers:
        return None
    ranked: Layers = [{"critic": [{"model": models[0]}]}, {"ranker": [{"model": models[0]}]}]
    made: Layers = []
    for layer in layers:
        made += [*ranked, layer] if _get_kind(layer) == "fuser" else [layer]
    return made, "Strengths, weaknesses and an order tell the fuser what to go by."


def _cycle(models: Sequence[str], count: int) -> list[str]:
    return [models[n % len(models)] for n in range(count)]


CHANGES: Sequence[Callable[[Layers, Sequence[str], Random], tuple[Layers, str] | None]] = (
    _change_generators,
    _change_samples,
    _change_width,
    _change_depth,
    _change_evaluation,
    _change_ranking,
)
