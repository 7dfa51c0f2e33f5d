"""Answers per second of one eval: `inspect eval` in one process against `archon eval` with 1, 2 and 4 shards.

    python benchmarks/shards.py --questions 400 --work 0.05

Each answer takes a wait of 0.2 s, as for a model, and --work seconds of this machine's CPU, as for traces and scores.
All runs are the same eval of the same questions, one after the other, and include the start of their processes. Prints
JSON; `speedup` is the seconds of `inspect eval` over those of the shards, and `against_one_shard` those of one shard.
`log_equal` says whether the results are those of one process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from inspect_ai.log import read_eval_log

from archon_eval.runs.sharded_eval import run_sharded

TASK = """
import time
import anyio
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import match
from inspect_ai.solver import solver

@solver
def work(seconds):
    async def solve(state, generate):
        await anyio.sleep(0.2)
        until = time.process_time() + seconds
        while time.process_time() < until:
            pass
        state.output.completion = str(state.sample_id)
        return state
    return solve

@task
def waits(n=40, seconds=0.05):
    samples = [Sample(id=i, input=str(i), target=str(i if i % 3 else 0)) for i in range(1, n + 1)]
    return Task(dataset=samples, solver=work(seconds), scorer=match())
"""


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--work", type=float, default=0.05, help="CPU seconds of an answer")
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("waits.py").write_text(TASK)
        print(json.dumps(measure(options), indent=2))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One process first, then each number of shards."""
    words = ["waits.py", "-T", f"n={options.questions}", "-T", f"seconds={options.work}", "--model", "none"]
    started = time.perf_counter()
    command = [sys.executable, "-m", "inspect_ai", "eval", *words, "--log-dir", "whole", "--display", "none"]
    subprocess.run(command, check=True)
    alone = time.perf_counter() - started
    whole = read_eval_log(str(next(Path("whole").glob("*.eval"))), header_only=True).results
    seconds: dict[int, float] = {}
    equal = True
    for shards in options.shards:
        started = time.perf_counter()
        done = run_sharded([*words, "--log-dir", f"shards{shards}"], shards=shards)
        seconds[shards] = time.perf_counter() - started
        equal &= read_eval_log(done.log, header_only=True).results == whole
    return {
        "questions": options.questions,
        "cpus": os.cpu_count(),
        "inspect_eval_seconds": round(alone, 1),
        "shards": {
            count: {
                "seconds": round(took, 1),
                "answers_per_second": round(options.questions / took, 1),
                "speedup": round(alone / took, 2),
                "against_one_shard": round(seconds[options.shards[0]] / took, 2),
            }
            for count, took in seconds.items()
        },
        "log_equal": equal,
    }


if __name__ == "__main__":
    main()
