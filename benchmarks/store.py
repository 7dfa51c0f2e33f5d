"""How fast the call store is: replies read and written per second, CPU per call, bytes per reply. Prints JSON.

    python benchmarks/store.py [--replies 20000] [--folder /some/disk] [--server ADDRESS | --no-server]

A reply is 500 characters, its prompt 2,000. One client reads and writes: `at_once` 50 calls that run concurrently, as
an eval's do, `singly` one after the other. Reading includes making the key. CPU is of the client's process. In the same
run the same calls go to a file and to PostgreSQL: the server of tests/ensure_postgres.sh, with fsync on and each commit
flushed, unless another one is given. `server_to_file` has the ratios.
"""

import argparse
import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psycopg

from archon_eval.architecture.spec import GenerationSettings
from archon_eval.models.call import Call, Reply, Usage
from archon_eval.models.open_store import open_store
from archon_eval.models.store_entry import build_call_key
from archon_eval.types import Message

ENDPOINT = "openai/gpt-4o at https://api.openai.com/v1/"
AT_ONCE = 50
SCHEMA = "archon_benchmark"
ENSURE_SERVER = Path(__file__).parents[1] / "tests" / "ensure_postgres.sh"


def measure_rate(count: int, work: Callable[[], Coroutine[Any, Any, None]]) -> tuple[int, float]:
    """Replies per second, and microseconds of CPU per reply."""
    started, cpu = time.perf_counter(), time.process_time()
    asyncio.run(work())
    return round(count / (time.perf_counter() - started)), round((time.process_time() - cpu) / count * 1e6, 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--replies", type=int, default=20_000)
    parser.add_argument("--folder", help="where files are made (default: the system's folder for such files)")
    parser.add_argument("--server", help="a PostgreSQL server's address (default: one that this starts)")
    parser.add_argument("--no-server", action="store_true", help="only a file")
    options = parser.parse_args()
    prompt = "Consider the following question with care. " * 47
    calls = [
        Call("openai/gpt-4o", (Message("user", f"{number // 10} {prompt}"),), GenerationSettings(), draw=number % 10)
        for number in range(options.replies)
    ]
    reply = Reply("The answer follows from the first of the two lemmas. " * 9, usage=Usage(450, 120), seconds=1.5)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder, "calls.db")
        report: dict[str, Any] = {"replies": len(calls), "file": measure(str(path), calls, reply)}
        report["file"]["bytes_per_reply"] = round(path.stat().st_size / (len(calls) * 1.1))
        if not options.no_server:
            report["server"] = measure_server(options.server, Path(folder, "pg"), calls, reply)
            report["server_to_file"] = {
                name: round(value / report["file"][name], 2) for name, value in report["server"].items()
            }
    print(json.dumps(report, indent=2))


def measure_server(address: str | None, folder: Path, calls: list[Call], reply: Reply) -> dict[str, float]:
    """The same on a server, in a schema of its own."""
    if own := address is None:
        folder.parent.chmod(0o755)  # the server's user passes through it
        subprocess.run(["sh", str(ENSURE_SERVER), str(folder)], check=True)
        address = (folder / "address").read_text().strip()
    assert address is not None
    with psycopg.connect(address, autocommit=True) as admin:
        if own:
            admin.execute("ALTER SYSTEM SET fsync = on")
            admin.execute("SELECT pg_reload_conf()")
        try:
            admin.execute(f"CREATE SCHEMA {SCHEMA}".encode())
            place = f"{address}{'&' if '?' in address else '?'}options=-csearch_path%3D{SCHEMA}"
            report = measure(place, calls, reply)
            with open_store(place) as store:
                report["bytes_per_reply"] = round(store.measure_size() / (len(calls) * 1.1))
            return report
        finally:
            admin.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE".encode())
            if own:  # the server ends with its folder
                (pid, *_) = (folder / "data" / "postmaster.pid").read_text().split()
                subprocess.run(["kill", "-INT", pid], check=False)


def measure(address: str, calls: list[Call], reply: Reply) -> dict[str, float]:
    """Write and read all calls through one client, with CPU per call."""
    some = calls[: len(calls) // 10]

    with open_store(address) as store:

        async def work_at_once(work: Callable[[Call], Coroutine[Any, Any, Any]]) -> None:
            rest = iter(calls)

            async def work_on() -> None:
                for call in rest:
                    await work(call)

            await asyncio.gather(*(work_on() for _ in range(AT_ONCE)))

        async def write(call: Call) -> None:
            await store.put(build_call_key(call, ENDPOINT), reply)

        async def write_singly() -> None:
            for call in some:
                await store.put(build_call_key(call, "elsewhere"), reply)

        async def read(call: Call) -> None:
            if await store.fetch(build_call_key(call, ENDPOINT)) is None:
                raise RuntimeError("a reply is missing")

        async def read_singly() -> None:
            for call in some:
                await read(call)

        report: dict[str, float] = {}
        for name, count, run in (
            (
                "written_at_once",
                len(calls),
                lambda: work_at_once(write),
            ),
            ("written_singly", len(some), write_singly),
            ("read_at_once", len(calls), lambda: work_at_once(read)),
            ("read_singly", len(some), read_singly),
        ):
            report[f"{name}_per_s"], report[f"{name}_cpu_us"] = measure_rate(count, run)
    return report


if __name__ == "__main__":
    main()
