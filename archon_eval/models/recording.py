"""Finds the recorded reply to a call in a store that is only replayed.

reply = Recording(store).find_reply(call, configs=[""])
"""

from collections.abc import Iterable

from archon_eval.errors import ModelError, StoreError
from archon_eval.models.call import Call, Reply
from archon_eval.models.store import CallStore
from archon_eval.models.store_entry import build_call_key, describe_call


class Recording:
    """A store whose replies answer calls wherever they were recorded, so that a replay needs no key and no address."""

    def __init__(self, store: CallStore) -> None:
        self._store = store
        self._endpoints: dict[str, list[str]] = {}

    def find_reply(self, call: Call, configs: Iterable[str]) -> Reply:
        """The one recorded reply.

        Args:
            call: what is asked for.
            configs: configuration outside the call's settings under which it may have been recorded, each as text.

        Raises:
            StoreError: there is none, or several endpoints gave different ones.
            ModelError: the call failed for good when it was recorded.
        """
        endpoints, configs = self._list_endpoints(call.model), list(configs)
        keys = [build_call_key(call, endpoint, config) for endpoint in endpoints for config in configs]
        recorded = [reply for key in keys if (reply := self._store.get(key, failures=True)) is not None]
        replies = [reply for reply in recorded if not reply.failure]
        if len({(reply.text, reply.top_logprobs, reply.tool_calls) for reply in replies}) > 1:
            raise StoreError(f"{self._store.path} holds {call.model} from several endpoints: {'; '.join(endpoints)}")
        if replies:
            return replies[0]
        if recorded:
            raise ModelError(recorded[0].failure)
        nearest = self._store.describe_nearest(keys[0] if keys else build_call_key(call, call.model, configs[0]))
        raise StoreError(f"not in the recording {self._store.path}: the call {describe_call(call)}; {nearest}")

    def _list_endpoints(self, model: str) -> list[str]:
        if model not in self._endpoints:
            self._endpoints[model] = self._store.list_endpoints(model)
        return self._endpoints[model]
