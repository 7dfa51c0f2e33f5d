"""How time, memory and bytes grow with calls, architectures and questions. Prints JSON with an exponent for each.

    python benchmarks/scale.py --quick                # a few minutes: small sizes, for CI
    python benchmarks/scale.py                        # about half an hour, up to 10^6 calls
    python benchmarks/scale.py --only calls --calls 1000,10000

Every point runs in a process of its own, and each axis has its smallest size first. The axes:

- `calls`: the simulated pool directly under the engine, ten samples and a fuser a question, 50 questions at once;
- `eval_calls`: the same in an Inspect eval with a log and a call store, eleven calls a question;
- `compact_calls`: the same with `trace=compact`;
- `samples`: one question with so many samples and a vote, in an eval;
- `questions`: an eval of so many questions with one call each, then the reading of its log as reports read it. The
  same eval by Inspect's own `generate()` is the baseline: what Inspect keeps and writes is in both;
- `architectures`: a search's space listed and planned, and ten suggestions of the optimizer. The whole
  space is planned at each size (`planned` architectures); the optimizer has the first `size` of them.

`exponent` is the slope of a line through the logarithms of size and figure: 1 is in proportion, 2 is quadratic.
Fixed costs are in no figure: memory is what a point's process has above its start, CPU that of the work alone.
`run_of_1e8_calls` says what so many calls of the simulated pool take, by the largest step of `eval_calls` and
`compact_calls`.
"""

import argparse
import asyncio
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

SIZES: dict[str, tuple[int, ...]] = {
    "calls": (1_000, 10_000, 100_000, 1_000_000),
    "eval_calls": (1_100, 11_000, 110_000),
    "compact_calls": (1_100, 11_000),
    "samples": (100, 1_000, 10_000),
    "questions": (10, 100, 1_000, 10_000),
    "architectures": (100, 1_000, 10_000, 100_000),
}
QUICK: dict[str, tuple[int, ...]] = {
    "calls": (1_000, 4_000, 16_000),
    "eval_calls": (1_100, 4_400),
    "compact_calls": (1_100, 4_400),
    "samples": (100, 1_000),
    "questions": (10, 100, 400),
    "architectures": (100, 1_000),
}
AT_ONCE = 50
"""Questions under way at once."""
CALLS_PER_QUESTION = 11
PLANNED_CALLS = 100_000_000
MODEL = "sim/gpt-4o"
QUESTION = "How many integers between 1 and 1000 are divisible by 3 or by 7 but not by 21? Explain. (variant %d) "
ENSEMBLE = {"name": "ensemble", "layers": [{"generator": {"model": "$1", "samples": 10}}, {"fuser": "$1"}]}
Figures = dict[str, float]


def get_peak_mb() -> float:
    """Megabytes that this process had in memory at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def measure_work(work: Callable[[], None]) -> Figures:
    """CPU seconds of the work, and megabytes above what the process had before."""
    before, started = get_peak_mb(), time.process_time()
    work()
    return {"cpu_s": time.process_time() - started, "extra_mb": get_peak_mb() - before}


def measure_calls(size: int) -> Figures:
    """Calls of the pool under the engine alone."""
    from archon_eval.architecture.load import load_architecture
    from archon_eval.engine.engine import Engine
    from archon_eval.simulation.client import SimCaller
    from archon_eval.types import Message

    engine = Engine(load_architecture(ENSEMBLE, [MODEL]), SimCaller())

    async def run(questions: int) -> None:
        numbers = iter(range(questions))

        async def answer() -> None:
            for number in numbers:
                await engine.run((Message("user", QUESTION % number),))

        await asyncio.gather(*(answer() for _ in range(AT_ONCE)))

    asyncio.run(run(AT_ONCE))
    return measure_work(lambda: asyncio.run(run(size // CALLS_PER_QUESTION)))


def run_eval(solver: Any, questions: int, folder: str) -> Any:
    """A finished eval's log, without its samples in memory."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.scorer import includes

    samples = [Sample(input=QUESTION % number, target="381", id=number) for number in range(questions)]
    (log,) = eval(
        Task(MemoryDataset(samples), solver=solver, scorer=includes()),
        model=MODEL,
        max_samples=AT_ONCE,
        display="none",
        log_dir=folder,
        log_level="error",
    )
    if log.status != "success":
        raise RuntimeError(f"eval failed: {log.error}")
    return log


def measure_eval(
    architecture: Mapping[str, Any], questions: int, *, store: bool = False, trace: str = "full"
) -> Figures:
    """An eval of an architecture, with a log."""
    from archon_eval.integrations.command_process import freeze_imports
    from archon_eval.solvers.archon import archon

    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as first:
        run_eval(archon({"name": "single", "layers": [{"generator": "$1"}]}, [MODEL]), 1, first)  # loads modules
        freeze_imports()  # as `inspect eval` does
        path = Path(folder, "calls.db")
        solver = archon(dict(architecture), [MODEL], store=str(path) if store else None, trace=trace)
        logs: list[Any] = []
        figures = measure_work(lambda: logs.append(run_eval(solver, questions, folder)))
        figures["log_mb"] = Path(logs[0].location).stat().st_size / 1e6
        if store:
            figures["store_mb"] = sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*")) / 1e6
    return figures


def measure_eval_calls(size: int) -> Figures:
    """Calls in an eval, stored and logged."""
    return measure_eval(ENSEMBLE, size // CALLS_PER_QUESTION, store=True)


def measure_compact_calls(size: int) -> Figures:
    """The same with one event per question."""
    return measure_eval(ENSEMBLE, size // CALLS_PER_QUESTION, store=True, trace="compact")


def measure_samples(size: int) -> Figures:
    """One question with many samples."""
    layers = [{"generator": {"model": "$1", "samples": size}}, {"vote": {"top_k": 1}}]
    return measure_eval({"name": "vote", "layers": layers}, 1)


def measure_questions(size: int) -> Figures:
    """An eval of many questions, the reading of its log, and Inspect's own eval of them; each in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        figures: Figures = {}
        for name in ("archon", "inspect", "read"):
            part = run_child("questions_" + name, size, folder)
            figures |= {f"{name}_{key}": value for key, value in part.items()}
    return figures


def measure_questions_part(name: str, size: int, folder: str) -> Figures:
    """One of the parts of `measure_questions`."""
    if name == "read":
        from archon_eval.runs.read_log import read_run

        return measure_work(lambda: void(read_run(Path(folder, "archon.eval"))))
    from inspect_ai.solver import generate

    from archon_eval.integrations.command_process import freeze_imports
    from archon_eval.solvers.archon import archon

    solver = archon({"name": "single", "layers": [{"generator": "$1"}]}, [MODEL]) if name == "archon" else generate()
    with tempfile.TemporaryDirectory() as first:
        run_eval(solver, 1, first)
    freeze_imports()
    place = Path(folder, name)
    figures = measure_work(lambda: void(run_eval(solver, size, str(place))))
    [log] = place.glob("*.eval")
    log.rename(place.with_suffix(".tmp"))
    place.rmdir()
    place.with_suffix(".tmp").rename(Path(folder, f"{name}.eval"))
    return {**figures, "log_mb": Path(folder, f"{name}.eval").stat().st_size / 1e6}


def void(_: object) -> None:
    """Nothing of a value."""


def measure_architectures(size: int) -> Figures:
    """So many architectures of a large space planned, and one asked for."""
    import numpy as np

    from archon_eval.search.config import load_settings
    from archon_eval.search.optimizers import build_optimizer
    from archon_eval.search.prepare import PlannedSpace
    from archon_eval.simulation.skills import list_models

    models = [f"sim/{model}" for model in list_models()][:10]
    large = {"preset": "paper-text", "critic_ranker": [True, False], "temperatures": [0.3, 0.7, 1.0]}
    settings = load_settings({"tasks": "archon_eval/math", "models": models, "space": large})
    figures: Figures = {}

    def search() -> None:
        started = time.process_time()
        space = PlannedSpace.build(settings, models, models, turns=1.0)
        figures["plan_cpu_s"] = time.process_time() - started
        figures["planned"] = len(space.options)
        chosen = [option.configuration for option in space.options[:size]]
        started = time.process_time()
        optimizer = build_optimizer(
            "smac",
            chosen,
            space.calls[:size],
            penalty=np.zeros(len(chosen)),
            last_calls=space.last_calls[:size],
        )
        for _ in range(10):
            asked = optimizer.suggest({})
            if asked is None:
                break
            optimizer.tell(asked.number, 0.5, asked.draws, last_draws=asked.last_draws, last_draw_variance=None)
        figures["ten_asks_cpu_s"] = time.process_time() - started

    return figures | measure_work(search)


AXES: dict[str, Callable[[int], Figures]] = {
    "calls": measure_calls,
    "eval_calls": measure_eval_calls,
    "compact_calls": measure_compact_calls,
    "samples": measure_samples,
    "questions": measure_questions,
    "architectures": measure_architectures,
}


def run_child(axis: str, size: int, folder: str = "") -> Figures:
    """One point's figures, measured in a process of its own."""
    command = [sys.executable, __file__, "--point", axis, str(size), folder]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def fit_exponent(sizes: Sequence[int], values: Sequence[float]) -> float | None:
    """The slope of the line through the logarithms; None where a value is too small to be measured."""
    if len(sizes) < 2 or min(values) <= 0:
        return None
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
    return round(slope, 2)


def measure_axis(axis: str, sizes: Sequence[int]) -> dict[str, Any]:
    """All points of an axis, the exponents, and what the largest step cost for each unit of size."""
    points = [run_child(axis, size) for size in sizes]
    names = list(points[0])
    steps = {
        f"{name}_per_1000": round(1000 * (points[-1][name] - points[-2][name]) / (sizes[-1] - sizes[-2]), 4)
        for name in names
        if len(points) > 1
    }
    return {
        "points": [
            {"size": size, **{name: round(value, 3) for name, value in point.items()}}
            for size, point in zip(sizes, points, strict=True)
        ],
        "exponent": {name: fit_exponent(sizes, [point[name] for point in points]) for name in names},
        "last_step": steps,
    }


def plan_run(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """What `PLANNED_CALLS` take under each trace that was measured."""
    return {
        f"trace={trace}": {
            "cpu_hours": round(steps["cpu_s_per_1000"] * PLANNED_CALLS / 1000 / 3600, 1),
            "log_gb": round(steps["log_mb_per_1000"] * PLANNED_CALLS / 1e6, 1),
            "store_gb": round(steps["store_mb_per_1000"] * PLANNED_CALLS / 1e6, 1),
        }
        for axis, trace in (("eval_calls", "full"), ("compact_calls", "compact"))
        if (steps := found.get(axis, {}).get("last_step"))
    }


def parse_sizes(text: str) -> tuple[int, ...]:
    """Comma-separated sizes, smallest first."""
    return tuple(sorted(int(float(part)) for part in text.split(",")))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--only", choices=sorted(AXES), action="append")
    for axis, sizes in SIZES.items():
        parser.add_argument(f"--{axis.replace('_', '-')}", type=parse_sizes, metavar="N,N", help=f"sizes, not {sizes}")
    parser.add_argument("--point", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        axis, size, folder = options.point
        part = axis.removeprefix("questions_")
        figures = measure_questions_part(part, int(size), folder) if part != axis else AXES[axis](int(size))
        print(json.dumps(figures))
        return
    chosen = options.only or list(AXES)
    sizes = {axis: getattr(options, axis) or (QUICK if options.quick else SIZES)[axis] for axis in chosen}
    found = {axis: measure_axis(axis, sizes[axis]) for axis in chosen}
    print(json.dumps({**found, "run_of_1e8_calls": plan_run(found)}, indent=2))


if __name__ == "__main__":
    main()
