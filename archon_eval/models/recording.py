"""Finds the recorded reply to a call in a store that is only replayed.

reply = await Recording(store).find_reply(call, configs=[""])
"""

from collections.abc import Iterable

import anyio

from archon_eval.errors import ModelError, StoreError
from archon_eval.models.call import Call, Reply
from archon_eval.models.store_base import Store
from archon_eval.models.store_entry import build_call_key, describe_call


class Recording:
    """A store whose replies answer calls wherever they were recorded, so that a replay needs no key and no address."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._endpoints: dict[str, list[str]] = {}
        self._listing = anyio.Lock(fast_acquire=True)

    async def find_reply(self, call: Call, configs: Iterable[str]) -> Reply:
        """The one recorded reply.

        Args:
            call: what is asked for.
            configs: configuration outside the call's settings under which it may have been recorded, each as text.

        Raises:
            StoreError: there is none, or several endpoints gave different ones.
            ModelError: the call failed for good when it was recorded.
        """
        endpoints, configs = await self._list_endpoints(call.model), list(configs)
        keys = [build_call_key(call, endpoint, config) for endpoint in endpoints for config in configs]
        recorded = [reply for reply in await self._store.fetch_all(keys, failures=True) if reply is not None]
        replies = [reply for reply in recorded if not reply.failure]
        if len({(reply.text, reply.top_logprobs, reply.tool_calls) for reply in replies}) > 1:
            raise StoreError(f"{self._store.address} holds {call.model} from several endpoints: {'; '.join(endpoints)}")
        if replies:
            return replies[0]
        if recorded:
            raise ModelError(recorded[0].failure)
        wanted = keys[0] if keys else build_call_key(call, call.model, configs[0])
        nearest = await self._store.call(self._store.describe_nearest, wanted)
        raise StoreError(f"not in the recording {self._store.address}: the call {describe_call(call)}; {nearest}")

    async def _list_endpoints(self, model: str) -> list[str]:
        async with self._listing:  # of all who ask for a model at first, one looks
            if model not in self._endpoints:
                self._endpoints[model] = await self._store.call(self._store.list_endpoints, model)
            return self._endpoints[model]
