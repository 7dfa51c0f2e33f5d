"""A judge's calls go through the call store of the answers it judges, so that they too are paid once and replayed.

    share_cache_with_judges(client)                        # who answers the sample
    reply = await JudgeClient().generate(model, messages, config, epoch=1)    # its scorer; None: there is no store

A judge that is an architecture has a store of its own, and no budget of an eval holds a judge; a search's may.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput
from inspect_ai.util import LimitExceededError, store

from archon_eval._inspect_compat import resolve_config
from archon_eval.architecture.spec import GenerationSettings
from archon_eval.errors import ArchonError, StoreError, raise_plainly
from archon_eval.models.call import Call, Caller, Reply
from archon_eval.models.client import ModelClient
from archon_eval.models.conversion import config_not_in_settings, describe_endpoint, make_call_error, to_conversation
from archon_eval.models.draw import number_last_draw, split_epoch
from archon_eval.models.open_store import open_store
from archon_eval.models.provider_repairs import open_call, prepare_provider
from archon_eval.models.replies import get_top_logprobs, to_reply
from archon_eval.models.store_address import STORE_VARIABLE, hide_password, is_server

JUDGE_CACHE_KEY = "archon:store"
"""Name in the sample's store (Inspect's, which solver and scorers share)."""
_NO_SETTINGS = GenerationSettings(temperature=None, max_tokens=None)
"""A judge's settings are Inspect's configuration."""


def share_cache_with_judges(caller: Caller, epoch_offset: int = 0, last_draws: int = 1) -> None:
    """Let the sample's judges use the store of who answers it; of several the first one's.

    Args:
        caller: who answers; only a `ModelClient` has a store.
        epoch_offset, last_draws: the solver's. An answer from a fresh draw, be it of the last layer alone, is judged
            afresh even where it is the same text. One of the same draws in another eval has the judgment in the store.
    """
    if not isinstance(caller, ModelClient) or store().get(JUDGE_CACHE_KEY) is not None:
        return
    more = [last_draws] if last_draws > 1 else []
    if (cache := caller.store) is not None:
        # the store of a task's file was opened in that file's folder
        store().set(JUDGE_CACHE_KEY, [cache.locate(), caller.policy, epoch_offset + 1, *more])
    elif os.environ.get(STORE_VARIABLE):  # which is not for judges of answers that are not kept
        store().set(JUDGE_CACHE_KEY, ["", "off", epoch_offset + 1, *more])


class JudgeClient:
    """Sends a judge's calls, or finds them in the store."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, str], ModelClient] = {}
        """By the address of the store and the policy."""

    async def generate(
        self, model: Model, messages: Sequence[ChatMessage], config: GenerateConfig, *, epoch: int
    ) -> Reply | None:
        """The judge's reply, with the log probabilities of its first token where it gives them; None without a store.

        Raises:
            StoreError: a replay has no such call, or a reply could not be kept.
            ModelError: the judge's call failed for good, or its answer is an error.
        """
        path, policy, first_epoch, last_draws = _find_shared_cache()
        if not path or str(model).startswith("archon/"):
            return None
        client = self._clients.get((path, policy))
        if client is None:
            opened = open_store(path, read_only=policy == "replay")
            client = self._clients[path, policy] = ModelClient(None, opened, policy)
        place, last_draw = split_epoch(epoch, last_draws)
        judge_epoch = number_last_draw(first_epoch + place, last_draw)
        call = Call(str(model), to_conversation(messages), _NO_SETTINGS, epoch=judge_epoch)
        try:
            return await client.call_unbudgeted(call, _JudgeSender(model, tuple(messages), config))
        except StoreError as exc:
            if policy != "replay":
                raise
            raise StoreError(f"the judge's replay: {exc} (judge_cache=never asks the judge itself)") from exc


def _find_shared_cache() -> tuple[str, str, int, int]:
    """Address (empty for none), policy and first epoch of the store for the judges of this sample, and how many epochs
    in a row are draws of the last layer alone."""
    shared = store().get(JUDGE_CACHE_KEY)
    if shared and shared[1] != "replay" and not is_server(shared[0]) and not Path(shared[0]).exists():
        shared = None  # a log that is scored again elsewhere
    path, policy, first_epoch, *more = shared or (hide_password(os.environ.get(STORE_VARIABLE, "")), "reuse", 1)
    return path, policy, first_epoch, more[0] if more else 1


async def ask_judge(model: Model, messages: Sequence[ChatMessage], config: GenerateConfig) -> ModelOutput:
    """The model's output, without any store.

    Raises:
        ModelError: the provider raised; names no secret. Limits and what an architecture raises pass.
    """
    prepare_provider(model)
    try:
        with open_call(resolve_config(model, config).max_retries):
            return await model.generate(list(messages), config=config)
    except (LimitExceededError, ArchonError):
        raise
    except Exception as exc:  # noqa: BLE001 (raised again, without the secrets of the original)
        raise_plainly(make_call_error(str(model), exc))


@dataclass(frozen=True, slots=True)
class _JudgeSender:
    """Sends one call as Inspect's messages, under the judge's own configuration."""

    model: Model
    messages: tuple[ChatMessage, ...]
    config: GenerateConfig

    async def __call__(self, call: Call) -> Reply:
        started = time.monotonic()
        output = await ask_judge(self.model, self.messages, self.config)
        reply = to_reply(output, call.model, time.monotonic() - started)
        return replace(reply, top_logprobs=get_top_logprobs(output))

    def get_call_identity(self, call: Call) -> tuple[str, str]:
        """The judge's endpoint, and all of its configuration."""
        config = resolve_config(self.model, self.config)
        return describe_endpoint(call.model, self.model), config_not_in_settings(config, call.settings)
