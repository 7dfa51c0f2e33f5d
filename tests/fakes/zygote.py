"""Runs small evals in forked children that a test may kill; the imports, most of an eval's start, happen once.

Each line on stdin is `STORE LOGS`; the answer is the child's pid, and once it has ended its exit status.
"""

import importlib
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

ARCHITECTURE = {
    "name": "small",
    "layers": [
        {"generator": [{"model": "openai/gpt-4o-a", "samples": 3}, {"model": "openai/gpt-4o-b", "samples": 2}]},
        {"critic": "openai/gpt-4o-a"},
        {"fuser": "openai/gpt-4o-a"},
    ],
}
QUESTIONS = 4
CALLS = QUESTIONS * 7


def run_eval(store: str, logs: str) -> None:
    """One eval with the store on."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample

    from archon_eval.solvers.archon import archon

    samples = [Sample(input=f"Question {number}?", id=number) for number in range(QUESTIONS)]
    task = Task(MemoryDataset(samples), solver=archon(ARCHITECTURE, store=store))
    (log,) = eval(task, model=None, display="none", log_dir=logs, max_connections=4)
    assert log.status == "success", log.error


def fork_eval(store: str, logs: str, modules: Path | None = None) -> int:
    """A child that runs one eval; its pid."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            run_eval(store, logs)
            if modules is not None:
                modules.write_text(json.dumps(sorted(sys.modules)))
            code = 0
        except BaseException:  # noqa: BLE001 (the child ends here; its status tells)
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def main() -> None:
    """Learn from a first child which modules an eval imports, import them, then serve."""
    with tempfile.TemporaryDirectory() as folder:
        modules = Path(folder, "modules.json")
        os.waitpid(fork_eval(str(Path(folder, "calls.db")), folder, modules), 0)
        for name in json.loads(modules.read_text()):
            if name.split(".")[0] in ("archon_eval", "inspect_ai", "openai", "aiohttp") and "nest" not in name:
                importlib.import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        pid = fork_eval(*line.split())
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
