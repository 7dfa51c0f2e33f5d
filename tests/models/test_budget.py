"""Budgets never overspend, whatever runs at once, and say so before anything is sent."""

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archon_eval.architecture.spec import GenerationSettings
from archon_eval.errors import BudgetError
from archon_eval.models.budget import (
    Budget,
    BudgetConfig,
    CallLimits,
    ResourceUsage,
    estimate_worst_case,
    measure_usage,
    parse_budget,
    reserve,
)
from archon_eval.models.call import Call, Reply, Usage
from archon_eval.models.prices import Price, PriceTable, load_prices
from archon_eval.types import Message

CALL = Call("openai/gpt-4o", (Message("user", "hällo"),), GenerationSettings(max_tokens=100))


def test_budgets_are_read_from_mappings_and_text() -> None:
    wanted = BudgetConfig(CallLimits(calls=50), CallLimits(dollars=20.5))
    assert parse_budget({"question": {"calls": 50}, "eval": {"dollars": 20.5}}) == wanted
    assert parse_budget("question.calls=50 eval.dollars=20.5") == wanted
    assert parse_budget("question.calls=50;eval.dollars=20.5") == wanted
    assert parse_budget(None) == BudgetConfig() and not BudgetConfig().is_limited
    shared = Budget(CallLimits(dollars=1.0), "search")
    assert parse_budget(shared).shared == (shared,)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"evals": {"calls": 1}}, "did you mean 'eval'"),
        ({"eval": {"dollar": 1}}, "did you mean 'dollars'"),
        ({"eval": {"calls": 0}}, "above 0"),
        ({"eval": {"calls": 1.5}}, "whole number"),
        ({"eval": {"calls": True}}, "number"),
        ({"eval": {"dollars": "ten"}}, "number"),
        ({"eval": {"dollars": float("nan")}}, "number"),
        ({"eval": 5}, "holds limits"),
        ("eval.dollars", "form"),
        ("eval.dollars=x", "no number"),
        (5, "mapping"),
    ],
)
def test_malformed_budgets_are_refused(given: object, said: str) -> None:
    with pytest.raises(BudgetError, match=said):
        parse_budget(given)  # type: ignore[arg-type]


def test_the_worst_case_is_one() -> None:
    prices = PriceTable("mine", (("openai/*", Price(5, 15)),))
    worst = estimate_worst_case(CALL, prices)
    assert worst.calls == 1 and worst.output_tokens == 100
    assert worst.input_tokens >= len("hällo".encode())
    assert worst.dollars == pytest.approx((5 * worst.input_tokens + 15 * 100) / 1e6)
    took = measure_usage(CALL, Reply("x", usage=Usage(4, 9)), prices)
    assert took is not None and took.dollars == pytest.approx((20 + 135) / 1e6)
    assert measure_usage(CALL, Reply("x"), prices) is None
    assert measure_usage(CALL, Reply("x", usage=Usage(4, -9)), prices) is None, "or a limit would grow"


def test_an_unknown_price_or_an_unbounded_reply_is_an_error() -> None:
    with pytest.raises(BudgetError, match="unheard-of is unknown"):
        estimate_worst_case(Call("x/unheard-of", CALL.messages, GenerationSettings()), load_prices())
    unbounded = Call(CALL.model, CALL.messages, GenerationSettings(max_tokens=None))
    with pytest.raises(BudgetError, match="no max_tokens"):
        estimate_worst_case(unbounded, None)
    assert estimate_worst_case(unbounded, None, bounded=False).output_tokens == 0


@settings(max_examples=40, deadline=None)
@given(
    jobs=st.lists(st.tuples(st.integers(1, 30), st.floats(0, 1), st.integers(0, 3)), max_size=30),
    limit=st.integers(1, 100),
    calls=st.integers(1, 30),
)
def test_concurrency_never_overspends_and_wastes_nothing(
    jobs: list[tuple[int, float, int]], limit: int, calls: int
) -> None:
    whole, part = Budget(CallLimits(output_tokens=limit)), Budget(CallLimits(calls=calls), "question")
    refused: list[int] = []

    async def job(worst: int, share: float, turns: int) -> None:
        try:
            async with reserve([part, whole], ResourceUsage(1, 0, worst)) as settle:
                assert whole.spent.output_tokens + whole.reserved.output_tokens <= limit
                assert part.spent.calls + part.reserved.calls <= calls
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                settle(ResourceUsage(1, 0, int(worst * share)))
        except BudgetError:
            refused.append(worst)
            assert whole.spent.output_tokens + worst > limit or part.spent.calls + 1 > calls

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for one in jobs:
                group.start_soon(job, *one)

    anyio.run(main)
    assert whole.spent.output_tokens <= limit and part.spent.calls <= calls
    assert whole.reserved == part.reserved == ResourceUsage()
    assert part.spent.calls == len(jobs) - len(refused)


def test_a_call_waits_for_others_to_settle_and_a_cancelled_one_has_taken_its_worst() -> None:
    budget = Budget(CallLimits(output_tokens=100))
    order: list[str] = []

    async def first() -> None:
        async with reserve([budget], ResourceUsage(1, 0, 100)) as settle:
            await anyio.sleep(0.02)
            order.append("first")
            settle(ResourceUsage(1, 0, 10))

    async def second() -> None:
        async with reserve([budget], ResourceUsage(1, 0, 80)):
            order.append("second")
            await anyio.sleep(10)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(first)
            await anyio.lowlevel.checkpoint()
            group.start_soon(second)
            await anyio.sleep(0.1)
            group.cancel_scope.cancel()

    anyio.run(main)
    assert order == ["first", "second"]
    assert budget.spent == ResourceUsage(2, 0, 90) and budget.reserved == ResourceUsage()


def test_a_waiter_that_is_cancelled_holds_nobody_up() -> None:
    budget, done = Budget(CallLimits(calls=2)), []

    async def hold() -> None:
        async with reserve([budget], ResourceUsage(2)) as settle:
            await anyio.sleep(0.05)
            settle(ResourceUsage(0))

    async def wait(name: str) -> None:
        async with reserve([budget], ResourceUsage(1)):
            done.append(name)

    async def main() -> None:
        with anyio.fail_after(30):
            await all_of_it()

    async def all_of_it() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(hold)
            await anyio.lowlevel.checkpoint()
            with anyio.move_on_after(0.01):
                await wait("cancelled")
            group.start_soon(wait, "other")

    anyio.run(main)
    assert done == ["other"]


def test_a_call_cancelled_while_it_waits_for_a_second_budget_leaves_its_turn_in_the_first() -> None:
    whole, part = Budget(CallLimits(calls=1000, input_tokens=10), "eval"), Budget(CallLimits(calls=2), "question")
    done: list[str] = []

    async def call(name: str, budgets: list[Budget], worst: ResourceUsage, held: anyio.Event | None = None) -> None:
        async with reserve(budgets, worst) as settle:
            if held is not None:
                await held.wait()
            settle(ResourceUsage())
        done.append(name)

    async def main() -> None:
        first, other, scope = anyio.Event(), anyio.Event(), anyio.CancelScope()

        async def waiting() -> None:
            with scope:
                await call("cancelled", [part, whole], ResourceUsage(1, input_tokens=5))

        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(call, "first", [part, whole], ResourceUsage(2), first)
                await anyio.wait_all_tasks_blocked()
                group.start_soon(waiting)
                await anyio.wait_all_tasks_blocked()
                group.start_soon(call, "next", [part, whole], ResourceUsage(1))
                await anyio.wait_all_tasks_blocked()
                group.start_soon(call, "other", [whole], ResourceUsage(1, input_tokens=8), other)
                await anyio.wait_all_tasks_blocked()
                first.set()
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
                await anyio.wait_all_tasks_blocked()
                other.set()

    anyio.run(main)
    assert sorted(done) == ["first", "next", "other"]
