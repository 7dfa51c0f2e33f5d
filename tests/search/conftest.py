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

SHARING = ("report/", "confirm/best-of-n", "confirm/majority")
"""How the keys of evals begin that share samples."""


class FakeRun:
    """Runs a job at once; what fails and what it scores can be set."""

    def __init__(self) -> None:
        self.jobs: list[EvalJob] = []
        self.error: Callable[[EvalJob], str] = lambda job: ""
        self.chance: Callable[[EvalJob], float] = lambda job: 0.5 + 0.02 * len(job.architecture["layers"])
        self.judged: float | None = None
        """Judges' calls per answer, a cent each; None where results do not say."""
        self.stop_after = -1
        self.stored: dict[str, set[Any]] = {}
        self.paid: dict[tuple[str, str], tuple[int, int]] = {}

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
        chance, scores = self.chance(job), {}
        for question in job.questions:
            epochs = range(job.first_epoch, job.first_epoch + job.epochs)
            seeds = [f"{question} {epoch}{f' {k}' * (k > 0)}" for epoch in epochs for k in range(job.last_draws)]
            draws = [Random(sha256(seed.encode()).digest()).random() for seed in seeds]
            scores[str(question)] = {str(n): float(draw < chance) for n, draw in enumerate(draws, 1)}
        calls, reused = self.count_calls(job)
        assert job.max_calls is None or calls <= job.max_calls
        whole = calls + reused
        found = EvalResult(job.key, scores, {}, calls, reused, 100 * whole, 0.001 * calls, 0.001 * whole, 1.0, "a.eval")
        if self.judged is None:
            return found
        judged = round(self.judged * sum(map(len, scores.values())))
        return replace(found, judge_calls=judged, judge_dollars=0.01 * judged)

    def count_calls(self, job: EvalJob) -> tuple[int, int]:
        """Paid and reused ones, the same each time; of the held-out evals, controls share samples."""
        if (job.log_dir, job.key) not in self.paid:
            architecture = load_architecture(dict(job.architecture))
            stored, planned = self.stored.setdefault(job.log_dir, set()), plan(architecture)
            each = planned.calls[1] + (job.last_draws - 1) * (planned.last_layer.calls[1] if planned.last_layer else 0)
            paid = 0
            for epoch in range(job.first_epoch, job.first_epoch + job.epochs):
                samples = {
                    (spec.model, n, epoch) for spec in architecture.layers[0] for n in range(spec.get_option("samples"))
                }
                if not job.key.startswith(SHARING):
                    paid += each
                elif (architecture.fingerprint, epoch) not in stored:
                    paid += each - len(samples & stored) * ("report/winner" not in job.key)
                    stored |= {*samples, (architecture.fingerprint, epoch)}
            whole = each * job.epochs * len(job.questions)
            self.paid[job.log_dir, job.key] = paid * len(job.questions), whole - paid * len(job.questions)
        return self.paid[job.log_dir, job.key]


@pytest.fixture
def fake_run() -> Any:
    return FakeRun()
