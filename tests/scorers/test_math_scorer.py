r"""Marks against labelled data, hostile replies, and what happens to the verifying processes."""

import asyncio
import gzip
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from archon_eval.components.parsing import math_equality as scoring
from archon_eval.errors import DataError, JudgeError
from archon_eval.scorers.math import MathVerdict, compare_answers, math_answer

DATA = Path(__file__).parents[3] / "shared" / "data" / "math"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no labelled answers at {DATA}")


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    scoring._ask_worker.cache_clear()
    yield


def mark(reply: str, gold: str) -> MathVerdict:
    return asyncio.run(compare_answers(reply, gold))


def mark_all(rows: list[dict[str, Any]]) -> list[MathVerdict]:
    async def run() -> list[MathVerdict]:
        return await asyncio.gather(*(compare_answers(row["response"], row["gold"]) for row in rows))

    return asyncio.run(run())


@needs_data
def test_tricky_pairs() -> None:
    rows = [json.loads(line) for line in (DATA / "tricky_pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    marks = mark_all(rows)
    wrong = [row["id"] for row, got in zip(rows, marks, strict=True) if got.correct != row["expected"]]
    assert (len(rows), wrong) == (54, [])


@needs_data
def test_labelled_model_replies() -> None:
    with gzip.open(DATA / "qwen_responses_labeled.jsonl.gz", "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    marks = mark_all(rows)
    wrong = {
        (row["idx"], row["sample"]) for row, got in zip(rows, marks, strict=True) if got.correct != row["expected"]
    }
    # Row 72 is 70000/7 = 10,000 and its label says that all replies are right; seven of them end in 9999 or the like.
    assert len(rows) == 400
    assert wrong == {(72, sample) for sample in range(7)}


@pytest.mark.parametrize(
    ("gold", "answer", "correct"),
    [
        (r"x \in [1,2]", "[1,2]", True),
        (r"1\frac{1}{2}", r"\frac32", True),
        (r"\text{Monday}", "monday", True),
        (r"\text{Monday}", "Tuesday", False),
        (r"(1,2),(3,4)", "(3,4),(1,2)", True),
        (r"(1,2),(3,4)", "(1,2),(4,3)", False),
        (r"\emptyset", r"\varnothing", True),
        ("10:30", "10{:}30", True),
        ("5", "5.", True),
        ("15", "5", False),
        ("-5", "5", False),
        ("101_2", "101", True),
        ("101_2", "101_3", False),
        (r"\boxed{7}", "7", True),
        (r"\frac{\pi}{4}", "0.785", False),
        (r"2\cos^2 x - 1", r"\cos 2x", True),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix}1\\2\end{bmatrix}", True),
        ("2", "2,3", False),
    ],
)
def test_pairs(gold: str, answer: str, correct: bool) -> None:
    assert mark(f"So it is $\\boxed{{{answer}}}$.", gold).correct is correct


@pytest.mark.parametrize("answer", [r"9^{9^{9^{9}}}", "99999999!"])
def test_an_endless_comparison_costs_the_worker_and_is_incorrect(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "CPU_SECONDS", 0.5)
    verdict = mark(f"\\boxed{{{answer}}}", "5")
    assert (verdict.correct, verdict.status, verdict.answer) == (False, "timeout", answer)
    assert "CPU" in verdict.explanation
    assert mark(r"\boxed{2+3}", "5").status == "verified"


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("a" * 1_000_000, "unreadable"),
        ("7" * 1_000_000, "different"),
        ("\\" * 100_000, "unreadable"),
        ("$" * 100_000, "unreadable"),
        (r"\boxed{" * 100_000, "unreadable"),
        (r"\boxed{" + "9" * 100_000 + "}", "too long"),
        ("\ud800 \\boxed{6}", "different"),
        ("I do not know.", "unreadable"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_hostile_replies_are_incorrect_and_say_why(reply: str, status: str) -> None:
    verdict = mark(reply, "5")
    assert not verdict.correct
    assert verdict.status in (status, "timeout") if len(reply) > 100 else verdict.status == status


def test_control_characters_and_nesting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "CPU_SECONDS", 0.5)
    controls = "".join(map(chr, range(32))) + "\x7f\u202e\0"
    assert mark(controls + r"\boxed{5}" + controls, "5").correct
    assert mark(r"\boxed{" + "{" * 50 + "5" + "}" * 50 + "}", "5").extraction == "box"


def test_thoughts_are_no_answer() -> None:
    assert mark(r"<think>Is it \boxed{3}?</think>So it is \boxed{4}.", "4").correct
    assert mark(r"<think>Is it \boxed{3}?</think>The answer is 4.", "4").extraction == "text"
    assert mark(r"<think>It is \boxed{3}, or", "3") == MathVerdict(False, None, "none", "empty")


def test_a_long_reply_is_read_from_its_end() -> None:
    assert mark("word " * 200_000 + "The answer is 12.", "12") == MathVerdict(True, "12", "text", "verified")
    assert mark(r"\boxed{12}" + " word" * 200_000, "12").correct


def test_a_blank_gold_is_an_error() -> None:
    with pytest.raises(DataError, match="blank"):
        mark(r"\boxed{5}", " ")


def test_a_verifier_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scoring._get_idle_workers().clear()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(JudgeError, match="cannot be started"):
        mark(r"\boxed{1+1}", "2")


def test_a_verifier_without_math_verify_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scoring._get_idle_workers().clear()
    (tmp_path / "math_verify.py").write_text("raise ImportError('not installed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(JudgeError, match="math-verify cannot be imported: not installed"):
        mark(r"\boxed{1+1}", "2")


def test_a_verifier_that_hangs_at_start_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scoring._get_idle_workers().clear()
    (tmp_path / "math_verify.py").write_text("import time; time.sleep(600)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(scoring, "WALL_SECONDS", 0.5)
    with pytest.raises(JudgeError, match="ended or hung at start"):
        mark(r"\boxed{1+1}", "2")


def test_a_worker_that_died_while_idle_is_replaced() -> None:
    assert mark(r"\boxed{1+1}", "2").correct
    for worker in scoring._get_idle_workers():
        worker._process.terminate()
        worker._process.wait()
    assert mark(r"\boxed{2+2}", "4").correct


def test_a_worker_that_always_breaks_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def ask(self, request: object) -> None:
            return None

        def close(self) -> int:
            return 1

    scoring._get_idle_workers().clear()
    monkeypatch.setattr(scoring, "_VerifierProcess", Broken)
    assert mark(r"\boxed{1+1}", "2").status == "crashed"


def test_works_in_any_event_loop_and_ends_with_the_program_even_without_a_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(r"""
        import anyio
        from archon_eval.components.parsing import math_equality
        from archon_eval.scorers import math
        for backend in ("asyncio", "trio", "asyncio"):
            try:
                reply, gold = r"\boxed{\sqrt{%d}}" % len(backend)**2, str(len(backend))
                verdict = anyio.run(math.compare_answers, reply, gold, backend=backend)
                assert verdict.correct, verdict
            except (ImportError, LookupError) as error:
                assert backend == "trio", error
        print(*(worker._process.pid for worker in math_equality._get_idle_workers()))
        """)
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    pids = [int(pid) for pid in done.stdout.split()]
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_importing_the_scorer_imports_no_verifier() -> None:
    code = "import sys, archon_eval.scorers.math; print([m for m in ('math_verify', 'sympy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_scorer_inside_an_eval(tmp_path: Path) -> None:
    replies = [r"\boxed{\frac{2}{4}}", "", r"\boxed{3}"]
    outputs = [ModelOutput.from_content("mockllm/model", reply) for reply in replies]
    for output in outputs:
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    targets: list[str | list[str]] = ["0.5", "1", ["2", "3"]]
    samples = [Sample(input="q", target=target, id=i) for i, target in enumerate(targets)]
    task = Task(dataset=samples, scorer=math_answer())
    model = get_model("mockllm/model", custom_outputs=outputs)
    [log] = eval(task, model=model, log_dir=str(tmp_path), display="none", max_samples=1)
    assert log.status == "success" and log.samples and log.results
    scores = [sample.scores["math_answer"] for sample in log.samples if sample.scores]
    assert [score.value for score in scores] == ["C", "I", "C"]
    assert scores[0].answer == r"\frac{2}{4}"
    assert scores[1].metadata == {"extraction": "none", "status": "empty"}
    metrics = log.results.scores[0].metrics
    assert metrics["accuracy"].value == pytest.approx(2 / 3)
    assert metrics["stderr"].value == pytest.approx(1 / 3)
