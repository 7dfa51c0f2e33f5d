"""Who judged a run, and whether anew, and with which settings: what one must know before one compares scores.

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
"""Settings of a model that change how it is reached, not what it says."""


def collect_judges(log: Any, samples: Sequence[Any], scorer: str) -> tuple[str, ...]:
    """Model roles with their settings, and the judges and prompts that the scores name, each once.

    An architecture that judges is known by its fingerprint, wherever its file lies; what is asked of whom and kept
    where (call stores, stored judgments) does not change a judge.
    """
    found, roles, own = set[str](), dict(log.eval.model_roles or {}), False
    for facts in _iterate_score_metadata(samples, scorer):
        for judgment in _filter_by_key("judge", facts.get("judgments")):
            mark = judgment.get("fingerprint")
            found.add(f"judge: architecture {mark}" if mark else f"judge: {judgment['judge']}")
            roles.pop("judge", None)
        prompts = facts.get("prompts") or facts.get("prompt")
        if isinstance(prompts, Mapping) and "digest" not in prompts:
            prompts = list(prompts.values())
        for prompt in _filter_by_key("digest", prompts):
            own = True
            found.add(f"prompt {prompt.get('name', '')}: {prompt['digest']}")
    found |= {f"{role}: {getattr(one, 'model', one)}" for role, one in roles.items()}
    for role, one in (log.eval.model_roles or {}).items():
        if settings := _extract_settings(getattr(one, "config", None)):
            found.add(f"settings of {role}: {json.dumps(settings, sort_keys=True, default=str)}")
    named = (scorer, scorer.partition("/")[0])
    given = [one.options for one in log.eval.scorers or () if one.name.split("/")[-1] in named and one.options]
    options = [{k: v for k, v in one.items() if not (own and k in NEUTRAL_SCORER_OPTIONS)} for one in given]
    return (*sorted(found), *(f"options: {json.dumps(one, sort_keys=True, default=str)}" for one in options if one))


def has_live_judgments(log: Any, samples: Sequence[Any], scorer: str) -> bool:
    """Whether a model that judged was asked, or may have been; not where every judgment came from a call store."""
    judgments = [
        judgment
        for facts in _iterate_score_metadata(samples, scorer)
        for judgment in _filter_by_key("judge", facts.get("judgments"))
    ]
    if judgments:
        return not all(one.get("reused") for one in judgments)
    return any(not one.startswith("options: ") for one in collect_judges(log, samples, scorer))


def hash_setup(log: Any) -> str:
    """12 hex digits over what makes a system besides its model or architecture: solver, arguments, generation, no seed.

    Where an architecture answered, its own arguments (stores, budgets) are none of it; its fingerprint says the rest.
    """
    own, given = log.eval, dict[str, Any]()
    if str(own.solver).split("/")[-1] != "archon":
        given |= {"solver": own.solver, "solver_args": own.solver_args} if own.solver not in (None, "generate") else {}
        given |= {} if str(own.model).startswith("archon/") else {"model_args": own.model_args}
    given["generation"] = {k: v for k, v in _extract_settings(own.model_generate_config).items() if k != "seed"}
    return hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _iterate_score_metadata(samples: Sequence[Any], scorer: str) -> Iterator[Mapping[str, Any]]:
    """The metadata of the samples' scores."""
    for sample in samples:
        yield getattr((sample.scores or {}).get(scorer.partition("/")[0]), "metadata", None) or {}


def _filter_by_key(name: str, given: Any) -> list[Mapping[str, Any]]:
    """What is this package's among metadata of a name that another's scorers may use for anything."""
    each = given if isinstance(given, list) else [given]
    return [one for one in each if isinstance(one, Mapping) and name in one]


def _extract_settings(config: Any) -> dict[str, Any]:
    """What a judge was bound with that may change its replies."""
    given = config.model_dump(exclude_none=True) if config is not None else {}
    return {name: value for name, value in given.items() if name not in NEUTRAL_MODEL_SETTINGS}
