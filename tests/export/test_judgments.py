"""What components say of candidates, as the trace has it and a log keeps it."""

import json
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.cli import main
from archon_eval.components import CallContext, Candidate, CandidateScorer, ComponentType, State
from archon_eval.engine.engine import Engine
from archon_eval.engine.trace import Trace
from archon_eval.errors import ArchitectureError, DataError
from archon_eval.export.answers import LoggedAnswer, LoggedQuestion
from archon_eval.export.rows import RowFilter, build_pairs
from archon_eval.export.splits import find_side_of_file
from archon_eval.models.call import Call, Reply
from archon_eval.runs.candidates import LoggedCandidate, LoggedCandidates, LoggedJudgment
from archon_eval.types import Message

GENERATOR = {"generator": {"model": "made/g", "samples": 3}}


class Lengths(CandidateScorer):
    """A component of a user's own that compares candidates by a source of its own."""

    kind = ComponentType("lengths", needs_model=False)

    async def judge(self, state: State, candidate: Candidate, ctx: CallContext) -> Candidate:
        ctx.record_judgment("brevity", {candidate.id: float(self.weigh(candidate))})
        return replace(candidate, text=candidate.text.upper())

    def weigh(self, candidate: Candidate) -> float:
        return -len(candidate.text)


class Unsure(Lengths):
    """Whose number is none."""

    def weigh(self, candidate: Candidate) -> float:
        return float("nan")


def answer(*layers: Any, judge: Any = "[Correct]") -> Trace:
    replies = iter(judge if isinstance(judge, list) else [])

    async def call(call: Call) -> Reply:
        if call.model == "made/g":
            return Reply("x" * (call.draw + 1))
        if callable(judge):
            return Reply(judge(call.messages[-1].content))
        return Reply(next(replies) if isinstance(judge, list) else judge)

    layered = load_architecture({"name": "test", "layers": [GENERATOR, *layers]})
    return anyio.run(Engine(layered, call).run, (Message("user", "Why?"),)).trail


def read(trace: Trace) -> dict[str, dict[str, float]]:
    """Source -> text of a candidate -> value, by way of a log."""
    logged = LoggedCandidates.from_data(json.loads(json.dumps(LoggedCandidates.from_trace(trace).to_data())))
    assert logged == LoggedCandidates.from_trace(trace) and logged.messages == ({"role": "user", "content": "Why?"},)
    return {
        each.source: {logged.candidates[place].text: value for place, value in each.values.items()}
        for each in logged.judgments
    }


def test_a_ranking_says_of_all_whom_it_names_whatever_goes_on() -> None:
    trace = answer({"ranker": {"model": "made/j", "top_k": 1}}, judge="[3] > [1] > [2]")
    assert read(trace) == {"ranking": {"xxx": -1, "x": -2, "xx": -3}}
    partial = answer({"ranker": {"model": "made/j", "top_k": 1}}, judge="[3] > [1]")
    assert read(partial) == {"ranking": {"xxx": -1, "x": -2}}
    assert read(answer({"ranker": {"model": "made/j", "max_parse_retries": 0}}, judge="no")) == {}


def test_verdicts_tell_of_the_rejected_too_and_unread_ones_are_none() -> None:
    def judge(prompt: str) -> str:
        verdicts = {"\nx\n": "[Incorrect]", "\nxx\n": "[Correct]", "\nxxx\n": "?"}
        return next(verdict for text, verdict in verdicts.items() if text in prompt)

    trace = answer({"verifier": {"model": "made/j", "max_parse_retries": 0}}, judge=judge)
    assert read(trace) == {"verdict": {"x": 0, "xx": 1}}, "the one that was not read is neither"
    assert len(trace.layers[-1].candidates) == 2, "the rejected one did not go on"


def test_tests_count_where_all_have_a_result() -> None:
    tests = '["It is short.", "It is right."]'
    results = [tests] + ["Unit Test #1: [Passed]\nUnit Test #2: [Failed]"] * 2 + ["Unit Test #1: [Passed]"]
    layers = ({"unit_test_generator": "made/j"}, {"unit_test_evaluator": {"model": "made/j", "max_parse_retries": 0}})
    assert list(read(answer(*layers, judge=results))["tests"].values()) == [1, 1]


def test_rewards_and_comparisons_tell_of_all_that_were_read() -> None:
    def score(prompt: str) -> str:
        scores = {"\nx\n": "Score: 20", "\nxx\n": "Score: 90", "\nxxx\n": "?"}
        return next(reply for text, reply in scores.items() if text in prompt)

    assert read(answer({"reward": {"model": "made/j", "max_parse_retries": 0}}, judge=score)) == {
        "reward": {"x": 20, "xx": 90}
    }

    def compare(prompt: str) -> str:  # the longer one wins; the comparison of the longest with the shortest is unread
        shown = [text for text in ("x", "xx", "xxx") if f"\n{text}\n" in prompt]
        if shown == ["x", "xxx"]:
            return "?"
        return "Better: [1]" if prompt.index(f"\n{shown[1]}\n") < prompt.index(f"\n{shown[0]}\n") else "Better: [2]"

    assert read(answer({"pairwise": {"model": "made/j", "max_parse_retries": 0}}, judge=compare)) == {
        "wins": {"x": 0, "xx": 0.5, "xxx": 1}
    }


@pytest.mark.parametrize(
    ("layers", "replies", "thoughts"),
    [
        ([{"generator": "made/g"}, {"refine": {"model": "made/j", "rounds": 1}}],
         [("old", "on old"), ("Mend it.\n[Revise]", "on feedback"), ("new", "on new")], {"new": "on new"}),
        ([{"moderated_debate": {"model": "made/g", "moderator": "made/j", "rounds": 1}}],
         [("yes", "on yes"), ("no", "on no"), ("It is no.\n[Negative]", "on the two")], {"no": "on no"}),
        ([{"generator": "made/g"}, {"verifier": "made/j"}],
         [("one", "on one"), ("Fine.", "on reasons"), ("[Correct]", "on the verdict")], {"one": "on one"}),
        ([{"debate": {"model": "made/g", "confidence": True}}],
         [("It is 4.\nConfidence: 0.8", "on 4")], {"It is 4.": "on 4"}),
        ([{"guided_generator": {"model": "made/g"}}],
         [("Principles.", "on principles"), ("four", "on four")], {"four": "on four"}),
    ],
)  # fmt: skip
def test_thoughts_are_those_of_the_reply_that_wrote_the_text(
    layers: Any, replies: list[tuple[str, str]], thoughts: dict[str, str]
) -> None:
    left = iter(replies)

    async def call(call: Call) -> Reply:
        text, thought = next(left)
        return Reply(text, thoughts=thought)

    layered = load_architecture({"name": "test", "layers": layers})
    trail = anyio.run(Engine(layered, call).run, (Message("user", "Why?"),)).trail
    logged = LoggedCandidates.from_trace(trail)
    answer = logged.candidates[logged.answer or 0]
    assert {answer.text: answer.thoughts} == thoughts


def test_a_users_own_component_judges_by_a_source_of_its_own_and_of_the_texts_it_was_given() -> None:
    assert read(answer({f"{__name__}:Lengths": {}})) == {"brevity": {"x": -1, "xx": -2, "xxx": -3}}
    with pytest.raises(ArchitectureError, match="must be finite numbers"):
        answer({f"{__name__}:Unsure": {}})


def test_pairs_of_many_candidates_share_their_prompt_and_only_wanted_ones_become_rows() -> None:
    count, prompt = 200, ({"role": "user", "content": "Why? " * 2_000},)
    candidates = tuple(LoggedCandidate(f"1.{place}", f"text {place}") for place in range(count))
    judged = LoggedJudgment(2, "reward", "reward", {place: float(place) for place in range(count)})
    record = LoggedCandidates(prompt, candidates, (judged,), 0)
    answer = LoggedAnswer(log="a", epoch=1, prompt=prompt, text="text 0", candidates=(record,))
    left_out = Counter[str]()
    tracemalloc.start()
    rows = build_pairs(LoggedQuestion("t", "q", "dev", (answer,)), RowFilter(per_question=1), left_out, Counter())
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [row["provenance"]["why"] for row in rows] == ["reward 199 > 0"]
    assert left_out["rows beyond --per-question"] == count * (count - 1) // 2 - 1
    assert most < 2_000 * count * (count - 1) // 2  # bytes; a pair with a prompt of its own takes 10,000


def test_the_answer_of_a_stage_that_stands_is_not_what_its_rule_was_shown() -> None:
    async def call(call: Call) -> Reply:
        if call.model == "made/j":
            return Reply("[1] > [2] > [3]")
        return Reply(f"The answer is {1 if call.draw == 0 else 2}.", thoughts=f"thought {call.draw}")

    layers = [{"generator": {"model": "made/g", "samples": 3}}, {"ranker": "made/j"}, {"vote": {"top_k": 1}}]
    stages = [{"layers": layers, "accept": {"agreement": 0.6}}, {"layers": [{"generator": "made/g"}]}]
    engine = Engine(load_architecture({"name": "test", "cascade": stages}), call)
    answer = anyio.run(engine.run, (Message("user", "Why?"),))
    logged = LoggedCandidates.from_trace(answer.trail)
    assert logged.answer is not None and answer.text == "The answer is 2."
    assert (logged.candidates[logged.answer].text, logged.candidates[logged.answer].thoughts) == (
        "The answer is 2.",
        "thought 1",
    )


def test_a_damaged_record_is_an_error() -> None:
    data = LoggedCandidates.from_trace(answer({"ranker": "made/j"}, judge="[3] > [1] > [2]")).to_data()
    for change in ({"version": 9}, {"answer": 7}, {"judgments": [{}]}, {"candidates": None}):
        with pytest.raises(DataError):
            LoggedCandidates.from_data({**data, **change})


DATE = "2026-01-02T03-04-05.000006"


def write_lm_eval(folder: Path, name: str, scores: list[float], *, replies: Any = None, **row: Any) -> Path:
    """Results of lm-eval of one task, with samples."""
    folder.mkdir(parents=True)
    results = {
        "results": {"t": {"alias": "t", "acc,none": sum(scores) / len(scores)}},
        "configs": {"t": {"metric_list": [{"metric": "acc", "aggregation": "mean"}]}},
        "higher_is_better": {"t": {"acc": True}},
        "config": {"model": "hf", "model_args": f"pretrained=org/{name}"},
    }
    (folder / f"results_{DATE}.json").write_text(json.dumps(results, indent=2))
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    lines = [
        {
            **{"doc_id": n, "target": "a", "filter": "none", "doc_hash": f"d{n}", "target_hash": "t", "acc": score},
            "arguments": {"gen_args_0": {"arg_0": json.dumps(turns) if n else "Why?", "arg_1": {"until": ["x"]}}},
            "resps": [replies or [f"{name} says {n}"]],
            **row,
        }
        for n, score in enumerate(scores)
    ]
    file = folder / f"samples_t_{DATE}.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_lm_eval_has_final_answers_and_pairs_by_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lm_eval(tmp_path / "runs" / "good", "good", [1.0, 1.0])
    write_lm_eval(tmp_path / "runs" / "bad", "bad", [1.0, 0.0])
    out = tmp_path / "out.jsonl"
    assert main(["export", "sft", str(tmp_path / "runs" / "good"), "-o", str(out)]) == 0
    first, second = (json.loads(line) for line in out.read_text().splitlines())
    assert first["messages"] == [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "good says 0"}]
    assert [turn["role"] for turn in second["messages"]] == ["system", "user", "assistant"]
    assert second["provenance"]["models"] == ["hf/org/good"] and second["provenance"]["task"] == "t (lm-eval)"
    assert main(["export", "preferences", str(tmp_path / "runs"), "-o", str(out)]) == 0
    (row,) = map(json.loads, out.read_text().splitlines())
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("good says 1", "bad says 1")
    assert row["provenance"]["sources"] == ["score"] and row["provenance"]["rejected"]["log"].startswith(
        "bad/samples_t"
    )
    capsys.readouterr()
    several = write_lm_eval(tmp_path / "several", "two", [1.0], replies=["a", "b"])
    assert main(["export", "sft", str(several), "--dry-run"]) == 1
    assert "share a score" in capsys.readouterr().err
    choice = {"arguments": [["Why?", " a"], ["Why?", " b"]], "resps": [[-1.0, True], [-2.0, False]]}
    assert main(["export", "sft", str(write_lm_eval(tmp_path / "choice", "x", [1.0], **choice)), "--dry-run"]) == 1
    assert "by likelihood" in capsys.readouterr().err


def test_a_searchs_journal_says_which_of_its_files_are_held_out(tmp_path: Path) -> None:
    sides = {"search/0/abc@t": "dev", "report/winner/abc@t": "test"}
    lines = []
    for number, key in enumerate(sides):
        file = write_lm_eval(tmp_path / "logs" / f"eval{number}", "m", [1.0])
        result = {"key": key, "log": str(file.relative_to(tmp_path))}
        lines.append(json.dumps({"kind": "result", "scoring": 3, "result": result}) + "\n")
        assert find_side_of_file(file) == ""
    (tmp_path / "search.jsonl").write_text("".join(lines))
    files = sorted((tmp_path / "logs").rglob("samples_*.jsonl"))
    assert [find_side_of_file(file) for file in files] == list(sides.values())
