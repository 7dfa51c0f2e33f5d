"""Asking again, keeping what could be read, going on without a failed call: all bounded and all in the notes."""

from typing import Any

import pytest

from archon_eval.engine.call_context import MAX_QUOTED_CHARS
from archon_eval.errors import ModelError
from archon_eval.models.call import Call, Reply

GENERATOR: dict[str, Any] = {"generator": {"model": "made/g", "samples": 3}}


def notes(answer: Any, what: str) -> list[str]:
    return [note.detail for note in answer.trail.notes if note.what == what]


@pytest.mark.parametrize("reask", [0, 1, 3])
def test_asks_again_so_often_and_no_more(run: Any, reask: int) -> None:
    answer, caller = run(
        [GENERATOR, {"ranker": {"model": "made/r", "max_parse_retries": reask}}], lambda call: "no idea"
    )
    assert len(caller.prompts("made/r")) == 1 + reask
    assert answer.trail.counts["fallback"] == 1
    assert answer.trail.counts.get("reask", 0) == reask
    assert [c.id for c in answer.candidates] == ["1.1", "1.2", "1.3"]
    purposes = [step.purpose for step in answer.trail.steps if step.layer == 2]
    assert purposes == ["rank", *["rank (asked again)"] * reask]


def test_the_second_question_shows_the_reply_and_what_is_wrong_with_it(run: Any) -> None:
    replies = iter(["[7] > [1]" + "." * 2 * MAX_QUOTED_CHARS, "", "[3] > [2] > [1]"])
    answer, caller = run([GENERATOR, {"ranker": "made/r"}], lambda c: next(replies) if c.model == "made/r" else "a")
    first, second, third = (call.messages for call in caller.calls if call.model == "made/r")
    assert [m.role for m in second] == ["user", "assistant", "user"] and second[:1] == first
    assert second[1].content.startswith("[7] > [1]") and len(second[1].content) == MAX_QUOTED_CHARS
    assert "[7]" in second[2].content and "[1] to [3]" in second[2].content
    assert third[:1] == first and third[1].content == "(no text)"  # only the last attempt, so that prompts stay bounded
    assert [c.id for c in answer.candidates] == ["1.3", "1.2", "1.1"]
    assert "fallback" not in answer.trail.counts


def test_what_could_be_read_is_kept_even_when_the_last_reply_is_worse(run: Any) -> None:
    replies = iter(["[3]", "nothing", "nothing"])
    answer, _ = run([GENERATOR, {"ranker": "made/r"}], lambda c: next(replies) if c.model == "made/r" else "a")
    assert [c.id for c in answer.candidates] == ["1.3", "1.1", "1.2"]
    assert "unranked" in notes(answer, "fallback")[0]


def failing(model: str) -> Any:
    def script(call: Call) -> str | BaseException:
        return ModelError("overloaded") if call.model == model else "a"

    return script


@pytest.mark.parametrize("kind", ["ranker", "critic", "verifier", "unit_test_generator", "fuser"])
def test_a_failed_call_fails_the_question_and_says_where(run: Any, kind: str) -> None:
    after = {"critic": [{"fuser": "made/f"}], "unit_test_generator": [{"unit_test_evaluator": "made/e"}]}.get(kind, [])
    with pytest.raises(ModelError, match=rf"layer 2 \({kind}\).*overloaded"):
        run([GENERATOR, {kind: "made/x"}, *after], failing("made/x"))


@pytest.mark.parametrize("kind", ["ranker", "critic", "verifier", "unit_test_generator", "unit_test_evaluator"])
def test_dropped_judges_leave_every_candidate_and_are_counted(run: Any, kind: str) -> None:
    before = [{"unit_test_generator": "made/t"}] if kind == "unit_test_evaluator" else []
    after = {"critic": [{"fuser": "made/f"}], "unit_test_generator": [{"unit_test_evaluator": "made/e"}]}.get(kind, [])

    def script(call: Call) -> str | BaseException:
        if call.model == "made/x":
            return ModelError("overloaded")
        return '["t"]' if call.model == "made/t" else "a"

    answer, caller = run([GENERATOR, *before, {kind: {"model": "made/x", "on_error": "drop"}}, *after], script)
    result = answer.trail.layers[1 + len(before)]
    assert [c.id for c in result.candidates] == ["1.1", "1.2", "1.3"]
    assert answer.trail.counts["dropped"] == len(caller.prompts("made/x"))
    asked = 3 if kind in ("verifier", "unit_test_evaluator") else 1
    assert sum("the call failed" in detail for detail in notes(answer, "fallback")) == asked
    assert "reask" not in answer.trail.counts


def test_a_dropped_generator_call_is_one_candidate_fewer(run: Any) -> None:
    answer, _ = run(
        [{"generator": {"model": "made/g", "samples": 3, "on_error": "drop"}}],
        lambda call: ModelError("down") if call.draw == 1 else f"a{call.draw}",
    )
    assert [(c.id, c.text) for c in answer.candidates] == [("1.1", "a0"), ("1.3", "a2")]
    assert [(n.what, n.about) for n in answer.trail.notes] == [("dropped", "1.2")]


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (Reply("cut", stop_reason="max_tokens"), "truncated"),
        (Reply("cut", stop_reason="model_length"), "truncated"),
        (Reply("", stop_reason="content_filter"), "filtered"),
        (Reply(" \n"), "empty"),
        (Reply("a\ufffd", cleaned=1), "cleaned"),
    ],
)
def test_odd_replies_are_noted_with_their_candidate(run: Any, reply: Reply, what: str) -> None:
    answer, _ = run([GENERATOR], lambda call: reply if call.draw == 2 else "fine")
    assert [note.about for note in answer.trail.notes if note.what == what] == ["1.3"]
    assert len(answer.candidates) == 3
