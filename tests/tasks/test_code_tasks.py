"""CodeContests, HumanEval and MBPP: prompts, tests, sources, errors, no Docker, and runs on the simulated pool."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from archon_eval._notes import ArchonNote
from archon_eval.errors import DataError, SandboxError
from archon_eval.sandbox import CallCase, Case
from archon_eval.sandbox.image import build_image
from archon_eval.scorers.programs import build_limits, build_test_cases
from archon_eval.solvers import archon
from archon_eval.tasks import code_contests as task_module
from archon_eval.tasks._rows import Row
from archon_eval.tasks.code_contests import build_sample, code_contests
from archon_eval.tasks.humaneval import humaneval
from archon_eval.tasks.mbpp import mbpp

MAKERS: dict[str, tuple[Callable[..., Task], int]] = {
    "code_contests": (code_contests, 25),
    "humaneval": (humaneval, 12),
    "mbpp": (mbpp, 12),
}
OFFICIAL = {
    "name": "1_A. Twice",
    "description": "Print twice the number.",
    "public_tests": {"input": ["1\n"], "output": ["2\n"]},
    "private_tests": {"input": ["4\n"], "output": ["8\n"]},
    "generated_tests": {"input": ["0\n", "7\n"], "output": ["0\n", "14\n"]},
    "time_limit": {"seconds": 1, "nanos": 500_000_000},
    "memory_limit_bytes": 256_000_000,
}


@pytest.fixture(scope="module")
def docker() -> None:
    try:
        build_image()
    except SandboxError as error:
        if os.environ.get("CI") == "true" or os.environ.get("ARCHON_REQUIRE_DOCKER") == "1":
            pytest.fail(f"Docker is required here: {error}")
        pytest.skip(f"NO DOCKER, the programming tasks are not run: {error}")


@pytest.mark.parametrize("name", MAKERS)
def test_bundled_problems_split_and_stay_the_same(name: str) -> None:
    make, count = MAKERS[name]
    whole, dev, test = (
        list(make(sample=True, sandbox="local", split=split).dataset) for split in ("all", "dev", "test")
    )
    assert len(whole) == count and len(dev) == round(0.2 * count)
    assert {s.id for s in dev} | {s.id for s in test} == {s.id for s in whole} and len(dev) + len(test) == count
    assert len(make(sample=True, sandbox="local", n=5).dataset) == 5
    assert all(isinstance(s.input, str) and "one fenced block" in s.input and not s.choices for s in whole)


def test_an_official_row_gives_prompt_all_tests_and_limits() -> None:
    sample = build_sample(Row("x", OFFICIAL))
    assert sample.id == "1_A. Twice" and isinstance(sample.input, str)
    assert sample.input.startswith("Print twice the number.\n\nSolve this with one complete Python 3 program.")
    assert "Each test may take 1.5 s of time and 256 MB of memory." in sample.input
    cases = build_test_cases(sample.metadata or {})
    assert [c.input for c in cases if isinstance(c, Case)] == [b"1\n", b"4\n", b"0\n", b"7\n"]
    limits = build_limits(sample.metadata or {}).scale(2.0)
    assert (limits.time_limit, limits.memory_limit) == (3.0, 256_000_000)


def test_limits_that_are_absent_or_out_of_reach() -> None:
    plain = build_sample(Row("x", {"description": "?", "tests": [{"input": "", "output": "1"}]}))
    assert "Each test" not in str(plain.input) and build_limits(plain.metadata or {}).time_limit == 10
    for given, kept in ((16_000_000, 64 << 20), (2_000_000_000, 1 << 30)):
        row = Row("x", {**OFFICIAL, "memory_limit_bytes": given, "time_limit": None})
        assert build_limits(build_sample(row).metadata or {}).memory_limit == kept


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"public_tests": {"input": ["1"], "output": []}}, "same length"),
        ({"private_tests": ["1"]}, "lists `input` and `output`"),
        ({"generated_tests": {"input": [1], "output": ["1"]}}, "a test is not text"),
        ({"time_limit": "soon"}, "'time_limit' must be seconds"),
        ({"description": " "}, "'description' must be non-blank text"),
        (dict.fromkeys(task_module.TEST_GROUPS), "no tests"),
        ({"tests": [{"stdin": "1"}]}, "'input'"),
    ],
)
def test_rows_that_cannot_be_used_say_why(change: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        build_sample(Row("mine.jsonl, line 3", {**OFFICIAL, **change}))
    assert "mine.jsonl, line 3" in str(caught.value)


def test_the_hub_gives_one_file_at_a_commit_and_images_are_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    datasets, hub = pytest.importorskip("datasets"), pytest.importorskip("huggingface_hub")
    drawn = {**OFFICIAL, "name": "2_B. Drawn", "description": "See <image>.", "time_limit": None}
    rows = [{**OFFICIAL, "difficulty": 7}, {**drawn, "difficulty": 8}]
    datasets.Dataset.from_list(rows).to_parquet(str(tmp_path / "test.parquet"))
    asked: list[Any] = []

    def download(*arguments: Any, **options: Any) -> str:
        asked.append((arguments, options))
        return str(tmp_path / "test.parquet")

    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    with pytest.warns(ArchonNote, match="code_contests: 1 of 2 rows are left out: an <image> in the description"):
        task = code_contests(sandbox="local")
    assert task.metadata == {"rows": 2, "dropped": {"an <image> in the description": 1}}
    [sample] = task.dataset
    assert sample.id == "1_A. Twice" and len(build_test_cases(sample.metadata or {})) == 4
    [((repo, file), options)] = asked
    assert repo == "deepmind/code_contests" and "test-" in file and len(options["revision"]) == 40


def test_without_the_hub_the_error_names_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")

    def refuse(*_: Any, **__: Any) -> str:
        raise OSError("unreachable")

    monkeypatch.setattr(hub, "hf_hub_download", refuse)
    with pytest.raises(DataError, match=r"unreachable.*sample=true.*data=PATH"):
        code_contests(sandbox="local")


def test_of_mbpp_only_the_test_split_counts(tmp_path: Path) -> None:
    file = tmp_path / "mbpp.jsonl"
    rows = [
        {"task_id": n, "text": f"Task {n}.", "code": "", "test_list": ["assert f(1) == 2"]} for n in (1, 11, 510, 511)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    with pytest.warns(ArchonNote, match="mbpp: 2 of 4 rows are left out: a task_id outside the test split"):
        samples = list(mbpp(data=str(file), sandbox="local").dataset)
    assert [s.id for s in samples] == ["11", "510"]
    assert build_test_cases(samples[0].metadata or {}) == (CallCase("assert f(1) == 2", ("f",)),)
    assert str(samples[0].input).startswith("Task 11.") and "assert f(1) == 2" in str(samples[0].input)
    file.write_text(json.dumps(rows[0]))
    with pytest.raises(DataError, match="no task of the test split"):
        mbpp(data=str(file), sandbox="local")
    file.write_text(json.dumps({"text": "?", "test_list": "assert f()"}))
    with pytest.raises(DataError, match="'test_list' must be a list of texts"):
        mbpp(data=str(file), sandbox="local")


def test_settings_are_checked() -> None:
    with pytest.raises(DataError, match="unknown sandbox 'dokcer'; did you mean 'docker'"):
        humaneval(sample=True, sandbox="dokcer")
    for factor in (0, -1, "slow"):
        with pytest.raises(DataError, match="time_factor="):
            mbpp(sample=True, sandbox="local", time_factor=factor)


@pytest.mark.parametrize("name", MAKERS)
def test_no_docker_is_said_before_anything_is_asked(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(PrerequisiteError, match=r"archon sandbox doctor"):
        MAKERS[name][0](sample=True)
    assert len(MAKERS[name][0](sample=True, sandbox="local").dataset) == MAKERS[name][1]


def test_shared_files_load(shared_data: Path) -> None:
    with pytest.warns(ArchonNote, match="code_contests: 11 of 26 rows are left out: an <image> in the description"):
        found = code_contests(data=str(shared_data / "code_contests/problems.jsonl.gz"), sandbox="local").dataset
    assert len(found) == 15 and "<image>" not in "".join(str(s.input) for s in found)
    assert len(humaneval(data=str(shared_data / "humaneval/problems.jsonl"), sandbox="local").dataset) == 82
    assert len(mbpp(data=str(shared_data / "mbpp/problems.jsonl"), sandbox="local").dataset) == 50


def replies(samples: Any, answer: Callable[[str], str]) -> Any:
    outputs = []
    for sample in samples:
        output = ModelOutput.from_content("mockllm/model", answer(str(sample.id)))
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        outputs.append(output)
    return get_model("mockllm/model", custom_outputs=outputs, memoize=False)


def values(task: Task, tmp_path: Path, **options: Any) -> dict[str, tuple[Any, str]]:
    (log,) = eval(task, display="none", log_dir=str(tmp_path), max_connections=1, **options)
    assert log.status == "success", log.error
    scores = {str(s.id): next(iter((s.scores or {}).values())) for s in log.samples or ()}
    return {id: (score.value, str(score.explanation)) for id, score in scores.items()}


def test_real_reference_solutions_pass_and_changed_ones_fail(docker: None, shared_data: Path, tmp_path: Path) -> None:
    """HumanEval: the canonical body alone and the whole function pass; another function's body does not."""
    path = shared_data / "humaneval/problems.jsonl"
    rows = {row["task_id"].replace("/", "-"): row for row in map(json.loads, path.read_text().splitlines())}
    ids = list(rows)

    def answer(id: str) -> str:
        row, place = rows[id], ids.index(id)
        whole = row["prompt"] + row["canonical_solution"]
        bodies = (row["canonical_solution"], whole, rows[ids[place - 1]]["canonical_solution"])
        return f"Here it is:\n```python\n{bodies[place % 3]}\n```"

    task = humaneval(data=str(path), n=45)
    found = values(task, tmp_path, model=replies(task.dataset, answer))
    assert {id for id, (value, _) in found.items() if value == "C"} == {id for id in found if ids.index(id) % 3 < 2}


@pytest.mark.parametrize("name", MAKERS)
def test_the_simulated_pool_answers_with_the_bundled_programs(name: str, docker: None, tmp_path: Path) -> None:
    task = MAKERS[name][0](sample=True, n=8)
    found = values(task, tmp_path, model=None, solver=archon("best-of-n", models="sim/pool"))
    assert len(found) == 8 and not [said for _, said in found.values() if "compile error" in said or "empty" in said]


def test_programs_are_ordered_by_tests_that_the_model_wrote(docker: None, tmp_path: Path) -> None:
    """Of six samples the one that passes most executed tests is right more often than the first."""
    first: list[dict[str, Any]] = [{"generator": {"model": "sim/llama-3.1-405b-instruct", "samples": 6}}]
    tests = {"unit_test_generator": {"model": "sim/llama-3.1-405b-instruct", "form": "input_output"}}
    run = {"unit_test_evaluator": {"execute": "sandbox", "keep": "all"}}
    share = []
    for layers in (first, [*first, tests, run]):
        solver = archon({"layers": layers})
        found = values(code_contests(sample=True, n=12), tmp_path, model=None, solver=solver)
        share.append(sum(value == "C" for value, _ in found.values()))
    assert share[1] > share[0], share
