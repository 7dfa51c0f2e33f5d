"""What counts as paid: what an eval gave account of, and what of its reservation nobody accounted for."""

from typing import Any

import pytest

from archon_eval.runs.eval_worker import EvalResult
from archon_eval.search.budget import BudgetLedger, Reservation
from archon_eval.search.config import SearchBudget
from archon_eval.search.requests import build_request, build_single_model
from archon_eval.search.trial import TrialRequest

SPLITS = {"t": {part: dict.fromkeys(map(str, range(10)), 1) for part in ("trial", "dev", "test")}}


def settle(result: EvalResult, reservation: Reservation) -> EvalResult:
    ledger = BudgetLedger(SearchBudget(), SPLITS)
    ledger.reserve(result.key, reservation)
    return ledger.settle(result, build_single_request())


def build_single_request() -> TrialRequest:
    from archon_eval.search.config import load_settings

    settings = load_settings({"tasks": ["t"], "models": ["sim/gpt-4o"]})
    return build_request(settings, "k", build_single_model("sim/gpt-4o"), part="dev")


@pytest.mark.parametrize("more", [{"failed": {"3": "scorer words: 'N/A' is no number"}}, {}])
def test_a_complete_account_counts_as_it_is(more: dict[str, Any]) -> None:
    result = EvalResult("k", {"1": {"1": 1.0}}, calls=10, dollars=0.05, **more)
    assert settle(result, Reservation(20, 4.0, whole=True)) == result


def test_calls_that_nobody_accounted_for_cost_their_part_of_the_reservation() -> None:
    result = EvalResult("k", {"1": {"1": 1.0}}, {"2": "gone"}, calls=8, dollars=0.08, lost=2)
    settled = settle(result, Reservation(20, 4.0, whole=True))
    assert settled.calls == 10 and settled.dollars == pytest.approx(0.08 + 4.0 * 2 / 20)


def test_an_eval_without_a_result_may_have_taken_all_that_it_might_and_no_more() -> None:
    settled = settle(EvalResult("k", error="no key"), Reservation(20, 4.0, whole=True))
    assert (settled.calls, settled.dollars) == (20, 4.0)
    broken = EvalResult("k", {}, {"2": "gone"}, calls=15, dollars=3.9, lost=9)
    settled = settle(broken, Reservation(20, 4.0, whole=True))
    assert (settled.calls, settled.dollars) == (20, 4.0)
    over = EvalResult("k", calls=30, dollars=5.0, lost=1)
    assert settle(over, Reservation(20, 4.0, whole=True)) == over
    unknown = settle(EvalResult("k", calls=8, dollars=None, lost=1), Reservation(20, 4.0, whole=True))
    assert unknown.calls == 9 and unknown.dollars is None
