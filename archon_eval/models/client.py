"""The one stack under every model call: the call store, then budgets, then the model.

    caller = build_client(["openai/gpt-4o"], store="calls.db", budget={"eval": {"dollars": 20}})
    engine = Engine(architecture, caller)

A stored reply costs nothing, so it is looked up before any budget is asked. Equal calls under way at once are sent
once. A reply is in the store before the component that asked sees it.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import anyio

from archon_eval.errors import ModelError, StoreError, did_you_mean
from archon_eval.models.budget import (
    Budget,
    BudgetConfig,
    ResourceUsage,
    estimate_worst_case,
    measure_usage,
    parse_budget,
    require_price,
    reserve,
)
from archon_eval.models.call import Call, Caller, Reply
from archon_eval.models.conversion import ambient_config_key
from archon_eval.models.inspect_client import InspectClient
from archon_eval.models.prices import Price, PriceTable, load_prices
from archon_eval.models.store import CallStore
from archon_eval.models.store_entry import CallKey, build_call_key, describe_call

POLICIES: Mapping[str, str] = {
    "off": "every call is sent and nothing is kept",
    "reuse": "what is stored is not sent again; what is sent is stored",
    "record": "every call is sent once and stored, in place of what was there",
    "replay": "nothing is sent: a call that is not stored is an error",
}
TRACES: Mapping[str, str] = {
    "full": "an event per component, with every prompt, reply and parse",
    "compact": "one event per question",
    "calls": "Inspect's own event per call, with the raw request; Inspect's providers only, so slower",
}
STORE_VARIABLE = "ARCHON_STORE"
"""Environment variable with the path of the store used where none is given."""
IDLE_TURNS = 50
"""Turns of the event loop, and pauses of a fiftieth of a second, in which a question that goes on would ask again."""


@dataclass(slots=True)
class _InFlight:
    """A call under way that others with the same key wait for."""

    reply: Reply | None = None
    done: anyio.Event = field(default_factory=anyio.Event)


class ModelClient:
    """The whole stack as a `Caller`; `question()` gives one with a budget and an age of its own."""

    def __init__(
        self,
        models: InspectClient | None,
        store: CallStore | None = None,
        policy: str = "off",
        allowance: BudgetConfig | None = None,
        prices: PriceTable | None = None,
        cancels: bool = False,
    ) -> None:
        """`models` is None for a replay, which sends nothing; `cancels` as for `build_client`."""
        self.models, self.store, self.policy, self.cancels = models, store, policy, cancels
        self.allowance, self.prices = allowance or BudgetConfig(), prices or load_prices()
        self.budgets = (
            (Budget(self.allowance.eval, "eval"), *self.allowance.shared) if self.allowance.is_limited else ()
        )
        self._in_flight: dict[bytes, _InFlight] = {}
        self._recorded: set[bytes] = set()
        self._endpoints: dict[str, list[str]] = {}
        self._price_cache: dict[str, Price | None] = {}
        self._question_numbers = itertools.count(1)

    def start_question(self) -> Caller:
        """The caller of one question: older questions come first where connections are scarce."""
        budgets = self.budgets
        if self.allowance.question.given:
            budgets = (Budget(self.allowance.question, "question"), *budgets)
        number, asked = next(self._question_numbers), 0

        async def caller(call: Call) -> Reply:
            nonlocal asked
            asked += 1
            try:
                return await self._with_cost(replace(call, question=number), budgets)
            except StoreError:
                if self.policy == "replay" and self.cancels:  # as it may have been when it was recorded
                    await _wait_until_idle(lambda: asked)
                raise

        return caller

    async def __call__(self, call: Call) -> Reply:
        """A call outside any question."""
        return await self._with_cost(call, self.budgets)

    async def _with_cost(self, call: Call, budgets: tuple[Budget, ...]) -> Reply:
        reply = await self._lookup_or_call(call, budgets)
        if reply.limit is not None:
            raise reply.limit
        if call.model not in self._price_cache:
            self._price_cache[call.model] = self.prices.get_price(call.model)
        price = self._price_cache[call.model]
        return replace(reply, dollars=price.compute_cost(reply.usage)) if price and reply.usage else reply

    async def _lookup_or_call(self, call: Call, budgets: tuple[Budget, ...]) -> Reply:
        if self.policy == "replay":
            return self._replay(call)
        if self.store is None or self.models is None:
            return await self._call_within_budget(call, budgets)
        key = build_call_key(call, *self.models.get_call_identity(call))
        while True:
            readable = self.policy == "reuse" or key.digest in self._recorded
            if readable and (stored := self.store.get(key)) is not None:
                return stored
            flight = self._in_flight.get(key.digest)
            if flight is None:
                return await self._call_as_leader(call, key, budgets, self.store)
            await flight.done.wait()
            if flight.reply is not None:
                return replace(flight.reply, reused=True)

    async def _call_as_leader(self, call: Call, key: CallKey, budgets: tuple[Budget, ...], store: CallStore) -> Reply:
        """Send a call that nobody has sent, and keep its reply; whoever waits for it has it then, or tries itself."""
        flight = self._in_flight[key.digest] = _InFlight()
        try:
            if self.policy == "record":
                reply = await self._call_and_store(call, key, budgets, store)
                self._recorded.add(key.digest)
            else:
                async with store.lock_call(key) as stored:
                    reply = stored or await self._call_and_store(call, key, budgets, store)
            flight.reply = replace(reply, limit=None)
            return reply
        finally:
            del self._in_flight[key.digest]
            flight.done.set()

    async def _call_and_store(self, call: Call, key: CallKey, budgets: tuple[Budget, ...], store: CallStore) -> Reply:
        anew = self.policy == "record"
        try:
            reply = await self._call_within_budget(call, budgets)
        except ModelError as exc:  # kept for replays, in place of a reply only where all is recorded anew
            await store.put(key, Reply("", failure=str(exc)), replace=anew)
            raise
        kept = await store.put(key, reply, replace=anew)
        if kept is not reply:
            # another process was first: its reply stands for everybody, ours was paid for all the same
            reply = replace(reply, text=kept.text, stop_reason=kept.stop_reason, cleaned=kept.cleaned)
        return reply

    async def _call_within_budget(self, call: Call, budgets: tuple[Budget, ...]) -> Reply:
        assert self.models is not None
        if not budgets:
            return await self.models(call)
        prices = self.prices if self.allowance.in_dollars else None
        worst = estimate_worst_case(call, prices, self.allowance.needs_max_tokens)
        async with reserve(budgets, worst) as settle:
            reply = await self.models(call)
            settle(
                ResourceUsage() if reply.reused else measure_usage(call, reply, prices) or worst
            )  # reused: by Inspect's cache
            return reply

    def _replay(self, call: Call) -> Reply:
        assert self.store is not None
        if call.model not in self._endpoints:
            self._endpoints[call.model] = self.store.list_endpoints(call.model)
        endpoints = self._endpoints[call.model]
        configs = dict.fromkeys(("", ambient_config_key(call.settings)))
        keys = [build_call_key(call, endpoint, config) for endpoint in endpoints for config in configs]
        found = [reply for key in keys if (reply := self.store.get(key, failures=True)) is not None]
        found = [reply for reply in found if not reply.failure] or found
        if len({reply.text for reply in found}) > 1:
            raise StoreError(f"{self.store.path} holds {call.model} from several endpoints: {'; '.join(endpoints)}")
        if found and found[0].failure:
            raise ModelError(found[0].failure)
        if found:
            return found[0]
        near = self.store.describe_nearest(keys[0] if keys else build_call_key(call, call.model))
        raise StoreError(f"not in the recording {self.store.path}: {describe_call(call)}; {near}")


async def _wait_until_idle(asked: Callable[[], int]) -> None:
    """Until a question has asked for nothing more for a second, or longer where the event loop is busy."""
    seen, turns = asked(), 0
    while turns < IDLE_TURNS:
        await anyio.sleep(0.02)
        seen, turns = asked(), turns + 1 if asked() == seen else 0


def build_client(
    models: Iterable[str],
    *,
    store: str | os.PathLike[str] | CallStore | None = None,
    policy: str | None = None,
    budget: Mapping[str, Any] | str | BudgetConfig | Budget | None = None,
    prices: str | os.PathLike[str] | PriceTable | None = None,
    trace: str = "full",
    cancels: bool = False,
) -> ModelClient:
    """The stack for an architecture's models; everything wrong with the options is said before anything is paid.

    Args:
        models: Inspect's names.
        store: path of the call store; the environment variable ARCHON_STORE where it is None.
        policy: one of POLICIES; `reuse` where there is a store, else `off`.
        budget: limits per question and per eval (`budget.read_allowance`), or a Budget that others share.
        prices: the user's price file, before the package's table.
        trace: one of TRACES.
        cancels: whether the architecture cancels calls (`stop_after`): then a replay waits with those that are not in
            the recording until it is clear that the others do not make them unnecessary.

    Raises:
        ModelError: a model that cannot be used, or an unknown trace.
        StoreError: a store that cannot be used, or an unknown policy.
        BudgetError: a malformed budget, or one in dollars with a model of unknown price.
        DataError: a malformed price file.
    """
    names = tuple(models)
    if trace not in TRACES:
        raise ModelError(f"trace {trace!r}{did_you_mean(str(trace), TRACES)}")
    table = prices if isinstance(prices, PriceTable) else load_prices(prices or None)
    allowance = parse_budget(budget)
    if allowance.in_dollars:
        for name in names:
            require_price(name, table)
    store = store or os.environ.get(STORE_VARIABLE) or None
    policy = policy or ("off" if store is None else "reuse")
    if policy not in POLICIES:
        raise StoreError(f"store policy {policy!r}{did_you_mean(str(policy), POLICIES)}")
    if policy != "off" and store is None:
        raise StoreError(f"store policy {policy!r} needs a store: give its path, or set {STORE_VARIABLE}")
    sender = None if policy == "replay" else InspectClient(names, trace=trace)
    opened = None if policy == "off" or store is None else _open_store(store, policy)
    return ModelClient(sender, opened, policy, allowance, table, cancels)


def _open_store(store: str | os.PathLike[str] | CallStore, policy: str) -> CallStore:
    return store if isinstance(store, CallStore) else CallStore(store, read_only=policy == "replay")
