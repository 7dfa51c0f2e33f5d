"""What cascades, routing and both bring on the simulated pool: accuracy and dollars next to each stage alone, as JSON.

    python benchmarks/cascade.py
    python benchmarks/cascade.py --questions 1500 --family mixeval

A cheap model's five samples and a vote come first; where they do not agree, an ensemble of six with a fuser. The
threshold is fitted on a fifth of the made-up questions, within `--share` of what the ensemble costs; every figure is of
the other four fifths. `against` compares with each stage alone on the same questions: positive differences favour the
system; the intervals hold together.
"""

import argparse
import asyncio
import json
from dataclasses import replace
from typing import Any

import numpy as np

from archon_eval.architecture.load import load_architecture
from archon_eval.architecture.spec import Architecture
from archon_eval.engine.engine import Engine
from archon_eval.models.call import Call, Reply
from archon_eval.models.prices import load_prices
from archon_eval.runs.account import QuestionAccount
from archon_eval.search.cascade_fit import StageRecord, fit_cascade
from archon_eval.search.cascade_parts import apply_fit, flatten_stage
from archon_eval.simulation.check import make_question
from archon_eval.simulation.client import SimCaller
from archon_eval.simulation.prompt_recognition import RIGHT, parse_answer, recognize_prompt
from archon_eval.simulation.questions import QuestionBank
from archon_eval.simulation.simulator import Simulator
from archon_eval.stats.comparison import bonferroni_confidence, compare, decide_verdict
from archon_eval.types import Message

MODELS = ("sim/claude-3.5-sonnet", "sim/gpt-4o", "sim/llama-3.1-405b-instruct", "sim/qwen2-72b-instruct",
          "sim/wizardlm-2-8x22b", "sim/llama-3.1-70b-instruct")  # fmt: skip
"""Strongest first; the last is the cheap one."""


class PricedCaller:
    """The simulated pool with dollars."""

    def __init__(self, known: QuestionBank, seed: int) -> None:
        self._caller, self._prices = SimCaller(Simulator(known, seed)), load_prices()

    async def __call__(self, call: Call) -> Reply:
        reply = await self._caller(call)
        return replace(reply, dollars=self._prices.compute_cost(call.model, reply.usage))


class Benchmark:
    """Made-up questions of one family."""

    def __init__(self, family: str, questions: int, seed: int) -> None:
        self.known = QuestionBank([make_question(family, number) for number in range(questions)])
        self._caller = PricedCaller(self.known, seed)

    def run(self, architecture: Architecture) -> list[tuple[float, QuestionAccount]]:
        """Score and account of each question."""
        return asyncio.run(self._run(architecture))

    async def _run(self, architecture: Architecture) -> list[tuple[float, QuestionAccount]]:
        engine, found = Engine(architecture, self._caller), []
        for question in self.known.questions:
            conversation = (Message("user", question.turns[0]),)
            answer = await engine.run(conversation)
            prompt = recognize_prompt(conversation, self.known)
            score = float(parse_answer(answer.text, prompt) == RIGHT)
            found.append((score, QuestionAccount.from_answer(architecture, answer)))
        return found


def build_records(benchmark: Benchmark, cascade: Architecture, dev: int) -> list[StageRecord]:
    """Both stages on the dev questions, from one run in which rules only measure."""
    measured = benchmark.run(replace(cascade, measure_only=True))[:dev]
    records = []
    for place, stage in enumerate(cascade.stages):
        alone = benchmark.run(flatten_stage(cascade, place))[:dev]
        seen = [account.stages[place] for _, account in measured]
        records.append(
            StageRecord(
                stage.name,
                scores=np.array([score for score, _ in alone]),
                costs=np.array([[account.usage.dollars] for _, account in alone], dtype=float),
                rule_costs=np.zeros((dev, 1)),
                measured=np.array([np.nan if each.score is None else each.score for each in seen], dtype=float),
                has_rule=stage.has_rule,
            )
        )
    return records


def measure(family: str, questions: int, seed: int, share: float) -> dict[str, Any]:
    """All systems on the questions that no threshold was fitted on."""
    benchmark, dev = Benchmark(family, questions, seed), round(questions / 5)
    cascade, routed = (load_architecture(name, MODELS) for name in ("cascade", "routed-cascade"))
    records = build_records(benchmark, cascade, dev)
    limit = share * float(records[-1].costs.mean())
    fitted = fit_cascade(records, [limit])
    threshold = fitted.thresholds["cheap"]
    router = {"model": MODELS[-1], "default": "cheap", "only": True}
    stages = [
        {key: value for key, value in stage.items() if key != "accept"} for stage in routed.to_mapping()["cascade"]
    ]
    systems = {
        **{stage.name: flatten_stage(cascade, place) for place, stage in enumerate(cascade.stages)},
        "cascade": apply_fit(cascade, fitted, learnt=False),
        "routing": load_architecture({"name": "routing", "router": router, "cascade": stages}),
        "both": apply_fit(routed, fitted, learnt=False),
    }
    scores: dict[str, dict[str, float]] = {}
    report: dict[str, Any] = {}
    confidence = bonferroni_confidence(2 * 3)
    for name, architecture in systems.items():
        found = benchmark.run(architecture)[dev:]
        scores[name] = {str(number): score for number, (score, _) in enumerate(found)}
        usages = [account.usage for _, account in found]
        report[name] = {
            "accuracy": round(100 * float(np.mean([score for score, _ in found])), 2),
            "dollars": round(float(np.mean([usage.dollars or 0.0 for usage in usages])), 6),
            "calls": round(float(np.mean([usage.calls for usage in usages])), 2),
        }
        if name in ("cascade", "routing", "both"):
            strong = [account for _, account in found if account.stages and account.stages[-1].name == "strong"]
            report[name]["asked_strong"] = round(len(strong) / len(found), 3)
            report[name]["against"] = {
                other: _compare(scores[name], scores[other], confidence) for other in ("cheap", "strong")
            }
            report[name]["dollars_of_strong"] = round(report[name]["dollars"] / report["strong"]["dollars"], 3)
    return {
        "family": family,
        "questions": {"dev": dev, "held_out": questions - dev},
        "seed": seed,
        "threshold": threshold,
        "limit": round(limit, 6),
        "systems": report,
    }


def _compare(first: dict[str, float], second: dict[str, float], confidence: float) -> dict[str, Any]:
    paired = compare(first, second, confidence=confidence)
    ends = [None if end is None else round(100 * end, 2) for end in (paired.difference.low, paired.difference.high)]
    return {"points": round(100 * paired.difference.value, 2), "interval": ends, "verdict": decide_verdict(paired)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Cascades and routing on the simulated pool.")
    parser.add_argument("--questions", type=int, default=1000, help="made-up questions, of which a fifth are dev")
    parser.add_argument("--family", default="math", help="of the simulated pool (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=0.5, help="of the strong stage's dollars (%(default)s)")
    options = parser.parse_args()
    print(json.dumps(measure(options.family, options.questions, options.seed, options.share), indent=1))
