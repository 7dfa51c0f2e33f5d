"""A space from a preset's name, a file or a mapping, with errors that say what is legal."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from archon_eval.architecture.load import parse_text
from archon_eval.architecture.parse import check_prompts, parse_layers
from archon_eval.architecture.samples import Samples, read_samples
from archon_eval.architecture.stages import STAGE_NAME
from archon_eval.errors import ArchitectureError, SearchError, did_you_mean
from archon_eval.search.space.axes import (
    EVALUATION_PLACES,
    EVALUATIONS,
    INSERT_PLACES,
    VOTES,
    FirstStage,
    Insert,
    Space,
)
from archon_eval.search.space.configuration import ROLE_KINDS
from archon_eval.search.space.layout import DEFAULT_MODEL, LAST_STAGE, RANK

PRESETS: Mapping[str, Space] = {
    "paper": Space(),
    "paper-v1": Space(evaluations=("none",)),
    "paper-text": Space(layers=(1, 2, 3, 4), fusers=(2, 4, 6, 8, 10)),
    "small": Space(
        generators=(1, 2, 4, 8),
        samples=(1, 2),
        layers=(0, 1, 2),
        fusers=(2, 4),
        critic_ranker=(True, False),
        evaluations=("none", "verifier"),
    ),
    "high-sample": Space(
        generators=(1, 2), samples=(1, 10, 100, 500, 1000), layers=(0, 1), fusers=(), critic_ranker=(False,)
    ),
}
"""`paper`: 9,576 of Archon v6; `paper-v1`: 3,192; `paper-text`: 17,784, the axes as the text of both has them (1 to 4
fusion layers, 2 to 10 fusers), of which the published numbers leave out the first layer count and the widest layers;
`small`: for a first try; `high-sample`: code and maths (v6 A.4)."""

_MINIMUMS = {"generators": 1, "layers": 0, "fusers": 1, "tests": 1}
_WORDS = {"evaluations": EVALUATIONS, "evaluation_places": EVALUATION_PLACES, "votes": VOTES}
MAX_PROPOSERS = 100_000
"""Vectors of proposers that a mapping may stand for."""


def load_space(source: str | Path | Mapping[str, Any]) -> Space:
    """A preset by name, a YAML file, or a mapping; `preset: NAME` in it is what the rest changes.

    Raises:
        SearchError: unreadable, an unknown key or a value that is not legal.
    """
    if isinstance(source, Mapping):
        return _parse_space(source, "space")
    if str(source) in PRESETS:
        return PRESETS[str(source)]
    path = Path(source)
    if not path.is_file():
        raise SearchError(
            f"no search space {str(source)!r}: neither a file nor a preset{did_you_mean(str(source), PRESETS)}"
        )
    try:
        what = "a space is a mapping, e.g. `preset: small`"
        return _parse_space(parse_text(path.read_text(encoding="utf-8"), str(path), what), str(path))
    except (OSError, UnicodeDecodeError, ArchitectureError) as exc:
        raise SearchError(f"search space {path}: {exc}") from exc


def _parse_space(data: Mapping[str, Any], where: str) -> Space:
    values = dict(data)
    base = load_space(str(values.pop("preset", "paper")))
    legal = [field.name for field in fields(Space)]
    changes: dict[str, Any] = {}
    problems = []
    for key, value in values.items():
        try:
            if key not in legal:
                raise SearchError(f"{where}: unknown key {key!r}{did_you_mean(str(key), [*legal, 'preset'])}")
            changes[key] = _parse_axis(str(key), value, where)
        except (SearchError, ArchitectureError) as exc:
            problems.append(str(exc))
    if problems:
        raise SearchError("; ".join(problems))
    return replace(base, **changes)


def _parse_axis(key: str, value: Any, where: str) -> Any:
    """The value of one key, or SearchError with what is legal."""
    if key in _PARSERS:
        return _PARSERS[key](value, where)
    items = value if isinstance(value, list | tuple) else [value]
    if key in _MINIMUMS:
        spread = [number for item in items for number in _expand_range(item)]
        least = _MINIMUMS[key]
        return _check_items(spread, lambda v: _is_int(v, least), f"{where}: `{key}` must be whole numbers or 1..10")
    if key == "critic_ranker":
        return _check_items(items, lambda v: isinstance(v, bool), f"{where}: `{key}` must be true, false or both")
    if key in _WORDS:
        return _check_items(items, lambda v: v in _WORDS[key], f"{where}: `{key}` must be of {', '.join(_WORDS[key])}")
    temperatures = f"{where}: `{key}` must be numbers from 0 to 2"
    return tuple(map(float, _check_items(items, lambda v: type(v) in (int, float) and 0 <= v <= 2, temperatures)))


def _parse_max_candidates(value: Any, where: str) -> int:
    problem = f"{where}: `max_candidates` must be a whole number from 1"
    return int(_check_items([value], lambda v: _is_int(v, 1), problem)[0])


def _parse_samples(value: Any, where: str) -> tuple[Samples, ...]:
    """`[1, 2..5, {min: 3, max: 40, stop: settled}]`"""
    samples: list[Samples] = []
    for item in value if isinstance(value, list | tuple) else [value]:
        for each in [item] if isinstance(item, Mapping) else _expand_range(item):
            try:
                samples.append(read_samples(each))
            except ArchitectureError as exc:
                rules = "" if isinstance(item, int | float) else ", or rules such as {min: 3, max: 40, stop: settled}"
                legal = f" must be whole numbers or 1..10{rules}, not {value!r}"
                raise SearchError(f"{where}: `samples`{exc if isinstance(item, Mapping) else legal}") from None
    return tuple(dict.fromkeys(samples))


def _parse_judge(value: Any, where: str) -> str:
    return str(_check_items([value], lambda v: isinstance(v, str), f"{where}: `judge` must be a model's name")[0])


def _parse_pools(value: Any, where: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    names = f"{where}: a pool must be a list of model names"
    return tuple(
        (name, _check_items(members, lambda v: isinstance(v, str) and bool(v), names))
        for name, members in _require_mapping(value, f"{where}: `pools` must map names to lists of models")
    )


def _parse_inserts(value: Any, where: str) -> tuple[Insert, ...]:
    """`{none: [], majority: {place: end, layers: [{vote: {top_k: 1}}]}}`"""
    what = f"{where}: `inserts` must map names to {{place: {' or '.join(INSERT_PLACES)}, layers: [...]}}, or to []"
    inserts = []
    for name, given in _require_mapping(value, what):
        if not given:
            inserts.append(Insert(name, "", "[]"))
            continue
        if not isinstance(given, Mapping) or set(given) != {"place", "layers"} or not isinstance(given["layers"], list):
            raise SearchError(f"{what}, not {given!r} ({name})")
        if given["place"] not in INSERT_PLACES:
            hint = did_you_mean(str(given["place"]), INSERT_PLACES)
            raise SearchError(f"{where}: insert {name!r}: unknown place {given['place']!r}{hint}")
        parse_layers(given["layers"], f"{where}: insert {name!r}")
        inserts.append(Insert(name, given["place"], json.dumps(given["layers"], sort_keys=True)))
    return tuple(inserts)


def _parse_cascades(value: Any, where: str) -> tuple[FirstStage, ...]:
    """`{none: {}, vote: {model: generator_4, samples: 5, agreement: [0.6, 0.8]}}`"""
    form = "{samples: 5, agreement: [0.6, 0.8], model: generator_4}"
    what = f"{where}: `cascades` must map names to {form}, of which `model` may be left out, or to {{}}"
    stages = []
    for name, given in _require_mapping(value, what):
        if not STAGE_NAME.fullmatch(name) or name == LAST_STAGE:
            raise SearchError(f"{where}: cascades: {name!r} must be a word, and not {LAST_STAGE!r}")
        if not given:
            stages.append(FirstStage(name, "", 1, ()))
            continue
        legal = ("stage", "model", "samples", "agreement")
        if not isinstance(given, Mapping) or not set(given) <= set(legal) or given.get("stage", "vote") != "vote":
            raise SearchError(f"{what}, not {given!r} ({name})")
        agreements = given.get("agreement")
        agreements = agreements if isinstance(agreements, list | tuple) else [agreements]
        _check_items(
            agreements,
            lambda share: isinstance(share, int | float) and not isinstance(share, bool) and 0 < share <= 1,
            f"{where}: cascades: `agreement` of {name} must be numbers above 0 and up to 1",
        )
        samples, model = given.get("samples", 5), given.get("model", "")
        if not _is_int(samples, 2):
            raise SearchError(f"{where}: cascades: `samples` of {name} must be a whole number from 2, not {samples!r}")
        if model and not _is_role_model(model):
            raise SearchError(f"{where}: cascades: `model` of {name} must be a name or a rank such as generator_4")
        stages.append(FirstStage(name, model, samples, tuple(map(float, dict.fromkeys(agreements)))))
    return tuple(stages)


def _parse_prompts(value: Any, where: str) -> tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]:
    """`{built-in: {}, terse: {fuser: {fuse: "..."}}}`"""
    sets = []
    for name, prompts in _require_mapping(value, f"{where}: `prompts` must map names to prompts by component"):
        check_prompts(prompts or {}, f"{where}: prompts {name!r}")
        texts = [(kind, each, text) for kind, given in (prompts or {}).items() for each, text in given.items()]
        sets.append((name, tuple(sorted(texts))))
    return tuple(sets)


def _parse_proposers(value: Any, where: str) -> tuple[tuple[int, ...], ...]:
    """`[[1, 1, 1, 3]]`, or `{models: 4, times: 0..3, candidates: 6}` for all that there are."""
    vectors: Sequence[tuple[int, ...]]
    if isinstance(value, Mapping):
        vectors = _spread_proposers(value, where)
    else:
        what = f"{where}: `proposers` must be lists of how often each ranked model proposes, e.g. [[1, 1, 3]]"
        vectors = _check_items(
            [tuple(item) if isinstance(item, list | tuple) else item for item in value]
            if isinstance(value, list | tuple)
            else value,
            lambda item: isinstance(item, tuple) and all(_is_int(count, 0) for count in item) and sum(item) > 0,
            what,
        )
    return tuple(dict.fromkeys(_strip_zeros(vector) for vector in vectors))


def _spread_proposers(value: Mapping[str, Any], where: str) -> list[tuple[int, ...]]:
    legal = ("models", "times", "candidates")
    if sorted(value) != sorted(legal):
        raise SearchError(f"{where}: `proposers` must have {', '.join(legal)}, e.g. models: 4, not {dict(value)!r}")
    numbers = {key: _parse_numbers(value[key], key, where) for key in legal}
    models = max(numbers["models"])
    if len(numbers["times"]) ** models > MAX_PROPOSERS:
        raise SearchError(
            f"{where}: proposers: {len(numbers['times'])} numbers of times for each of {models} models are more than "
            f"{MAX_PROPOSERS:,} combinations: name fewer"
        )
    vectors = [v for v in product(sorted(numbers["times"]), repeat=models) if sum(v) in numbers["candidates"]]
    if not vectors:
        raise SearchError(f"{where}: proposers: no combination has {numbers['candidates']} candidates")
    return vectors


def _parse_numbers(value: Any, key: str, where: str) -> tuple[int, ...]:
    items = value if isinstance(value, list | tuple) else [value]
    spread, least = [number for item in items for number in _expand_range(item)], 0 if key == "times" else 1
    return _check_items(spread, lambda v: _is_int(v, least), f"{where}: proposers: `{key}` must be numbers or 1..6")


def _strip_zeros(vector: tuple[int, ...]) -> tuple[int, ...]:
    return _strip_zeros(vector[:-1]) if vector[-1] == 0 else vector


def _parse_roles(value: Any, where: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """`{critic: [default, a/x], fuser: [default, best_generator]}`"""
    roles = []
    legal = f"a model's name, {DEFAULT_MODEL}, best_generator, best_fuser, generator_2 or the like"
    for role, models in _require_mapping(value, f"{where}: `roles` must map roles to lists of models"):
        if role not in ROLE_KINDS:
            raise SearchError(f"{where}: unknown role {role!r}{did_you_mean(role, ROLE_KINDS)}")
        items = models if isinstance(models, list | tuple) else [models]
        roles.append((role, _check_items(items, _is_role_model, f"{where}: roles: `{role}` must be of {legal}")))
    return tuple(roles)


def _is_role_model(name: Any) -> bool:
    return isinstance(name, str) and (name == DEFAULT_MODEL or bool(RANK.fullmatch(name)) or "/" in name)


def _require_mapping(value: Any, problem: str) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping) or not value:
        raise SearchError(f"{problem}, not {value!r}")
    return [(str(name), item) for name, item in value.items()]


_PARSERS: Mapping[str, Callable[[Any, str], Any]] = {
    "samples": _parse_samples,
    "max_candidates": _parse_max_candidates,
    "judge": _parse_judge,
    "pools": _parse_pools,
    "inserts": _parse_inserts,
    "prompts": _parse_prompts,
    "proposers": _parse_proposers,
    "roles": _parse_roles,
    "cascades": _parse_cascades,
}


def _is_int(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _expand_range(item: Any) -> list[Any]:
    """`1..10` as its numbers."""
    first, dots, last = str(item).partition("..")
    if dots and first.isdigit() and last.isdigit():
        return list(range(int(first), int(last) + 1))
    return [item]


def _check_items(values: Any, ok: Callable[[Any], bool], problem: str) -> tuple[Any, ...]:
    if not isinstance(values, list | tuple) or not all(ok(value) for value in values):
        raise SearchError(f"{problem}, not {values!r}")
    return tuple(dict.fromkeys(values))
