"""One budget for the processes of a sharded eval: a ledger in the process that started them leases parts of it.

    ledger = LeaseLedger(send)                       # where the processes were started
    ledger.receive("shard 1", message)                # each message of a shard's
    ledger.write_off("shard 1")                       # it died: what it was lent counts as spent

    link_to_ledger(send)                              # in a shard's process, before its eval begins
    receive_from_ledger(message)

A shard sends calls within its lease, which is a few calls' worst case, so most calls ask nobody. A call that does not
fit into it asks the ledger. Where too little is free, the others give back what they neither spent nor reserved. So the
limits hold over all shards, and what there is is used up. Messages are plain mappings of text, numbers and mappings.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import anyio

from archon_eval.errors import BudgetError
from archon_eval.models.budget import LIMIT_NAMES, RESERVING, Budget, CallLimits, ResourceUsage

SendMessage = Callable[[Mapping[str, Any]], None]
CALLS_PER_LEASE = 8
"""How many calls' worst cases a shard is lent at once, while there is plenty: what a shard that dies costs at most."""
LOOK_INTERVAL, ASK_INTERVAL = 0.05, 1.0
"""Seconds between two looks of a call that waits for a lease, and between two times that the ledger is asked for it."""


class LeasedBudget(Budget):
    """A shard's part of a shared budget; it spends only what it was lent."""

    def __init__(self, limits: CallLimits, name: str, key: str, send: SendMessage) -> None:
        super().__init__(limits, name)
        self.key, self._send = key, send
        self.lease = ResourceUsage()
        self._spent_elsewhere = ResourceUsage()
        self._asked, self._asked_at = ResourceUsage(), 0.0
        """What the ledger was asked for and has not yet lent, and when."""
        self._is_recalled = False
        """Whether somebody waits for what is free here."""

    def has_to_wait(self, worst: ResourceUsage) -> bool:
        try:
            return super().has_to_wait(worst)
        except BudgetError:
            if self._asked != ResourceUsage():  # perhaps for this call; others that wait ask again
                self._ask(ResourceUsage())
            raise

    def begin_part(self) -> None:
        """What was spent so far is the ledger's matter."""
        self.spent = self.lease = self._asked = ResourceUsage()
        self._is_recalled = False

    def end_part(self) -> None:
        """Return what is not spent; a call that waited here has been cancelled, and needs nothing any more."""
        self._asked = ResourceUsage()
        _, returned = self._free_lease()
        self._report(returned=returned, need=self._asked)

    def measure_spent(self) -> ResourceUsage:
        return self.spent.add(self._spent_elsewhere)

    def has_room(self, amount: ResourceUsage) -> bool:
        missing = _subtract(amount, self.lease, self.limits)
        if missing == ResourceUsage():
            return True
        is_less = _subtract(self._asked, missing, self.limits) != ResourceUsage()
        is_asked = self._asked != ResourceUsage() and not is_less
        if not is_asked or time.monotonic() > self._asked_at + ASK_INTERVAL:
            self._ask(missing)
        return False

    def _ask(self, amount: ResourceUsage) -> None:
        self._asked, self._asked_at = amount, time.monotonic()
        self._report(need=amount)

    def settle(self, worst: ResourceUsage, taken: ResourceUsage) -> None:
        super().settle(worst, taken)
        if self._is_recalled:
            self.give_back()

    def give_back(self) -> None:
        """Return to the ledger what is neither spent nor reserved, less what calls took beyond their worst case."""
        unused, returned = self._free_lease()
        if self._asked == ResourceUsage():
            self._report(returned=returned)
        else:
            self._asked = self._asked.add(unused)
            self._report(returned=returned, need=self._asked)

    def _free_lease(self) -> tuple[ResourceUsage, ResourceUsage]:
        """What is neither spent nor reserved, and that less what calls took beyond their worst case, which is no longer
        lent then."""
        used = self.spent.add(self.reserved)
        unused, beyond = _subtract(self.lease, used, self.limits), _subtract(used, self.lease, self.limits)
        returned = unused.add(beyond, -1)
        self.lease = self.lease.add(returned, -1)
        return unused, returned

    def receive(self, message: Mapping[str, Any]) -> None:
        """A message of the ledger's."""
        with RESERVING:
            self._spent_elsewhere = ResourceUsage(**message["elsewhere"])
            self._is_recalled = message["recalled"]
            if granted := message.get("granted"):
                self.lease = self.lease.add(ResourceUsage(**granted))
                self._asked = ResourceUsage()
            elif self._is_recalled:
                self.give_back()

    def _report(self, **amounts: ResourceUsage) -> None:
        plain = {name: asdict(amount) for name, amount in {"spent": self.spent, **amounts}.items()}
        self._send({"budget": self.key, "limits": asdict(self.limits), **plain})

    async def wait(self) -> None:
        """Until another call has settled, or for a moment: leases come from another thread."""
        with anyio.move_on_after(LOOK_INTERVAL):
            await super().wait()


def _subtract(amount: ResourceUsage, other: ResourceUsage, limits: CallLimits) -> ResourceUsage:
    """What an amount is above another in what is limited; never below zero."""
    left = amount.add(other, -1)
    slack = {"dollars": 1e-9}
    values = {name: getattr(left, name) for name in limits.configured}
    return ResourceUsage(**{name: value for name, value in values.items() if value > slack.get(name, 0)})


@dataclass(slots=True)
class _Link:
    send: SendMessage
    budgets: dict[str, LeasedBudget] = field(default_factory=dict)
    opened: int = 0
    """Budgets that were opened in this part."""


_links: list[_Link] = []
"""At most one: of the process of a shard."""


def link_to_ledger(send: SendMessage) -> None:
    """For the process of a shard: budgets of evals are from now on parts of the ledger's."""
    _links[:] = [_Link(send)]


def open_eval_budget(limits: CallLimits) -> Budget:
    """The budget of an eval: of this process, or in a shard its part of the one that all shards share."""
    if not _links or not limits.configured:
        return Budget(limits, "eval")
    link = _links[0]
    key = f"{link.opened} {json.dumps(limits.configured)}"
    link.opened += 1
    if key not in link.budgets:
        link.budgets[key] = LeasedBudget(limits, "eval", key, link.send)
    return link.budgets[key]


def receive_from_ledger(message: Mapping[str, Any]) -> None:
    """In the process of a shard: a message of the ledger's."""
    if _links and message["budget"] in _links[0].budgets:
        _links[0].budgets[message["budget"]].receive(message)


def begin_part() -> None:
    """In the process of a shard: a part begins, which the ledger knows as a borrower of its own."""
    for link in _links:
        link.opened = 0
        with RESERVING:
            for budget in link.budgets.values():
                budget.begin_part()


def give_back_leases() -> None:
    """In the process of a shard: a part has ended; return what it did not spend."""
    for link in _links:
        with RESERVING:
            for budget in link.budgets.values():
                budget.end_part()


@dataclass(slots=True)
class _Account:
    """What the ledger knows of one budget."""

    limits: CallLimits
    lent: dict[str, ResourceUsage] = field(default_factory=dict)
    """Shard -> what it was lent and has not returned: spent, reserved and free."""
    spent: dict[str, ResourceUsage] = field(default_factory=dict)
    """Shard -> what of it is spent, as it said last."""
    written_off: ResourceUsage = field(default_factory=ResourceUsage)
    """Of shards that are gone."""
    waiting: dict[str, ResourceUsage] = field(default_factory=dict)
    """Shard -> what it asks for, in the order in which they are looked at."""
    recalled: set[str] = field(default_factory=set)
    """Shards that were told to give back what is free."""
    told: dict[str, ResourceUsage] = field(default_factory=dict)
    """Shard -> what others had spent, as it was told last."""

    def sum_lent(self) -> ResourceUsage:
        total = self.written_off
        for amount in self.lent.values():
            total = total.add(amount)
        return total


class LeaseLedger:
    """Lends the budgets of an eval to its shards; any thread may call it."""

    def __init__(self, send: Callable[[str, Mapping[str, Any]], None], file: Path | None = None) -> None:
        """
        Args:
            send: sends a message to a shard.
            file: keeps what was spent, or lent to shards of a process that was killed, for the next ledger of the eval.
        """
        self._send, self._file, self._lock = send, file, threading.Lock()
        self._accounts: dict[str, _Account] = {}
        self._earlier: dict[str, ResourceUsage] = {}
        if file is not None and file.exists():
            self._earlier = {key: ResourceUsage(**used) for key, used in json.loads(file.read_text("utf-8")).items()}

    def receive(self, shard: str, message: Mapping[str, Any]) -> None:
        """A message of a shard's."""
        with self._lock:
            key, limits = message["budget"], CallLimits(**message["limits"])
            if key not in self._accounts:
                earlier = self._earlier.get(_name_account(key), ResourceUsage())
                self._accounts[key] = _Account(limits, written_off=earlier)
            account = self._accounts[key]
            account.spent[shard] = ResourceUsage(**message["spent"])
            account.lent.setdefault(shard, ResourceUsage())
            returned, need = message.get("returned"), message.get("need")
            if returned is not None:
                account.lent[shard] = account.lent[shard].add(ResourceUsage(**returned), -1)
            if need is not None:
                if shard in account.waiting and returned is None:  # it still waits: some may have become idle meanwhile
                    account.recalled.clear()
                account.waiting[shard] = ResourceUsage(**need)
                if account.waiting[shard] == ResourceUsage():
                    del account.waiting[shard]
            self._lend(key, account)

    def write_off(self, shard: str) -> None:
        """A shard is gone: what it was lent and did not return counts as spent, as its calls may have been paid."""
        with self._lock:
            for key, account in self._accounts.items():
                account.written_off = account.written_off.add(account.lent.pop(shard, ResourceUsage()))
                account.spent.pop(shard, None)
                account.waiting.pop(shard, None)
                account.recalled.discard(shard)
                self._lend(key, account)

    def measure_spent(self) -> dict[str, ResourceUsage]:
        """Budget -> what is spent or lent of it."""
        with self._lock:
            return {key: account.sum_lent() for key, account in self._accounts.items()}

    def _lend(self, key: str, account: _Account) -> None:
        grants: dict[str, ResourceUsage] = {}
        for shard, need in list(account.waiting.items()):
            if account.limits.find_exceeded(account.sum_lent().add(need)):
                continue
            is_alone = len(account.waiting) == 1
            grants[shard] = self._choose_lease(account, need) if is_alone else need
            account.lent[shard] = account.lent[shard].add(grants[shard])
            del account.waiting[shard]
        self._save()
        for shard in account.lent:
            is_recalled = bool(account.waiting.keys() - {shard})
            elsewhere = account.written_off
            for other, used in account.spent.items():
                elsewhere = elsewhere if other == shard else elsewhere.add(used)
            is_news = is_recalled != (shard in account.recalled) or shard in grants
            if is_news or (shard in account.waiting and account.told.get(shard) != elsewhere):
                (account.recalled.add if is_recalled else account.recalled.discard)(shard)
                account.told[shard] = elsewhere
                granted = {"granted": asdict(grants[shard])} if shard in grants else {}
                self._send(shard, {"budget": key, "recalled": is_recalled, "elsewhere": asdict(elsewhere), **granted})

    @staticmethod
    def _choose_lease(account: _Account, need: ResourceUsage) -> ResourceUsage:
        """What is lent to a shard that needs so much: more than that, while there is plenty for all."""
        shards = max(1, len(account.lent))
        values = {}
        for name in LIMIT_NAMES:
            wanted, limit = getattr(need, name), getattr(account.limits, name)
            free = 0 if limit is None else limit - getattr(account.sum_lent(), name)
            more = min(CALLS_PER_LEASE * wanted, free / (2 * shards))
            values[name] = max(wanted, more if name == "dollars" else int(more))
        return ResourceUsage(**values)

    def _save(self) -> None:
        if self._file is None:
            return
        used: dict[str, ResourceUsage] = dict(self._earlier)
        used |= {_name_account(key): account.sum_lent() for key, account in self._accounts.items()}
        scratch = self._file.with_suffix(".new")
        scratch.write_text(json.dumps({key: asdict(amount) for key, amount in used.items()}), encoding="utf-8")
        scratch.replace(self._file)


def _name_account(key: str) -> str:
    """A budget's place among those of its eval: its limits may be raised when an eval is continued."""
    return key.partition(" ")[0]
