"""What is lost when an endpoint refuses requests for now: seconds and prompt tokens, against the ideal. Prints JSON.

    python benchmarks/pressure.py                      # under two minutes
    python benchmarks/pressure.py --only 8/date        # one row: requests at once / Retry-After

A loopback server in a process of its own takes so many requests at once and refuses the others, with Retry-After in
seconds, as a date, or without it. Many samples of many questions are asked for at one moment. The ideal is the same
work by a client that is told how many requests the endpoint takes, at one that refuses none; `seconds` and `tokens`
are the fast path's, `over_ideal` their ratios to it. `inspect` is Inspect's own path, one call per draw, which is
stopped after `--limit` seconds: then `seconds` is null and `replies` says how far it came.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio

TESTS = Path(__file__).parents[1] / "tests"
SAMPLES = 20
"""Draws of each question, which are two requests of ten."""
ROWS: dict[str, tuple[int, str, int, float]] = {
    "8/1": (8, "1", 40, 0.5),
    "8/date": (8, "date", 40, 0.5),
    "8/absent": (8, "", 40, 0.5),
    "1/1": (1, "1", 8, 0.5),
    "64/1": (64, "1", 200, 1.0),
}
"""Requests at once, Retry-After, questions, and seconds to a reply."""
RUNS = itertools.count()
AT_ONCE = 100
"""Connections of the client that has to find out how many the endpoint takes."""


@contextmanager
def run_server(latency: float, capacity: int, retry_after: str) -> Iterator[str]:
    """The URL of a server in its own process."""
    command = [sys.executable, "-m", "fakes.server", "--latency", str(latency), "--no-bodies"]
    command += ["--capacity", str(capacity), "--retry-after", retry_after]
    with subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def ask_all(url: str, trace: str, questions: int, *, connections: int, limit: float) -> dict[str, Any]:
    """Every draw of every question at once: seconds, replies, and the requests that the server answered and refused."""
    from inspect_ai.model import GenerateConfig
    from inspect_ai.model._generate_config import set_active_generate_config

    from archon_eval.architecture.spec import GenerationSettings
    from archon_eval.models.call import Call
    from archon_eval.models.inspect_client import InspectClient
    from archon_eval.types import Message

    os.environ.update(OPENAI_BASE_URL=url, OPENAI_API_KEY="benchmark")
    model, replies = f"openai/gpt-4o-{next(RUNS)}", 0  # Inspect keeps addresses and connections by a model's name

    async def main() -> float | None:
        nonlocal replies
        set_active_generate_config(GenerateConfig(max_connections=connections))
        caller = InspectClient([model], trace=trace)

        async def ask(question: int, draw: int) -> None:
            nonlocal replies
            messages = (Message("user", f"Question {question}?"),)
            await caller(Call(model, messages, GenerationSettings(), draw, question=question))
            replies += 1

        started = time.monotonic()
        with anyio.move_on_after(limit) as scope:
            async with anyio.create_task_group() as group:
                for question in range(questions):
                    for draw in range(SAMPLES):
                        group.start_soon(ask, question, draw)
        return None if scope.cancelled_caught else time.monotonic() - started

    seconds = anyio.run(main)
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/log") as response:
        faults = [request["fault"] for request in json.load(response)]
    return {"seconds": seconds, "replies": replies, "requests": faults.count("ok"), "refused": faults.count("429")}


def measure(row: str, limit: float) -> dict[str, Any]:
    """One endpoint."""
    capacity, retry_after, questions, latency = ROWS[row]
    with run_server(latency, 0, "") as url:
        ideal = ask_all(url, "full", questions, connections=capacity, limit=600)
    with run_server(latency, capacity, retry_after) as url:
        ours = ask_all(url, "full", questions, connections=AT_ONCE, limit=600)
    with run_server(latency, capacity, retry_after) as url:
        own = ask_all(url, "calls", questions, connections=AT_ONCE, limit=limit)
    return {
        "draws": questions * SAMPLES,
        "seconds_to_a_reply": latency,
        "ideal": show(ideal),
        "direct": show(ours),
        "over_ideal": {
            "seconds": round(ours["seconds"] / ideal["seconds"], 2),
            "tokens": round(ours["requests"] / ideal["requests"], 2),  # each request pays for one prompt of one length
        },
        "inspect": show(own),
    }


def show(run: dict[str, Any]) -> dict[str, Any]:
    """A run's figures, seconds rounded."""
    return run | {"seconds": None if run["seconds"] is None else round(run["seconds"], 2)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--only", choices=sorted(ROWS), action="append")
    parser.add_argument("--limit", type=float, default=8.0, help="seconds for Inspect's own path (%(default)s)")
    options = parser.parse_args()
    rows = {row: measure(row, options.limit) for row in options.only or ROWS}
    print(json.dumps({"at_once/retry_after": rows}, indent=2))


if __name__ == "__main__":
    main()
