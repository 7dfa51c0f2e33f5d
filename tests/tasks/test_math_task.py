r"""The MATH task: what a model is sent, which rows are used, and how a real eval ends."""

import json
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from archon_eval.errors import DataError
from archon_eval.tasks import math as task_module
from archon_eval.tasks._data import SIDE_KEY
from archon_eval.tasks._rows import Row
from archon_eval.tasks.math import build_sample, math


def test_the_sample_holds_the_whole_prompt() -> None:
    [sample] = [s for s in math(sample=True).dataset if s.id == "cnt-11"]
    text = str(sample.input)
    assert text.startswith(r"How many non-empty subsets of $\{1, 2, 3, \ldots, 12\}$")
    assert text.endswith(r"inside \boxed{}.")
    assert (sample.target, sample.metadata) == (
        "440",
        {"subject": "Counting & Probability", "level": 5, SIDE_KEY: "test"},
    )


def test_splits_of_the_bundled_problems() -> None:
    sizes = {split: len(math(split=split, sample=True).dataset) for split in ("all", "dev", "test")}
    assert sizes == {"all": 77, "dev": 15, "test": 62}
    assert [s.id for s in math("dev", sample=True).dataset] == [s.id for s in math("dev", sample=True).dataset]
    assert [s.id for s in math("dev", sample=True).dataset] != [s.id for s in math("dev", sample=True, seed=1).dataset]
    assert len(math("dev", sample=True, n=20).dataset) == 4


def hub(monkeypatch: pytest.MonkeyPatch, calls: list[Any]) -> None:
    def rows(repo: str, revision: str, *, config: str) -> list[Row]:
        calls.append((repo, revision, config))
        solution = r"First $\boxed{0}$, no: $\boxed{\frac{1}{2}}$."
        values = {"problem": "1/2?", "level": "Level 3", "type": "Algebra", "solution": solution}
        return [Row(f"row {i}", values) for i in range(100)]

    monkeypatch.setattr(task_module, "load_hub_rows", rows)


def test_the_hub_gives_two_hundred_problems_of_all_subjects_at_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    hub(monkeypatch, calls)
    samples = list(math().dataset)
    assert len(samples) == 200
    assert [config for _, _, config in calls] == list(task_module.CONFIGS)
    assert {len(revision) for _, revision, _ in calls} == {40}
    assert len({str(s.id).rsplit("-", 1)[0] for s in samples}) == 7
    assert (samples[0].target, samples[0].metadata) == (
        r"\frac{1}{2}",
        {"subject": "Algebra", "level": 3, SIDE_KEY: "test"},
    )
    assert len(math("test").dataset) == 160
    assert {s.id for s in math(n=50).dataset} < {s.id for s in samples}


def test_the_default_number_is_taken_from_what_a_filter_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, [])
    assert len(math(level=3).dataset) == 200
    ids = {str(sample.id) for sample in math(n=700).dataset}
    monkeypatch.setattr(task_module, "CONFIGS", task_module.CONFIGS[:1])
    few = math(subject="Algebra")
    assert len(few.dataset) == 100 and few.metadata == {"rows": 100}
    assert {str(sample.id) for sample in few.dataset} == {id for id in ids if id.startswith("algebra-")}


def test_rows_without_an_id_get_one_from_their_text() -> None:
    row = Row("x", {"problem": "p", "answer": 4, "level": "Level ?"})
    assert build_sample(row).id == build_sample(row).id != build_sample(Row("x", {"problem": "q", "answer": "4"})).id
    assert build_sample(row).target == "4"
    assert build_sample(row).metadata == {"subject": None, "level": None}
    assert build_sample(Row("x", {"problem": "p", "answer": "4", "unique_id": "test/algebra/1.json"})).id


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"problem": "p", "anwser": "1"}], r"d.jsonl, line 1: no 'answer' \(is 'anwser' meant\?\)"),
        ([{"problem": "p", "solution": "none"}], r"line 1: no 'answer', and the 'solution' has no"),
        ([{"problem": "p", "answer": " "}], "'answer' must be non-blank text"),
        ([{"problem": "p", "answer": "1"}] * 2, "occurs twice"),
        ([{"answer": "1"}], "no 'problem'"),
    ],
)
def test_bad_rows(tmp_path: Path, rows: list[dict[str, str]], message: str) -> None:
    file = tmp_path / "d.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=message):
        math(data=str(file))


def test_sample_and_data_exclude_each_other() -> None:
    with pytest.raises(DataError, match="give one of them"):
        math(sample=True, data="d.jsonl")


def test_an_eval_with_a_limit(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    rows = [{"id": f"r{i}", "problem": f"{i}+1?", "answer": str(i + 1)} for i in range(10)]
    file.write_text("\n".join(map(json.dumps, rows)))
    output = ModelOutput.from_content("mockllm/model", r"So $\boxed{2.0}$")
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    model = get_model("mockllm/model", custom_outputs=[output] * 4)
    [log] = eval(math(data=str(file)), model=model, limit=4, log_dir=str(tmp_path), display="none")
    assert log.status == "success" and log.samples and log.results
    assert [(s.id, s.scores["math_answer"].value) for s in log.samples if s.scores] == [
        ("r0", "I"),
        ("r1", "C"),
        ("r2", "I"),
        ("r3", "I"),
    ]
    assert log.eval.task_version == 1
    assert log.results.scores[0].metrics["accuracy"].value == 0.25
