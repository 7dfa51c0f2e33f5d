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
from archon_eval.scorers.programs import TEST_GROUPS, SandboxMode, TimeFactor, pack_tests
from archon_eval.tasks._data import Row, load_rows, make_stable_id
from archon_eval.tasks._programs import build_program_task

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
def code_contests(
    split: str = "all",
    sample: bool = False,
    data: str | None = None,
    n: int | None = None,
    seed: int = 0,
    sandbox: SandboxMode = "docker",
    time_factor: TimeFactor = "auto",
) -> Task:
    """CodeContests: the 140 problems of the test split without images, the bundled problems, or a file of your own.

    Args:
        split: `dev` (a fifth, for searching), `test` (the rest, for reporting) or `all`.
        sample: use the problems bundled with the package; no network.
        data: a local file in the official form (`name`, `description`, `public_tests`, `private_tests`,
            `generated_tests`, `time_limit`, `memory_limit_bytes`), or with `tests`, a list of `{input, output}`.
        n: how many problems to draw before the split; all if not given.
        seed: changes the draw and the split.
        sandbox: `docker`, or `local` for trusted programs: no protection at all.
        time_factor: multiplies every time limit; `auto` measures this machine and never shortens one.

    Raises:
        DataError: a source that cannot be read or is not as described, an unknown split, an impossible `n`.
        PrerequisiteError: no Docker; names `archon sandbox doctor`.
    """
    rows = load_rows(sample=sample, data=data, bundled="code_contests.jsonl", hub=_load_test_split)
    samples = [build_sample(row) for row in rows if IMAGE_TAG not in row.require_text("description")]
    if not samples:
        raise DataError(f"{data}: every problem has an {IMAGE_TAG} in its description, so none can be asked in text")
    return build_program_task(
        "code_contests", samples, split=split, n=n, seed=seed, sandbox=sandbox, time_factor=time_factor
    )


def build_sample(row: Row) -> Sample:
    """A row in the official form, or with a plain list of `tests`."""
    description, seconds, memory = (
        row.require_text("description").strip(),
        _read_time_limit(row),
        row.get("memory_limit_bytes"),
    )
    said = [f"{seconds:g} s of time" if seconds else "", f"{memory // 1_000_000} MB of memory" if memory else ""]
    limits = f" Each test may take {' and '.join(filter(None, said))}." if any(said) else ""
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
    found: list[Any] = list(row.get("tests", []))
    try:
        for key in TEST_GROUPS:
            given = row.get(key, {"input": [], "output": []})
            pairs = zip(given["input"], given["output"], strict=True)
            found += [{"input": given, "output": wanted} for given, wanted in pairs]
        tests = [{"input": test["input"], "output": test["output"]} for test in found]
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
    given = row.get("time_limit")
    if isinstance(given, Mapping):
        given = (given.get("seconds") or 0) + (given.get("nanos") or 0) / 1e9
    if given is not None and not isinstance(given, int | float):
        raise DataError(f"{row.location}: 'time_limit' must be seconds or {{seconds, nanos}}, not {given!r}")
    return float(given) if given else None


def _load_test_split() -> list[Row]:
    """The test split at the pinned commit, and nothing else of the data set."""
    place, offline = f"{REPO}@{REVISION[:7]}", "run without it: -T sample=true, or -T data=PATH (your own file)"
    try:
        from datasets import Dataset
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise DataError(f"{place}: reading the Hub needs `pip install 'archon-eval[hub]'`; or {offline}") from error
    try:
        path = hf_hub_download(REPO, TEST_FILE, repo_type="dataset", revision=REVISION)
    except Exception as error:
        raise DataError(f"{place}: the Hub did not give it ({error}); try again or {offline}") from error
    table = Dataset.from_parquet(path, columns=list(COLUMNS))
    return [Row(f"{place}, row {index}", values) for index, values in enumerate(table)]
