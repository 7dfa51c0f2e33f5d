"""MMLU, MMLU-Pro, GPQA Diamond and GSM8K: prompts, targets, sources, and a run on the simulated pool."""

import json
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample

from archon_eval._notes import ArchonNote
from archon_eval.errors import DataError
from archon_eval.solvers import archon
from archon_eval.tasks import choices
from archon_eval.tasks.choices import gpqa_diamond, mmlu, mmlu_pro
from archon_eval.tasks.gsm8k import gsm8k

TASKS = {"mmlu": (mmlu, 24), "mmlu_pro": (mmlu_pro, 16), "gpqa_diamond": (gpqa_diamond, 12), "gsm8k": (gsm8k, 24)}


def samples(task: Task) -> list[Sample]:
    return list(task.dataset)


@pytest.mark.parametrize("name", TASKS)
def test_bundled_questions_split_and_stay_the_same(name: str) -> None:
    make, count = TASKS[name]
    whole = samples(make(sample=True))
    dev, test = samples(make(sample=True, split="dev")), samples(make(sample=True, split="test"))
    assert len(whole) == count and len(dev) == round(0.2 * count)
    assert {s.id for s in dev} | {s.id for s in test} == {s.id for s in whole} and len(dev) + len(test) == count
    assert [s.model_dump() for s in samples(make(sample=True))] == [s.model_dump() for s in whole]


@pytest.mark.parametrize("name", ["mmlu", "mmlu_pro", "gpqa_diamond"])
def test_the_prompt_holds_everything_and_the_target_is_the_right_option(name: str) -> None:
    key = {"mmlu": "choices", "mmlu_pro": "options"}.get(name)
    file = {"gpqa_diamond": "gpqa"}.get(name, name)
    path = Path(choices.__file__).parents[1] / "samples" / f"{file}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row, sample in zip(rows, samples(TASKS[name][0](sample=True)), strict=True):
        options = row[key] if key else [row["Correct Answer"], *(row[f"Incorrect Answer {n}"] for n in (1, 2, 3))]
        right = options[row["answer"]] if name == "mmlu" else None
        right = options[ord(row["answer"]) - 65] if name == "mmlu_pro" else right or options[0]
        assert isinstance(sample.input, str) and not sample.choices
        assert f"\n{sample.target}) {right}\n" in sample.input
        assert all(f") {option}\n" in sample.input for option in options) and "ANSWER: $LETTER" in sample.input
        assert len(set(options)) == len(options)


def test_right_answers_are_spread_over_the_letters() -> None:
    targets = [str(sample.target) for sample in samples(gpqa_diamond(sample=True))]
    assert set(targets) == set("ABCD"), "options of GPQA are shuffled by question"


def test_shared_mmlu_and_gsm8k_files_load(shared_data: Path) -> None:
    found = samples(mmlu(data=str(shared_data / "mmlu" / "stem_questions.jsonl")))
    assert len(found) == 100 and all(sample.target in "ABCD" for sample in found)
    found = samples(gsm8k(data=str(shared_data / "gsm8k" / "problems.jsonl")))
    assert len(found) == 100 and found[0].target == "10" and "Anthony had 50 pencils" in str(found[0].input)


@pytest.mark.parametrize(
    ("make", "row", "said"),
    [
        (mmlu, {"question": "q", "choice": ["a", "b"], "answer": 0}, "no 'choices' (is 'choice' meant?)"),
        (
            mmlu,
            {"question": "q", "choices": ["a", "b"], "answer": 2},
            "'answer' must be a place from 0 to 1 or a letter",
        ),
        (mmlu, {"question": "q", "choices": ["a"], "answer": 0}, "a list of 2 to 26 options"),
        (mmlu_pro, {"question": "q", "options": ["a", "b"], "answer": "C"}, "not 'C'"),
        (gpqa_diamond, {"Question": "q", "Correct Answer": "a"}, "no 'Incorrect Answer 1'"),
        (gsm8k, {"question": "q", "answer": "forty-two"}, "must end with `#### NUMBER`"),
    ],
)
def test_a_row_of_another_form_is_refused(tmp_path: Path, make: Any, row: dict[str, Any], said: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(DataError) as error:
        make(data=str(path))
    assert "mine.jsonl, line 1" in str(error.value) and said in str(error.value)


def test_a_question_that_is_there_twice_counts_once_and_a_note_says_so(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    row = {"question": "q", "choices": ["a", "b"], "answer": 0}
    rows = [row | {"subject": "law"}, row | {"subject": "ethics"}, row | {"question": "r"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.warns(ArchonNote, match="mmlu: 1 of 3 rows are left out: a question that is there before"):
        task = mmlu(data=str(path))
    assert [sample.metadata["subject"] for sample in samples(task) if sample.metadata] == ["law", None]
    assert task.metadata == {"rows": 3, "dropped": {"a question that is there before in the same words": 1}}


@pytest.mark.parametrize("name", TASKS)
def test_each_runs_end_to_end_on_the_simulated_pool(name: str, tmp_path: Path) -> None:
    solver = archon("ensemble-critic-ranker-fuser", models="sim/pool")
    (log,) = eval(TASKS[name][0](sample=True), model=None, solver=solver, log_dir=str(tmp_path), display="none")
    assert log.status == "success" and log.samples and log.results
    assert len(log.samples) == TASKS[name][1]
    assert 0.3 < log.results.scores[0].metrics["accuracy"].value <= 1.0
    score = next(iter((log.samples[0].scores or {}).values()))
    assert score.metadata and score.metadata["archon"]["calls"] >= 11
