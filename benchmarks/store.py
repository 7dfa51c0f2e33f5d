"""How fast the call store is: replies read and written per second, bytes per reply. Prints JSON.

    python benchmarks/store.py [--replies 20000] [--folder /some/disk]

A reply is 500 characters, its prompt 2,000. `written_at_once` commits the replies of 50 concurrent calls together, as
the engine does; `written_singly` one at a time. Reading includes making the key.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from archon_eval.architecture.spec import GenerationSettings
from archon_eval.models.call import Call, Reply, Usage
from archon_eval.models.store import CallStore
from archon_eval.models.store_entry import build_call_key
from archon_eval.types import Message

ENDPOINT = "openai/gpt-4o at https://api.openai.com/v1/"


def measure_rate(count: int, work: Callable[[], None]) -> int:
    """Replies per second."""
    started = time.perf_counter()
    work()
    return round(count / (time.perf_counter() - started))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--replies", type=int, default=20_000)
    parser.add_argument("--folder", help="where the store is made (default: the system's folder for such files)")
    options = parser.parse_args()
    prompt = "Consider the following question with care. " * 47
    calls = [
        Call("openai/gpt-4o", (Message("user", f"{number // 10} {prompt}"),), GenerationSettings(), draw=number % 10)
        for number in range(options.replies)
    ]
    reply = Reply("The answer follows from the first of the two lemmas. " * 9, usage=Usage(450, 120), seconds=1.5)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        report = measure(Path(folder, "calls.db"), calls, reply)
    print(json.dumps(report, indent=2))


def measure(path: Path, calls: list[Call], reply: Reply) -> dict[str, int]:
    """Write and read all calls; the size is that of the closed store, whose journal is part of it."""
    with CallStore(path) as store:

        def write_at_once() -> None:
            async def write() -> None:
                for first in range(0, len(calls), 50):
                    await asyncio.gather(
                        *(store.put(build_call_key(c, ENDPOINT), reply) for c in calls[first : first + 50])
                    )

            asyncio.run(write())

        def write_singly() -> None:
            async def write() -> None:
                for call in calls[: len(calls) // 10]:
                    await store.put(build_call_key(call, "elsewhere"), reply)

            asyncio.run(write())

        def read_all() -> None:
            for call in calls:
                if store.get(build_call_key(call, ENDPOINT)) is None:
                    raise RuntimeError("a reply is missing")

        report = {
            "replies": len(calls),
            "written_at_once_per_s": measure_rate(len(calls), write_at_once),
            "written_singly_per_s": measure_rate(len(calls) // 10, write_singly),
            "read_per_s": measure_rate(len(calls), read_all),
        }
        count = store.count()
    return report | {"bytes_per_reply": round(path.stat().st_size / count)}


if __name__ == "__main__":
    main()
