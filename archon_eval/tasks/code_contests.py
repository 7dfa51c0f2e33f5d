"""CodeContests (Li et al., 2022): competition problems; a program counts when it passes every test there is.

    inspect eval archon_eval/code_contests --model openai/gpt-4o
    inspect eval archon_eval/code_contests -T sample=true --model none --solver archon \\
        -S architecture=sample-unit-tests -S models=sim/pool

The papers report pass@1 on the 140 problems of the test split whose statement has no image (v6, Table 28).
"""

from collections.abc import Mapping
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import Sample

from archon_eval.errors import DataError
from archon_eval.sandbox.types import MEBI
from archon_eval.scorers._options import spread_options
from archon_eval.scorers.programs import TEST_GROUPS, pack_tests
from archon_eval.tasks._data import Selection, make_stable_id
from archon_eval.tasks._pinned import explain_download_errors
from archon_eval.tasks._programs import ProgramOptions, build_program_task
from archon_eval.tasks._rows import Row

REPO = "deepmind/code_contests"
REVISION = "802411c3010cb00d1b05bad57ca77365a3c699d6"
TEST_FILE = "data/test-00000-of-00001-9c49eeff30aacaa8.parquet"
"""The test split alone, 63 MB; `load_dataset` would fetch the training split's 7.5 GB with it."""
COLUMNS = ("name", "description", *TEST_GROUPS, "time_limit", "memory_limit_bytes")
IMAGE_TAG = "<image>"
"""What stands in a statement in place of a picture."""
MEMORY_BOUNDS = (64 * MEBI, 1024 * MEBI)
"""Bytes between which a problem's memory limit is held: Python itself needs some, the sandbox has no more."""
PROMPT = """\
{description}

Solve this with one complete Python 3 program. It reads the input from standard input and writes only what is asked \
for to standard output.{limits} Close your reply with the program, whole, in one fenced block that begins with \
```python and ends with ```."""


@task
@spread_options
def code_contests(selection: Selection, options: ProgramOptions) -> Task:
    """CodeContests: the 140 problems of the test split without images, the bundled problems, or a file of your own.

    A note says how many problems with images are left out.

    Args:
        selection: `data` has the official form (`name`, `description`, `public_tests`, `private_tests`,
            `generated_tests`, `time_limit`, `memory_limit_bytes`), or `tests`, a list of `{input, output}`.
        options: where programs run, see `ProgramOptions`.

    Raises:
        PrerequisiteError: no Docker; names `archon sandbox doctor`.
    """
    rows = selection.load_rows("code_contests.jsonl", _load_test_split)
    samples = [build_sample(row) for row in rows if IMAGE_TAG not in row.require_text("description")]
    if not samples:
        raise DataError(f"{selection.data}: every problem has an {IMAGE_TAG} in its description: none is text alone")
    dropped = {f"an {IMAGE_TAG} in the description": len(rows) - len(samples)}
    return build_program_task("code_contests", samples, selection, options=options, dropped=dropped)


def build_sample(row: Row) -> Sample:
    """A row in the official form, or with a plain list of `tests`."""
    description = row.require_text("description").strip()
    seconds, memory = _read_time_limit(row), row.get("memory_limit_bytes")
    bounds = [f"{seconds:g} s of time" if seconds else "", f"{memory // 1_000_000} MB of memory" if memory else ""]
    limits = f" Each test may take {' and '.join(filter(None, bounds))}." if any(bounds) else ""
    metadata = {
        "tests": pack_tests(_read_tests(row)),
        "time_limit": seconds,
        "memory_limit": min(max(memory, MEMORY_BOUNDS[0]), MEMORY_BOUNDS[1]) if memory else None,
    }
    return Sample(
        input=PROMPT.format(description=description, limits=limits),
        id=str(row.get("id") or row.get("name") or make_stable_id("code_contests", description)),
        metadata=metadata,
    )


def _read_tests(row: Row) -> list[dict[str, str]]:
    """All tests, whichever of the three lists they stand in."""
    records: list[Any] = list(row.get("tests", []))
    try:
        for key in TEST_GROUPS:
            group = row.get(key, {"input": [], "output": []})
            records += ({"input": i, "output": o} for i, o in zip(group["input"], group["output"], strict=True))
        tests = [{"input": test["input"], "output": test["output"]} for test in records]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{row.location}: tests must be lists `input` and `output` of the same length under "
            f"{', '.join(TEST_GROUPS)}, or a list of objects with both under tests ({error!r})"
        ) from error
    if not tests or not all(isinstance(text, str) for test in tests for text in test.values()):
        raise DataError(f"{row.location}: {'a test is not text' if tests else 'no tests'}")
    return tests


def _read_time_limit(row: Row) -> float | None:
    """The time limit as a number of seconds, from a number or the official `{seconds, nanos}`."""
    limit = row.get("time_limit")
    if isinstance(limit, Mapping):
        limit = (limit.get("seconds") or 0) + (limit.get("nanos") or 0) / 1e9
    if limit is not None and not isinstance(limit, int | float):
        raise DataError(f"{row.location}: 'time_limit' must be seconds or {{seconds, nanos}}, not {limit!r}")
    return float(limit) if limit else None


def _load_test_split() -> list[Row]:
    """The test split at the pinned commit, and nothing else of the data set."""
    place = f"{REPO}@{REVISION[:7]}"
    with explain_download_errors(place):
        from datasets import Dataset
        from huggingface_hub import hf_hub_download

        path = hf_hub_download(REPO, TEST_FILE, repo_type="dataset", revision=REVISION)
        table = Dataset.from_parquet(path, columns=list(COLUMNS))
    return [Row(f"{place}, row {index}", values) for index, values in enumerate(table)]
