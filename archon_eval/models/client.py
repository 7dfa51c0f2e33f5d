"""The one stack under every model call: the call store, then budgets, then the model.

    client = build_client(["openai/gpt-4o"], store="calls.db", budget={"eval": {"dollars": 20}})
    engine = Engine(architecture, client)

A stored reply costs nothing, so it is looked up before any budget is asked. Equal calls under way at once are sent
once. A reply is in the store before the component that asked sees it. Judges' calls go through the same stack
(`judge_client`), but in no budget.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import anyio

from archon_eval.errors import ContextOverflowError, ModelError, StoreError, did_you_mean
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
from archon_eval.models.call import Call, Caller, Reply, Sender
from archon_eval.models.context_window import OVERFLOW_TEXT, count_least_tokens, is_overflow
from archon_eval.models.conversion import ambient_config_key
from archon_eval.models.inspect_client import InspectClient
from archon_eval.models.open_store import open_store
from archon_eval.models.prices import Price, PriceTable, load_prices
from archon_eval.models.recording import Recording
from archon_eval.models.shared_budget import open_eval_budget
from archon_eval.models.store_address import STORE_VARIABLE, refuse_password
from archon_eval.models.store_base import Store
from archon_eval.models.store_entry import CallKey, build_call_key

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
IDLE_PAUSE, IDLE_TURNS = 0.02, 50
"""Seconds between looks at a question, and looks without a new call after which it is idle: a second in all, and at
least 50 turns of a busy event loop, within which a question that goes on asks again."""


@dataclass(frozen=True, slots=True)
class _Request:
    """A call on its way down the stack."""

    call: Call
    sender: Sender | None
    """None in a replay of models that are not even looked up."""
    budgets: tuple[Budget, ...] = ()


@dataclass(slots=True)
class _InFlight:
    """A call under way that others with the same key wait for."""

    reply: Reply | None = None
    done: anyio.Event = field(default_factory=anyio.Event)


class ModelClient:
    """The whole stack as a `Caller`; `start_question` gives one with a budget and an age of its own."""

    def __init__(
        self,
        sender: Sender | None,
        store: Store | None = None,
        policy: str = "off",
        *,
        allowance: BudgetConfig | None = None,
        prices: PriceTable | None = None,
        cancels: bool = False,
    ) -> None:
        """
        Args:
            sender: sends calls; None where none is sent (a replay) or each comes with its own (`call_unbudgeted`).
            store: needed by every policy but `off`.
            policy: one of POLICIES.
            allowance: the budgets.
            prices: the package's table where it is None.
            cancels: as for `build_client`.
        """
        self.store, self.policy, self.allowance = store, policy, allowance or BudgetConfig()
        self._sender, self.prices, self._cancels = sender, prices or load_prices(), cancels
        self._recording = Recording(store) if policy == "replay" and store is not None else None
        self._budgets: tuple[Budget, ...] = ()
        if self.allowance.is_limited:
            self._budgets = (open_eval_budget(self.allowance.eval), *self.allowance.shared)
        self._in_flight: dict[bytes, _InFlight] = {}
        self._recorded: set[bytes] = set()
        self._price_cache: dict[str, Price | None] = {}
        self._context_cache: dict[str, int | float | None] = {}
        self._question_numbers = itertools.count(1)

    def start_question(self) -> Caller:
        """The caller of one question: older questions come first where connections are scarce."""
        budgets = self._budgets
        if self.allowance.question.configured:
            budgets = (Budget(self.allowance.question, "question"), *budgets)
        number, asked = next(self._question_numbers), 0

        async def call_model(call: Call) -> Reply:
            nonlocal asked
            asked += 1
            try:
                numbered = replace(call, question=number)
                return await self._with_cost(_Request(numbered, self._choose_sender(call), budgets))
            except StoreError:
                if self.policy == "replay" and self._cancels:  # as it may have been when it was recorded
                    await _wait_until_idle(lambda: asked)
                raise

        return call_model

    async def __call__(self, call: Call) -> Reply:
        """A call outside any question."""
        return await self._with_cost(_Request(call, self._choose_sender(call), self._budgets))

    def _choose_sender(self, call: Call) -> Sender | None:
        return self._sender if call.scorer is None else call.scorer

    async def call_unbudgeted(self, call: Call, sender: Sender) -> Reply:
        """A call in no budget, by a sender of its own: a judge's. The reply has no price."""
        return await self._lookup_or_call(_Request(call, sender))

    async def _with_cost(self, request: _Request) -> Reply:
        reply, model = await self._lookup_or_call(request), request.call.model
        if reply.limit is not None:
            raise reply.limit
        if request.call.scorer is not None:
            return replace(reply, dollars=request.call.scorer.dollars)
        if model not in self._price_cache:
            self._price_cache[model] = self.prices.get_price(model)
        price = self._price_cache[model]
        return replace(reply, dollars=price.compute_cost(reply.usage)) if price and reply.usage else reply

    async def _lookup_or_call(self, request: _Request) -> Reply:
        if self._recording is not None:
            return await self._recording.find_reply(request.call, _list_configs(request))
        if self.store is None or request.sender is None:
            return await self._call_within_budget(request)
        key = build_call_key(request.call, *request.sender.get_call_identity(request.call))
        while True:
            readable = self.policy == "reuse" or key.digest in self._recorded
            if readable and (stored := await self.store.fetch(key)) is not None:
                return stored
            flight = self._in_flight.get(key.digest)
            if flight is None:
                return await self._call_as_leader(request, key, self.store)
            await flight.done.wait()
            if flight.reply is not None:
                return replace(flight.reply, reused=True)

    async def _call_as_leader(self, request: _Request, key: CallKey, store: Store) -> Reply:
        """Send a call that nobody has sent, and keep its reply; whoever waits for it has it then, or tries itself."""
        flight = self._in_flight[key.digest] = _InFlight()
        try:
            if self.policy == "record":
                reply = await self._call_and_store(request, key, store)
                self._recorded.add(key.digest)
            else:
                async with store.lock_call(key) as stored:
                    reply = stored or await self._call_and_store(request, key, store)
            flight.reply = replace(reply, limit=None)
            return reply
        finally:
            del self._in_flight[key.digest]
            flight.done.set()

    async def _call_and_store(self, request: _Request, key: CallKey, store: Store) -> Reply:
        anew = self.policy == "record"
        try:
            reply = await self._call_within_budget(request)
        except ModelError as exc:  # kept for replays, in place of a reply only where all is recorded anew
            await store.put(key, Reply("", failure=str(exc)), replace=anew)
            raise
        stored = await store.put(key, reply, replace=anew)
        if stored is not reply:
            # another process was first: its reply stands for everybody, ours was paid for all the same
            content = ("text", "stop_reason", "cleaned", "top_logprobs", "thoughts", "tool_calls", "extra")
            reply = replace(reply, **{name: getattr(stored, name) for name in content})
        return reply

    async def _call_within_budget(self, request: _Request) -> Reply:
        assert request.sender is not None, "only a replay has no sender"
        if request.sender is self._sender:  # of a judge's window, the eval's price table says nothing
            self._refuse_overflow(request.call)
        if not request.budgets:
            return await request.sender(request.call)
        prices = self.prices if self.allowance.in_dollars else None
        worst = estimate_worst_case(request.call, prices, self.allowance.needs_max_tokens)
        async with reserve(request.budgets, worst) as settle:
            try:
                reply = await request.sender(request.call)
            except ModelError as exc:
                if is_overflow(str(exc)):  # refused before a token was written, and not billed
                    settle(ResourceUsage(calls=1))
                raise
            if reply.reused:  # by Inspect's cache
                settle(ResourceUsage())
            else:
                settle(measure_usage(request.call, reply, prices) or worst)
            return reply

    def _refuse_overflow(self, call: Call) -> None:
        """Refuse a prompt that is certain not to fit the model's context window; what is in doubt, the server decides.

        Raises:
            ContextOverflowError: it has as many words as the window has tokens.
        """
        if call.model not in self._context_cache:
            self._context_cache[call.model] = self.prices.get_context(call.model)
        window = self._context_cache[call.model]
        if window is not None and (least := count_least_tokens(call.messages)) >= window:
            raise ContextOverflowError(
                f"{call.model}: {OVERFLOW_TEXT}: at least {least:,} tokens, and it has {window:,} by price table "
                f"{self.prices.version}"
            )


def _list_configs(request: _Request) -> Iterable[str]:
    """The configurations under which a call may have been recorded; without a sender Inspect's active one, or none."""
    if request.sender is not None:
        return (request.sender.get_call_identity(request.call)[1],)
    return dict.fromkeys(("", ambient_config_key(request.call.settings)))


async def _wait_until_idle(asked: Callable[[], int]) -> None:
    """Wait until a question has asked for nothing more for a while.

    Args:
        asked: how many calls the question has made so far.
    """
    seen, turns = asked(), 0
    while turns < IDLE_TURNS:
        await anyio.sleep(IDLE_PAUSE)
        seen, turns = asked(), turns + 1 if asked() == seen else 0


def build_client(
    models: Iterable[str],
    *,
    store: str | os.PathLike[str] | Store | None = None,
    policy: str | None = None,
    budget: Mapping[str, Any] | str | BudgetConfig | Budget | None = None,
    prices: str | os.PathLike[str] | PriceTable | None = None,
    trace: str = "full",
    cancels: bool = False,
) -> ModelClient:
    """The stack for an architecture's models; every wrong option is an error here, before anything is paid.

    Args:
        models: Inspect's names.
        store: path or address of the call store; the environment variable ARCHON_STORE where it is None.
        policy: one of POLICIES; `reuse` where there is a store, else `off`.
        budget: limits per question and per eval (`budget.parse_budget`), or a Budget that others share.
        prices: the user's price file, before the package's table.
        trace: one of TRACES.
        cancels: whether the architecture cancels calls (`stop_after`). A replay then waits before it reports a call
            that is not in the recording: the call may be one that is about to be cancelled, as it was when recorded.

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
    if store and not isinstance(store, Store):
        refuse_password(store)
    store = store or os.environ.get(STORE_VARIABLE) or None
    policy = policy or ("off" if store is None else "reuse")
    if policy not in POLICIES:
        raise StoreError(f"store policy {policy!r}{did_you_mean(str(policy), POLICIES)}")
    if policy != "off" and store is None:
        raise StoreError(f"store policy {policy!r} needs a store: give its path or address, or set {STORE_VARIABLE}")
    sender = None if policy == "replay" else InspectClient(names, trace=trace)
    opened: Store | None = None
    if policy != "off" and store is not None:
        opened = store if isinstance(store, Store) else open_store(store, read_only=policy == "replay")
    return ModelClient(sender, opened, policy, allowance=allowance, prices=table, cancels=cancels)
