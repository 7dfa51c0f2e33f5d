"""Shards share one budget: they never spend more than its limits, and all of it as far as worst cases allow."""

import queue
import random
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from archon_eval.errors import BudgetError
from archon_eval.models.budget import CallLimits, ResourceUsage, reserve
from archon_eval.models.shared_budget import LeasedBudget, LeaseLedger


class Office:
    """A ledger and its shards in one process; messages take another thread, as between processes."""

    def __init__(self, limits: CallLimits, file: Path | None = None) -> None:
        self.limits, self.shards = limits, dict[str, LeasedBudget]()
        self._mail: queue.Queue[tuple[str, Mapping[str, Any]] | threading.Event | None] = queue.Queue()
        self._down: queue.Queue[tuple[str, Mapping[str, Any]] | threading.Event | None] = queue.Queue()
        self.ledger = LeaseLedger(lambda shard, message: self._down.put((shard, message)), file)
        self._threads = [threading.Thread(target=self._deliver_up), threading.Thread(target=self._deliver_down)]
        for thread in self._threads:
            thread.start()

    def add(self, name: str) -> LeasedBudget:
        self.shards[name] = LeasedBudget(self.limits, "eval", "0 x", lambda message: self._mail.put((name, message)))
        return self.shards[name]

    def _deliver_up(self) -> None:
        while (letter := self._mail.get()) is not None:
            if isinstance(letter, threading.Event):
                letter.set()
            else:
                self.ledger.receive(*letter)

    def _deliver_down(self) -> None:
        while (letter := self._down.get()) is not None:
            if isinstance(letter, threading.Event):
                letter.set()
            elif letter[0] in self.shards:
                self.shards[letter[0]].receive(letter[1])

    def flush(self) -> None:
        """Wait until what was sent so far has arrived."""
        for box in (self._mail, self._down):
            arrived = threading.Event()
            box.put(arrived)
            assert arrived.wait(60)

    def close(self) -> None:
        for box in (self._mail, self._down):
            box.put(None)
        for thread in self._threads:
            thread.join()


async def spend(budget: LeasedBudget, calls: int, chance: random.Random, done: list[ResourceUsage]) -> None:
    """Calls that take at most what they reserve; each that fails for want of budget ends it."""

    async def call(worst: ResourceUsage, taken: ResourceUsage, seconds: float) -> None:
        with suppress(BudgetError):
            async with reserve([budget], worst) as settle:
                await anyio.sleep(seconds)
                settle(taken)
                done.append(taken)

    async with anyio.create_task_group() as group:
        for _ in range(calls):
            most = chance.randint(1, 50)
            worst = ResourceUsage(1, 0, most)
            group.start_soon(call, worst, ResourceUsage(1, 0, chance.randint(0, most)), chance.random() / 100)
            if chance.random() < 0.3:
                await anyio.sleep(0.01)


@pytest.mark.parametrize("seed", range(4))
def test_shards_at_once_stay_within_the_limits_and_end(seed: int) -> None:
    limits = CallLimits(calls=60, output_tokens=700) if seed % 2 else CallLimits(output_tokens=500)
    office, done = Office(limits), list[ResourceUsage]()
    budgets = [office.add(str(number)) for number in range(3)]
    threads = [
        threading.Thread(target=anyio.run, args=(spend, budget, 40, random.Random(seed * 10 + number), done))
        for number, budget in enumerate(budgets)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a call waits for ever"
    office.close()
    total = ResourceUsage()
    for taken in done:
        total = total.add(taken)
    assert limits.find_exceeded(total) is None
    if limits.calls:
        assert total.calls == 60 or total.output_tokens > 700 - 50
    else:
        assert total.output_tokens > 500 - 50  # no call's worst case would fit any more


def test_the_last_call_is_made_though_another_shard_was_lent_it() -> None:
    office = Office(CallLimits(calls=9))
    budgets, made = [office.add("a"), office.add("b")], [0, 0]

    async def use(number: int, calls: int) -> None:
        for _ in range(calls):
            async with reserve([budgets[number]], ResourceUsage(1)):
                made[number] += 1

    anyio.run(use, 0, 1)  # is lent more than that
    assert budgets[0].lease.calls > 1
    anyio.run(use, 1, 8)
    with pytest.raises(BudgetError, match=r"limit of 9 calls is used up: 9 calls spent"):
        anyio.run(use, 1, 1)
    with pytest.raises(BudgetError, match=r"9 calls spent"):
        anyio.run(use, 0, 1)
    office.close()
    assert made == [1, 8]


def test_what_a_call_takes_beyond_its_worst_case_is_the_others_loss_too() -> None:
    """As in one process: some providers bill more than can be known before."""
    office = Office(CallLimits(output_tokens=1000))
    first, second = office.add("a"), office.add("b")

    async def use(budget: LeasedBudget, worst: int, taken: int) -> None:
        async with reserve([budget], ResourceUsage(1, 0, worst)) as settle:
            settle(ResourceUsage(1, 0, taken))

    anyio.run(use, first, 10, 970)
    first.give_back()
    with pytest.raises(BudgetError, match=r"limit of 1,000 output tokens is used up: 970"):
        anyio.run(use, second, 40, 40)
    anyio.run(use, second, 30, 30)
    office.close()
    assert [used.output_tokens for used in office.ledger.measure_spent().values()] == [1000]


def test_a_part_that_ends_while_a_call_waits_keeps_nothing_of_the_budget(tmp_path: Path) -> None:
    office = Office(CallLimits(calls=4))
    ended, other = office.add("ended"), office.add("other")

    async def wait_in_vain() -> None:
        async with reserve([other], ResourceUsage(4)) as settle:
            with anyio.move_on_after(0.2):
                async with reserve([ended], ResourceUsage(3)):
                    pytest.fail("there was nothing left")
            ended.end_part()
            settle(ResourceUsage(1))

    anyio.run(wait_in_vain)
    office.flush()
    other.end_part()
    office.flush()
    office.ledger.write_off("ended")
    [total] = office.ledger.measure_spent().values()
    office.close()
    assert total.calls == 1


def test_what_a_dead_shard_was_lent_counts_as_spent_also_for_the_next_process(tmp_path: Path) -> None:
    office = Office(CallLimits(calls=10), tmp_path / "budget.json")

    async def use(budget: LeasedBudget, calls: int) -> None:
        for _ in range(calls):
            async with reserve([budget], ResourceUsage(1)):
                pass

    dead = office.add("dead")
    anyio.run(use, dead, 2)
    lent = dead.lease.calls
    assert 2 <= lent < 10
    del office.shards["dead"]
    office.ledger.write_off("dead")
    anyio.run(use, office.add("b"), 10 - lent)
    with pytest.raises(BudgetError):
        anyio.run(use, office.shards["b"], 1)
    office.close()
    later = Office(CallLimits(calls=12), tmp_path / "budget.json")
    anyio.run(use, later.add("c"), 2)
    with pytest.raises(BudgetError):
        anyio.run(use, later.shards["c"], 1)
    later.close()
