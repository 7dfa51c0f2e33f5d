"""Who judged a run, with which prompts and settings, and whether anew: runs judged differently cannot be compared.

collect_judges(log, samples, "alpaca_eval")      # ("judge: openai/gpt-4-turbo", "prompt alpaca_eval_clf: 4906d09de26f")
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

NEUTRAL_SCORER_OPTIONS = ("judge_cache", "stored", "allow_main_model", "judge_prompts")
"""Options of this package's judged scorers that change no judge; prompts are known by their digest."""
NEUTRAL_MODEL_SETTINGS = (
    *("max_retries", "timeout", "attempt_timeout", "stream_idle_timeout", "max_connections", "adaptive_connections"),
    *("cache", "cache_prompt", "batch"),
)
"""Settings of a model that change how it is reached, not what it replies."""


def collect_judges(log: Any, samples: Sequence[Any], scorer: str) -> tuple[str, ...]:
    """Model roles with their settings, and the judges and prompts that the scores name, each once.

    An architecture that judges is known by its fingerprint, wherever its file lies. Where replies are kept (call
    stores, stored judgments) does not change a judge.
    """
    judges, roles, has_prompts = set[str](), dict(log.eval.model_roles or {}), False
    for metadata in _iterate_score_metadata(samples, scorer):
        for judgment in _filter_by_key("judge", metadata.get("judgments")):
            fingerprint = judgment.get("fingerprint")
            judges.add(f"judge: architecture {fingerprint}" if fingerprint else f"judge: {judgment['judge']}")
            roles.pop("judge", None)
        for prompt in _list_prompts(metadata):
            has_prompts = True
            judges.add(f"prompt {prompt.get('name', '')}: {prompt['digest']}")
    judges |= {f"{role}: {getattr(model, 'model', model)}" for role, model in roles.items()}
    for role, model in (log.eval.model_roles or {}).items():
        if settings := _extract_settings(getattr(model, "config", None)):
            judges.add(f"settings of {role}: {json.dumps(settings, sort_keys=True, default=str)}")
    return (*sorted(judges), *_describe_options(log, scorer, neutral=NEUTRAL_SCORER_OPTIONS if has_prompts else ()))


def _list_prompts(metadata: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Names and digests of the judge's prompts, of which a score may have one or several."""
    prompts = metadata.get("prompts") or metadata.get("prompt")
    if isinstance(prompts, Mapping) and "digest" not in prompts:
        prompts = list(prompts.values())
    return _filter_by_key("digest", prompts)


def _describe_options(log: Any, scorer: str, neutral: Sequence[str]) -> list[str]:
    """The scorer's own options, besides the neutral ones."""
    names = (scorer, scorer.partition("/")[0])
    options = [used.options or {} for used in log.eval.scorers or () if used.name.split("/")[-1] in names]
    relevant = [{name: value for name, value in each.items() if name not in neutral} for each in options]
    return [f"options: {json.dumps(each, sort_keys=True, default=str)}" for each in relevant if each]


def has_live_judgments(log: Any, samples: Sequence[Any], scorer: str) -> bool:
    """Whether a model that judged was asked, or may have been; not where every judgment came from a call store."""
    judgments = [
        judgment
        for metadata in _iterate_score_metadata(samples, scorer)
        for judgment in _filter_by_key("judge", metadata.get("judgments"))
    ]
    if judgments:
        return not all(judgment.get("reused") for judgment in judgments)
    return any(not judge.startswith("options: ") for judge in collect_judges(log, samples, scorer))


def hash_setup(log: Any) -> str:
    """12 hex digits over what makes a system besides its model or architecture: solver, arguments, generation, no seed.

    Where an architecture answered, its own arguments (stores, budgets) are left out; its fingerprint says the rest.
    """
    spec, setup = log.eval, dict[str, Any]()
    if str(spec.solver).split("/")[-1] != "archon":
        if spec.solver not in (None, "generate"):
            setup |= {"solver": spec.solver, "solver_args": spec.solver_args}
        if not str(spec.model).startswith("archon/"):
            setup |= {"model_args": spec.model_args}
    settings = _extract_settings(spec.model_generate_config)
    setup["generation"] = {name: value for name, value in settings.items() if name != "seed"}
    return hashlib.sha256(json.dumps(setup, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _iterate_score_metadata(samples: Sequence[Any], scorer: str) -> Iterator[Mapping[str, Any]]:
    """The metadata of the samples' scores."""
    for sample in samples:
        yield getattr((sample.scores or {}).get(scorer.partition("/")[0]), "metadata", None) or {}


def _filter_by_key(key: str, values: Any) -> list[Mapping[str, Any]]:
    """The mappings with the key: other packages' scorers may use the same metadata name for anything."""
    listed = values if isinstance(values, list) else [values]
    return [value for value in listed if isinstance(value, Mapping) and key in value]


def _extract_settings(config: Any) -> dict[str, Any]:
    """What a judge was bound with that may change its replies."""
    settings = config.model_dump(exclude_none=True) if config is not None else {}
    return {name: value for name, value in settings.items() if name not in NEUTRAL_MODEL_SETTINGS}
