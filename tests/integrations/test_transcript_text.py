"""What a component says of itself is text in a transcript, whatever it holds."""

from typing import Any

import pytest

from archon_eval.engine.trace import LayerResult, Trace, TraceEvent, TraceStep
from archon_eval.integrations.inspect_transcript import (
    escape_markdown,
    render_components,
    render_outcome,
    render_summary,
)
from archon_eval.models.call import Reply
from archon_eval.types import Candidate, Message

HOSTILE = "candidate 1.1, ending <img src=x>\n\n# HEAD ![x](http://example.org/x.png) **bold**"
ESCAPED = r"candidate 1.1, ending \<img src=x\>  # HEAD !\[x\](http://example.org/x.png) \*\*bold\*\*"


def build_result(**more: Any) -> LayerResult:
    made = {
        "layer": 1,
        "kind": "mine:Own",
        "candidates": (Candidate("1.1", "text", "m"),),
        "values": {},
        "seconds": 1.0,
    }
    return LayerResult(**{**made, "remarks": (HOSTILE,), **more})  # type: ignore[arg-type]


def build_step(**more: Any) -> TraceStep:
    made = {
        "layer": 1,
        "kind": "mine:Own",
        "component": 1,
        "model": "a/x",
        "purpose": "draft",
        "about": "1.1",
        "draw": 0,
    }
    return TraceStep(**{**made, "messages": (Message("user", "q"),), "reply": Reply("r"), **more})  # type: ignore[arg-type]


def test_a_components_words_are_no_markup() -> None:
    result = build_result(lists={"**T**": ["a"]})
    note = TraceEvent(1, "mine:Own", "own\n# head", "detail", "![a](b)")
    summary = render_summary(Trace(layers=(result,), notes=(note,)))
    outcome = "\n".join(render_outcome(result, False))
    assert f"{ESCAPED}: `text`" in summary and f"1. {ESCAPED}" in outcome
    assert r"- own # head (!\[a\](b)): `detail`" in summary
    assert r"\*\*T\*\*:" in outcome


def test_thoughts_are_shown_before_the_reply() -> None:
    step = build_step(reply=Reply("4", thoughts="2 + 2"))
    (text,) = render_components(1, None, [step], notes=[])
    assert text.index("2 + 2") < text.index("Reply, draft") < text.rindex("4")


def test_entries_that_are_no_text_become_text() -> None:
    lists: Any = {"Scores": [1, None], "Best": 7, "Word": "text"}
    text = "\n".join(render_outcome(build_result(lists=lists), False))
    assert "Scores:\n1. `1`\n2. `None`" in text and "Best:\n1. `7`" in text and "Word:\n1. `text`" in text


def test_a_reply_keeps_its_purpose_where_it_is_about_a_candidate() -> None:
    steps = [build_step(), build_step(purpose="<revise>", draw=1)]
    (text,) = render_components(1, None, steps, notes=())
    assert "Reply, draft, candidate 1.1 by a/x:" in text
    assert r"Reply, \<revise\>, candidate 1.1 by a/x:" in text
    (built_in,) = render_components(1, None, [build_step(kind="generator", purpose="generate")], notes=())
    assert "Reply, candidate 1.1 by a/x:" in built_in and "generate, candidate" not in built_in


@pytest.mark.parametrize(
    "text",
    ["candidate 1.1 by vllm/my_model-7b, not verified, score: -3", "openai/gpt-4o (asked again)", "my_mod:Own_Kind #2"],
)
def test_plain_words_stay_as_they_are(text: str) -> None:
    assert escape_markdown(text) == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("_a_b_", r"\_a_b\_"),
        ("__a", r"\_\_a"),
        ("- a", r"\- a"),
        ("# a", r"\# a"),
        ("&lt;", r"\&lt;"),
        ("a & b", "a & b"),
    ],
)
def test_marks_are_escaped_where_they_mean_something(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped
