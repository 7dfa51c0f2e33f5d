"""AlpacaEval, Arena-Hard, MT-Bench and MixEval as tasks: bundled and official files, both turns, clear errors."""

import gzip
import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput, ModelUsage, get_model
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver

from archon_eval._notes import ArchonNote
from archon_eval.errors import DataError
from archon_eval.scorers.alpaca_eval import alpaca_eval as alpaca_eval_scorer
from archon_eval.tasks import _pinned
from archon_eval.tasks._pinned import collect_model_answers, load_github_file, load_hub_file
from archon_eval.tasks._rows import Row, load_local_rows
from archon_eval.tasks.alpaca_eval import alpaca_eval
from archon_eval.tasks.arena_hard import arena_hard
from archon_eval.tasks.mixeval import mixeval, mixeval_hard
from archon_eval.tasks.mt_bench import each_turn, mt_bench

TASKS: list[Callable[..., Task]] = [alpaca_eval, arena_hard, mt_bench, mixeval, mixeval_hard]


def scripted(says: Callable[[list[ChatMessage]], str]) -> Model:
    def answer(messages: list[ChatMessage], tools: Any, choice: Any, config: GenerateConfig) -> ModelOutput:
        output = ModelOutput.from_content("scripted", says(messages))
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    return get_model("mockllm/scripted", custom_outputs=answer, memoize=False)


def judge_of_any_benchmark(messages: list[ChatMessage]) -> str:
    """Prefers what is shown first, in the verdict format that the prompt asks for."""
    text = messages[0].text + messages[-1].text
    formats = {"[[A>>B]]": "[[A>B]]", "[[A]]": "[[A]]", "[[none]]": "[[A]]", "[[0.5]]": "[[0.5]]", "[[5]]": "[[7]]"}
    return next((verdict for form, verdict in formats.items() if form in text), "m")


def run(task: Task, model: Model | None = None, **options: Any) -> EvalLog:
    model = model or scripted(lambda messages: f"Reply to: {messages[-1].text}")
    roles = {"judge": scripted(judge_of_any_benchmark)}
    (log,) = eval(task, model=model, model_roles=roles, display="none", log_dir="memory://tasks", **options)
    assert log.status == "success", log.error
    return log


def figures(log: EvalLog) -> dict[str, float]:
    assert log.results
    return {name: metric.value for name, metric in log.results.scores[0].metrics.items()}


@pytest.mark.parametrize(
    ("task", "key", "value"),
    [
        (alpaca_eval, "win_rate", None),
        (arena_hard, "win_rate", 50),
        (mt_bench, "win_rate_adjusted", 0.5),
        (mixeval, "overall", None),
        (mixeval_hard, "overall", None),
    ],
)
def test_the_bundled_sample_runs_from_end_to_end(task: Callable[..., Task], key: str, value: float | None) -> None:
    log = run(task(sample=True))
    assert log.results and log.results.completed_samples == log.results.total_samples >= 8
    assert figures(log)[key] == (pytest.approx(value) if value is not None else pytest.approx(50, abs=50))


def test_unreadable_choices_are_counted_and_each_score_says_which_it_is() -> None:
    says = {"MMLU": "[[none]]", "PIQA": "[[Z]]", "free": "[[0.5]]"}
    questions = {s.metadata["question"]: s.metadata for s in mixeval(sample=True).dataset if s.metadata}

    def judge(messages: list[ChatMessage]) -> str:
        text = messages[-1].text
        facts = next(facts for question, facts in questions.items() if question in text)
        return says["free"] if facts["part"] == "free-form" else says.get(facts["benchmark"], "[[A]]")

    roles = {"judge": scripted(judge)}
    (log,) = eval(
        mixeval(sample=True),
        model=scripted(lambda _: "?"),
        model_roles=roles,
        epochs=2,
        display="none",
        log_dir="memory://m",
    )
    assert log.status == "success" and figures(log)["unreadable_choices"] == 2 * 3 and log.samples
    found: dict[str, set[str]] = {}
    for sample in log.samples:
        (score,) = (sample.scores or {}).values()
        assert score.metadata
        found.setdefault(score.metadata["status"], set()).add(score.metadata["benchmark"])
        if score.metadata["status"] != "read":
            assert score.value == 0 and "which counts as wrong" in str(score.explanation)
    assert (found["no choice"], found["beyond the options"]) == ({"MMLU"}, {"PIQA"}) and "DROP" in found["read"]
    assert "unreadable_choices" not in figures(run(mixeval(sample=True, part="free-form")))


def test_mt_bench_single_grading_and_the_second_turn_sees_the_first_answer() -> None:
    heard: list[list[ChatMessage]] = []

    def says(messages: list[ChatMessage]) -> str:
        heard.append(messages)
        return f"Answer {len(messages)}"

    log = run(mt_bench(sample=True, grading="single"), scripted(says), limit=1)
    assert figures(log) == {"average": 7, "turn_1": 7, "turn_2": 7}
    assert [[m.role for m in messages] for messages in heard] == [["user"], ["user", "assistant", "user"]]
    assert heard[1][1].text == "Answer 1"


@solver
def parrot(prefix: str) -> Solver:
    """Answers the last user message, without a model."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.output = ModelOutput.from_content("parrot", f"{prefix} {state.messages[-1].text}")
        state.messages.append(state.output.message)
        return state

    return solve


def test_each_turn_wraps_any_registered_solver() -> None:
    log = run(mt_bench(sample=True), limit=1, solver=each_turn("parrot", prefix="Hm."))
    assert log.samples and [m.role for m in log.samples[0].messages] == ["user", "assistant"] * 2
    assert log.samples[0].messages[1].text.startswith("Hm. Write") and "Hm. Rewrite" in log.samples[0].messages[3].text


def test_each_turn_asks_no_turn_twice() -> None:
    log = run(mt_bench(sample=True), limit=1, solver=each_turn("archon_eval/each_turn"))
    assert log.samples and [m.role for m in log.samples[0].messages] == ["user", "assistant"] * 2


def test_a_solver_of_one_turn_is_found_out() -> None:
    model, roles = scripted(lambda messages: "Only once."), {"judge": scripted(judge_of_any_benchmark)}
    (log,) = eval(
        mt_bench(sample=True),
        solver=generate(),
        model=model,
        model_roles=roles,
        display="none",
        limit=1,
        log_dir="memory://tasks",
    )
    assert log.status == "error" and log.error and "each_turn" in log.error.message


@pytest.mark.parametrize("task", TASKS)
def test_splits_are_disjoint_and_complete(task: Callable[..., Task]) -> None:
    ids = {split: {sample.id for sample in task(sample=True, split=split).dataset} for split in ("dev", "test", "all")}
    assert ids["dev"] | ids["test"] == ids["all"] and not ids["dev"] & ids["test"]
    assert len(ids["dev"]) == round(len(ids["all"]) / 5)
    assert len(task(sample=True, n=5).dataset) == 5
    with pytest.raises(DataError, match="did you mean 'test'"):
        task(sample=True, split="tets")


@pytest.mark.parametrize("task", TASKS)
def test_prompts_are_in_the_sample_and_metadata_is_complete(task: Callable[..., Task]) -> None:
    for sample in task(sample=True).dataset:
        assert isinstance(sample.input, str) and sample.input.strip() and sample.choices is None
        assert sample.metadata and json.dumps(sample.metadata)


def test_official_files(shared_data: Path, tmp_path: Path) -> None:
    alpaca = alpaca_eval(data=str(shared_data / "alpaca_eval/instructions_baseline.jsonl.gz"), length_controlled=False)
    assert [s.metadata["index"] for s in alpaca.dataset if s.metadata] == list(range(805))
    rows = [row.values for row in load_local_rows(shared_data / "alpaca_eval/instructions_baseline.jsonl.gz")]
    official = tmp_path / "alpaca_eval_gpt4_baseline.json"  # a list in official order, without `index`
    official.write_text(json.dumps([{k: v for k, v in row.items() if k != "index"} for row in rows]))
    again = alpaca_eval(data=str(official), length_controlled=False)
    assert [s.id for s in again.dataset] == [s.id for s in alpaca.dataset]

    arena = shared_data / "arena_hard"
    hard = arena_hard(
        data=str(arena / "questions_v0.1.jsonl.gz"), baseline=str(arena / "answers_gpt-4-0314_baseline.jsonl.gz")
    )
    assert len(hard.dataset) == 500

    mt = shared_data / "mt_bench"
    questions, reference = str(mt / "questions.jsonl"), str(mt / "reference_answers_gpt-4.jsonl")
    baseline = str(mt / "answers_claude-3-5-sonnet-20240620.jsonl.gz")
    bench = mt_bench(data=questions, reference=reference, baseline=baseline)
    assert len(bench.dataset) == 80
    assert sum(bool(s.metadata and s.metadata["reference"]) for s in bench.dataset) == 30
    assert len(mt_bench(grading="single", data=questions, reference=reference).dataset) == 80

    files = [
        str(shared_data / f"mixeval/questions_2024-06-01/mixeval__{p}.jsonl.gz")
        for p in ("free-form", "multiple-choice")
    ]
    assert len(mixeval(data=files).dataset) == 4000
    assert len(mixeval(data=files, split="dev").dataset) == 800


def test_official_length_control_is_prepared_before_anything_is_paid(shared_data: Path, calibration: str) -> None:
    data = str(shared_data / "alpaca_eval/instructions_baseline.jsonl.gz")
    with pytest.raises(DataError, match="calibration=absent"):
        alpaca_eval(data=data, calibration="absent.csv")
    log = run(alpaca_eval(data=data, calibration=calibration), limit=12)
    assert 0 < figures(log)["length_controlled_winrate"] < 100


@pytest.fixture(scope="module")
def alpaca_rows(shared_data: Path) -> list[dict[str, Any]]:
    return [dict(row.values) for row in load_local_rows(shared_data / "alpaca_eval/instructions_baseline.jsonl.gz")]


@pytest.fixture(scope="module")
def calibration(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("alpaca_eval", reason="the extra `alpaca` is not installed")
    path = tmp_path_factory.mktemp("calibration") / "df_gamed.csv"
    path.write_bytes(gzip.decompress((shared_data / "alpaca_eval/df_gamed_RECONSTRUCTED.csv.gz").read_bytes()))
    return str(path)


def test_length_control_goes_with_the_text_and_not_with_the_place(
    alpaca_rows: list[dict[str, Any]], calibration: str, tmp_path: Path
) -> None:
    shuffled = random.Random(3).sample(alpaca_rows, len(alpaca_rows))
    files = {
        "in order": write(tmp_path / "ordered.jsonl", *alpaca_rows),
        "shuffled": write(
            tmp_path / "shuffled.jsonl", *({k: v for k, v in r.items() if k != "index"} for r in shuffled)
        ),
        "numbered anew": write(tmp_path / "anew.jsonl", *(row | {"index": n} for n, row in enumerate(shuffled))),
    }
    found = {}
    for kind, file in files.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ArchonNote)
            task = alpaca_eval(data=file, calibration=calibration, n=60)
        said = [str(note.message) for note in caught if note.category is ArchonNote]
        if kind == "numbered anew":
            (note,) = said
            first = shuffled[0]["index"]
            assert "of 805 rows have another index than their instruction has in AlpacaEval" in note
            assert f"anew.jsonl, line 1: 0 instead of {first}" in note
        else:
            assert not said
        found[kind] = figures(run(task))
    assert found["shuffled"] == pytest.approx(found["in order"], abs=1e-9)
    assert found["numbered anew"] == pytest.approx(found["in order"], abs=1e-9)
    assert 0 < found["in order"]["length_controlled_winrate"] < 100


def test_an_instruction_of_another_text_leaves_no_length_control_and_says_so(
    alpaca_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    edited = [dict(row) for row in alpaca_rows[:20]]
    edited[4]["instruction"] += " Answer in French."
    edited[7]["instruction"] = "  " + edited[7]["instruction"].replace(" ", "\r\n", 1)
    file = write(tmp_path / "mine.jsonl", *edited)
    with pytest.warns(
        ArchonNote, match=r"1 of 20 instructions are not AlpacaEval's .the first: mine.jsonl, line 5.; with"
    ):
        task = alpaca_eval(data=file)
    assert task.metadata and task.metadata["rows"] == 20 and len(task.metadata["notes"]) == 1
    log = run(task)
    assert "length_controlled_winrate" not in figures(log) and figures(log)["n_total"] == 20
    scores = {str(sample.id): next(iter((sample.scores or {}).values())) for sample in log.samples or ()}
    said = {
        id: ((score.metadata or {})["index"], (score.metadata or {})["length_control"]) for id, score in scores.items()
    }
    other = str(task.dataset[4].id)
    assert said.pop(other) == (None, "not an AlpacaEval instruction")
    assert said == {f"alpaca-{index:03d}": (index, "possible") for index in range(20) if index != 4}
    assert "Length control: not an AlpacaEval instruction." in str(scores[other].explanation)


def test_the_scorer_trusts_no_index_that_a_task_from_elsewhere_gives(alpaca_rows: list[dict[str, Any]]) -> None:
    facts = [
        {"instruction": alpaca_rows[3]["instruction"], "baseline_output": "x", "index": 9},
        {"instruction": alpaca_rows[5]["instruction"], "baseline_output": "x"},
        {"instruction": "Why?", "baseline_output": "x", "index": 7},
    ]
    samples = [Sample(input=fact["instruction"], id=n, metadata=fact) for n, fact in enumerate(facts)]
    log = run(Task(dataset=samples, scorer=alpaca_eval_scorer()))
    scores = [next(iter((sample.scores or {}).values())) for sample in log.samples or ()]
    assert [(score.metadata or {})["index"] for score in scores] == [3, 5, None]
    assert "index 9 is not this instruction's, which is 3" in str(scores[0].explanation)
    assert "index 7 is not this instruction's, which is None" in str(scores[2].explanation)
    assert "length_controlled_winrate" not in figures(log)


def write(path: Path, *records: object) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_wrong_files_say_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "file.jsonl"
    question = {"uid": "q1", "prompt": "Why?"}
    answer = {"uid": "q2", "answer": "Because."}
    with pytest.raises(DataError, match=r"file\.jsonl, line 1: no 'output'"):
        alpaca_eval(data=write(file, {"instruction": "Why?"}))
    with pytest.raises(DataError, match="the baseline has no answer to question 'q1'"):
        arena_hard(data=write(file, question), baseline=write(tmp_path / "answers.jsonl", answer))
    two = {"uid": "q1", "turns": ["Why?", "And then?"]}
    with pytest.raises(DataError, match=r"file\.jsonl, line 1: 'turns' must be a list of one turn"):
        arena_hard(data=write(file, two), baseline=write(tmp_path / "answers.jsonl", answer | {"uid": "q1"}))
    with pytest.raises(DataError, match="did you mean 'gpt-4-0314'"):
        arena_hard(data=write(file, question), baseline="gpt-4-0413")
    with pytest.raises(DataError, match="'turns' must be two texts"):
        mt_bench(
            grading="single",
            data=write(file, {"question_id": 1, "turns": ["One?"]}),
            reference=write(tmp_path / "r.jsonl", {"question_id": 1, "choices": [{"turns": ["x", "y"]}]}),
        )
    with pytest.raises(DataError, match="did you mean 'single'"):
        mt_bench(sample=True, grading="singel")
    with pytest.raises(DataError, match="did you mean 'free-form'"):
        mixeval(
            data=write(
                file, {"id": 1, "problem_type": "freeform", "prompt": "x", "target": ["y"], "benchmark_name": "z"}
            )
        )
    choice = {"id": 1, "problem_type": "multiple-choice", "prompt": "x", "benchmark_name": "z", "options": ["a", "b"]}
    with pytest.raises(DataError, match="indexes of the 2 options"):
        mixeval(data=write(file, choice | {"target": [2]}))
    with pytest.raises(DataError, match="give one of them"):
        mixeval(sample=True, data="x.json")


def test_questions_without_a_category_are_judged_without_a_reference_and_a_note_says_so(tmp_path: Path) -> None:
    questions = [
        {"question_id": n, "turns": ["One?", "Two?"], **facts} for n, facts in enumerate([{}, {"category": "stem"}])
    ]
    file = write(tmp_path / "questions.jsonl", *questions)
    with pytest.warns(ArchonNote, match="mt_bench: 1 of 2 questions have no category, so the judge sees no reference"):
        task = mt_bench(grading="single", data=file)
    assert len(task.dataset) == 2


def test_forms_of_model_answers() -> None:
    forms: list[dict[str, Any]] = [
        {"question_id": 7, "choices": [{"index": 0, "turns": ["one", "two"]}]},
        {"question_id": "b", "choices": [{"index": 0, "turns": [{"content": "one", "token_len": 1}]}]},
        {
            "uid": "c",
            "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": {"answer": "one"}}],
        },
        {"uid": "d", "answer": "one"},
    ]
    rows = [Row(f"line {n}", form) for n, form in enumerate(forms, 1)]
    assert collect_model_answers(rows) == {"7": ["one", "two"], "b": ["one"], "c": ["one"], "d": ["one"]}
    with pytest.raises(DataError, match="answered twice"):
        collect_model_answers([*rows, rows[0]])
    for wrong in (
        {"uid": "x", "choices": []},
        {"uid": "x", "choices": [{"turns": [3]}]},
        {"uid": "x", "messages": [1]},
    ):
        with pytest.raises(DataError, match="line 1: not a model answer"):
            collect_model_answers([Row("line 1", wrong)])


def test_an_object_of_records_and_pinned_files_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "free-form.json"
    file.write_text('{"3": {"prompt": "x"}}')
    assert load_local_rows(file)[0].values == {"id": "3", "prompt": "x"}
    for wrong, message in (('{"3": 4}', "object of records"), ('{"3": ', "not JSON")):
        file.write_text(wrong)
        with pytest.raises(DataError, match=message):
            load_local_rows(file)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def unreachable(*args: object, **kwargs: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(_pinned, "urlopen", unreachable)
    with pytest.raises(DataError, match=r"own/er@abcdef0/x\.jsonl: GitHub did not give it .*sample=true"):
        load_github_file("own/er", "abcdef0123", "x.jsonl")
    cached = tmp_path / "archon_eval/own/er/abcdef0123/x.jsonl"
    cached.parent.mkdir(parents=True)
    write(cached, {"id": 1})
    assert load_github_file("own/er", "abcdef0123", "x.jsonl")[0].values == {"id": 1}
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "hf_hub_download", unreachable)
    with pytest.raises(DataError, match="the Hub did not give it"):
        load_hub_file("own/er", "abcdef0123", "x.jsonl")
