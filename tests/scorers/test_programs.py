"""The scorer, inside Inspect and out: samples to verdicts."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from inspect_ai import Epochs, Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from archon_eval.errors import DataError, SandboxError
from archon_eval.sandbox import CallCase, Case, ProgramVerdict, SandboxLimits
from archon_eval.sandbox.calibration import REFERENCE_CPU
from archon_eval.sandbox.container import LABEL
from archon_eval.sandbox.function_calls import build_humaneval_case
from archon_eval.sandbox.image import build_image, connect
from archon_eval.sandbox.local import LocalRunner
from archon_eval.scorers.programs import build_limits, build_test_cases, pack_tests, programs

DOUBLE = [{"input": "2\n", "output": "4"}, {"input": "0", "output": "0"}, {"input": "5", "output": "10"}]


@pytest.fixture(scope="module")
def docker() -> Any:
    try:
        client = connect()
        build_image(client)
    except SandboxError as e:
        if os.environ.get("CI") == "true" or os.environ.get("ARCHON_REQUIRE_DOCKER") == "1":
            pytest.fail(f"Docker is required here: {e}")
        pytest.skip(f"NO DOCKER, programs() is not tested: {e}")
    return client


def run(replies: list[str], metadata: dict[str, Any], tmp_path: Path, epochs: Any = None, **options: Any) -> EvalLog:
    outputs = []
    for reply in replies:
        output = ModelOutput.from_content("mockllm/model", reply)
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        outputs.append(output)
    task = Task([Sample("?", target="", metadata=metadata)], scorer=programs(**options), epochs=epochs)
    model = get_model("mockllm/model", custom_outputs=outputs, memoize=False)
    (log,) = eval(task, model=model, display="none", log_dir=str(tmp_path), max_connections=1)
    assert log.status == "success", log.error
    return log


def scores(log: EvalLog) -> list[Any]:
    assert log.samples is not None
    return [next(iter((sample.scores or {}).values())) for sample in log.samples]


def metrics(log: EvalLog) -> Mapping[str, float]:
    assert log.results is not None
    return {name: metric.value for name, metric in log.results.scores[0].metrics.items()}


def own_containers(docker: Any) -> set[str]:
    found = docker.api.containers(all=True, filters={"label": LABEL})
    return {c["Id"] for c in found if f":{os.getpid()}:" in c["Labels"][LABEL]}


def test_pass_at_1_and_k_over_epochs(docker: Any, tmp_path: Path) -> None:
    """Two of four samples pass: pass@1 0.5, pass@2 5/6; a failure in the middle stops the tests."""
    before = own_containers(docker)
    good = "```python\nprint(int(input()) * 2)\n```"
    bad = "```python\nn = int(input())\nprint(n + 2 if n else 1)\n```"
    log = run([good, bad, good, ""], {"tests": DOUBLE}, tmp_path, Epochs(4, ["mean", "pass_at_2"]), workers=1)
    assert log.results is not None
    values = {s.reducer: s.metrics["accuracy"].value for s in log.results.scores}
    assert values == {"mean": 0.5, "pass_at_2": pytest.approx(5 / 6)}
    _, second, _, last = scores(log)
    assert second.metadata["tests_run"] == 2 and second.explanation == "test 2 of 3: wrong answer"
    assert second.answer.startswith("n = int") and second.metadata["time_factor"] >= 1
    assert last.explanation == "The reply is empty."
    assert own_containers(docker) <= before, "what this run started is gone; what ran before may end meanwhile"


def test_all_tests_for_tables(docker: Any, tmp_path: Path) -> None:
    bad = "```python\nn = int(input())\nprint(n + 2 if n else 1)\n```"
    (score,) = scores(run([bad], {"tests": pack_tests(DOUBLE)}, tmp_path, all_tests=True, time_factor=2.0))
    assert [row[0] for row in score.metadata["table"]] == ["accepted", "wrong answer", "wrong answer"]
    assert score.metadata["tests_accepted"] == 1 and score.metadata["time_factor"] == 2.0


def test_function_calls_with_a_prelude(docker: Any, tmp_path: Path) -> None:
    """A body alone and a whole function, as models reply to HumanEval."""
    prompt = 'from typing import List\n\ndef add(a: List[int]) -> int:\n    """Sum."""\n'
    case = build_humaneval_case(prompt, "def check(candidate):\n    assert candidate([1, 2]) == 3\n", "add")
    metadata = {
        "prelude": prompt,
        "tests": [{"tests": case.tests, "names": list(case.names), "setup": case.setup}],
        "time_limit": 5,
    }
    whole = "```python\nfrom __future__ import annotations\ndef add(a: List[int]) -> int:\n    return sum(a)\n```"
    log = run(["    return sum(a)", whole, "    return 0"], metadata, tmp_path, Epochs(3))
    assert [s.value for s in scores(log)] == ["C", "C", "I"]
    assert "AssertionError" in scores(log)[2].explanation


def test_every_split_counts() -> None:
    metadata = {
        "public_tests": {"input": ["1"], "output": ["2"]},
        "private_tests": {"input": ["3", "4"], "output": ["5", "6"]},
        "generated_tests": None,
    }
    assert build_test_cases(metadata) == (Case(b"1", b"2"), Case(b"3", b"5"), Case(b"4", b"6"))
    call = {"tests": "assert f()", "names": ["f"]}
    assert build_test_cases({"tests": pack_tests([call])}) == (CallCase("assert f()", ("f",)),)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"tests": []},
        {"tests": "not packed"},
        {"tests": [{"stdin": "1"}]},
        {"tests": [{"input": "1"}]},
        {"tests": [7]},
        {"public_tests": {"input": ["1"], "output": []}},
    ],
)
def test_malformed_tests_are_errors(metadata: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="tests"):
        build_test_cases(metadata)


def test_limits_follow_sample_and_machine() -> None:
    assert build_limits({"time_limit": 2, "memory_limit": 64 << 20}).scale(1.5) == SandboxLimits(3.0, 64 << 20)
    assert build_limits({"time_limit": None}).scale(2.0) == SandboxLimits(20.0)
    assert SandboxLimits(1.0, wall_limit=3.0).scale(2.0) == SandboxLimits(2.0, wall_limit=6.0)


def test_integers_of_any_length_print_also_locally() -> None:
    async def main() -> ProgramVerdict:
        case = Case(b"7" * 9000, b"7" * 9000)
        return (await LocalRunner(trusted=True).run("print(int(input()))", [case])).verdict

    assert anyio.run(main) is ProgramVerdict.ACCEPTED


def test_local_is_refused_unless_trusted_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SandboxError, match="only trusted code may run"):
        LocalRunner(trusted=False)
    with pytest.raises(SandboxError):
        LocalRunner(trusted="yes")  # type: ignore[arg-type]
    LocalRunner(trusted=True)
    assert "NO PROTECTION" in caplog.text


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("print(int(input()) * 2)", ProgramVerdict.ACCEPTED),
        ("print(3)", ProgramVerdict.WRONG_ANSWER),
        ("print(", ProgramVerdict.COMPILE_ERROR),
        ("print(4)\nexit(2)", ProgramVerdict.RUNTIME_ERROR),
        ("import time; time.sleep(60)", ProgramVerdict.TIME_LIMIT),
        ("x = bytearray(1 << 40)", ProgramVerdict.MEMORY_LIMIT),
        ("print('x' * 3_000_000)", ProgramVerdict.OUTPUT_LIMIT),
    ],
)
def test_local_verdicts(program: str, verdict: ProgramVerdict) -> None:
    async def go() -> Any:
        async with LocalRunner(trusted=True, workers=1) as runner:
            return await runner.run(program, [Case(b"2", b"4")], limits=SandboxLimits(time_limit=2, wall_limit=2))

    assert anyio.run(go).verdict is verdict


def test_local_function_calls_and_calibration() -> None:
    async def go() -> tuple[Any, float]:
        async with LocalRunner(trusted=True, workers=1) as runner:
            cases = [CallCase("assert f(1) == 2", ("f",)), CallCase("assert f(1) == 3", ("f",))]
            program = "from __future__ import annotations\ndef f(x): return x + 1\nif __name__ == '__main__': f()"
            result = await runner.run(program, cases, time_factor="auto", stop_at_first_failure=False)
            return result, result.time_factor

    result, factor = anyio.run(go)
    assert [r.verdict for r in result.runs] == [ProgramVerdict.ACCEPTED, ProgramVerdict.RUNTIME_ERROR]
    assert factor >= 1 and REFERENCE_CPU > 0


def test_a_large_host_process_is_not_the_programs_memory() -> None:
    ballast = bytearray(b"x" * (600 * 2**20))
    test_local_verdicts("print(int(input()) * 2)", ProgramVerdict.ACCEPTED)
    assert ballast
