"""Keeps what was proposed while a search runs: asks for it within limits, checks it, adds it to the space, records it.

    number = registry.submit(reply, pending)      # a place in the space; ProposalError says why there is none

All of it is in the journal before a trial is begun, so that a search that goes on has the same proposals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from archon_eval.architecture.load import load_architecture
from archon_eval.architecture.parse import parse_layers
from archon_eval.architecture.spec import Architecture
from archon_eval.components import build_layer
from archon_eval.engine.engine import list_tool_obstacles
from archon_eval.engine.plan import plan
from archon_eval.errors import ArchitectureError, ArchonError, ProposalError, RepeatedProposalError
from archon_eval.integrations.python import Archon
from archon_eval.models.prices import load_prices
from archon_eval.runs.eval_worker import EvalResult
from archon_eval.search.budget import BudgetLedger
from archon_eval.search.config import SearchSettings
from archon_eval.search.finalist_costs import END_BUDGET_SHARE, EndCosts, add, fits
from archon_eval.search.journal import Journal
from archon_eval.search.proposals import (
    Proposal,
    ProposalRules,
    find_nearest,
    read_proposal,
    render_changes,
)
from archon_eval.search.space import Configuration
from archon_eval.search.space_plans import PlannedArchitecture, PlannedSpace
from archon_eval.types import Message

PROPOSAL_BUDGET_SHARE = 0.1
"""Of the budget, in calls and in dollars, what proposing may take in all."""
MAX_PROPOSAL_TOKENS = 4_096
"""Of a reply: a long file and its reasons."""
PROPOSAL_TEMPERATURE = 0.7


@dataclass(frozen=True, slots=True, order=True)
class ProposedConfiguration(Configuration):
    """What a table has of an architecture that is on no axes. Its pool is its own name: what it shares with others is
    not known before it is run."""

    title: str = ""

    @property
    def key(self) -> str:
        return self.title


def describe_proposed(architecture: Architecture) -> ProposedConfiguration:
    """The values of the axes that come nearest to an architecture, for tables."""
    firsts = architecture.layers[0]
    kinds = [layer[0].kind for layer in architecture.layers]
    samples = [dict(spec.options).get("samples", 1) for spec in firsts]
    return ProposedConfiguration(
        generators=len(firsts),
        samples=max((each for each in samples if isinstance(each, int)), default=1),
        fusers=tuple(len(layer) for layer in architecture.layers if layer[0].kind == "fuser"),
        critic_ranker="ranker" in kinds,
        evaluation="verifier" if "verifier" in kinds else "unit_tests" if "unit_test_evaluator" in kinds else "none",
        temperature=firsts[0].settings.temperature or 0.0,
        pool=architecture.name,
        title=architecture.name,
    )


def build_rules(settings: SearchSettings, space: PlannedSpace) -> ProposalRules:
    """What the user's settings let a proposal have: models that are named, and no more calls per question than the
    dearest architecture of the space."""
    inserted = [
        spec for insert in settings.space.inserts for layer in parse_layers(insert.read_layers(), "inserts")
        for spec in layer
    ]  # fmt: skip
    judge = [settings.judge] if settings.judge else []
    models = dict.fromkeys([*settings.models, *settings.fusers, *judge, *settings.space.named_models])
    return ProposalRules(
        models=tuple(models),
        most_calls=max(option.plan.calls[1] for option in space.options),
        own_kinds=frozenset(spec.kind for spec in inserted),
        runs_programs="executed_tests" in settings.space.evaluations,
    )


class ProposalRegistry:
    """The proposals of one search."""

    def __init__(
        self,
        settings: SearchSettings,
        space: PlannedSpace,
        *,
        ledger: BudgetLedger,
        journal: Journal,
        costs: EndCosts,
        model: str,
        store: str,
        models: Sequence[str] = (),
        with_tools: Sequence[str] = (),
    ) -> None:
        """
        Args:
            space: of the user; what is proposed is added to it.
            costs: of the end, by which what the budget cannot report is refused.
            model: who proposes, where the settings name nobody: the best generator.
            store: the path or address of the call store.
            models: as they are ranked, best first.
            with_tools: the tasks that offer tools.
        """
        self.settings, self.space, self.ledger, self._journal = settings, space, ledger, journal
        rules = build_rules(settings, space)
        ranked = [name for name in models if name in rules.models]
        self.rules = replace(rules, models=tuple(dict.fromkeys([*ranked, *rules.models])))
        self.model = settings.proposer or model
        self.first = len(space.options)
        """How many options the user's space has; those behind them were proposed."""
        self._costs, self._with_tools, self._store = costs, with_tools, store
        self._proposer: Archon | None = None
        self._asked = len(journal.list_entries("proposal_call"))
        for line in journal.list_entries("proposal_call"):
            self._count(line)
        for line in journal.list_entries("proposal"):
            if line["status"] == "accepted":
                self._add(load_architecture({"name": line["name"], "layers": line["layers"]}))

    @property
    def paid(self) -> tuple[int, float]:
        """Calls and dollars that proposing has taken, replies from the call store not among them."""
        lines = self._journal.list_entries("proposal_call")
        return sum(line["calls"] for line in lines), sum(line["dollars"] or 0.0 for line in lines)

    def find_obstacle(self) -> str:
        """Why no more may be asked, in words; empty where it may."""
        calls, dollars = self.paid
        budget, left = self.settings.budget, self.ledger.remaining()
        if calls + 1 > PROPOSAL_BUDGET_SHARE * budget.calls or left[0] < 1:
            return f"proposing has taken {calls} calls, and may take a tenth of the budget's {budget.calls:g}"
        if budget.dollars < inf:
            lines = [line for line in self._journal.list_entries("proposal_call") if line["dollars"]]
            most = max((line["dollars"] for line in lines), default=self._estimate_dollars())
            if dollars + most > PROPOSAL_BUDGET_SHARE * budget.dollars or left[1] < most:
                return f"proposing has taken ${dollars:.4f}, and may take a tenth of the budget's ${budget.dollars:g}"
        return ""

    def _estimate_dollars(self) -> float:
        planned = plan(self._build_asker(), prices=load_prices(self.settings.prices))
        return 10 * planned.dollars[1] if planned.dollars else 0.0  # its prompt is longer than a plan takes it to be

    def _build_asker(self) -> Architecture:
        settings = {"temperature": PROPOSAL_TEMPERATURE, "max_tokens": MAX_PROPOSAL_TOKENS}
        return load_architecture({"name": "proposer", "layers": [{"generator": {"model": self.model, **settings}}]})

    def ask(self, messages: Sequence[Message]) -> str:
        """The model's reply, through the call store; what it took is in the journal and counts in the budget.

        Raises:
            ProposalError: the call failed for good.
        """
        args = dict(self.settings.solver_args)
        options = {name: args[name] for name in ("store_policy",) if name in args}
        try:
            if self._proposer is None:
                asker = self._build_asker()
                self._proposer = Archon(asker, store=self._store, prices=self.settings.prices, **options)
            answer = self._proposer.generate_sync(messages, 1 + abs(self.settings.seed) % 100_000)
        except ArchonError as exc:
            raise ProposalError(f"{self.model} could not be asked: {exc}") from exc
        steps = [step for step in answer.trail.steps if step.reply is not None]
        reused = sum(bool(step.reply and step.reply.reused) for step in steps)
        line = {"number": self._asked, "calls": len(steps) - reused, "reused": reused, "dollars": answer.cost}
        line["tokens"] = answer.usage.input_tokens + answer.usage.output_tokens
        self._journal.add("proposal_call", line)
        self._asked += 1
        self._count(line)
        return answer.text

    def _count(self, line: Mapping[str, Any]) -> None:
        self.ledger.record(
            EvalResult(
                key=f"propose/{line['number']}",
                calls=line["calls"],
                reused=line["reused"],
                tokens=line["tokens"],
                dollars=line["dollars"],
                cost=None,
                judge_calls=0,
                judge_dollars=0.0,
            )
        )

    def submit(self, reply: str, tried: Mapping[int, Any]) -> int:
        """Take in the architecture of a reply; its number in the space.

        Args:
            tried: the numbers that were tried or are under way.

        Raises:
            ProposalError: it may not be tried; recorded.
        """
        name = f"p{self._count_accepted() + 1}"
        try:
            proposal = read_proposal(reply, self.rules, name)
            known = [self.space.options[number] for number in (*tried, *self.list_proposed())]
            self._refuse_repetition(proposal, known)
            option = self._plan(proposal.architecture)
        except ProposalError as exc:
            status = "repeated" if isinstance(exc, RepeatedProposalError) else "invalid"
            self._journal.add("proposal", {"status": status, "problem": str(exc), "reply": reply[:2_000]})
            raise
        by_name = {each.architecture.name: each.architecture for each in known}
        parent = by_name.get(proposal.parent) or find_nearest(option.architecture, [*by_name.values()])
        self._journal.add(
            "proposal",
            {
                "status": "accepted",
                "name": name,
                "fingerprint": option.architecture.fingerprint,
                "parent": parent.name if parent else "",
                "why": proposal.why,
                "changes": render_changes(parent, option.architecture),
                "layers": option.architecture.to_mapping()["layers"],
            },
        )
        return self._add(option.architecture)

    def record_fallback(self, why: str, name: str) -> None:
        """Write down that an architecture of the space was taken in place of a proposal."""
        self._journal.add("proposal", {"status": "fallback", "problem": why, "name": name})

    def list_proposed(self) -> range:
        """The numbers of all that was proposed."""
        return range(self.first, len(self.space.options))

    def _count_accepted(self) -> int:
        return len(self.space.options) - self.first

    def _refuse_repetition(self, proposal: Proposal, known: Sequence[PlannedArchitecture]) -> None:
        fingerprint = proposal.architecture.fingerprint
        for each in known:
            if each.architecture.fingerprint == fingerprint:
                raise RepeatedProposalError(f"it is {each.architecture.name} again, which was tried")

    def _plan(self, architecture: Architecture) -> PlannedArchitecture:
        try:
            planned = plan(architecture, prices=load_prices(self.settings.prices))
            layers = [build_layer(number, layer) for number, layer in enumerate(architecture.layers, 1)]
        except ArchitectureError as exc:
            raise ProposalError(str(exc)) from None
        if planned.calls[1] > self.rules.most_calls:
            raise ProposalError(f"it makes up to {planned.calls[1]} model calls, more than {self.rules.most_calls}")
        if exceeded := self.settings.limits.find_exceeded(planned):
            words = ", ".join(f"{limit} {takes:.4g}" for limit, takes in exceeded.items())
            raise ProposalError(f"it exceeds the limits per question ({words})")
        if self._with_tools and (problems := list_tool_obstacles(layers)):
            raise ProposalError(f"{', '.join(self._with_tools)} offers tools: {'; '.join(problems)}")
        option = PlannedArchitecture(describe_proposed(architecture), architecture, planned)
        budget, left = self.settings.budget, self.ledger.remaining()
        if min(budget.calls, budget.dollars) < inf:
            end = self._costs.compute_end_cost(option)
            half = (END_BUDGET_SHARE * budget.calls, END_BUDGET_SHARE * budget.dollars)
            if not (fits(end, half) and fits(add(end, self._costs.compute_trial_cost(option)), left)):
                raise ProposalError("the budget does not pay for trying, confirming and reporting it: make it cheaper")
        return option

    def _add(self, architecture: Architecture) -> int:
        planned = plan(architecture, prices=load_prices(self.settings.prices))
        option = PlannedArchitecture(describe_proposed(architecture), architecture, planned)
        return self.space.add(self.settings, option, turns=self.ledger.turns)


def summarize_proposals(journal: Journal) -> dict[str, Any]:
    """What was proposed in a search and what came of it, for its summary; empty where nothing was."""
    lines, calls = journal.list_entries("proposal"), journal.list_entries("proposal_call")
    if not lines and not calls:
        return {}
    dollars = [line["dollars"] for line in calls]
    shown = [{name: value for name, value in line.items() if name not in ("kind", "layers", "reply")} for line in lines]
    return {
        "calls": sum(line["calls"] for line in calls),
        "reused": sum(line["reused"] for line in calls),
        "dollars": None if None in dollars else sum(dollars),
        **{status: sum(line["status"] == status for line in lines) for status in STATUSES},
        "proposals": shown,
    }


STATUSES = ("accepted", "invalid", "repeated", "fallback")
"""What came of a reply, or `fallback` for a trial that nobody proposed."""


MAX_DESCRIBED = 20
"""Proposals that the notes of a summary describe; its `proposals` have all."""


def describe_proposals(summary: Mapping[str, Any]) -> list[str]:
    """What `summarize_proposals` has, in sentences; none where nothing was proposed."""
    if not summary:
        return []
    price = "" if summary["dollars"] is None else f" (${summary['dollars']:,.4f})"
    counts = ", ".join(f"{summary[status]} {status}" for status in STATUSES)
    lines = [f"proposals: {counts}; {summary['calls']:,} calls were paid for them{price}"]
    accepted = [each for each in summary["proposals"] if each["status"] == "accepted"]
    for each in accepted[:MAX_DESCRIBED]:
        of = f" from {each['parent']}" if each["parent"] else ""
        lines.append(f"{each['name']}{of}: {each['why'] or 'no reason given'} [{'; '.join(each['changes'])[:300]}]")
    if len(accepted) > MAX_DESCRIBED:
        lines.append(f"and {len(accepted) - MAX_DESCRIBED} more proposals, in summary.json")
    fallbacks = [each["problem"] for each in summary["proposals"] if each["status"] == "fallback"]
    if fallbacks:
        lines.append(f"{len(fallbacks)} trials took an architecture of the space instead; the first: {fallbacks[0]}")
    return lines
