"""What the harness costs on top of the models: wall against critical path, CPU per call, log size. Prints JSON.

    python benchmarks/engine.py                 # about five minutes
    python benchmarks/engine.py --only A1 --runs 1 --share 0.1     # half a minute, rougher

A loopback server in a process of its own answers every request after 50 ms. Three architectures run inside Inspect
evals with their logs on: A1 = 10 generators and a fuser, A2 = the preset figure-3, A3 = one generator with 100 samples
and unit tests. `stock` is every call through Inspect's provider with an event each; `full` and `compact` are the two
trace levels on the fast path. CPU is that of the eval's process, less that of the same eval without any call
(`eval_cpu_ms_per_question`); `_with_eval` is all of it; the least of three runs each, since other work on the machine
only adds. `async_openai` is the bare OpenAI SDK sending the same calls in waves.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests"
LATENCY = 0.05
"""Seconds to each reply: short, so that the harness's own cost shows."""
RUNS = 3
"""Runs of each measurement; the least counts, since other work on the machine only adds."""
MODELS = [f"openai/gpt-4o-{name}" for name in "abcdefghij"]
ARCHITECTURES: dict[str, tuple[Any, int, int, int]] = {
    "A1": ({"name": "A1", "layers": [{"generator": "$1..10"}, {"fuser": "$1"}]}, 2, 200, 40),
    "A2": ("figure-3", 7, 80, 40),
    "A3": ("sample-unit-tests", 2, 20, 10),
}
"""Each with its critical path in calls, and how many questions give the CPU figures, so many of them at once."""
VARIANTS = {"stock": "calls", "full": "full", "compact": "compact"}
QUESTION = "How many integers between 1 and 1000 are divisible by 3 or by 7 but not by 21? Explain. (variant %d) " * 3


@contextmanager
def run_server() -> Iterator[str]:
    """The URL of a server in its own process."""
    command = [sys.executable, "-m", "fakes.server", "--latency", str(LATENCY), "--pad", "600", "--no-bodies"]
    with subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def evaluate(architecture: Any, trace: str | None, questions: int, *, at_once: int, logs: Path) -> dict[str, Any]:
    """One eval: seconds of CPU and per question, bytes of log per sample; `trace` None is an eval without any call."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.solver import chain

    from archon_eval.solvers.archon import archon

    samples = [Sample(input=QUESTION % (number, number, number), id=number) for number in range(questions)]
    solver = chain([]) if trace is None else archon(architecture, MODELS, trace=trace)
    task = Task(MemoryDataset(samples), solver=solver)
    cpu = time.process_time()
    (log,) = eval(
        task,
        model=None,
        max_samples=at_once,
        max_connections=1000,
        display="none",
        log_dir=str(logs),
        log_level="error",
    )
    cpu = time.process_time() - cpu
    if log.status != "success" or not log.samples:
        raise RuntimeError(f"eval failed: {log.error}")
    return {
        "cpu": cpu,
        "seconds": [sample.metadata["archon"]["seconds"] for sample in log.samples if trace],
        "log_bytes_per_sample": Path(log.location).stat().st_size / questions,
    }


def collect_waves(architecture: Any) -> list[list[Any]]:
    """The calls of one question, those that may run at once together, as the engine made them."""
    from archon_eval.architecture.load import load_architecture
    from archon_eval.engine.engine import Engine
    from archon_eval.models.client import build_client
    from archon_eval.types import Message

    loaded = load_architecture(architecture, MODELS)
    conversation = (Message("user", QUESTION % (0, 0, 0)),)
    answer = asyncio.run(Engine(loaded, build_client(loaded.models)).run(conversation))
    waves: dict[tuple[int, bool], list[Any]] = {}
    for step in answer.trail.steps:
        layer = 1 if step.kind == "unit_test_generator" else step.layer
        body = [{"role": message.role, "content": message.content} for message in step.messages]
        waves.setdefault((layer, step.purpose == "verdict"), []).append((step.model.split("/")[1], body))
    return [waves[key] for key in sorted(waves)]


async def run_sdk(plan: list[list[Any]], questions: int, at_once: int) -> dict[str, Any]:
    """The OpenAI SDK alone: the same calls, wave after wave."""
    import openai

    client = openai.AsyncOpenAI(max_retries=0, timeout=120)

    async def ask() -> float:
        started = time.monotonic()
        for wave in plan:
            await asyncio.gather(
                *(
                    client.chat.completions.create(model=model, messages=body, max_tokens=2048, temperature=0.7)
                    for model, body in wave
                )
            )
        return time.monotonic() - started

    alone = [await ask() for _ in range(4)][1:]
    cpu = time.process_time()
    turns = asyncio.Semaphore(at_once)

    async def in_turn() -> None:
        async with turns:
            await ask()

    await asyncio.gather(*(in_turn() for _ in range(questions)))
    cpu = time.process_time() - cpu
    return {"cpu_ms_per_call": 1000 * cpu / (questions * sum(map(len, plan))), "seconds": alone}


def measure(name: str, *, runs: int, share: float) -> dict[str, Any]:
    """All variants of one architecture."""
    architecture, path, questions, at_once = ARCHITECTURES[name]
    questions = max(1, round(questions * share))
    figures: dict[str, Any] = {}
    plan = collect_waves(architecture)
    calls = sum(map(len, plan))
    with tempfile.TemporaryDirectory() as folder:

        def take_least(trace: str | None) -> dict[str, Any]:
            evals = (evaluate(architecture, trace, questions, at_once=at_once, logs=Path(folder)) for _ in range(runs))
            return min(evals, key=lambda run: float(run["cpu"]))

        empty = take_least(None)["cpu"]
        for variant, trace in VARIANTS.items():
            alone = evaluate(architecture, trace, 5, at_once=1, logs=Path(folder))
            loaded = take_least(trace)
            figures[variant] = {
                "wall_over_critical_path": round(statistics.median(alone["seconds"][1:]) / (path * LATENCY), 2),
                "cpu_ms_per_call": round(1000 * (loaded["cpu"] - empty) / (calls * questions), 2),
                "cpu_ms_per_call_with_eval": round(1000 * loaded["cpu"] / (calls * questions), 2),
                "log_kb_per_sample": round(loaded["log_bytes_per_sample"] / 1000, 1),
            }
    sdk = [asyncio.run(run_sdk(plan, questions, at_once)) for _ in range(runs)]
    raw = min(sdk, key=lambda run: float(run["cpu_ms_per_call"]))
    figures["async_openai"] = {
        "wall_over_critical_path": round(statistics.median(raw["seconds"]) / (path * LATENCY), 2),
        "cpu_ms_per_call": round(raw["cpu_ms_per_call"], 2),
    }
    stock = figures["stock"]["cpu_ms_per_call"]
    return {
        "calls_per_question": calls,
        "eval_cpu_ms_per_question": round(1000 * empty / questions, 1),
        "critical_path_s": round(path * LATENCY, 3),
        **figures,
        "stock_over_full_cpu": round(stock / figures["full"]["cpu_ms_per_call"], 1),
        "stock_over_compact_cpu": round(stock / figures["compact"]["cpu_ms_per_call"], 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--only", choices=sorted(ARCHITECTURES), action="append")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each measurement (%(default)s)")
    parser.add_argument("--share", type=float, default=1.0, help="of the questions, for a quick look (%(default)s)")
    options = parser.parse_args()
    from archon_eval.integrations.command_process import freeze_imports

    with run_server() as url:
        os.environ.update(OPENAI_BASE_URL=url, OPENAI_API_KEY="benchmark")
        with tempfile.TemporaryDirectory() as folder:  # imports and first connections are not measured
            evaluate(ARCHITECTURES["A1"][0], "full", 2, at_once=2, logs=Path(folder))
        freeze_imports()  # as `inspect eval` does
        report = {
            name: measure(name, runs=options.runs, share=options.share)
            for name in options.only or sorted(ARCHITECTURES)
        }
    print(json.dumps({"latency_s": LATENCY, **report}, indent=2))


if __name__ == "__main__":
    main()
