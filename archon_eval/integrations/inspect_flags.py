"""What becomes of each of Inspect's generation flags (`--temperature 0`) where an architecture answers.

    find_ignored_flags(typed, door="solver")     # ["--verbosity has no effect on the models of an architecture"]

Every field of `GenerateConfig` is in one of the groups below; a test names those of a new Inspect that are in none.
"""

from collections.abc import Mapping
from typing import Literal

from inspect_ai.model import GenerateConfig, get_model

from archon_eval._inspect_compat import (
    active_generate_config,
    find_flags_of_eval,
    make_prerequisite_error,
    sample_active,
)
from archon_eval.architecture.flags import FLAG_NAMES

Door = Literal["model", "solver"]
"""How a task reaches an architecture: as its model, or as its solver."""

SETTING_FIELDS = (*FLAG_NAMES, "stop_seqs")
"""Hold for the components; stop texts end candidates."""
UNSUPPORTED_FIELDS: Mapping[str, str] = {
    "response_schema": "a reply by a JSON schema",
    "logprobs": "log-probabilities",
    "prompt_logprobs": "log-probabilities",
    "modalities": "something else than text",
}
"""Change what a reply is: to ignore them would give the task something else than it asked for, so they are refused."""
SENDING_FIELDS = (
    *("max_retries", "timeout", "attempt_timeout", "max_connections", "adaptive_connections", "cache"),
    "fail_on_refusal",
)
"""Decide how a call is sent, and hold for the models inside: Inspect hands them on, or `models/inspect_client.py`."""
MODEL_DOOR_FIELDS = (
    *("num_choices", "system_message", "max_tool_output", "reasoning_history"),
    *("parallel_tool_calls", "internal_tools"),
)
"""What Inspect or the model provider does with the whole architecture, and how generators may use the tools that they
are offered there; a solver that is an architecture has no use for them."""
IGNORED_FIELDS = (
    *("best_of", "logit_bias", "top_logprobs", "cache_prompt"),
    *("fallback_models", "verbosity", "effort", "reasoning_mode", "reasoning_summary"),
    *("extra_headers", "extra_body", "batch", "stream_idle_timeout"),
)
"""Reach no model inside an architecture: named in a warning."""


class TypedFlags:
    """The flags that the eval of the active sample was given, looked for once per eval."""

    def __init__(self) -> None:
        self._by_eval: dict[str, GenerateConfig] = {}

    def read(self) -> GenerateConfig:
        """Those of the eval's own model, and of the eval's options where it has none (no `--model`)."""
        typed, sample = get_model().config, sample_active()
        if sample is None:
            return typed
        if sample.eval_id not in self._by_eval:
            known = typed.model_dump(exclude_none=True)
            if active_generate_config().model_dump(exclude_none=True).keys() - known.keys():
                typed = typed.merge(GenerateConfig(**find_flags_of_eval(sample.eval_id)))
            self._by_eval[sample.eval_id] = typed
        return self._by_eval[sample.eval_id]


def find_unsupported(config: GenerateConfig) -> str:
    """What a configuration asks for and an architecture cannot give; empty for nothing."""
    found = [f"{meaning} ({name})" for name, meaning in UNSUPPORTED_FIELDS.items() if getattr(config, name, None)]
    return " and ".join(found)


def refuse_flags(typed: GenerateConfig, who: str) -> None:
    """Refuse flags that ask for what an architecture cannot give.

    Raises:
        PrerequisiteError: names them.
    """
    if found := find_unsupported(typed):
        raise make_prerequisite_error(f"{who} answers with text; the command asks for {found}")


def find_ignored_flags(typed: GenerateConfig, door: Door) -> list[str]:
    """A sentence on the flags that do nothing at this door."""
    known = {*SETTING_FIELDS, *UNSUPPORTED_FIELDS, *SENDING_FIELDS, *(MODEL_DOOR_FIELDS if door == "model" else ())}
    names = [name for name, value in typed if value is not None and name not in known]
    if not names:
        return []
    flags = ", ".join(f"--{name.replace('_', '-')}" for name in names)
    return [f"{flags} {'has' if len(names) == 1 else 'have'} no effect on the models of an architecture"]
