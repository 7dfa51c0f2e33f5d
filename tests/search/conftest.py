"""An evaluation stage without models: scores that depend on the architecture, questions and draws alone."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from hashlib import sha256
from random import Random
from typing import Any

import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.engine.plan import plan
from archon_eval.runs.eval_worker import EvalJob, EvalResult


class FakeRun:
    """Runs a job at once; what fails and what it scores can be set."""

    def __init__(self) -> None:
        self.jobs: list[EvalJob] = []
        self.error: Callable[[EvalJob], str] = lambda job: ""
        self.chance: Callable[[EvalJob], float] = lambda job: 0.5 + 0.02 * len(job.architecture["layers"])
        self.judged: float | None = None
        """Judges' calls per answer, a cent each; None where results do not say."""
        self.stop_after = -1

    def __call__(self, job: EvalJob) -> "Future[EvalResult]":
        if len(self.jobs) == self.stop_after:
            raise KeyboardInterrupt
        self.jobs.append(job)
        future: Future[EvalResult] = Future()
        future.set_result(self.result(job))
        return future

    def result(self, job: EvalJob) -> EvalResult:
        if why := self.error(job):
            return EvalResult(job.key, error=why)
        planned = plan(load_architecture(dict(job.architecture)))
        chance, scores = self.chance(job), {}
        for question in job.questions:
            epochs = range(job.first_epoch, job.first_epoch + job.epochs)
            seeds = [f"{question} {epoch}{f' {k}' * (k > 0)}" for epoch in epochs for k in range(job.last_draws)]
            draws = [Random(sha256(seed.encode()).digest()).random() for seed in seeds]
            scores[str(question)] = {str(n): float(draw < chance) for n, draw in enumerate(draws, 1)}
        last = planned.last_layer.calls[1] if planned.last_layer else 0
        calls = (planned.calls[1] + (job.last_draws - 1) * last) * len(job.questions) * job.epochs
        assert job.max_calls is None or calls <= job.max_calls
        found = EvalResult(job.key, scores, {}, calls, 0, 100 * calls, 0.001 * calls, 0.001 * calls, 1.0, "a.eval")
        if self.judged is None:
            return found
        judged = round(self.judged * sum(map(len, scores.values())))
        return replace(found, judge_calls=judged, judge_dollars=0.01 * judged)


@pytest.fixture
def fake_run() -> Any:
    return FakeRun()
