"""Reward: a number for each candidate, by a model or by a function; the highest go on."""

from typing import Any

import pytest
from fakes import score_functions

from archon_eval.architecture.load import load_architecture
from archon_eval.engine.plan import plan
from archon_eval.errors import ArchitectureError, ModelError
from archon_eval.models.call import Call
from archon_eval.runs.account import QuestionAccount

FUNCTION = "fakes.score_functions:"


def generators(count: int) -> dict[str, Any]:
    return {"generator": [{"model": f"a/{n}"} for n in range(1, count + 1)]}


def answer_or_score(scores: dict[str, str]) -> Any:
    """Models a/N answer `answer N`; the judge says what `scores` has for it."""

    def script(call: Call) -> str:
        if call.model != "j/judge":
            return f"answer {call.model[2:]}"
        return next(reply for answer, reply in scores.items() if answer in call.messages[0].content)

    return script


def rewarded(run: Any, options: dict[str, Any], texts: list[str]) -> Any:
    """Candidates of these texts, rewarded by a source that is no model."""

    layers = [generators(len(texts)), {"reward": {"top_k": len(texts), **options}}]
    return run(layers, lambda call: texts[int(call.model[2:]) - 1])


def test_the_highest_score_is_the_answer_and_stays_with_its_candidate(run: Any) -> None:
    script = answer_or_score({"answer 1": "Score: 40", "answer 2": "So.\nScore: 90/100", "answer 3": "Score: 70"})
    layers = [generators(3), {"reward": {"model": "j/judge", "top_k": 2}}]
    answer, caller = run(layers, script)
    assert [(c.id, c.values["reward"]) for c in answer.candidates] == [("1.2", 90), ("1.3", 70)]
    assert len(caller.prompts("j/judge")) == 3 and "What is 2 + 2?" in caller.prompts("j/judge")[0]
    assert answer.trail.layers[1].remarks == (
        "candidate 1.2 by a/2, reward: 90.0",
        "candidate 1.3 by a/3, reward: 70.0",
    )


def test_a_candidate_without_a_score_goes_last_and_that_is_a_fallback(run: Any) -> None:
    script = answer_or_score({"answer 1": "hard to say", "answer 2": "Score: 0", "answer 3": "Score: 0"})
    answer, caller = run([generators(3), {"reward": {"model": "j/judge", "top_k": 3}}], script)
    assert [c.id for c in answer.candidates] == ["1.2", "1.3", "1.1"]  # equal scores in their order
    assert "reward" not in answer.candidates[2].values
    assert answer.trail.counts == {"fallback": 1, "reask": 2} and len(caller.prompts("j/judge")) == 5


def test_calls_are_those_of_the_plan(run: Any) -> None:
    layers = [generators(4), {"reward": "j/judge"}]
    planned = plan(load_architecture({"name": "x", "layers": layers}))
    assert planned.calls == (8, 8) and planned.reasks == 8 and planned.sequential == 2
    assert planned.layers[1].candidates == (1, 1)
    answer, caller = run(layers, answer_or_score({"answer": "Score: 5"}))
    assert len(caller.calls) == len(answer.trail.steps) == 8


@pytest.mark.parametrize(
    ("source", "calls"),
    [
        ({"function": FUNCTION + "score_length"}, 3),
        ({"function": FUNCTION + "score_length_later"}, 0),
        ({"function": FUNCTION + "score_batch", "batch": True}, 1),
    ],
)
def test_functions_score_alone_or_in_a_batch(run: Any, source: dict[str, Any], calls: int) -> None:
    score_functions.CALLED.clear()
    answer, _ = rewarded(run, source, ["bb", "a", "ccc"])
    assert [(c.text, c.values["reward"]) for c in answer.candidates] == [("ccc", 3), ("bb", 2), ("a", 1)]
    assert len(score_functions.CALLED) == calls
    steps = [step for step in answer.trail.steps if step.kind == "reward"]
    assert [step.model for step in steps] == [f"function/{source['function']}"] * 3


def test_no_score_and_nan_are_recorded_and_never_zero(run: Any) -> None:
    answer, _ = rewarded(run, {"function": FUNCTION + "score_nothing"}, ["a", "bb", "ccc", "dddd"])
    assert [c.text for c in answer.candidates] == ["dddd", "ccc", "a", "bb"]
    assert [c.values.get("reward") for c in answer.candidates] == [4, 3, None, None]
    details = [note.detail for note in answer.trail.notes if note.what == "fallback"]
    assert "no score" in details[0] and "nan, which is no finite number" in details[1]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"function": FUNCTION + "fail"}, "fail failed: ValueError: no such word"),
        ({"function": FUNCTION + "say_text"}, "must return a number, not"),
        ({"function": FUNCTION + "say_one", "batch": True}, "must return a list of scores"),
        ({"function": FUNCTION + "say_too_few", "batch": True}, "1 scores came back for 2 answers"),
    ],
)
def test_a_function_that_fails_obeys_on_error(run: Any, source: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        rewarded(run, source, ["a", "bb"])
    answer, _ = rewarded(run, {**source, "on_error": "drop"}, ["a", "bb"])
    assert [c.text for c in answer.candidates] == ["a", "bb"]
    assert answer.trail.counts == {"dropped": 2, "fallback": 2}


def test_the_account_counts_scores_with_unknown_or_given_dollars(run: Any) -> None:
    for dollars in (None, 0):
        source = {"function": FUNCTION + "score_length", "dollars": dollars}
        layers = [generators(2), {"reward": source}]
        architecture = load_architecture({"name": "x", "layers": layers})
        planned = plan(architecture)
        assert planned.layers[1].calls == (2, 2)
        assert planned.layers[1].dollars == (None if dollars is None else (0.0, 0.0))
        assert ("function/fakes.score_functions:score_length" in planned.unpriced) is (dollars is None)
        assert any("sends the question and the candidates to the function" in note for note in planned.notes)
        answer, _ = run(layers, lambda call: call.model)
        account = QuestionAccount.from_answer(architecture, answer)
        assert (account.layers[1].usage.calls, account.layers[1].usage.calls_without_usage) == (2, 0)
        assert account.layers[1].outcomes[0].model == "function/fakes.score_functions:score_length"
        assert account.layers[1].usage.dollars == (None if dollars is None else 0)


def test_the_code_of_a_function_is_part_of_the_fingerprint(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    prints = set()
    for number, body in enumerate(("return 1", "return 2", "return 2")):
        (tmp_path / f"my_rewards_{number}.py").write_text(f"def score(question, answer):\n    {body}\n")
        reward = {"function": f"my_rewards_{number}:score"}
        prints.add(load_architecture({"layers": [{"generator": "a/x"}, {"reward": reward}]}).fingerprint)
    assert len(prints) == 3  # the path counts too
    (tmp_path / "my_rewards_0.py").write_text("def score(question, answer):\n    return 7\n")
    import sys

    from archon_eval.architecture.component_code import get_source

    del sys.modules["my_rewards_0"]
    get_source.cache_clear()
    changed = load_architecture({"layers": [{"generator": "a/x"}, {"reward": {"function": "my_rewards_0:score"}}]})
    assert changed.fingerprint not in prints


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "needs `model:`"),
        ({"model": "a/x", "function": FUNCTION + "fail"}, "takes the place of `model`"),
        ({"pipeline": "x/y", "function": FUNCTION + "fail"}, "two sources of scores"),
        ({"model": "a/x", "batch": True}, "`batch` says more of `function`"),
        ({"model": "a/x", "key_variable": "KEY"}, "`key_variable` says more of `endpoint`"),
        ({"endpoint": "http://h/rerank", "model": "bge"}, "`served_model`"),
        ({"endpoint": "localhost:8000/rerank"}, "must be a whole address"),
        ({"endpoint": "http:///rerank"}, "must be a whole address"),
        ({"endpoint": "http://h:99999/rerank"}, "must be a whole address"),
        ({"endpoint": "http://h/v1"}, "`form` must say what /v1 takes: rerank or"),
        ({"endpoint": "http://h/rerank", "form": "ranking"}, "must be rerank or tei_rerank"),
        ({"endpoint": "http://h/rerank", "dollars": -1}, "a number of at least 0"),
        ({"function": "nothing"}, "module:function"),
        ({"function": FUNCTION + "fail", "prompts": {"score": "{instruction}{candidate}"}}, "not asked with prompt"),
        ({"model": "a/x", "prompts": {"input": "{candidate}"}}, "a model is not asked with prompt `input`"),
        ({"endpoint": "http://h/rerank", "prompts": {"input": "{candidate}"}}, "takes two"),
        ({"model": "a/x", "top_k": 0}, "at least 1"),
    ],
)
def test_bad_options_are_errors_that_say_what_is_legal(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ArchitectureError, match=says):
        load_architecture({"layers": [{"generator": "a/x"}, {"reward": options}]})


@pytest.mark.parametrize(
    "options",
    [
        {"endpoint": "http://h/rerank", "key_variable": "sk-123456789secret"},
        {"endpoint": "http://ann:123456789secret@h/rerank"},
        {"endpoint": "http://h/rerank?key=123456789secret"},
    ],
)
def test_a_key_in_the_file_is_refused_and_not_quoted(options: dict[str, Any]) -> None:
    with pytest.raises(ArchitectureError) as caught:
        load_architecture({"layers": [{"generator": "a/x"}, {"reward": options}]})
    assert "key_variable" in str(caught.value) and "secret@" not in str(caught.value)
    assert "123456789" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("no_such_module:f", "is it installed"),
        ("fakes.score_functions:no_such", "AttributeError"),
        ("fakes.score_functions:NOT_A_FUNCTION", "is no function, but int"),
    ],
)
def test_a_function_that_cannot_be_had_is_an_error_of_the_plan(path: str, says: str) -> None:
    architecture = load_architecture({"layers": [{"generator": "a/x"}, {"reward": {"function": path}}]})
    with pytest.raises(ArchitectureError, match=says):
        plan(architecture)


def test_a_file_is_written_as_it_was_read() -> None:
    reward = {"endpoint": "http://h:8000/rerank", "served_model": "bge", "key_variable": "KEY", "top_k": 3}
    architecture = load_architecture({"name": "x", "layers": [{"generator": "a/x"}, {"reward": reward}]})
    assert architecture.to_mapping()["layers"][1] == {"reward": [reward]}
    assert load_architecture(architecture.to_mapping()) == architecture
