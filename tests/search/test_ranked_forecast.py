"""The forecast that is made anew when models are ranked: dollars, where models' prices differ twentyfold."""

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.engine.plan import plan
from archon_eval.runs.eval_worker import EvalJob, EvalResult
from archon_eval.search.config import load_settings
from archon_eval.search.forecast import forecast
from archon_eval.search.loop import search
from archon_eval.search.summary import write_results

DEAR, CHEAP, OTHER = "sim/gpt-4o", "sim/llama-3.1-8b-instruct", "sim/qwen2-72b-instruct"
SPENT_PER_PLANNED = 0.6
"""As real replies are shorter or longer than a plan assumes."""


@pytest.mark.parametrize("best", [DEAR, CHEAP])
@pytest.mark.parametrize("calls", [6000])
def test_after_ranking_dollars_come_within_a_factor(best: str, calls: int, tmp_path: Path, fake_run: Any) -> None:
    """Whichever model turns out best; what a call costs is by the models that make it."""
    order = [best, OTHER, CHEAP if best == DEAR else DEAR]
    given = load_settings(
        {
            "tasks": [{"name": "archon_eval/math", "args": {"sample": True}}],
            "models": [DEAR, OTHER, CHEAP],
            "space": "small",
            "budget": {"calls": calls},
        }
    )

    def chance(job: EvalJob) -> float:
        first = job.architecture["layers"][0]["generator"]
        models = [part["model"] if isinstance(part, dict) else part for part in first]
        last = str(job.architecture["layers"][-1])
        return (
            0.8
            - 0.2 * min(map(order.index, models))
            - 0.05 * min((place for place, model in enumerate(order) if model in last), default=0)
        )

    def run(job: EvalJob) -> "Future[EvalResult]":
        result = fake_run(job).result()
        planned = plan(load_architecture(dict(job.architecture)))
        assert planned.dollars is not None
        price = SPENT_PER_PLANNED * fmean(planned.dollars) / fmean(planned.calls)
        future: Future[EvalResult] = Future()
        future.set_result(replace(result, dollars=price * result.calls, cost=price * (result.calls + result.reused)))
        return future

    fake_run.chance = chance
    told: list[str] = []
    found = search(given, tmp_path, run, on_progress=lambda progress: told.append(progress.note))
    summary = write_results(found, tmp_path)
    assert found.generators[0] == best
    before, after = summary["forecast"]["before"], summary["forecast"]["after_ranking"]
    assert 1 / 1.5 <= after["calls"] / summary["calls_paid"] <= 1.5
    assert 1 / 1.5 <= after["dollars"] / summary["dollars_paid"] <= 1.5, (before, after, summary["dollars_paid"])
    spread = before["dollars_range"]
    assert spread["least"] < before["dollars"] < spread["most"]
    assert spread["least"] <= summary["dollars_paid"] <= spread["most"], "whichever model ranks first"
    assert 1 / 2 <= summary["dollars_paid"] / spread["most" if best == DEAR else "least"] <= 2, "and not much wider"
    assert any(f"now that models are ranked: {after['calls']:,} calls" in note for note in told)
    again = search(given, tmp_path, run)
    assert again.forecast == found.forecast, "as it was said then"


def test_the_range_of_dollars_ends_at_the_budget_and_follows_the_order_of_models_that_are_not_ranked() -> None:
    given = {
        "tasks": [{"name": "archon_eval/math", "args": {"sample": True}}],
        "models": [DEAR, OTHER, CHEAP],
        "space": "small",
    }
    found = forecast(load_settings(given | {"budget": {"dollars": 10}}))
    assert found["dollars_range"]["least"] < found["dollars"] < found["dollars_range"]["most"] == 10
    as_given = forecast(load_settings(given | {"budget": {"calls": 6000}, "skip_ranking": True}))
    assert as_given["dollars_range"]["least"] == pytest.approx(as_given["dollars"] / 1.5, abs=0.01)
    assert as_given["dollars_range"]["most"] == pytest.approx(as_given["dollars"] * 1.5, abs=0.01)
