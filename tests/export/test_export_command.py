"""`archon export` on logs of real evals: what becomes a row, what never does, and what reads the files."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from fakes.logs import write_log
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageAssistant, ContentReasoning, ContentText, ModelAPI, ModelOutput, modelapi
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

from archon_eval.cli import main
from archon_eval.solvers import archon

ANSWERS: dict[str, Callable[[str], Any]] = {}


@modelapi(name="exported")
class Exported(ModelAPI):
    """Answers as `ANSWERS` says."""

    async def generate(self, input: Any, tools: Any, tool_choice: Any, config: Any) -> ModelOutput:
        await anyio.sleep(0)
        made = ANSWERS[self.model_name](input[-1].text)
        return made if isinstance(made, ModelOutput) else ModelOutput.from_content(self.model_name, made)


def think(text: str, thoughts: str) -> ModelOutput:
    parts = [ContentReasoning(reasoning=thoughts), ContentText(text=text)]
    return ModelOutput.from_message(ChatMessageAssistant(content=parts, model="thinker"))


def judge(prompt: str) -> str:
    if prompt.startswith("Rank "):
        words = ("right", "wrong", "third", "cut")
        shown = re.findall(r'id="\[(\d)\]">([^<]*)', prompt)
        best = sorted(shown, key=lambda each: next(words.index(word) for word in words if word in each[1]))
        return " > ".join(f"[{number}]" for number, _ in best)
    if "reasons why" in prompt:
        return "It may be right."
    return "[Correct]" if "right" in prompt.split("</response>")[0].split("<response>")[1] else "[Incorrect]"


ANSWERS |= {
    "right": lambda _: think("the right answer", "secret thoughts"),
    "wrong": lambda _: "a wrong answer",
    "third": lambda _: "a third answer",
    "cut": lambda _: ModelOutput.from_content("cut", "this is cut", stop_reason="max_tokens"),
    "judge": judge,
}
JUDGED = {
    "name": "judged",
    "layers": [
        {"generator": [f"exported/{name}" for name in ("wrong", "right", "third", "cut")]},
        {"ranker": {"model": "exported/judge", "top_k": 4}},
        {"verifier": {"model": "exported/judge"}},
        {"ranker": {"model": "exported/judge", "top_k": 1}},
    ],
}


def run(folder: Path, samples: list[Sample], *, answerer: Any = JUDGED, name: str = "asked", **options: Any) -> Path:
    """A real eval; the folder of its log."""
    solver = archon(answerer, **options) if isinstance(answerer, dict) else generate()
    model = None if isinstance(answerer, dict) else answerer
    task = Task(MemoryDataset(samples), solver=solver, scorer=includes(), name=name)
    (log,) = eval(task, model=model, log_dir=str(folder), display="none")
    assert log.status == "success", log.error
    return folder


def ask(id: str, side: str = "dev") -> Sample:
    return Sample(id=id, input=f"Question {id}?", target="right", metadata={"archon_split": side} if side else None)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of two questions for the search, one that is held out."""
    return run(tmp_path_factory.mktemp("judged"), [ask("q1"), ask("q2"), ask("q3", "test")])


def export(tmp_path: Path, kind: str, *words: Any) -> list[dict[str, Any]]:
    file = tmp_path / "rows.jsonl"
    assert main(["export", kind, *map(str, words), "-o", str(file)]) == 0
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_final_answers_are_conversations_without_thoughts_and_held_out_questions(
    judged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = export(tmp_path, "sft", judged)
    assert [row["messages"] for row in rows] == [
        [{"role": "user", "content": f"Question {id}?"}, {"role": "assistant", "content": "the right answer"}]
        for id in ("q1", "q2")
    ]
    found = rows[0]["provenance"]
    assert found["log"] == next(judged.glob("*.eval")).name, "no folder of the machine"
    assert {
        name: found[name] for name in ("task", "question", "epoch", "split", "architecture", "scorer", "score")
    } == {
        **{"task": "asked", "question": "q1", "epoch": 1, "split": "dev", "architecture": "judged"},
        **{"scorer": "includes", "score": 1.0},
    }
    assert len(found["fingerprint"]) == 16 and "exported/judge" in found["models"]
    printed = capsys.readouterr().out
    assert "2 rows of 2 questions in 1 logs" in printed and "1 held-out questions refused" in printed
    assert "licence" in printed
    everything = export(tmp_path, "sft", judged, "--include-held-out", "--with-thoughts")
    assert [row["provenance"]["split"] for row in everything] == ["dev", "dev", "test"]
    assert everything[0]["messages"][-1]["thinking"] == "secret thoughts"


def test_pairs_come_from_rankings_and_verdicts_of_whole_candidates(judged: Path, tmp_path: Path) -> None:
    rows = export(tmp_path, "preferences", judged)
    texts = [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows[:3]]
    assert set(texts) == {
        ("the right answer", "a third answer"),
        ("the right answer", "a wrong answer"),
        ("a wrong answer", "a third answer"),
    }
    by_texts = dict(zip(texts, rows, strict=False))
    best = by_texts["the right answer", "a wrong answer"]
    assert best["prompt"] == [{"role": "user", "content": "Question q1?"}]
    assert set(best["provenance"]["sources"]) == {"ranking", "verdict"} and "verdict 1 > 0" in best["provenance"]["why"]
    assert best["provenance"]["chosen"]["candidate"] == "1.2" and best["provenance"]["rejected"]["candidate"] == "1.1"
    assert best["provenance"]["rejected"]["models"] == ["exported/wrong"]
    assert by_texts["a wrong answer", "a third answer"]["provenance"]["sources"] == ["ranking"], "equal verdicts: none"
    text = json.dumps(rows)
    assert "this is cut" not in text and "secret thoughts" not in text and "Question q3" not in text
    only = export(tmp_path, "preferences", judged, "--by", "ranking", "--per-question", 1)
    assert [row["rejected"][0]["content"] for row in only] == ["a third answer"] * 2, "the widest gap first"


def test_answers_of_two_systems_are_compared_by_score(judged: Path, tmp_path: Path) -> None:
    other = run(tmp_path / "other", [ask("q1"), ask("q2"), ask("q3")], answerer="exported/wrong")
    rows = export(tmp_path, "preferences", judged, other, "--by", "score")
    assert [row["provenance"]["question"] for row in rows] == ["q1", "q2"], "held out in one log is held out"
    assert (
        rows[0]["chosen"][0]["content"] == "the right answer" and rows[0]["rejected"][0]["content"] == "a wrong answer"
    )
    assert rows[0]["provenance"]["rejected"]["architecture"] is None
    assert rows[0]["provenance"]["rejected"]["models"] == ["exported/wrong"]
    best = export(tmp_path, "sft", judged, other, "--min-score", 1)
    assert {row["messages"][-1]["content"] for row in best} == {"the right answer"}


def test_cut_refused_and_empty_answers_are_no_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = {
        "Question cut?": ModelOutput.from_content("m", "half", stop_reason="max_tokens"),
        "Question no?": ModelOutput.from_content("m", "I must not", stop_reason="content_filter"),
        "Question empty?": " ",
        "Question thinks?": "<think>hm</think>right",
        "Question fails?": None,
    }
    ANSWERS["mixed"] = lambda prompt: answers[prompt] if answers[prompt] is not None else 1 / 0
    task = Task(MemoryDataset([ask(id) for id in ("cut", "no", "empty", "thinks", "fails")]), scorer=includes())
    (log,) = eval(task, model="exported/mixed", log_dir=str(tmp_path / "logs"), display="none", fail_on_error=False)
    assert log.status == "success"
    rows = export(tmp_path, "sft", tmp_path / "logs")
    assert [row["messages"][-1]["content"] for row in rows] == ["right"]
    printed = capsys.readouterr().out
    for words in ("1 answers cut", "1 answers refused", "1 empty answers", "1 answers that failed"):
        assert f"Left out: {words}" in printed


def test_a_judging_architecture_makes_no_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from inspect_ai.scorer import Score, Target, mean, scorer
    from inspect_ai.solver import TaskState

    from archon_eval import Archon

    @scorer(metrics=[mean()])
    def asks_an_architecture() -> Any:
        grader = Archon(JUDGED)

        async def score(state: TaskState, target: Target) -> Score:
            await grader.generate("Grade this")
            return Score(value=1.0)

        return score

    task = Task(MemoryDataset([ask("q1")]), scorer=asks_an_architecture())
    eval(task, model="exported/wrong", log_dir=str(tmp_path / "logs"), display="none")
    assert main(["export", "preferences", str(tmp_path / "logs"), "--dry-run"]) == 1
    assert "nothing to export" in capsys.readouterr().err


def test_logs_without_candidates_say_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = run(tmp_path / "logs", [ask("q1")], trace="compact")
    assert main(["export", "preferences", str(logs), "-o", str(tmp_path / "no.jsonl")]) == 1
    said = capsys.readouterr().err
    assert "trace=compact" in said and "trace=full" in said and "store_policy=replay" in said
    assert not (tmp_path / "no.jsonl").exists(), "no empty file"
    assert len(export(tmp_path, "sft", logs)) == 1, "a final answer needs no candidates"


def test_bad_input_is_refused_before_anything_is_written(
    judged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept.jsonl"
    kept.write_text("mine", encoding="utf-8")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine", encoding="utf-8")
    for words, said in (
        ([], "where to?"),
        (["-o", kept, "--by", "rankng"], "did you mean 'ranking'"),
        (["-o", kept, "--scorer", "exact"], "no scorer 'exact'"),
        (["--dataset", tmp_path / "full"], "something else than a data set"),
        (["-o", kept, "--by", "score", "--min-score", "2"], "nothing to export"),
    ):
        assert main(["export", "preferences", str(judged), *map(str, words)]) == 1
        assert said in capsys.readouterr().err
    assert kept.read_text(encoding="utf-8") == "mine" and sorted(p.name for p in (tmp_path / "full").iterdir()) == [
        "note.txt"
    ]
    assert main(["export", "sft", str(tmp_path / "nowhere"), "--dry-run"]) == 1
    assert "no such log" in capsys.readouterr().err


def test_only_held_out_questions_are_an_error_that_names_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write_log(tmp_path / "a.eval", {"q1": [1.0], "q2": [0.0]}, plain=True)
    assert len(export(tmp_path, "sft", log)) == 2
    assert "2 questions have no split" in capsys.readouterr().out
    logs = run(tmp_path / "logs", [ask("q1", "test")])
    assert main(["export", "sft", str(logs), "--dry-run"]) == 1
    assert "--include-held-out" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["sft", "preferences"])
def test_datasets_reads_both_forms_with_the_columns_that_trl_documents(kind: str, judged: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = export(tmp_path, kind, judged, "--with-thoughts", "--dataset", tmp_path / "set")
    loaded = datasets.load_from_disk(str(tmp_path / "set"))
    lines = datasets.load_dataset("json", data_files=str(tmp_path / "rows.jsonl"), cache_dir=str(tmp_path / "cache"))
    columns = {"sft": ["messages"], "preferences": ["prompt", "chosen", "rejected"]}[kind]
    assert loaded.column_names == [*columns, "provenance"] == lines["train"].column_names
    assert loaded.num_rows == lines["train"].num_rows == len(rows)
    for name in columns:
        assert all(isinstance(turn["content"], str) and turn["role"] for turn in loaded[0][name])
        assert [turn["content"] for turn in loaded[0][name]] == [turn["content"] for turn in rows[0][name]]
    assert loaded[0][columns[-1]][-1]["role"] == "assistant"
    export(tmp_path, kind, judged, "--dataset", tmp_path / "set", "--per-question", 1)
    assert datasets.load_from_disk(str(tmp_path / "set")).num_rows == 2, "replaced"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "rows.jsonl", "set"], "nothing is left beside"
