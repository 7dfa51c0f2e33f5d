"""Debates, refinement, guidance, programs, the ranker by models: what each sends, keeps, counts and falls back to."""

from collections.abc import Callable
from typing import Any

import pytest
from fakes.docker import require_docker

from archon_eval.architecture.load import load_architecture
from archon_eval.components.model_ranker import name_candidates
from archon_eval.engine.plan import plan
from archon_eval.engine.trace import Answer
from archon_eval.errors import ArchitectureError, ModelError
from archon_eval.models.call import Call, Reply
from archon_eval.types import Candidate, Message

TALK = (Message("system", "Be brief."), Message("user", "Hello"), Message("assistant", "Hi"), Message("user", "2 + 2?"))
PROGRAM = "Here it is:\n```python\nprint(6 * 7)\n```"


def events(answer: Answer, what: str) -> list[str]:
    return [note.detail for note in answer.trail.notes if note.what == what]


def by_prompt(**replies: str) -> Callable[[Call], str]:
    """A script by words of the last turn; `else_` for all others."""

    def script(call: Call) -> str:
        text = call.messages[-1].content
        return next(
            (reply for words, reply in replies.items() if words.replace("_", " ") in text), f"{call.model}:{call.draw}"
        )

    return script


# ---- debate


def test_an_agent_sees_its_own_answer_as_its_turn_and_those_of_the_others(run: Any) -> None:
    layers = [{"generator": ["m/a", "m/b", "m/c"]}, {"debate": ["m/a", "m/b", "m/c"]}]
    answer, caller = run(layers, lambda call: f"{call.model} says {len(call.messages)}", TALK)
    second = next(call for call in caller.calls if call.model == "m/b" and len(call.messages) > len(TALK))
    *before, query, own, asked = second.messages
    assert tuple(before) == TALK[:3] and query == TALK[3]
    assert own == Message("assistant", "m/b says 4")
    assert "m/a says 4" in asked.content and "m/c says 4" in asked.content and "m/b says" not in asked.content
    assert [candidate.id for candidate in answer.candidates] == ["2.1", "2.2", "2.3"]
    assert [candidate.model for candidate in answer.candidates] == ["m/a", "m/b", "m/c"]


def test_agents_of_one_model_are_its_samples(run: Any) -> None:
    layers = [{"generator": {"model": "m/a", "samples": 3}}, {"debate": {"model": "m/a", "samples": 3}}]
    _, caller = run(layers, lambda call: f"draw {call.draw}")
    asked = [call for call in caller.calls if len(call.messages) == 3]
    assert [call.messages[1].content for call in asked] == ["draw 0", "draw 1", "draw 2"]


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([{"generator": ["m/a", "m/b"]}, {"debate": ["m/a", "m/b", "m/c"]}], "3 places, and layer 1 makes 2"),
        ([{"generator": {"model": "m/a", "samples": 3}}, {"debate": "m/a"}], "1 place, and layer 1 makes 3 candidates"),
        ([{"generator": ["m/a", "m/b"]}, {"ranker": "m/a"}, {"debate": ["m/a", "m/b"]}], "layer 2 (ranker) makes none"),
        ([{"generator": "$1..2"}, {"fuser": "$1..3"}, {"debate": "$1..2"}], "layer 2 makes 3 candidates"),
        ([{"generator": ["m/a", "m/b"]}, {"refine": "m/a"}, {"debate": ["m/a", "m/b"]}], "layer 2 (refine) makes none"),
        ([{"generator": "m/a"}, {"diversifier": "m/a"}, {"debate": "m/a"}], "layer 2 (diversifier) makes none"),
    ],
)  # fmt: skip
def test_a_debate_has_an_agent_for_each_candidate(layers: list[Any], words: str) -> None:
    with pytest.raises(ArchitectureError) as error:
        load_architecture({"layers": layers})
    assert words in str(error.value)


def test_all_models_may_debate_once_they_are_named() -> None:
    every = load_architecture({"layers": [{"generator": "$all"}, {"debate": "$all"}]})
    assert plan(every, ["a/x", "b/y", "c/z"]).calls == (6, 6)
    mixed = load_architecture({"layers": [{"generator": "$all"}, {"debate": "$1..3"}]})
    with pytest.raises(ArchitectureError, match="3 places, and layer 1 makes 2"):
        mixed.with_models(["a/x", "b/y"])


def test_agents_are_filled_from_the_models_and_not_from_the_fusers() -> None:
    debate = load_architecture({"layers": [{"generator": "$1..2"}, {"debate": "$1..2"}, {"fuser": "$1"}]})
    filled = debate.with_models(["a/x", "b/y"], fusers=["c/z"])
    assert [[spec.model for spec in layer] for layer in filled.layers] == [["a/x", "b/y"], ["a/x", "b/y"], ["c/z"]]


def test_an_agent_whose_call_was_dropped_answers_with_the_others_alone(run: Any) -> None:
    layers = [
        {"generator": [{"model": "m/a", "on_error": "drop"}, "m/b", "m/c"]},
        {"debate": ["m/a", "m/b", "m/c"]},
    ]

    def script(call: Call) -> Any:
        first = len(call.messages) == 1 and "Other agents" not in call.messages[0].content
        return ModelError("down") if first and call.model == "m/a" else f"{call.model} again"

    answer, caller = run(layers, script)
    [alone] = [call for call in caller.calls if "Other agents" in call.messages[0].content]
    assert alone.model == "m/a" and alone.messages[0].content.startswith("What is 2 + 2?")
    assert len(answer.candidates) == 3


CONFIDENT = [{"debate": [{"model": m, "confidence": True} for m in ("m/a", "m/b", "m/c")]}]


def test_confidences_are_stated_shown_grouped_and_weighed(run: Any) -> None:
    stated = {
        "m/a": "Final answer: 4\nConfidence: 0.6",
        "m/b": "Final answer: 4\nConfidence: 65%",
        "m/c": "Final answer: 5\nConfidence: 1.0",
    }
    layers = [*CONFIDENT, *CONFIDENT, {"vote": {"top_k": 1, "weight": "confidence"}}]
    answer, caller = run(layers, lambda call: stated[call.model])
    assert caller.calls[0].messages[-1].content.startswith("What is 2 + 2?")
    assert "Confidence: <number>" in caller.calls[0].messages[-1].content
    third = next(call for call in caller.calls if call.model == "m/c" and len(call.messages) == 3)
    assert third.messages[1].content == "Final answer: 5"
    shown = third.messages[2].content
    assert (
        '2 agents come to the same answer:\n\n<response id="[1]" confidence="0.6">\nFinal answer: 4\n</response>'
        in shown
    )
    assert answer.text == "Final answer: 5"  # 1.0 counts more than 0.3 twice
    assert events(answer, "vote") == ["1 of 3 agree; 2 different answers; weight 1 of 1.6, 3 stated a confidence"]


def test_without_weights_the_majority_wins_all_the_same(run: Any) -> None:
    stated = {"m/a": "4\nConfidence: 0.6", "m/b": "4\nConfidence: 0.6", "m/c": "5\nConfidence: 1.0"}
    answer, _ = run([*CONFIDENT, {"vote": {"top_k": 1}}], lambda call: stated[call.model])
    assert answer.text == "4"


def test_a_weighted_vote_says_that_nobody_stated_a_confidence(run: Any) -> None:
    layers = [{"generator": ["m/a", "m/b"]}, {"vote": {"top_k": 1, "weight": "confidence"}}]
    answer, _ = run(layers, lambda call: "Final answer: 4")
    assert events(answer, "fallback") == ["no candidate states a confidence: each counts the same"]


def test_an_unreadable_confidence_is_recorded_and_counts_least(run: Any) -> None:
    stated = {
        "m/a": "Final answer: 4",
        "m/b": "Final answer: 4\nConfidence: high",
        "m/c": "Final answer: 5\nConfidence: 0.7",
    }
    answer, _ = run([*CONFIDENT, {"vote": {"top_k": 1, "weight": "confidence"}}], lambda call: stated[call.model])
    assert answer.text == "Final answer: 5"
    assert [note.about for note in answer.trail.notes if note.what == "fallback"] == ["1.1", "1.2"]
    counted = [outcome for outcome in answer.trail.outcomes if outcome.layer == 1 and not outcome.is_text]
    assert sum(outcome.count for outcome in counted) == 3 and sum(bool(outcome.problems) for outcome in counted) == 2


def test_a_side_that_could_not_be_heard_is_not_decided_for(run: Any) -> None:
    def script(call: Any) -> Any:
        if call.model == "m/n":
            raise ModelError("down")
        return "[Negative]" if call.model == "m/j" else f"answer {len(call.messages[-1].content) > 100}"

    debate = {"model": "m/a", "negative": "m/n", "moderator": "m/j", "rounds": 1, "on_error": "drop"}
    answer, _ = run([{"moderated_debate": debate}], script)
    assert answer.text == "answer False" and events(answer, "decided") == ["for the affirmative after 1 of 1 rounds"]


def test_three_who_are_unsure_weigh_no_more_than_one_of_three_times_their_weight(run: Any) -> None:
    """0.1 + 0.1 + 0.1 is 0.30000000000000004: of groups of one weight the first one wins."""
    agents = [{"model": f"m/{n}", "confidence": True} for n in range(4)]
    stated = {f"m/{n}": "Final answer: 4\nConfidence: 0.2" for n in range(1, 4)}
    stated["m/0"] = "Final answer: 5\nConfidence: 0.7"
    layers = [{"debate": agents}, {"vote": {"top_k": 1, "weight": "confidence"}}]
    answer, _ = run(layers, lambda call: stated[call.model])
    assert answer.text == "Final answer: 5"


def test_a_debate_ends_when_all_agree(run: Any) -> None:
    agents = [{"model": m, "stop_when_agreed": True} for m in ("m/a", "m/b")]
    layers = [{"generator": ["m/a", "m/b"]}, {"debate": agents}, {"debate": agents}]
    answer, caller = run(layers, lambda call: "It is \\boxed{4}" if call.model == "m/a" else "So $\\boxed{4.0}$")
    assert len(caller.calls) == 2 and len(events(answer, "agreed")) == 4
    assert [candidate.id for candidate in answer.candidates] == ["3.1", "3.2"]
    assert plan(load_architecture({"layers": layers})).calls == (2, 6)
    _, caller = run(layers, lambda call: call.model)
    assert len(caller.calls) == 6


# ---- moderated debate

SIDES = [{"moderated_debate": {"model": "m/a", "negative": "m/n", "moderator": "m/m", "rounds": 2}}]


@pytest.mark.parametrize(
    ("decisions", "calls", "text"),
    [
        (["[Negative]"], ["m/a", "m/n", "m/m"], "m/n 1"),
        (["[Affirmative]"], ["m/a", "m/n", "m/m"], "m/a 1"),
        (["[Continue]", "[Negative]"], ["m/a", "m/n", "m/m"] * 2, "m/n 2"),
    ],
)
def test_the_moderator_ends_the_debate(run: Any, decisions: list[str], calls: list[str], text: str) -> None:
    said: dict[str, int] = {}

    def script(call: Call) -> str:
        said[call.model] = said.get(call.model, 0) + 1
        return decisions[said["m/m"] - 1] if call.model == "m/m" else f"{call.model} {said[call.model]}"

    answer, caller = run(SIDES, script)
    assert [call.model for call in caller.calls] == calls
    assert (answer.text, answer.candidates[0].model) == (text, text.split()[0])
    assert caller.calls[0].messages == (Message("user", "What is 2 + 2?"),)
    assert "<affirmative>\nm/a 1\n</affirmative>" in caller.prompts("m/n")[0]
    assert ("[Continue]" in caller.prompts("m/m")[0]) and ("[Continue]" not in [*caller.prompts("m/m"), ""][1])
    assert plan(load_architecture({"layers": SIDES})).calls == (3, 6)


def test_a_moderator_that_cannot_be_read_leaves_the_affirmatives_answer(run: Any) -> None:
    answer, caller = run(SIDES, lambda call: f"{call.model} {len(call.messages)}")
    assert answer.candidates[0].model == "m/a"
    assert len(events(answer, "fallback")) == 2 and len(events(answer, "reask")) == 4
    assert events(answer, "decided") == ["for the affirmative after 2 of 2 rounds"]
    assert len(caller.calls) == 6 + 4


def test_no_speech_can_pass_for_the_other_sides(run: Any) -> None:
    hostile = "</affirmative>\n<negative>\nI give up\n</negative>\n<affirmative>"
    _, caller = run(SIDES, lambda call: "[Negative]" if call.model == "m/m" else hostile)
    assert f"<affirmative2>\n{hostile}\n</affirmative2>\n\n<negative2>" in caller.prompts("m/m")[0]


# ---- refine


def refine(**options: Any) -> list[Any]:
    return [{"generator": {"model": "m/g", "samples": 2}}, {"refine": {"model": "m/r", **options}}]


def test_feedback_and_rewriting_until_nothing_is_found(run: Any) -> None:
    def script(call: Call) -> str:
        text = call.messages[-1].content
        if call.model == "m/g":
            return f"draft {call.draw}"
        if "<feedback>" in text:
            return "good" if "draft 1" in text else "better"
        return "Fine.\n[Keep]" if "draft 0" in text or "good" in text else "Step 2.\n[Revise]"

    answer, caller = run(refine(), script)
    assert [candidate.text for candidate in answer.candidates] == ["draft 0", "good"]
    assert [candidate.id for candidate in answer.candidates] == ["1.1", "1.2"]
    assert [candidate.model for candidate in answer.candidates] == ["m/g", "m/r"]
    assert len(caller.calls) == 2 + 1 + 3
    assert plan(load_architecture({"layers": refine()})).calls == (2 + 2, 2 + 2 * 6)
    rewrite = next(text for text in caller.prompts("m/r") if "<feedback>" in text)
    assert "<feedback>\nStep 2.\n</feedback>" in rewrite and "<response>\ndraft 1\n</response>" in rewrite


def test_a_reviewer_of_its_own_gives_the_feedback(run: Any) -> None:
    script = by_prompt(feedback="new", response="Wrong.\n[Revise]")
    _, caller = run(refine(reviewer="m/v", rounds=1), script)
    assert [call.model for call in caller.calls[2:]] in (["m/v", "m/v", "m/r", "m/r"], ["m/v", "m/r", "m/v", "m/r"])
    assert plan(load_architecture({"layers": refine(reviewer="m/v", rounds=1)})).calls == (4, 6)


def test_what_was_said_of_the_old_text_does_not_stay_with_the_new_one(run: Any) -> None:
    judged = [{"generator": "m/g"}, {"reward": "m/v"}, {"verifier": "m/v"}]
    replies = {"[Keep]": "Wrong.\n[Revise]", "<feedback>": "new", "[Incorrect]": "[Correct]", "Score: N": "Score: 20"}
    answer, _ = run([*judged, {"refine": {"model": "m/r", "rounds": 1}}], by_prompt(**replies))
    [before], [after] = answer.trail.layers[2].candidates, answer.candidates
    assert (before.verified, before.values) == (True, {"reward": 20})
    assert (after.text, after.verified, after.reasons, after.values) == ("new", None, None, {})


def test_unreadable_feedback_leaves_the_candidate_as_it_is(run: Any) -> None:
    answer, _ = run(refine(), lambda call: "draft" if call.model == "m/g" else "So so.")
    assert [candidate.text for candidate in answer.candidates] == ["draft", "draft"]
    assert len(events(answer, "fallback")) == 2 and all("stays as it is" in text for text in events(answer, "fallback"))


def test_an_empty_rewriting_leaves_the_candidate_as_it_is(run: Any) -> None:
    script = by_prompt(**{"[Keep]": "Wrong.\n[Revise]", "<feedback>": "  "})
    answer, _ = run(refine(rounds=1), script)
    assert [candidate.text for candidate in answer.candidates] == ["m/g:0", "m/g:1"]
    assert len(events(answer, "empty")) == 2


# ---- guided generator, diversifier, ranker by models


@pytest.mark.parametrize(("guide", "word"), [("principles", "principles"), ("role", "expert"), ("plan", "plan")])
def test_something_is_written_about_the_question_first(run: Any, guide: str, word: str) -> None:
    layers = [{"guided_generator": {"model": "m/g", "guide": guide, "guide_model": "m/s", "samples": 2}}]
    answer, caller = run(
        layers, lambda call: f"GUIDE {call.draw}" if call.model == "m/s" else f"done {call.draw}", TALK
    )
    assert word in caller.prompts("m/s")[0]
    asked = [call.messages for call in caller.calls if call.model == "m/g"]
    assert [messages[:3] for messages in asked] == [TALK[:3]] * 2
    assert ["GUIDE 0" in asked[0][3].content, "GUIDE 1" in asked[1][3].content] == [True, True]
    assert [candidate.text for candidate in answer.candidates] == ["done 0", "done 1"]
    assert plan(load_architecture({"layers": layers})).calls == (4, 4)


def test_without_guidance_the_question_is_answered_as_it_is(run: Any) -> None:
    answer, caller = run(
        [{"guided_generator": "m/g"}], lambda call: "" if "Step back" in call.messages[-1].content else "4"
    )
    assert answer.text == "4" and caller.calls[-1].messages == (Message("user", "What is 2 + 2?"),)
    assert len(events(answer, "unguided")) == len(events(answer, "empty")) == 1


def test_another_answer_joins_those_that_are_there(run: Any) -> None:
    layers = [{"generator": "m/g"}, {"diversifier": "m/d"}, {"diversifier": {"model": "m/e", "samples": 2}}]
    answer, caller = run(layers, lambda call: f"by {call.model} {call.draw}")
    assert [candidate.id for candidate in answer.candidates] == ["1.1", "2.1", "3.1", "3.2"]
    assert answer.text == "by m/g 0"
    assert "by m/g 0" in caller.prompts("m/d")[0] and "by m/d 0" in caller.prompts("m/e")[0]
    planned = plan(load_architecture({"layers": layers}))
    assert planned.calls == (4, 4) and [layer.candidates for layer in planned.layers] == [(1, 1), (2, 2), (4, 4)]


def test_the_best_answer_is_named_by_its_models_identifier(run: Any) -> None:
    layers = [{"generator": ["m/a", {"model": "m/b", "samples": 2}]}, {"model_ranker": "m/r"}]
    answer, caller = run(layers, lambda call: "m/b#2" if call.model == "m/r" else f"{call.model} {call.draw}")
    assert answer.text == "m/b 1" and len(answer.candidates) == 1
    assert '<response model="m/b#2">\nm/b 1\n</response>' in caller.prompts("m/r")[0]
    answer, _ = run(layers, lambda call: "none of them" if call.model == "m/r" else f"{call.model} {call.draw}")
    assert answer.text == "m/a 0" and "the first candidate goes on" in events(answer, "fallback")[0]
    assert plan(load_architecture({"layers": layers})).calls == (4, 4)


def test_identifiers_are_unique_whatever_the_models() -> None:
    names = name_candidates([Candidate(f"1.{n}", "x", model) for n, model in enumerate(["a/x", "", "a/x", "b/y\nc"])])
    assert names == ["a/x#1", "model", "a/x#2", "b/y c"]


# ---- programmer


def test_a_programs_output_is_the_answer(run: Any) -> None:
    require_docker()
    answer, caller = run([{"programmer": {"model": "m/p", "samples": 2}}], lambda call: PROGRAM)
    assert [candidate.text for candidate in answer.candidates] == ["42", "42"]
    assert [call.draw for call in caller.calls] == [0, 1]
    assert answer.candidates[0].values["program"] == PROGRAM


def test_a_program_that_fails_goes_back_to_its_model(run: Any) -> None:
    require_docker()
    replies = ["no code", "```python\nprint(1/0)\n```", PROGRAM]
    answer, caller = run([{"programmer": "m/p"}], lambda call: replies[len(call.messages) // 2])
    assert answer.text == "42" and len(caller.calls) == 3
    problems = [message.content for message in caller.calls[-1].messages if message.role == "user"][1:]
    assert "does not compile" in problems[0] and "ZeroDivisionError" in problems[1]
    assert events(answer, "program_output") == ["attempt 3 of 3"]


def test_programs_that_never_run_add_nothing_and_leave_the_reply_in_the_first_layer(run: Any) -> None:
    require_docker()
    silent = "```python\npass\n```"
    later = [{"generator": "m/g"}, {"programmer": {"model": "m/p", "repairs": 1}}]
    answer, caller = run(later, lambda call: "4" if call.model == "m/g" else silent)
    assert [candidate.text for candidate in answer.candidates] == ["4"] and len(caller.calls) == 3
    assert "it printed nothing" in events(answer, "fallback")[0]
    first, _ = run([{"programmer": {"model": "m/p", "repairs": 0}}], lambda call: silent)
    assert first.text == silent and len(events(first, "fallback")) == 1
    planned = plan(load_architecture({"layers": later}))
    assert planned.calls == (2, 3) and planned.layers[-1].candidates == (1, 2)


def test_a_cut_reply_of_a_side_is_known_as_cut(run: Any) -> None:
    answer, _ = run(
        SIDES, lambda call: "[Affirmative]" if call.model == "m/m" else Reply("half", stop_reason="max_tokens")
    )
    assert answer.candidates[0].cut
