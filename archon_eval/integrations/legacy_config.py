"""The original Archon project's JSON configs, read as what its released code did with them.

    architecture, notes = import_legacy(json.loads(text), "my-config")

Every key that had no effect there, is misspelt, or means something slightly different here gives a note; nothing is
dropped in silence. What cannot be expressed raises ArchitectureError with the reason.
Source: ScalingIntelligence/Archon, its `completions` package (layers, components, provider calls).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from archon_eval.architecture.component_types import BUILT_IN_COMPONENTS
from archon_eval.architecture.load import load_architecture
from archon_eval.architecture.spec import Architecture
from archon_eval.engine.plan import plan
from archon_eval.errors import ArchitectureError, quote
from archon_eval.models.pairrm import PAIRRM

INSPECT_PROVIDERS: Mapping[str, str] = {
    "OpenAI_API": "openai",
    "Together_API": "together",
    "Anthropic_API": "anthropic",
    "Google_API": "google",
    "Groq_API": "groq",
    "Bedrock_API": "bedrock",
    "vLLM": "vllm",
}
"""`model_type` of the original -> Inspect's provider."""

COMPARE_BY_PAIRRM = "archon_eval.models.pairrm:compare_answers"
"""What stands for a ranker with PairRM."""
ANTHROPIC_MAX_TOKENS = 4096
"""`max_tokens` the original sent to Anthropic, whatever the config said."""

COMMON_KEYS = ("type", "model", "model_type", "temperature", "max_tokens", "samples", "no_system")
KEYS_BY_KIND: Mapping[str, tuple[str, ...]] = {
    "fuser": ("length_control",),
    "ranker": ("top_k",),
    "verifier": ("first_k",),
    "unit_test_generator": ("unit_test_cap",),
    "unit_test_evaluator": ("top_k", "first_pass", "first_k", "remove_unit_tests_from_prompt"),
}
"""Keys that had an effect, beside COMMON_KEYS, by kind."""

IGNORED_KEYS: Mapping[str, str] = {
    "use_critiques": "rankers and fusers saw critiques whenever there were any, whatever it said, and so they do here",
    "ranker_batch_size": "only PairRM rankers read it",
    "temperature": "a network that compares answers has no settings",
    "max_tokens": "a network that compares answers has no settings",
    "samples": "one reply is read",
    "top_k": "only rankers and unit test evaluators read it",
}
"""Keys worth a word of explanation where they had no effect."""


@dataclass(slots=True)
class _Conversion:
    """The conversion of one config: its notes, each with the layers of the file that it is about."""

    name: str
    notes: dict[str, list[int]] = field(default_factory=dict)
    critic_seen: bool = False

    def add_note(self, layer: int, text: str) -> None:
        layers = self.notes.setdefault(text, [])
        if layer not in layers:
            layers.append(layer)

    def make_error(self, layer: int, why: str) -> ArchitectureError:
        return ArchitectureError(f"{self.name}: layer {layer} {why}")

    def format_notes(self) -> list[str]:
        """The notes as text, those about the whole file (layer 0) without a place."""
        places = {text: ", ".join(map(str, layers)) for text, layers in self.notes.items()}
        return [
            text if where == "0" else f"layer{'s' if ',' in where else ''} {where}: {text}"
            for text, where in places.items()
        ]


def is_legacy(data: Mapping[str, Any]) -> bool:
    """Whether it has the original project's form: components with a `type`, in lists or under `models`."""
    layers = data.get("layers")
    first = layers[0] if isinstance(layers, list) and layers else None
    entries = first.get("models", [first]) if isinstance(first, Mapping) else first
    return not isinstance(entries, list) or any("type" in entry for entry in entries if isinstance(entry, Mapping))


def import_legacy(data: Mapping[str, Any], name: str) -> tuple[Architecture, list[str]]:
    """An architecture that does what the original did with a config, and what a reader must know about the change.

    Args:
        data: the parsed JSON.
        name: used when the config has no `name`, and in errors.

    Raises:
        ArchitectureError: malformed, or not expressible by the rules of construction; says why.
    """
    job = _Conversion(name)
    layers = data.get("layers") if isinstance(data, Mapping) else None
    if not isinstance(layers, list) or not layers:
        raise ArchitectureError(f"{name}: no config of the original project: it has no list `layers`")
    for key in set(data) - {"name", "layers"}:
        job.add_note(0, f"`{key}` at the top has no effect here")
    built = [_convert_layer(job, number, layer) for number, layer in enumerate(layers, 1)]
    _move_tests(job, built)
    title = data.get("name", name)
    try:
        architecture = load_architecture(
            {"name": str(title), "imported_from": name, "layers": [{kind: specs} for kind, specs in built]}
        )
    except ArchitectureError as exc:
        raise ArchitectureError(f"{name} cannot be valid here: {exc}") from exc
    stops = "stop_after" in dict(architecture.layers[-1][0].options)
    if plan(architecture).layers[-1].candidates[1] > 1 and not stops:
        job.add_note(
            len(built),
            "several candidates may be left: the original answered with a random one, here the first is the answer",
        )
    return architecture, job.format_notes()


def _convert_layer(job: _Conversion, number: int, layer: Any) -> tuple[str, list[dict[str, Any]]]:
    """(kind, components) of one layer, whichever of the original's shapes it has."""
    entries = layer
    if isinstance(layer, Mapping) and "models" in layer:
        for key in sorted(set(layer) - {"models"}):
            job.add_note(number, f"`{key}: {layer[key]}` of a layer had no effect: only its `models` were read")
        entries = layer["models"]
    elif isinstance(layer, Mapping):
        job.add_note(number, "one component that is not in a list: the original could not read it, here it is a layer")
        entries = [layer]
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, Mapping) for entry in entries):
        raise job.make_error(number, "is not a list of components")
    kinds = list(dict.fromkeys(str(entry.get("type")) for entry in entries))
    if unknown := [kind for kind in kinds if kind not in BUILT_IN_COMPONENTS]:
        raise job.make_error(
            number,
            f"has a component of type {unknown[0]!r}: components added in Python must be rewritten as components here "
            "(see docs/components.md)",
        )
    if len(kinds) > 1:
        raise job.make_error(number, f"mixes {' and '.join(kinds)}: one kind of component in a layer (rule 1)")
    if kinds == ["ranker"] and len(entries) == 1 and entries[0].get("model") == PAIRRM:
        return "pairwise", [_convert_pairrm(job, number, entries[0])]
    components = [_convert_component(job, number, kinds[0], entry=entry) for entry in entries]
    job.critic_seen |= kinds[0] == "critic"
    return kinds[0], components


def _convert_component(job: _Conversion, number: int, kind: str, *, entry: Mapping[str, Any]) -> dict[str, Any]:
    live = (*COMMON_KEYS, *KEYS_BY_KIND.get(kind, ()))
    for key in entry:
        if key not in live:
            _note_ignored_key(job, number, kind, key=key, live=live)
    component: dict[str, Any] = {"model": _resolve_model(job, number, entry), **_convert_settings(job, number, entry)}
    if kind in ("generator", "fuser"):
        component["samples"] = entry.get("samples", 1)
    elif "samples" in entry:
        _note_ignored_key(job, number, kind, key="samples", live=live)
    if entry.get("no_system"):
        job.add_note(number, "`no_system`: the original took its own system message away; none is added here")
    if kind == "ranker":
        if "top_k" in entry:
            component["top_k"] = entry["top_k"]
        else:
            job.add_note(number, "no `top_k`: the original kept every candidate; here the best 5 go on")
    if kind == "unit_test_generator":
        component |= _convert_test_cap(job, number, entry)
    if kind in ("verifier", "unit_test_evaluator"):
        component |= _convert_filtering(job, number, kind, entry=entry)
    if entry.get("length_control") and kind == "fuser":
        if job.critic_seen:
            component["length_control"] = True
        else:
            job.add_note(number, "`length_control` had no effect: fusers followed it only where there were critiques")
    return component


def _convert_pairrm(job: _Conversion, number: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    """A ranker with PairRM, which compared every two candidates in both orders, `ranker_batch_size` at a time."""
    for key in entry:
        if key not in ("type", "model", "model_type", "top_k", "ranker_batch_size"):
            _note_ignored_key(job, number, "ranker", key=key, live=KEYS_BY_KIND["ranker"])
    job.add_note(
        number,
        f"ranks with {PAIRRM}, a network that compares two answers: `pairwise` asks it about every two candidates in "
        "both orders, 32 at once (`ranker_batch_size`). It runs in this process and needs pip install llm-blender",
    )
    if "top_k" not in entry:
        raise job.make_error(number, "ranks without `top_k`: say how many candidates go on")
    return {"function": COMPARE_BY_PAIRRM, "batch": True, "dollars": 0, "top_k": entry["top_k"]}


def _note_ignored_key(job: _Conversion, number: int, kind: str, *, key: str, live: Sequence[str]) -> None:
    near = [] if key in COMMON_KEYS or key in IGNORED_KEYS else get_close_matches(key, live, n=1, cutoff=0.8)
    if near:
        job.add_note(number, f"{kind}: `{key}` had no effect; it looks like `{near[0]}` misspelt, and is left out")
    else:
        why = f" ({IGNORED_KEYS[key]})" if key in IGNORED_KEYS else ""
        job.add_note(number, f"{kind}: `{key}` had no effect{why}")


def _resolve_model(job: _Conversion, number: int, entry: Mapping[str, Any]) -> str:
    model, model_type = entry.get("model"), entry.get("model_type")
    if not isinstance(model, str) or not model.strip():
        raise job.make_error(number, f"has a component without a model: {quote(str(dict(entry)))}")
    if model == PAIRRM:
        raise job.make_error(number, f"asks {PAIRRM}, a network that compares two answers and can only rank")
    if str(model_type) not in INSPECT_PROVIDERS:
        legal = ", ".join(INSPECT_PROVIDERS)
        raise job.make_error(
            number, f"has model_type {model_type!r}, for which Inspect has no provider (known: {legal})"
        )
    provider = INSPECT_PROVIDERS[str(model_type)]
    return model if model.startswith(f"{provider}/") else f"{provider}/{model}"


def _convert_settings(job: _Conversion, number: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    settings = {key: entry[key] for key in ("temperature", "max_tokens") if key in entry}
    if entry.get("model_type") == "Anthropic_API":
        if settings.get("max_tokens") != ANTHROPIC_MAX_TOKENS:
            job.add_note(
                number,
                f"`max_tokens` had no effect with Anthropic_API: {ANTHROPIC_MAX_TOKENS} was sent, and is set here",
            )
        settings["max_tokens"] = ANTHROPIC_MAX_TOKENS
    if str(entry.get("model")).startswith(("o1-preview-2024", "o1-mini-2024")):
        job.add_note(
            number, "`temperature` and `max_tokens` had no effect with o1 models: they are left to the provider"
        )
        settings = {"temperature": None, "max_tokens": None}
    return settings


def _convert_test_cap(job: _Conversion, number: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    cap = entry.get("unit_test_cap")
    if cap is None:
        job.add_note(
            number, "without `unit_test_cap` the number of tests was open; here at most 10 are used (`max_tests`)"
        )
        return {}
    job.add_note(number, f"`unit_test_cap: {cap}` asked for exactly {cap} tests; `max_tests: {cap}` is an upper limit")
    return {"max_tests": cap}


def _convert_filtering(job: _Conversion, number: int, kind: str, *, entry: Mapping[str, Any]) -> dict[str, Any]:
    """`first_k` and `first_pass` stopped at the first candidates that passed; else an evaluator sorted by passes."""
    if "remove_unit_tests_from_prompt" in entry:
        job.add_note(number, "`remove_unit_tests_from_prompt`: tests are never written into the query here")
    first = entry.get("first_k") or (1 if entry.get("first_pass") else None)
    if kind == "verifier":
        return {} if first is None else {"stop_after": first}
    top_k = entry.get("top_k")
    if first is None:
        return {"keep": "all", **({} if top_k is None else {"top_k": top_k})}
    rest = "the candidates that passed most" if top_k is None else f"the {top_k} that passed most"
    key = "first_pass" if "first_pass" in entry else "first_k"
    job.add_note(
        number,
        f"`{key}` is `stop_after: {first}`: when too few candidates pass every test, the original (`top_k`) went on "
        f"with {rest}; here those that passed go on, or all in their order when none did",
    )
    return {"stop_after": first}


def _move_tests(job: _Conversion, built: list[tuple[str, list[dict[str, Any]]]]) -> None:
    """Put unit test generators directly before their evaluator; the original ran them first, as layer 1."""
    kinds = [kind for kind, _ in built]
    for place in [i for i, kind in enumerate(kinds) if kind == "unit_test_generator"]:
        if "unit_test_evaluator" not in kinds[place:]:
            raise job.make_error(
                place + 1,
                "writes unit tests that no evaluator reads: the original wrote them into the query, so that the later "
                "models saw them; here nothing is ever written into the query",
            )
        target = kinds.index("unit_test_evaluator", place)
        if target == place + 1:
            continue
        job.add_note(
            place + 1,
            "unit tests are moved behind the generators, directly before their evaluator: they depend on the query "
            "alone, and still start at once. The original also wrote them into the query, so that the generators saw "
            "them; here they do not",
        )
        built.insert(target - 1, built.pop(place))
        return
