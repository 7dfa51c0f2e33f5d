"""A judge's calls go through the call store of the answers it judges, so that they too are paid once and replayed.

    share_cache_with_judges(stack)                                                     # whoever answers the sample
    reply = await JudgeClient().ask(model, messages, config, epoch)  # the scorer; None: there is no store

A judge that is an architecture has a store of its own, and no budget holds a judge.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Model,
    ModelOutput,
)
from inspect_ai.util import store

from archon_eval.architecture.spec import GenerationSettings
from archon_eval.errors import StoreError
from archon_eval.integrations.build import to_conversation
from archon_eval.models.call import Call, Caller, Reply
from archon_eval.models.client import STORE_VARIABLE, ModelClient
from archon_eval.models.conversion import config_not_in_settings, describe_endpoint, replace_unstorable, to_reply
from archon_eval.models.store import CallStore
from archon_eval.models.store_entry import CallKey, build_call_key, describe_call

JUDGE_CACHE_KEY = "archon:store"
"""Name in the sample's store (Inspect's, which solver and scorers share)."""
_NO_SETTINGS = GenerationSettings(temperature=None, max_tokens=None)
"""A judge's settings are Inspect's configuration."""


def share_cache_with_judges(caller: Caller, first_epoch: int = 1) -> None:
    """Let the sample's judges use the store of who answers it; the first that answers lends.

    Args:
        first_epoch: as the solver's, since judges of fresh draws are to judge afresh.
    """
    if not isinstance(caller, ModelClient) or store().get(JUDGE_CACHE_KEY) is not None:
        return
    if (held := caller.store) is not None:
        # the store of a task's file was opened in that file's folder
        path = held.path if held.path.absolute() == held.file else held.file
        store().set(JUDGE_CACHE_KEY, [str(path), caller.policy, first_epoch])
    elif os.environ.get(STORE_VARIABLE):  # which is not for judges of answers that are not kept
        store().set(JUDGE_CACHE_KEY, ["", "off", first_epoch])


class JudgeClient:
    """Sends a judge's calls, or finds them in the store."""

    def __init__(self) -> None:
        self._stores: dict[str, CallStore] = {}
        self._recorded: set[bytes] = set()
        self._key_locks: dict[bytes, anyio.Lock] = {}
        """Equal calls at one moment, of games between equal answers, say, are sent once."""

    async def generate(
        self, model: Model, messages: Sequence[ChatMessage], config: GenerateConfig, epoch: int
    ) -> Reply | None:
        """The judge's reply, with the log probabilities of its first token where it gives them; None without a store.

        Raises:
            StoreError: a replay has no such call, or a reply could not be kept.
            ModelError: the judge's answer is an error.
        """
        lent = store().get(JUDGE_CACHE_KEY)
        if lent and lent[1] != "replay" and not Path(lent[0]).exists():  # a log that is scored again elsewhere
            lent = None
        path, policy, first_epoch = lent or (os.environ.get(STORE_VARIABLE), "reuse", 1)
        if not path or str(model).startswith("archon/"):
            return None
        held = self._stores.get(path)
        if held is None:
            held = self._stores[path] = CallStore(Path(path), read_only=policy == "replay")
        call = Call(str(model), to_conversation(messages), _NO_SETTINGS, epoch=first_epoch - 1 + epoch)
        extra = config_not_in_settings(model._resolve_config(config), _NO_SETTINGS)
        if policy == "replay":
            return _replay(held, call, extra)
        key = build_call_key(call, describe_endpoint(call.model, model), extra)
        async with self._key_locks.setdefault(key.digest, anyio.Lock()):
            if policy == "record" and key.digest not in self._recorded:
                reply = await _store_reply(held, key, await _send(model, messages, config), anew=True)
                self._recorded.add(key.digest)
                return reply
            if (stored := held.get(key)) is not None:
                return stored
            async with held.lock_call(key) as stored:
                return stored or await _store_reply(held, key, await _send(model, messages, config))


async def _store_reply(held: CallStore, key: CallKey, reply: Reply, anew: bool = False) -> Reply:
    # another process may have been first: its reply stands for everybody, ours was paid for all the same
    return replace(await held.put(key, reply, replace=anew), reused=False)


def _replay(held: CallStore, call: Call, extra: str) -> Reply:
    """The recorded reply, wherever the judge was reached."""
    keys = [build_call_key(call, where, extra) for where in held.list_endpoints(call.model)]
    found = [reply for key in keys if (reply := held.get(key)) is not None]
    if len({(reply.text, reply.top_logprobs) for reply in found}) > 1:
        places = "; ".join(held.list_endpoints(call.model))
        raise StoreError(f"{held.path} holds the judge {call.model} from several endpoints: {places}")
    if found:
        return found[0]
    near = held.describe_nearest(keys[0] if keys else build_call_key(call, call.model, extra))
    way_out = "judge_cache=never asks the judge itself"
    raise StoreError(f"not in the recording {held.path}: the judge's call {describe_call(call)}; {near} ({way_out})")


async def _send(model: Model, messages: Sequence[ChatMessage], config: GenerateConfig) -> Reply:
    started = time.monotonic()
    output = await model.generate(list(messages), config=config)
    if not output.choices:  # a reply without a verdict, as it is where there is no store
        output.choices = [ChatCompletionChoice(message=ChatMessageAssistant(content=""), stop_reason="unknown")]
    return replace(to_reply(output, str(model), time.monotonic() - started), top_logprobs=get_top_logprobs(output))


def get_top_logprobs(output: ModelOutput) -> tuple[tuple[str, float], ...] | None:
    """Candidates for the first token of a model's output with their log probabilities; None if there are none."""
    logprobs = output.choices[0].logprobs if output.choices else None
    if not logprobs or not logprobs.content:
        return None
    first = logprobs.content[0]
    return tuple((replace_unstorable(t.token)[0], t.logprob) for t in first.top_logprobs or (first,))
