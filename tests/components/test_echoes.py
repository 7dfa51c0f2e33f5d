"""A fused answer that repeats its prompt: said in a note, and what it begins with is taken out."""

from typing import Any

import pytest

from archon_eval.components.fuser import FUSE_PROMPT
from archon_eval.components.prompt_parts import LEAST_ECHO, strip_echo
from archon_eval.models.call import Reply

SENTENCE = next(line for line in FUSE_PROMPT.replace(". ", ".\n").splitlines() if len(line) > LEAST_ECHO)


@pytest.mark.parametrize(
    ("text", "stripped", "echoed"),
    [
        ("It is 4.", "It is 4.", []),
        ("  It is 4.\n", "  It is 4.\n", []),
        (f"{SENTENCE} It is 4.", "It is 4.", [SENTENCE]),
        (f"\n{SENTENCE}\n{SENTENCE}\n\nIt is 4.\n", "It is 4.", [SENTENCE]),
        (f"It is 4. {SENTENCE}", f"It is 4. {SENTENCE}", [SENTENCE]),
        (SENTENCE, SENTENCE, [SENTENCE]),
        ("</critique>\n\nIt is 4.", "It is 4.", ["</critique>"]),
        ('<response2 id="[1]">\nIt is 4.\n</response2>', "It is 4.", ['<response2 id="[1]">']),
        ("It is 4.\n</response>\n", "It is 4.", ["</response>"]),
        ("<response>\n  <sum>4</sum>\n</response>", "<response>\n  <sum>4</sum>\n</response>", []),
    ],
)
def test_strip_echo(text: str, stripped: str, echoed: list[str]) -> None:
    assert strip_echo(text, FUSE_PROMPT) == (stripped, echoed)


@pytest.mark.parametrize("own", [True, False])
def test_the_fuser_says_what_was_echoed(run: Any, own: bool) -> None:
    wording = "Merge what these students have written. Question: {instruction}\n{candidates}"
    echo = "Merge what these students have written." if own else SENTENCE
    fuser = {"model": "made/f", **({"prompts": {"fuse": wording}} if own else {})}
    layers = [{"generator": {"model": "made/g", "samples": 2}}, {"fuser": fuser}]
    answer, _ = run(
        layers, lambda call: Reply(f"{echo} It is 4.") if call.model == "made/f" else "The question is what 2 + 2 is."
    )
    assert answer.text == "It is 4."
    (note,) = (note for note in answer.trail.notes if note.what == "echoed")
    assert (note.about, note.layer) == (answer.candidates[0].id, 2) and echo in note.detail


def test_the_question_and_the_candidates_are_no_wording(run: Any) -> None:
    question, candidate = "Say that the sum of two and two is four.", "The sum of two and two is four, as all agree."
    answer, _ = run(
        [{"generator": {"model": "made/g", "samples": 2}}, {"fuser": "made/f"}],
        lambda call: f"{question} {candidate}" if call.model == "made/f" else candidate,
        question,
    )
    assert answer.text == f"{question} {candidate}" and "echoed" not in answer.trail.counts
