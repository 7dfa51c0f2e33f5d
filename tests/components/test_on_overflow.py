"""A prompt that does not fit the model's context window: each policy with each kind of component, and what is noted."""

import re
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from archon_eval.architecture.component_types import ComponentType
from archon_eval.architecture.load import load_architecture
from archon_eval.components import build_layer
from archon_eval.components.base import CallContext, ListComponent
from archon_eval.engine.overflow import SHORTEST, _find_limit, _shrink, restore_state, truncate_middle
from archon_eval.engine.trace import Answer
from archon_eval.errors import ArchitectureError, ContextOverflowError, ModelError
from archon_eval.models.call import Call
from archon_eval.runs.account import QuestionAccount
from archon_eval.runs.layer_health import RunHealth
from archon_eval.types import Candidate, State

HERE = __name__
TEXTS = {"a": "short", "b": "LONG " * 400 + "end b", "c": "middling " * 20, "d": "longer " * 90 + "end d"}
GENERATORS = {"generator": ["made/a", "made/b", "made/c", "made/d"]}
LAYERS = [{"generator": "made/a"}, {"ranker": {"model": "made/j", "on_overflow": "drop_longest", "top_k": 10_000}}]
WHY = "BadRequestError: This model's maximum context length is 2000 tokens."
REFUSAL = f"made/j: {WHY}"


class Fit:
    """A model `made/j` that takes so many characters and answers by a function; the generators answer from TEXTS."""

    def __init__(self, characters: int, reply: Callable[[str], str]) -> None:
        self.characters, self.reply = characters, reply
        self.read: list[str] = []
        """The prompts that fitted."""

    def __call__(self, call: Call) -> str | BaseException:
        name = call.model.partition("/")[2]
        if name in TEXTS:
            return TEXTS[name]
        prompt = call.messages[-1].content
        if len(prompt) > self.characters:
            return ModelError(REFUSAL)
        self.read.append(prompt)
        return self.reply(prompt)


def rank_backwards(prompt: str) -> str:
    """The last candidate is the best."""
    count = max(int(number) for number in re.findall(r'id="\[(\d+)\]"', prompt))
    return " > ".join(f"[{number}]" for number in range(count, 0, -1))


def criticise(prompt: str) -> str:
    shown = re.findall(r'<response id="\[(\d+)\]">\n(\w+)', prompt)
    return "\n\n".join(f"[{n}]\nStrengths:\n- about {word}\nWeaknesses:\n- none" for n, word in shown)


def judge(prompt: str) -> str:
    return "It holds.\n[Correct]" if prompt.startswith("Decide") else "It names a number."


def get_notes(answer: Answer) -> list[str]:
    return [note.detail for note in answer.trail.notes if note.what == "overflow"]


def get_ids(answer: Answer) -> list[str]:
    return [candidate.id for candidate in answer.candidates]


def test_a_ranker_without_the_longest_ranks_the_right_candidates(run: Any) -> None:
    fit = Fit(2_000, rank_backwards)
    layer = {"ranker": {"model": "made/j", "on_overflow": "drop_longest", "top_k": 4}}
    answer, caller = run([GENERATORS, layer], fit)
    # the prompt's [1], [2], [3] are 1.1, 1.3, 1.4; what was left out goes on behind them, whole
    assert get_ids(answer) == ["1.4", "1.3", "1.1", "1.2"]
    assert [candidate.text for candidate in answer.candidates] == [TEXTS[name] for name in "dcab"]
    assert get_notes(answer) == [f"1 of 4 candidates left out (1.2): rank by {REFUSAL}"]
    assert len(caller.prompts("made/j")) == 2 and "LONG" not in fit.read[0]
    step = next(step for step in answer.trail.steps if step.reply is None)
    assert (step.model, step.problem) == ("made/j", REFUSAL)


def test_of_ten_thousand_candidates_few_prompts_are_tried_and_all_but_the_longest_are_kept() -> None:
    """One less at a time would be 9,500 calls, each with all the candidates that are left."""
    [[ranker]] = [build_layer(2, list(load_architecture({"name": "many", "layers": LAYERS}).layers[1]))]
    candidates = tuple(Candidate(f"1.{n}", "x" * (100 + n % 7)) for n in range(10_000))
    shown, tried = candidates, 0
    while (smaller := _shrink(ranker, shown, candidates)) is not None and len(shown) > 500:
        shown, tried = smaller, tried + 1
    assert tried < 200 and 480 < len(shown) <= 500
    assert max(len(each.text) for each in shown) == 100, "the longest went first"
    after = restore_state(ranker, State((), shown[::-1]), shown, candidates)
    assert len(after.candidates) == 10_000 and after.candidates[0] is not None
    twice = _shrink(ranker, candidates[:50], candidates[:50])
    assert twice is not None and len(twice) == 49, "of few candidates one at a time"


def test_what_was_left_out_goes_on_only_as_far_as_the_ranker_lets_it(run: Any) -> None:
    layer = {"ranker": {"model": "made/j", "on_overflow": "drop_longest", "top_k": 2}}
    answer, _ = run([GENERATORS, layer], Fit(2_000, rank_backwards))
    assert get_ids(answer) == ["1.4", "1.3"]


def test_a_shortened_candidate_is_ranked_and_goes_on_whole(run: Any) -> None:
    fit = Fit(2_000, rank_backwards)
    layer = {"ranker": {"model": "made/j", "on_overflow": "truncate", "top_k": 4}}
    answer, _ = run([GENERATORS, layer], fit)
    assert get_ids(answer) == ["1.4", "1.3", "1.2", "1.1"]
    assert [candidate.text for candidate in answer.candidates] == [TEXTS[name] for name in "dcba"]
    (note,) = get_notes(answer)
    assert re.match(r"2 of 4 candidates shortened to \d+ characters \(1\.2, 1\.4\): rank by", note)
    (prompt,) = fit.read
    assert "characters left out ...]" in prompt and "end b" in prompt and TEXTS["c"] in prompt


def test_long_critiques_are_shortened_for_their_reader_and_go_on_whole(run: Any) -> None:
    fit = Fit(3_000, rank_backwards)
    critiques = {n: f"[{n}]\nStrengths:\n- {'good ' * 300}\nWeaknesses:\n- none" for n in (1, 2)}

    def script(call: Call) -> str | BaseException:
        return "\n\n".join(critiques.values()) if call.model == "made/k" else fit(call)

    layers = [{"generator": ["made/a", "made/c"]}, {"critic": "made/k"}]
    answer, _ = run([*layers, {"ranker": {"model": "made/j", "on_overflow": "truncate", "top_k": 2}}], script)
    assert get_ids(answer) == ["1.2", "1.1"]
    assert all((candidate.critique or "").count("good") == 300 for candidate in answer.candidates)
    (note,) = get_notes(answer)
    assert re.match(r"2 of 2 candidates shortened to [\d,]+ characters \(1\.1, 1\.2\): rank by", note)
    assert fit.read[0].count("characters left out") == 2 and TEXTS["c"].strip() in fit.read[0]


def test_a_critic_keeps_the_order_and_leaves_one_without_a_critique(run: Any) -> None:
    layer = {"critic": {"model": "made/j", "on_overflow": "drop_longest"}}
    fit = Fit(2_000, criticise)
    answer, _ = run(
        [GENERATORS, layer, {"fuser": "made/f"}], lambda call: "fused" if call.model == "made/f" else fit(call)
    )
    criticised = answer.trail.layers[1].candidates
    assert [candidate.id for candidate in criticised] == ["1.1", "1.2", "1.3", "1.4"]
    found = [candidate.critique or "" for candidate in criticised]
    assert (
        found[1] == ""
        and ["about short" in found[0], "about middling" in found[2], "about longer" in found[3]] == [True] * 3
    )
    assert answer.trail.counts == {"overflow": 1}


def test_a_fuser_gets_the_rest(run: Any) -> None:
    fit = Fit(2_000, lambda prompt: "fused")
    layer = {"fuser": {"model": "made/j", "on_overflow": "drop_longest"}}
    answer, _ = run([GENERATORS, layer], fit)
    assert answer.text == "fused" and [len(result.candidates) for result in answer.trail.layers] == [4, 1]
    assert all(TEXTS[name] in fit.read[0] for name in "acd") and "LONG" not in fit.read[0]
    (note,) = [note for note in answer.trail.notes if note.what == "overflow"]
    assert (note.layer, note.kind, note.about) == (2, "fuser", "2.1")


@pytest.mark.parametrize("kind", ["verifier", "unit_test_evaluator"])
def test_one_candidate_is_shortened_for_its_judge_and_goes_on_whole(run: Any, kind: str) -> None:
    def reply(prompt: str) -> str:
        return "Unit Test #1: [Passed]" if prompt.startswith("Check") else judge(prompt)

    tests = [{"unit_test_generator": "made/t"}] if kind == "unit_test_evaluator" else []
    fit = Fit(2_000, reply)

    def script(call: Call) -> str | BaseException:
        return '["It is right."]' if call.model == "made/t" else fit(call)

    answer, _ = run([GENERATORS, *tests, {kind: {"model": "made/j", "on_overflow": "truncate"}}], script)
    assert [candidate.text for candidate in answer.candidates] == [TEXTS[name] for name in "abcd"]
    found = [(candidate.verified, candidate.tests) for candidate in answer.candidates]
    assert found == [(True, ()) if kind == "verifier" else (None, (True,))] * 4
    assert [(note.what, note.about) for note in answer.trail.notes] == [("overflow", "1.2")]


def test_by_default_it_fails_and_names_the_component(run: Any) -> None:
    with pytest.raises(ContextOverflowError, match=r"layer 2 \(ranker\), rank: made/j: .*maximum context length"):
        run([GENERATORS, {"ranker": "made/j"}], Fit(2_000, rank_backwards))


@pytest.mark.parametrize("policy", ["fail", "drop_longest", "truncate"])
def test_what_never_fits_obeys_on_error(run: Any, policy: str) -> None:
    fit = Fit(0, rank_backwards)
    options = {"model": "made/j", "on_overflow": policy}
    answer, caller = run([GENERATORS, {"ranker": {**options, "on_error": "drop"}}], fit)
    order = ["1.1", "1.3", "1.2", "1.4"] if policy == "drop_longest" else ["1.1", "1.2", "1.3", "1.4"]
    assert get_ids(answer) == order
    noted = {} if policy == "fail" else {"overflow": 1}
    assert answer.trail.counts == {"dropped": 1, "fallback": 1, **noted}
    # fewer than two are not ranked; three quarters again and again, down to 200 characters of each
    assert not fit.read and len(caller.prompts("made/j")) == {"fail": 1, "drop_longest": 3, "truncate": 7}[policy]
    if policy == "truncate":
        assert f"shortened to {SHORTEST} characters" in get_notes(answer)[0]
        with pytest.raises(ContextOverflowError, match="rank: made/j"):
            run([GENERATORS, {"ranker": options}], fit)


def test_another_error_is_no_overflow(run: Any) -> None:
    def script(call: Call) -> str | BaseException:
        return ModelError("made/j: BadRequestError: bad key") if call.model == "made/j" else TEXTS["a"]

    with pytest.raises(ModelError, match="bad key") as caught:
        run([GENERATORS, {"ranker": {"model": "made/j", "on_overflow": "drop_longest"}}], script)
    assert not isinstance(caught.value, ContextOverflowError)


class TwoAtOnce(ListComponent):
    """Two calls at once in a task group of its own."""

    kind = ComponentType("two", reads_critiques=False, writes_tests="", reads_tests="")

    async def run(self, state: State, ctx: CallContext) -> State:
        from archon_eval.components.prompt_parts import format_candidates, make_user_prompt

        async with anyio.create_task_group() as group:
            for draw in range(2):
                prompt = make_user_prompt(format_candidates(state.candidates))
                group.start_soon(lambda draw, prompt: ctx.generate("look", prompt, draw=draw), draw, prompt)
        return state


def test_a_component_of_ones_own_needs_no_code_for_it(run: Any) -> None:
    fit = Fit(2_000, lambda prompt: "seen")
    answer, _ = run([GENERATORS, {f"{HERE}:TwoAtOnce": {"model": "made/j", "on_overflow": "drop_longest"}}], fit)
    assert get_ids(answer) == ["1.1", "1.3", "1.4", "1.2"] and len(fit.read) == 2
    assert [note.what for note in answer.trail.notes if note.what != "cancelled"] == ["overflow"]


def test_the_account_and_the_report_count_it(run: Any) -> None:
    layers = [GENERATORS, {"fuser": {"model": "made/j", "on_overflow": "drop_longest"}}]
    answer, _ = run(layers, Fit(2_000, lambda prompt: "fused"))
    account = QuestionAccount.from_answer(load_architecture({"layers": layers}), answer)
    read = QuestionAccount.from_metadata(account.to_metadata())
    assert read.notes == {"overflow": 1}
    health = RunHealth.from_accounts([read, read])
    assert RunHealth.from_metadata(health.to_metadata()).sentences == (
        "2 prompts did not fit the model's context window, so that candidates were left out or shortened.",
    )


def load(*layers: Any, **top: Any) -> Any:
    return load_architecture({"layers": list(layers), **top})


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([{"generator": {"model": "a/x", "on_overflow": "truncate"}}], "no prompt of it shows candidates"),
        ([GENERATORS, {"vote": {"on_overflow": "truncate"}}], "no prompt of it shows candidates"),
        ([GENERATORS, {"unit_test_generator": {"model": "a/x", "on_overflow": "truncate"}}], "shows candidates"),
        (
            [GENERATORS, {"verifier": {"model": "a/x", "on_overflow": "drop_longest"}}],
            "its prompts show one candidate, so `on_overflow` must be fail or truncate, not drop_longest",
        ),
        ([GENERATORS, {"ranker": {"model": "a/x", "on_overflow": "drop"}}], "must be fail or truncate or drop_longest"),
        ([GENERATORS, {"ranker": {"model": "a/x", "on_overflow": None}}], "not None"),
        ([GENERATORS, {"ranker": {"model": "a/x", "on_overflow": ["fail"]}}], r"not \['fail'\]"),
    ],
)
def test_it_is_legal_only_where_candidates_are_read(layers: list[Any], says: str) -> None:
    with pytest.raises(ArchitectureError, match=says):
        load(*layers)


def test_at_the_top_it_is_for_the_components_that_have_a_use_for_it() -> None:
    layers = [GENERATORS, {"critic": "a/x"}, {"verifier": "a/x"}, {"vote": None}, {"fuser": "a/x"}]
    dropping = load(*layers, on_overflow="drop_longest")
    assert [layer[0].on_overflow for layer in dropping.layers] == [
        "fail",
        "drop_longest",
        "fail",
        "fail",
        "drop_longest",
    ]
    cutting = load(*layers, on_overflow="truncate")
    assert [layer[0].on_overflow for layer in cutting.layers] == ["fail", *["truncate"] * 2, "fail", "truncate"]
    assert load_architecture(dropping.to_mapping()) == dropping


def test_the_fingerprint_is_the_old_one_unless_it_is_set() -> None:
    plain = load(GENERATORS, {"ranker": "a/x"})
    assert plain.fingerprint == load(GENERATORS, {"ranker": {"model": "a/x", "on_overflow": "fail"}}).fingerprint
    others = [
        load(GENERATORS, {"ranker": "a/x"}, on_overflow=word).fingerprint for word in ("truncate", "drop_longest")
    ]
    assert len({plain.fingerprint, *others}) == 3
    assert "on_overflow" not in plain.to_yaml()


def test_a_middle_is_cut_and_counted() -> None:
    text = "".join(map(str, range(500)))
    cut = truncate_middle(text, 300)
    head, count, tail = re.fullmatch(r"(\d+)\n\[\.\.\. (\d+) characters left out \.\.\.\]\n(\d+)", cut).groups()  # type: ignore[union-attr]
    assert len(cut) <= 300 and text.startswith(head) and text.endswith(tail)
    assert len(head) + int(count) + len(tail) == len(text)
    assert truncate_middle("short", 5) == "short"


@pytest.mark.parametrize(
    ("lengths", "total", "limit"),
    [([10, 10], 10, 5), ([1, 100], 51, 50), ([5, 5, 90], 30, 20), ([7], 7, 7), ([3, 3], 100, 3), ([], 0, 0)],
)
def test_only_the_longest_are_cut(lengths: list[int], total: int, limit: int) -> None:
    assert _find_limit(lengths, total) == limit
    assert sum(min(length, limit) for length in lengths) <= total
