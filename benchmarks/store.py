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

WHERE = "openai/gpt-4o at https://api.openai.com/v1/"


def rate(count: int, work: Callable[[], None]) -> int:
    """Replies per second."""
    started = time.perf_counter()
    work()
    return round(count / (time.perf_counter() - started))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--replies", type=int, default=20_000)
    parser.add_argument("--folder", help="where the store is made (default: the system's folder for such files)")
    given = parser.parse_args()
    prompt = "Consider the following question with care. " * 47
    calls = [
        Call("openai/gpt-4o", (Message("user", f"{number // 10} {prompt}"),), GenerationSettings(), number % 10)
        for number in range(given.replies)
    ]
    reply = Reply("The answer follows from the first of the two lemmas. " * 9, usage=Usage(450, 120), seconds=1.5)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder, CallStore(Path(folder, "calls.db")) as store:

        def at_once() -> None:
            async def write() -> None:
                for first in range(0, given.replies, 50):
                    await asyncio.gather(
                        *(store.put(build_call_key(c, WHERE), reply) for c in calls[first : first + 50])
                    )

            asyncio.run(write())

        def singly() -> None:
            async def write() -> None:
                for call in calls[: given.replies // 10]:
                    await store.put(build_call_key(call, "elsewhere"), reply)

            asyncio.run(write())

        def read() -> None:
            for call in calls:
                if store.get(build_call_key(call, WHERE)) is None:
                    raise RuntimeError("a reply is missing")

        report = {
            "replies": given.replies,
            "written_at_once_per_s": rate(given.replies, at_once),
            "written_singly_per_s": rate(given.replies // 10, singly),
            "read_per_s": rate(given.replies, read),
            "bytes_per_reply": round(store.path.stat().st_size / store.count()),
        }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
