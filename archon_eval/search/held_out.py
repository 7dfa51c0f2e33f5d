"""The report on the questions that the search has not seen: best single model, winner, and controls at equal calls."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import inf

from archon_eval.architecture.spec import Architecture
from archon_eval.errors import BudgetSpentError
from archon_eval.search.confirm import SINGLE
from archon_eval.search.controls import Control, ControlBuilder
from archon_eval.search.finalist_costs import add, fits
from archon_eval.search.journal import Journal
from archon_eval.search.requests import build_request, build_single_model
from archon_eval.search.scheduler import StepCallback, TrialScheduler
from archon_eval.search.trial import Trial, TrialRequest

WINNER = "winner"
MAX_HELD_OUT_DRAWS = 10
"""Most answers to a held-out question of one system: further ones take away little, as questions differ more than
draws."""
MAX_ROUNDS = 4
"""In a round, draws are added by what they may take at most; what they did not take pays for the next."""


def report_held_out(
    architecture: Architecture | None,
    scheduler: TrialScheduler,
    controls: ControlBuilder,
    *,
    journal: Journal,
    model: str,
    spend_rest: bool,
    on_progress: StepCallback,
) -> tuple[dict[str, Trial], list[str]]:
    """Ask the held-out questions. Their cost was kept free, so that none of the systems is left out.

    Args:
        architecture: the one that won; None where none may be better than the single model.
        model: the best single one.
        spend_rest: whether what is left of a budget goes to further draws.

    Returns:
        Trials of `single`, `winner` and the controls (`ControlBuilder`), and notes.
    """
    wanted = {SINGLE: Control(build_single_model(model), 0)}
    notes = []
    if architecture is not None:
        calls = build_request(scheduler.settings, "", architecture, part="test").plan.calls[1]
        fingerprint = architecture.fingerprint
        wanted |= {**controls.build(calls, fingerprint), WINNER: Control(architecture, 0)}
        notes += controls.list_notes(calls, fingerprint)
    if note := _count_other_winners(wanted.get(WINNER, wanted[SINGLE]).architecture.fingerprint, journal):
        notes.append(note)
    trials: dict[str, Trial] = {}
    draws: dict[str, int] = {}
    for more in _plan_rounds(wanted, draws, scheduler, journal, spend_rest=spend_rest):
        asked = {
            name: _build_request(scheduler, name, wanted[name], draws=count, paid=draws.get(name, 0))
            for name, count in more.items()
        }
        costs = [scheduler.ledger.min_cost_to_start(request) for request in asked.values()]
        for place, (name, request) in enumerate(asked.items()):
            on_progress(place, len(asked))
            judging = [scheduler.judging.estimate_cost(asked[WINNER])] if WINNER in asked and name != WINNER else []
            try:  # judges' calls are kept for the winner alone: where they are few, a control is left out
                [trials[name]] = scheduler.run_all([request], keep=add(*costs[place + 1 :]), keep_judging=add(*judging))
            except BudgetSpentError as exc:  # an earlier process or version had not kept it free
                if name not in trials:
                    notes.append(f"the budget did not allow {name} on the held-out questions: {exc}")
        on_progress(len(asked), len(asked))
        draws |= more
    return {name: trials[name] for name in (WINNER, *wanted) if name in trials}, notes


def _build_request(scheduler: TrialScheduler, name: str, asked: Control, *, draws: int, paid: int) -> TrialRequest:
    """
    Args:
        paid: the draws that it had in an earlier round: the call store has their calls.
    """
    key = f"report/{name}" if draws == 1 else f"report/{name}/{draws}"
    request = build_request(scheduler.settings, key, asked.architecture, part="test", epochs=draws)
    shared = request.plan.calls[1] * paid + asked.shared_calls * (draws - paid)
    return replace(request, shared_calls=shared / draws)


def _plan_rounds(
    wanted: Mapping[str, Control],
    draws: Mapping[str, int],
    scheduler: TrialScheduler,
    journal: Journal,
    *,
    spend_rest: bool,
) -> Iterator[dict[str, int]]:
    """Answers per held-out question of each system, round by round: one, and as many more as what is left pays for.

    The number does not depend on any score, and is as when the search first came here.

    Args:
        draws: what the rounds so far asked; it grows between the rounds.
    """
    budget = scheduler.settings.budget
    prints = sorted(each.architecture.fingerprint for each in wanted.values())
    now = {"systems": prints, "budget": f"{budget.calls} {budget.dollars}"}
    lines = [line for line in journal.list_entries("draws") if line["systems"] == prints]
    for line in lines:
        if more := {name: int(line["draws"][name]) for name in wanted if name in line["draws"]}:
            yield more
    if lines and not lines[-1]["draws"] and lines[-1]["budget"] == now["budget"]:
        return
    for _ in range(MAX_ROUNDS):
        more = {} if draws else dict.fromkeys(wanted, 1)
        if spend_rest and min(budget.calls, budget.dollars) < inf:
            more |= _add_draws(wanted, {**dict.fromkeys(wanted, 1), **draws}, draws, scheduler)
        if not more:
            break
        journal.add("draws", {**now, "draws": more})
        yield more
    journal.add("draws", {**now, "draws": {}})


def _add_draws(
    wanted: Mapping[str, Control], start: Mapping[str, int], paid: Mapping[str, int], scheduler: TrialScheduler
) -> dict[str, int]:
    """More draws of all systems, then of the two that are compared, as far as what is left pays for them."""
    left, draws = scheduler.ledger.remaining(), dict(start)
    judging = scheduler.judging if scheduler.judging.is_limited else None
    left_judging = scheduler.ledger.remaining_judging() if judging else (inf, inf)

    def can_ask(counts: Mapping[str, int]) -> bool:
        changed = [name for name in wanted if counts[name] > paid.get(name, 0)]
        requests = [
            _build_request(scheduler, name, wanted[name], draws=counts[name], paid=paid.get(name, 0))
            for name in changed
        ]
        judged = add(*map(judging.estimate_cost, requests)) if judging else (0, 0)
        return fits(add(*map(scheduler.ledger.min_cost_to_start, requests)), left) and fits(judged, left_judging)

    for names in (list(wanted), [name for name in (SINGLE, WINNER) if name in wanted]):
        while max(draws[name] for name in names) < MAX_HELD_OUT_DRAWS:
            more = draws | {name: draws[name] + 1 for name in names}
            if not can_ask(more):
                break
            draws = more
    return {name: count for name, count in draws.items() if count > start[name]}


def _count_other_winners(fingerprint: str, journal: Journal) -> str:
    """A note when the held-out questions were asked for other winners before this one, or nothing."""
    winners = {line["fingerprint"] for line in journal.list_entries("winner")}
    if fingerprint not in winners:
        journal.add("winner", {"fingerprint": fingerprint})
    begun = [line["key"].partition("@")[0] for line in journal.list_entries("start")]
    asked = {key.rpartition("/")[2] for key in begun if key.startswith(("report/winner/", "report/single/"))}
    others = sum(other[:8] in asked for other in winners - {fingerprint})
    if not others:
        return ""
    return (
        f"the held-out questions were asked for {others} other winner{'' if others == 1 else 's'} before: "
        "choosing between winners by these scores makes them too high"
    )
