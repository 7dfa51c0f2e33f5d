"""What sampling in rounds saves at equal accuracy, on the simulated pool, as JSON: `python benchmarks/adaptive.py`.

`settled` is `{min: 3, max: 40, stop: settled}` before a vote, next to `samples: 40` on the same draws, and to a fixed
number of samples that takes as many calls as the rounds did. `passes` is `{min: 1, max: 10, stop: passes}` before a
verifier, next to `samples: 10`. Differences are paired by question, with 95% intervals. Rounds are the waits of one
question: with `step: 1` there would be as many as samples.
"""

import argparse
import asyncio
import json
from statistics import fmean
from typing import Any

from archon_eval.architecture.load import load_architecture
from archon_eval.engine.engine import Engine
from archon_eval.models.call import Call, Reply
from archon_eval.simulation.check import make_question
from archon_eval.simulation.client import SimCaller
from archon_eval.simulation.prompt_recognition import RIGHT, parse_answer, recognize_prompt
from archon_eval.simulation.questions import QuestionBank
from archon_eval.simulation.simulator import Simulator
from archon_eval.simulation.skills import rank_models
from archon_eval.stats.comparison import compare
from archon_eval.types import Message

FAMILIES = ("math", "mixeval", "mixeval_hard")
MOST, MOST_VERIFIED = 40, 10
SETTLED: dict[str, Any] = {"min": 3, "max": MOST, "stop": "settled"}
PASSES: dict[str, Any] = {"min": 1, "max": MOST_VERIFIED, "stop": "passes"}


class Measured:
    """One family's made-up questions, with replies that are made once per call."""

    def __init__(self, family: str, questions: int, seed: int) -> None:
        self.known = QuestionBank([make_question(family, number) for number in range(questions)])
        self._caller, self._replies = SimCaller(Simulator(self.known, seed)), dict[Any, Reply]()

    async def _call(self, call: Call) -> Reply:
        key = call.model, call.messages, call.draw, call.epoch
        if key not in self._replies:
            self._replies[key] = await self._caller(call)
        return self._replies[key]

    async def measure(self, *layers: Any) -> dict[str, dict[str, float]]:
        """`right`, `calls`, `samples` and `rounds` of each question."""
        engine = Engine(load_architecture({"layers": list(layers)}), self._call)
        found: dict[str, dict[str, float]] = {"right": {}, "calls": {}, "samples": {}, "rounds": {}}
        for question in self.known.questions:
            conversation = (Message("user", question.turns[0]),)
            answer = await engine.run(conversation)
            steps = answer.trail.steps
            right = parse_answer(answer.text, recognize_prompt(conversation, self.known)) == RIGHT
            notes = [note.detail for note in answer.trail.notes if note.what in ("sampled", "unsettled", "unpassed")]
            rounds = int(notes[0].partition(", in ")[2].partition(" ")[0]) if notes else 1
            values = right, len(steps), sum(step.layer == 1 for step in steps), rounds
            for name, value in zip(found, values, strict=True):
                found[name][question.id] = float(value)
        return found


def describe(found: dict[str, dict[str, float]]) -> dict[str, float]:
    return {
        "accuracy": round(100 * fmean(found["right"].values()), 1),
        "calls": round(fmean(found["calls"].values()), 2),
        "samples": round(fmean(found["samples"].values()), 2),
        "rounds": round(fmean(found["rounds"].values()), 2),
    }


def compare_accuracy(first: Any, second: Any) -> list[float]:
    """The difference in points, with its interval's ends."""
    difference = compare(first["right"], second["right"]).difference
    ends = (difference.value, difference.low, difference.high)
    return [round(100 * end, 2) for end in ends if end is not None]


def build(model: str, samples: Any) -> Any:
    return {"generator": {"model": model, "samples": samples}}


async def measure_family(family: str, questions: int, seed: int, pooled: dict[str, Any]) -> dict[str, Any]:
    """The rows of a family's models; the answers of both sides are added to `pooled`, by the name of the rule."""
    measured, models, found = Measured(family, questions, seed), rank_models(family), {}
    for place in (0, len(models) // 2, -1):
        model = f"sim/{models[place]}"

        vote, verifier = {"vote": {"top_k": 1}}, {"verifier": f"sim/{models[0]}"}
        rows: dict[str, Any] = {}
        for name, rule, most, last in (
            ("settled", SETTLED, MOST, vote),
            ("passes", PASSES, MOST_VERIFIED, verifier),
        ):
            rounds = await measured.measure(build(model, rule), last)
            whole = await measured.measure(build(model, most), last)
            mean = max(1, round(fmean(rounds["samples"].values())))
            fixed = await measured.measure(build(model, mean), last)
            pooled.setdefault(name, ({}, {}))
            for side, each in zip(pooled[name], (rounds, whole), strict=True):
                side.update({f"{model} {question}": right for question, right in each["right"].items()})
            rows[name] = {
                "rounds": describe(rounds),
                f"all {most}": describe(whole),
                f"fixed {mean}": describe(fixed),
                "calls_saved": round(1 - sum(rounds["calls"].values()) / sum(whole["calls"].values()), 3),
                "difference_to_all": compare_accuracy(rounds, whole),
                "difference_to_fixed": compare_accuracy(rounds, fixed),
            }
        found[model] = rows
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--families", nargs="+", default=FAMILIES, choices=FAMILIES)
    options = parser.parse_args()
    pooled: dict[str, Any] = {}
    found = {
        each: asyncio.run(measure_family(each, options.questions, options.seed, pooled)) for each in options.families
    }
    summary = {}
    for name, (rounds, whole) in pooled.items():
        saved = [row[name]["calls_saved"] for models in found.values() for row in models.values()]
        summary[name] = {
            "calls_saved": {"least": min(saved), "mean": round(fmean(saved), 3), "most": max(saved)},
            "difference_to_all": compare_accuracy({"right": rounds}, {"right": whole}),
        }
    print(json.dumps({"questions": options.questions, "summary": summary, **found}, indent=1))


if __name__ == "__main__":
    main()
