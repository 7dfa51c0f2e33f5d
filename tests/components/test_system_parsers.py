"""Confidences, moderators' decisions, feedback and identifiers, in the forms in which models give them."""

import pytest

from archon_eval.components.confidence import recalibrate_confidence
from archon_eval.components.parsing.confidence import split_confidence
from archon_eval.components.parsing.feedback import REQUEST, parse_feedback
from archon_eval.components.parsing.missing_parts import JoiningParser
from archon_eval.components.parsing.model_names import parse_model_name
from archon_eval.components.parsing.moderation import parse_moderation
from archon_eval.errors import MissingPartsError, ParseError

NAMES = ["openai/gpt-4o", "openai/gpt-4o-mini", "together/Qwen/Qwen2-72B-Instruct", "a/x#1", "a/x#2"]


@pytest.mark.parametrize(
    ("line", "confidence"),
    [
        ("Confidence: 0.8", 0.8),
        ("**Confidence:** 0.85", 0.85),
        ("**Confidence: .9**", 0.9),
        ("Confidence: 95%", 0.95),
        ("Confidence level: 90 %.", 0.9),
        ("My confidence is 0.7", 0.7),
        ("- Confidence score: 8/10", 0.8),
        ("Confidence: 85 out of 100", 0.85),
        ("confidence = 1", 1.0),
        ("Confidence: 1.0 (certain)", 1.0),
        ("Confidence: 0", 0.0),
        ('"confidence_level": "0.6"', 0.6),
        ("Confidence in my answer: 0.75", 0.75),
        ("Confidence: 85", 0.85),
    ],
)
def test_a_stated_confidence_is_read_and_taken_out(line: str, confidence: float) -> None:
    reply = f"3 + 4 is 7.\n\nThe final answer is $\\boxed{{7}}$.\n{line}\n"
    assert split_confidence(reply) == ("3 + 4 is 7.\n\nThe final answer is $\\boxed{7}$.", pytest.approx(confidence))


def test_the_last_statement_of_a_confidence_counts() -> None:
    assert split_confidence("Confidence: 0.2\nNo, wait. It is 5.\nConfidence: 0.9\n")[1] == 0.9


@pytest.mark.parametrize(
    "reply",
    [
        "It is 7.",
        "",
        "Confidence: high",
        "Confidence: 5",  # of 10, or of 100
        "Confidence: 1.5",
        "Confidence: 120%",
        "Confidence: 11/10",
        "Confidence: <number>",
        "The confidence interval is 0.95 to 1.05 wide.",
        "I have confidence: 3 of the 4 steps hold, as shown.",
    ],
)
def test_what_is_no_confidence_is_none(reply: str) -> None:
    with pytest.raises(ParseError):
        split_confidence(reply)


def test_a_reply_that_is_a_confidence_alone_keeps_its_text() -> None:
    assert split_confidence("Confidence: 0.5") == ("Confidence: 0.5", 0.5)


@pytest.mark.parametrize(
    ("stated", "weight"),
    [(1.0, 1.0), (0.99, 0.8), (0.9, 0.8), (0.89, 0.5), (0.8, 0.5), (0.79, 0.3), (0.6, 0.3), (0.59, 0.1), (None, 0.1)],
)
def test_confidences_are_recalibrated_as_in_reconcile(stated: float | None, weight: float) -> None:
    assert recalibrate_confidence(stated) == weight


@pytest.mark.parametrize(
    ("reply", "decision"),
    [
        ("The first holds.\n[Affirmative]", "affirmative"),
        ("**[Negative]**", "negative"),
        ("Reasons.\n\nDecision: [Negative side].", "negative"),
        ("I first leaned to [Affirmative].\nBut step 2 fails.\n[Negative]", "negative"),
        ("Neither convinces.\n`[Continue]`", "continue"),
        ("Thought about it.\nNegative", "negative"),
        ("My decision: Affirmative side.", "affirmative"),
    ],
)
def test_a_moderators_decision_is_read(reply: str, decision: str) -> None:
    assert parse_moderation(reply) == decision


@pytest.mark.parametrize(
    "reply",
    ["", "Both are fine.", "[Affirmative] or [Negative]", "It is not [Negative]", "[Affirmative] errs in step 2."],
)
def test_what_is_no_decision_is_asked_for_again(reply: str) -> None:
    with pytest.raises(ParseError) as error:
        parse_moderation(reply)
    assert "[Continue]" in (error.value.request or "")


def test_a_moderator_may_not_go_on_after_the_last_round() -> None:
    with pytest.raises(ParseError, match="not asked for") as error:
        parse_moderation("[Continue]", ("affirmative", "negative"))
    assert "[Continue]" not in (error.value.request or "")


@pytest.mark.parametrize(
    ("reply", "feedback"),
    [
        ("All holds.\n[Keep]", None),
        ("**[Keep]**", None),
        ("Keep", None),
        ("Step 2 is wrong.\n\n[Revise]", "Step 2 is wrong."),
        ("Step 2 is wrong. [Revise]", "Step 2 is wrong."),
        (
            "The layout is one to [Keep].\nBut step 2 is wrong.\n[Revise]",
            "The layout is one to [Keep].\nBut step 2 is wrong.",
        ),
        ("Step 2 is wrong.\n\nFinal decision: **Revise**", "Step 2 is wrong."),
    ],
)
def test_feedback_is_read(reply: str, feedback: str | None) -> None:
    assert parse_feedback(reply) == feedback


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "[Revise]",
        "Decision: Revise",
        "[Keep] or [Revise]",
        "I would not [Keep]",
        "[Keep] [Revise]",
        "[Keep] the intro.\nStep 2 is wrong.",
    ],
)
def test_unclear_feedback_is_asked_for_again(reply: str) -> None:
    with pytest.raises(ParseError):
        parse_feedback(reply)


def test_feedback_without_a_decision_is_kept_and_asked_for_the_decision_alone() -> None:
    read = JoiningParser(parse_feedback)
    with pytest.raises(MissingPartsError) as error:
        read("Step 2 is wrong.")
    assert error.value.request == REQUEST
    assert read("[Revise]") == "Step 2 is wrong."


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        ("openai/gpt-4o", 0),
        ("**openai/gpt-4o-mini**", 1),
        ("The best is `together/qwen/qwen2-72b-instruct`.", 2),
        ("openai/gpt-4o answers well.\n\na/x#2", 4),
        ('"a/x#1"', 3),
    ],
)
def test_an_identifier_is_read(reply: str, place: int) -> None:
    assert parse_model_name(reply, NAMES) == place


@pytest.mark.parametrize(
    "reply", ["", "gpt-4o", "openai/gpt-4o-2024", "openai/gpt-4o or a/x#1", "a/x", "my-openai/gpt-4o"]
)
def test_what_names_no_or_several_models_is_no_choice(reply: str) -> None:
    with pytest.raises(ParseError):
        parse_model_name(reply, NAMES)


@pytest.mark.parametrize(
    "parse", [split_confidence, parse_moderation, parse_feedback, lambda text: parse_model_name(text, NAMES)]
)
def test_hostile_replies_end_soon(parse: object) -> None:
    for text in (
        "confidence " * 50_000,
        "[" * 200_000,
        "keep\n" * 50_000,
        "(" * 100_000 + "confidence: 0.5",
        "a/x#" * 50_000,
    ):
        try:
            parse(text)  # type: ignore[operator]
        except ParseError:
            continue
