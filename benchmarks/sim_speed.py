"""CPU of the simulated pool per call, by task and without any harness, as JSON: `python benchmarks/sim_speed.py`.

It collects the calls that four presets make on 100 made-up questions, then asks them again and measures.
"""

import asyncio
import json
import time

from archon_eval.architecture.load import load_architecture
from archon_eval.engine.engine import Engine
from archon_eval.models.call import Call, Reply
from archon_eval.simulation import pool_names
from archon_eval.simulation.check import make_question
from archon_eval.simulation.client import SimCaller
from archon_eval.simulation.prompt_recognition import recognize_prompt
from archon_eval.simulation.questions import QuestionBank
from archon_eval.simulation.simulator import Simulator
from archon_eval.types import Message

PRESETS = ("ensemble-critic-ranker-fuser", "ensemble-verifier", "ensemble-unit-tests", "figure-3")


async def collect_calls(known: QuestionBank) -> list[Call]:
    """Every call the presets make."""
    calls: list[Call] = []
    caller = SimCaller(Simulator(known))

    async def record(call: Call) -> Reply:
        calls.append(call)
        return await caller(call)

    for preset in PRESETS:
        engine = Engine(load_architecture(preset, pool_names("math")), record)
        for question in known.questions:
            await engine.run((Message("user", question.turns[0]),))
    return calls


def main() -> None:
    """Collect, warm up (a fuser's figures are worked out on its first call), measure."""
    known = QuestionBank([make_question("math", number) for number in range(100)])
    calls = asyncio.run(collect_calls(known))
    simulator = Simulator(known, seed=1)
    spent: dict[str, list[float]] = {}
    for call in calls:
        started = time.process_time_ns()
        simulator.reply(call.model, call.messages, draw=call.draw, epoch=call.epoch)
        spent.setdefault(recognize_prompt(call.messages, known).task, []).append(
            (time.process_time_ns() - started) / 1e6
        )
    figures = {task: round(sum(times) / len(times), 4) for task, times in sorted(spent.items())}
    mean = sum(map(sum, spent.values())) / len(calls)
    print(json.dumps({"calls": len(calls), "cpu_ms_per_call": round(mean, 4), "by_task": figures}, indent=1))


if __name__ == "__main__":
    main()
