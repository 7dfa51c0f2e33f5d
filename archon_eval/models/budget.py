"""Hard limits on what model calls may take: each call reserves its worst case before it is sent, and settles after.

    budget = Budget(Limits(calls=1000, dollars=20.0), "eval")
    async with reserved([budget], worst_case(call, prices)) as settle:
        reply = await caller(call)
        settle(actual(reply, ...))

While the reservations of calls under way stand in the way, a call waits; when the limit could not be kept even without
them, it is a BudgetError. So concurrency never overspends, and what is left is used up as far as worst cases allow.
"""

import math
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import anyio

from archon_eval.architecture import GenerationSettings
from archon_eval.errors import BudgetError, did_you_mean
from archon_eval.models.base import Call, Reply, Usage
from archon_eval.models.prices import Price, Prices

FIXED_TOKENS, TOKENS_PER_MESSAGE = 64, 16
"""What a chat format may add to a request and to each of its messages."""


@dataclass(frozen=True, slots=True)
class Amount:
    """What calls take."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float = 0.0

    def plus(self, other: "Amount", sign: int = 1) -> "Amount":
        """The sum, or with sign -1 the difference."""
        return Amount(
            self.calls + sign * other.calls,
            self.input_tokens + sign * other.input_tokens,
            self.output_tokens + sign * other.output_tokens,
            self.dollars + sign * other.dollars,
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """At most so much; None for no limit."""

    calls: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    dollars: float | None = None

    def exceeded(self, amount: Amount) -> str | None:
        """The name of the first limit the amount is above."""
        for name in LIMIT_NAMES:
            limit, value = getattr(self, name), getattr(amount, name)
            if limit is not None and value > limit + (1e-9 if name == "dollars" else 0):
                return name
        return None

    @property
    def given(self) -> dict[str, float]:
        """The limits that are set."""
        return {name: value for name in LIMIT_NAMES if (value := getattr(self, name)) is not None}


LIMIT_NAMES = tuple(f.name for f in fields(Limits))


@dataclass(slots=True, eq=False)
class Budget:
    """Limits, and how much of them is gone; may be shared by any number of evals, one after the other or at once."""

    limits: Limits
    name: str = "eval"
    """Whose budget it is, for messages."""
    spent: Amount = Amount()
    reserved: Amount = Amount()
    _waiting: deque[anyio.Event] = field(default_factory=deque)

    def blocked(self, worst: Amount) -> bool:
        """Whether the call must wait for others to settle.

        Raises:
            BudgetError: it would not fit even without them.
        """
        if limit := self.limits.exceeded(self.spent.plus(worst)):
            raise BudgetError(
                f"the {self.name}'s limit of {_shown(limit, getattr(self.limits, limit))} is used up: "
                f"{_shown(limit, getattr(self.spent, limit))} spent, and the next call may take "
                f"{_shown(limit, getattr(worst, limit))}. Raise the limit and run again; replies that are in a call "
                "store (store=PATH) are not paid anew"
            )
        return self.limits.exceeded(self.spent.plus(self.reserved).plus(worst)) is not None

    def wake(self) -> None:
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
                self.wake()
            else:
                self._waiting.remove(turn)
            raise


@asynccontextmanager
async def reserved(budgets: Sequence[Budget], worst: Amount) -> AsyncIterator[Callable[[Amount], None]]:
    """Hold the worst case in every budget; the value is called with what it really took.

    A body that ends without calling it (a cancelled call, which the provider may bill) has taken the worst case.

    Raises:
        BudgetError: a limit is reached.
    """
    try:
        while blocking := _first_blocked(budgets, worst):
            await blocking.wait()
    except BaseException:  # who leaves may have been the one woken, by any of them
        for budget in budgets:
            budget.wake()
        raise
    for budget in budgets:
        budget.reserved = budget.reserved.plus(worst)
        budget.wake()
    taken = worst

    def settle(amount: Amount) -> None:
        nonlocal taken
        taken = amount

    try:
        yield settle
    finally:
        for budget in budgets:
            budget.reserved = budget.reserved.plus(worst, -1)
            budget.spent = budget.spent.plus(taken)
            budget.wake()


def _first_blocked(budgets: Sequence[Budget], worst: Amount) -> Budget | None:
    blocking = [budget for budget in budgets if budget.blocked(worst)]
    return blocking[0] if blocking else None


def worst_case(call: Call, prices: Prices | None, bounded: bool = True) -> Amount:
    """The most one call can take: no tokenizer makes more tokens than there are bytes.

    Args:
        call: what is about to be sent.
        prices: None when nothing is limited in dollars.
        bounded: whether the reply needs a limit, because output tokens or dollars are limited.

    Raises:
        BudgetError: the price is unknown, or the reply has no limit and needs one.
    """
    most = require_max_tokens(call.model, call.settings) if bounded else 0
    given = sum(len(message.content.encode("utf-8", "replace")) for message in call.messages)
    usage = Usage(FIXED_TOKENS + TOKENS_PER_MESSAGE * len(call.messages) + given, most)
    return Amount(1, usage.input_tokens, usage.output_tokens, _cost(call.model, usage, prices))


def actual(call: Call, reply: Reply, prices: Prices | None) -> Amount | None:
    """What a call took, None where the provider did not say, or says less than nothing."""
    if reply.usage is None or min(reply.usage.input_tokens, reply.usage.output_tokens) < 0:
        return None
    return Amount(1, reply.usage.input_tokens, reply.usage.output_tokens, _cost(call.model, reply.usage, prices))


def _cost(model: str, usage: Usage, prices: Prices | None) -> float:
    return 0.0 if prices is None else require_price(model, prices).cost(usage)


def require_price(model: str, prices: Prices) -> Price:
    """The model's price; BudgetError when it is unknown, which is not zero."""
    price = prices.price_of(model)
    if price is None:
        raise BudgetError(
            f"there is a limit in dollars but the price of {model} is unknown (table {prices.version}): add it to a "
            "file, `prices: [{models: [NAME], input: USD_PER_MILLION, output: USD_PER_MILLION}]`, and give it as prices"
        )
    return price


def require_max_tokens(model: str, settings: GenerationSettings) -> int:
    """The limit on a reply; BudgetError when there is none."""
    if settings.max_tokens is None:
        raise BudgetError(f"a component with {model} has no max_tokens, so the worst case of its calls is unknown")
    return settings.max_tokens


@dataclass(frozen=True, slots=True)
class Allowance:
    """The budgets a user set, for each question and for the whole eval, and budgets shared with other evals."""

    question: Limits = Limits()
    eval: Limits = Limits()
    shared: tuple[Budget, ...] = ()

    @property
    def all(self) -> tuple[Limits, ...]:
        """Every set of limits."""
        return (self.question, self.eval, *(budget.limits for budget in self.shared))

    @property
    def counts(self) -> bool:
        """Whether there is any limit."""
        return any(limits.given for limits in self.all)

    @property
    def in_dollars(self) -> bool:
        """Whether any limit needs prices."""
        return any(limits.dollars is not None for limits in self.all)

    @property
    def needs_max_tokens(self) -> bool:
        """Whether any limit needs a bound on replies."""
        return any(limits.dollars is not None or limits.output_tokens is not None for limits in self.all)


def read_allowance(given: "Mapping[str, Any] | str | Allowance | Budget | None") -> Allowance:
    """`{question: {calls: 50}, eval: {dollars: 20}}`, or as text `question.calls=50 eval.dollars=20`.

    Raises:
        BudgetError: an unknown name, or a limit that is no number above 0.
    """
    if isinstance(given, Allowance):
        return given
    if isinstance(given, Budget):
        return Allowance(shared=(given,))
    if isinstance(given, str):
        given = _from_text(given)
    if not isinstance(given or {}, Mapping):
        raise BudgetError(f"a budget is a mapping such as {{eval: {{dollars: 20}}}}, not {given!r}")
    scopes: dict[str, Limits] = {}
    for scope, limits in (given or {}).items():
        if scope not in ("question", "eval"):
            raise BudgetError(f"budget: unknown part {scope!r}{did_you_mean(str(scope), ('question', 'eval'))}")
        if not isinstance(limits, Mapping):
            raise BudgetError(f"budget: {scope} holds limits such as {{dollars: 20}}, not {limits!r}")
        scopes[scope] = Limits(**{name: _limit(f"budget: {scope}.{name}", name, v) for name, v in limits.items()})
    return Allowance(scopes.get("question", Limits()), scopes.get("eval", Limits()))


def _from_text(text: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for part in re.split(r"[\s;]+", text.strip()):
        match = re.fullmatch(r"(\w+)\.(\w+)=(.+)", part)
        if not match:
            raise BudgetError(f"budget: {part!r} does not have the form eval.dollars=20 (parts separated by spaces)")
        try:
            found.setdefault(match[1], {})[match[2]] = float(match[3])
        except ValueError:
            raise BudgetError(f"budget: {part!r}: {match[3]!r} is no number") from None
    return found


def _limit(where: str, name: Any, value: Any) -> Any:
    if name not in LIMIT_NAMES:
        raise BudgetError(f"{where}: unknown limit{did_you_mean(str(name), LIMIT_NAMES)}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise BudgetError(f"{where} must be a number above 0, not {value!r}")
    if name != "dollars" and value != int(value):
        raise BudgetError(f"{where} must be a whole number, not {value!r}")
    return value if name == "dollars" else int(value)


def _shown(limit: str, value: float) -> str:
    return f"${value:.4g}" if limit == "dollars" else f"{value:,} {limit.replace('_', ' ')}"
