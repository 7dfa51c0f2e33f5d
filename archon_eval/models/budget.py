"""Hard limits on what model calls may take: each call reserves its worst case before it is sent, and settles after.

    budget = Budget(CallLimits(calls=1000, dollars=20.0), "eval")
    async with reserve([budget], estimate_worst_case(call, prices)) as settle:
        reply = await caller(call)
        settle(measure_usage(reply, ...))

While the reservations of calls under way stand in the way, a call waits; when the limit could not be kept even without
them, it is a BudgetError. So concurrency never overspends, and what is left is used up as far as worst cases allow.
"""

import math
import re
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import anyio

from archon_eval.architecture.spec import GenerationSettings
from archon_eval.errors import BudgetError, did_you_mean
from archon_eval.models.call import Call, Reply, Usage
from archon_eval.models.prices import Price, PriceTable
from archon_eval.models.scorer import Scorer
from archon_eval.types import list_parts

TOKENS_PER_REQUEST, TOKENS_PER_MESSAGE = 64, 16
"""What a chat format may add to a request and to each of its messages."""
TOKENS_PER_IMAGE = 50_000
"""More than any provider is known to count for one image; other parts count no more than their bytes."""


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """What calls take."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float = 0.0

    def add(self, other: "ResourceUsage", sign: int = 1) -> "ResourceUsage":
        """The sum, or with sign -1 the difference."""
        return ResourceUsage(
            calls=self.calls + sign * other.calls,
            input_tokens=self.input_tokens + sign * other.input_tokens,
            output_tokens=self.output_tokens + sign * other.output_tokens,
            dollars=self.dollars + sign * other.dollars,
        )


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The most that may be taken; None for no limit."""

    calls: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    dollars: float | None = None

    def find_exceeded(self, amount: ResourceUsage) -> str | None:
        """The name of the first limit the amount is above."""
        for name in LIMIT_NAMES:
            limit, value = getattr(self, name), getattr(amount, name)
            if limit is not None and value > limit + (1e-9 if name == "dollars" else 0):
                return name
        return None

    @property
    def configured(self) -> dict[str, float]:
        """The limits that are set."""
        return {name: value for name in LIMIT_NAMES if (value := getattr(self, name)) is not None}


LIMIT_NAMES = tuple(f.name for f in fields(CallLimits))


RESERVING = threading.RLock()
"""Held while a budget is looked at and changed: processes that share one hear of each other in a thread of its own."""


@dataclass(slots=True, eq=False)
class Budget:
    """Limits and how much of them is spent; any number of evals may share one, one after the other or at once."""

    limits: CallLimits
    name: str = "eval"
    """Whose budget it is, for messages."""
    spent: ResourceUsage = ResourceUsage()
    reserved: ResourceUsage = ResourceUsage()
    _waiting: deque[anyio.Event] = field(default_factory=deque)

    def has_to_wait(self, worst: ResourceUsage) -> bool:
        """Whether the call must wait for others to settle.

        Raises:
            BudgetError: it would not fit even without them.
        """
        spent = self.measure_spent()
        if limit := self.limits.find_exceeded(spent.add(worst)):
            raise BudgetError(
                f"the {self.name}'s limit of {_format_limit(limit, getattr(self.limits, limit))} is used up: "
                f"{_format_limit(limit, getattr(spent, limit))} spent, and the next call may take "
                f"{_format_limit(limit, getattr(worst, limit))}. Raise the limit and run again; replies that are in a "
                "call store (store=PATH) are not paid anew"
            )
        return not self.has_room(self.spent.add(self.reserved).add(worst))

    def measure_spent(self) -> ResourceUsage:
        """What is spent, by whoever shares the budget."""
        return self.spent

    def has_room(self, amount: ResourceUsage) -> bool:
        """Whether so much may be spent and reserved at once."""
        return self.limits.find_exceeded(amount) is None

    def settle(self, worst: ResourceUsage, taken: ResourceUsage) -> None:
        """A call that had reserved its worst case has taken so much."""
        self.reserved = self.reserved.add(worst, -1)
        self.spent = self.spent.add(taken)
        self.wake_next()

    def wake_next(self) -> None:
        """Let the call that has waited longest look again."""
        if self._waiting:
            self._waiting.popleft().set()

    async def wait(self) -> None:
        """Until another call has settled."""
        turn = anyio.Event()
        self._waiting.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self.wake_next()
            else:
                self._waiting.remove(turn)
            raise


@asynccontextmanager
async def reserve(budgets: Sequence[Budget], worst: ResourceUsage) -> AsyncIterator[Callable[[ResourceUsage], None]]:
    """Reserve the worst case in every budget; yields a function to be called with what the call really took.

    A body that ends without calling it (a cancelled call, which the provider may bill) has taken the worst case.

    Raises:
        BudgetError: a limit is reached.
    """
    try:
        while blocking := _try_to_reserve(budgets, worst):
            await blocking.wait()
    except BaseException:  # who leaves may have been the one woken, by any of them
        for budget in budgets:
            budget.wake_next()
        raise
    taken = worst

    def settle(amount: ResourceUsage) -> None:
        nonlocal taken
        taken = amount

    try:
        yield settle
    finally:
        with RESERVING:
            for budget in budgets:
                budget.settle(worst, taken)


def _try_to_reserve(budgets: Sequence[Budget], worst: ResourceUsage) -> Budget | None:
    """Reserve the worst case in all budgets; where one has no room for it now, in none: that one."""
    with RESERVING:
        blocking = [budget for budget in budgets if budget.has_to_wait(worst)]
        if blocking:
            return blocking[0]
        for budget in budgets:
            budget.reserved = budget.reserved.add(worst)
            budget.wake_next()
    return None


def estimate_worst_case(call: Call, prices: PriceTable | None, bounded: bool = True) -> ResourceUsage:
    """The most one call can take: no tokenizer makes more tokens than there are bytes.

    Args:
        call: what is about to be sent.
        prices: None when nothing is limited in dollars.
        bounded: whether the reply needs a limit, because output tokens or dollars are limited.

    Raises:
        BudgetError: the price is unknown, or the reply has no limit and needs one.
    """
    most = require_max_tokens(call.model, call.settings) if bounded and call.scorer is None else 0
    content = sum(len(message.content.encode("utf-8", "replace")) for message in call.messages)
    usage = Usage(TOKENS_PER_REQUEST + TOKENS_PER_MESSAGE * len(call.messages) + content + _count_parts(call), most)
    return _price_call(call, usage, prices)


def _count_parts(call: Call) -> int:
    """The most tokens of what a call holds besides text, with what a chat format adds to each part."""
    rich = [message for message in call.messages if not message.is_text]
    texts = [message.extra for message in rich] + [c.function + c.arguments for m in rich for c in m.tool_calls]
    texts += [tool.spec for tool in call.tools.definitions] if call.tools is not None else []
    others = sum(TOKENS_PER_MESSAGE + len(text.encode("utf-8", "replace")) for text in texts)
    images = [part["image"] for part in list_parts(rich) if part["type"] == "image"]
    return others + sum(TOKENS_PER_IMAGE - len(image) for image in images)  # not the bytes that encode it


def measure_usage(call: Call, reply: Reply, prices: PriceTable | None) -> ResourceUsage | None:
    """What a call took, None where the provider did not say, or says less than nothing."""
    if reply.usage is None or min(reply.usage.input_tokens, reply.usage.output_tokens) < 0:
        return None
    return _price_call(call, reply.usage, prices)


def _price_call(call: Call, usage: Usage, prices: PriceTable | None) -> ResourceUsage:
    """What one call takes; without a table of prices no dollars."""
    if prices is None:
        dollars = 0.0
    elif call.scorer is not None:
        dollars = require_score_price(call.scorer)
    else:
        dollars = require_price(call.model, prices).compute_cost(usage)
    return ResourceUsage(1, usage.input_tokens, usage.output_tokens, dollars=dollars)


def require_price(model: str, prices: PriceTable) -> Price:
    """The model's price; BudgetError when it is unknown, which is not zero."""
    price = prices.get_price(model)
    if price is None:
        raise BudgetError(
            f"there is a limit in dollars but the price of {model} is unknown (table {prices.version}): add it to a "
            "file, `prices: [{models: [NAME], input: USD_PER_MILLION, output: USD_PER_MILLION}]`, and give it as prices"
        )
    return price


def require_score_price(scorer: Scorer) -> float:
    """Dollars of one score; BudgetError when they are unknown, which is not zero."""
    if scorer.dollars is None:
        raise BudgetError(
            f"there is a limit in dollars but the price of a score of {scorer.name} is unknown: write `dollars:` "
            "beside it, the dollars of one score (0 for what costs nothing)"
        )
    return scorer.dollars


def require_max_tokens(model: str, settings: GenerationSettings) -> int:
    """The limit on a reply; BudgetError when there is none."""
    if settings.max_tokens is None:
        raise BudgetError(f"a component with {model} has no max_tokens, so the worst case of its calls is unknown")
    return settings.max_tokens


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """The budgets a user set, for each question and for the whole eval, and budgets shared with other evals."""

    question: CallLimits = CallLimits()
    eval: CallLimits = CallLimits()
    shared: tuple[Budget, ...] = ()

    @property
    def all_limits(self) -> tuple[CallLimits, ...]:
        """Every set of limits."""
        return (self.question, self.eval, *(budget.limits for budget in self.shared))

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return any(limits.configured for limits in self.all_limits)

    @property
    def in_dollars(self) -> bool:
        """Whether any limit needs prices."""
        return any(limits.dollars is not None for limits in self.all_limits)

    @property
    def needs_max_tokens(self) -> bool:
        """Whether any limit needs a bound on replies."""
        return any(limits.dollars is not None or limits.output_tokens is not None for limits in self.all_limits)


def parse_budget(budget: "Mapping[str, Any] | str | BudgetConfig | Budget | None") -> BudgetConfig:
    """The budgets of a mapping, or of text.

    >>> parse_budget("question.calls=50 eval.dollars=20") == parse_budget(
    ...     {"question": {"calls": 50}, "eval": {"dollars": 20}}
    ... )
    True

    Raises:
        BudgetError: an unknown name, or a limit that is no number above 0.
    """
    if isinstance(budget, BudgetConfig):
        return budget
    if isinstance(budget, Budget):
        return BudgetConfig(shared=(budget,))
    if isinstance(budget, str):
        budget = _parse_text(budget)
    if not isinstance(budget or {}, Mapping):
        raise BudgetError(f"a budget is a mapping such as {{eval: {{dollars: 20}}}}, not {budget!r}")
    scopes: dict[str, CallLimits] = {}
    for scope, limits in (budget or {}).items():
        if scope not in ("question", "eval"):
            raise BudgetError(f"budget: unknown part {scope!r}{did_you_mean(str(scope), ('question', 'eval'))}")
        if not isinstance(limits, Mapping):
            raise BudgetError(f"budget: {scope} holds limits such as {{dollars: 20}}, not {limits!r}")
        scopes[scope] = CallLimits(
            **{name: _check_limit(f"budget: {scope}.{name}", name, v) for name, v in limits.items()}
        )
    return BudgetConfig(scopes.get("question", CallLimits()), scopes.get("eval", CallLimits()))


def _parse_text(text: str) -> dict[str, dict[str, Any]]:
    limits: dict[str, dict[str, Any]] = {}
    for part in re.split(r"[\s;]+", text.strip()):
        match = re.fullmatch(r"(\w+)\.(\w+)=(.+)", part)
        if not match:
            raise BudgetError(f"budget: {part!r} does not have the form eval.dollars=20 (parts separated by spaces)")
        try:
            limits.setdefault(match[1], {})[match[2]] = float(match[3])
        except ValueError:
            raise BudgetError(f"budget: {part!r}: {match[3]!r} is no number") from None
    return limits


def _check_limit(where: str, name: Any, value: Any) -> Any:
    if name not in LIMIT_NAMES:
        raise BudgetError(f"{where}: unknown limit{did_you_mean(str(name), LIMIT_NAMES)}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise BudgetError(f"{where} must be a number above 0, not {value!r}")
    if name != "dollars" and value != int(value):
        raise BudgetError(f"{where} must be a whole number, not {value!r}")
    return value if name == "dollars" else int(value)


def _format_limit(limit: str, value: float) -> str:
    return f"${value:.4g}" if limit == "dollars" else f"{value:,} {limit.replace('_', ' ')}"
