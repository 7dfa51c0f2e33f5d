"""A task whose solver says in a file whom it asked, and waits where the test wants it to; for tests of shards."""

import json
import os
from pathlib import Path
from typing import Any

import anyio
from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput, ModelUsage
from inspect_ai.scorer import Metric, SampleScore, Score, accuracy, grouped, metric, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver


@metric
def share_of_long_answers() -> Metric:
    """A metric over all scores and what is in their metadata."""

    def compute(scores: list[SampleScore]) -> float:
        return sum(len(score.score.answer or "") > 1 for score in scores) / len(scores)

    return compute


@solver
def note_and_answer(folder: str, held: tuple[int, ...], broken: tuple[int, ...]) -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        id = int(state.sample_id)
        with (Path(folder) / "asked.jsonl").open("a") as file:
            file.write(json.dumps({"id": id, "epoch": state.epoch, "pid": os.getpid()}) + "\n")
        while id in held and not (Path(folder) / "go").exists():
            await anyio.sleep(0.05)
        if id in broken and not (Path(folder) / "mended").exists():
            raise ValueError(f"question {id} is broken")
        state.output = ModelOutput.from_content("none", str(id * state.epoch))
        state.output.usage = ModelUsage(input_tokens=id, output_tokens=1, total_tokens=id + 1)
        return state

    return solve


@scorer(metrics=[accuracy(), stderr(), grouped(accuracy(), "kind"), share_of_long_answers()])
def is_even() -> Any:
    async def score(state: TaskState, target: Any) -> Score:
        answer = state.output.completion
        return Score(value="C" if int(answer) % 2 == 0 else "I", answer=answer, metadata={"epoch": state.epoch})

    return score


@task
def numbers(n: int = 8, folder: str = ".", held: str = "", broken: str = "") -> Task:
    samples = [Sample(input=f"Say {id}.", id=id, metadata={"kind": f"mod {id % 3}"}) for id in range(1, n + 1)]
    ids = [tuple(int(id) for id in str(text).split("-") if id) for text in (held, broken)]
    return Task(dataset=samples, solver=note_and_answer(folder, *ids), scorer=is_even(), epochs=Epochs(1, "mode"))
