"""How slow hosts are, measured once by processes that share them, so that a time limit is the same in all of them.

os.environ[SPEEDS_VARIABLE] = "/tmp/eval/speeds.json"      # in each of the processes
slowdown = measure_once("tcp://big:2376", measure)         # the first measures, the others wait and read

Without that variable every process measures for itself.
"""

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: two that start at one moment both measure, and the first value written stands
    fcntl = None  # type: ignore[assignment]

SPEEDS_VARIABLE = "ARCHON_SANDBOX_SPEEDS"
"""The file in which processes on one machine share what they measured; empty for none."""


def measure_once(host: str, measure: Callable[[], float]) -> float:
    """The host's slowdown, as the first of the processes that share a file measured it.

    Args:
        host: its name; the local daemon of another machine is another host.
        measure: measures it; whatever it raises passes, and the next process measures.
    """
    path = os.environ.get(SPEEDS_VARIABLE)
    if not path:
        return measure()
    name = f"{host} from {socket.gethostname()}"
    with _lock_file(Path(f"{path}-lock")):
        known = _read_speeds(Path(path))
        if name not in known:
            known = {**known, name: measure()}
            fresh = Path(f"{path}-new")
            fresh.write_text(json.dumps(known), encoding="utf-8")
            fresh.replace(path)
    return known[name]


def _read_speeds(path: Path) -> Mapping[str, float]:
    """What is in the file; nothing where there is none, or something else is in it."""
    with suppress(OSError, ValueError):
        speeds = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(speeds, dict):
            return {name: value for name, value in speeds.items() if isinstance(value, float) and value > 0}
    return {}


@contextmanager
def _lock_file(path: Path) -> Iterator[None]:
    """One process, or thread, at a time."""
    with path.open("w") as stream:
        if fcntl is not None:
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
