"""Pairwise: many comparisons of two candidates, added up to a ranking."""

import re
from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_eval.architecture.load import load_architecture
from archon_eval.components.pairwise import PairComparison, list_comparisons, rank_by_wins, sum_wins
from archon_eval.engine.plan import plan
from archon_eval.errors import ArchitectureError, ContextOverflowError, ModelError
from archon_eval.models.call import Call

SHOWN = re.compile(r'<response id="\[(\d)\]">\n(.*?)\n</response>', re.S)


def generators(count: int) -> dict[str, Any]:
    return {"generator": [{"model": f"a/{n}"} for n in range(1, count + 1)]}


def compare_with(choose: Callable[[int, int], str]) -> Callable[[Call], str]:
    """Models a/N answer `N`; the judge's reply for the numbers shown first and second."""

    def script(call: Call) -> str:
        if call.model != "j/judge":
            return call.model[2:]
        first, second = (int(text) for _, text in SHOWN.findall(call.messages[0].content))
        return choose(first, second)

    return script


def prefer_higher(first: int, second: int) -> str:
    return f"Better: [{1 if first > second else 2}]"


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        ({}, 12),
        ({"both_orders": False}, 6),
        ({"comparisons": "ring"}, 8),
        ({"comparisons": "ring", "both_orders": False}, 4),
    ],
)
def test_the_winner_is_the_answer_and_calls_are_those_of_the_plan(run: Any, options: Any, calls: int) -> None:
    layers = [generators(4), {"pairwise": {"model": "j/judge", "top_k": 2, **options}}]
    planned = plan(load_architecture({"name": "x", "layers": layers}))
    assert planned.layers[1].calls == (calls, calls) and planned.sequential == 2
    answer, caller = run(layers, compare_with(prefer_higher))
    assert len(caller.prompts("j/judge")) == calls
    assert answer.text == "4" and len(answer.candidates) == 2
    assert answer.candidates[0].values["wins"] == (2 if options.get("comparisons") else 3)
    assert answer.trail.counts == {}


@pytest.mark.parametrize("ring", [True, False])
@pytest.mark.parametrize("both", [True, False])
def test_comparisons_of_many_are_counted_without_being_listed(ring: bool, both: bool) -> None:
    options = {"model": "j/judge", "comparisons": "ring" if ring else "all", "both_orders": both}
    layers: list[Any] = [{"generator": {"model": "a/1", "samples": 1}}, {"pairwise": options}]
    for count in range(1, 6):
        layers[0]["generator"]["samples"] = count
        planned = load_architecture({"name": "x", "layers": layers})
        assert plan(planned).layers[1].calls[1] == len(list_comparisons(count, planned.layers[1][0]))
    layers[0]["generator"]["samples"] = million = 1_000_000  # a list of all pairs would take terabytes
    most = million if ring else million * (million - 1) // 2
    assert plan(load_architecture({"name": "x", "layers": layers})).layers[1].calls[1] == most * (1 + both)


def test_a_single_candidate_and_a_ring_of_two_need_no_more_than_they_must(run: Any) -> None:
    one, caller = run([generators(1), {"pairwise": "j/judge"}], compare_with(prefer_higher))
    assert one.text == "1" and not caller.prompts("j/judge")
    ring = {"pairwise": {"model": "j/judge", "comparisons": "ring", "both_orders": False}}
    two, caller = run([generators(2), ring], compare_with(prefer_higher))
    assert two.text == "2" and len(caller.prompts("j/judge")) == 1


def test_an_order_bias_is_half_a_win_for_each_and_is_said(run: Any) -> None:
    """A judge that always takes whoever stands first decides nothing, so the given order stays."""
    layers = [generators(3), {"pairwise": {"model": "j/judge", "top_k": 3}}]
    answer, _ = run(layers, compare_with(lambda first, second: "Better: [1]"))
    assert [(c.text, c.values["wins"]) for c in answer.candidates] == [("1", 1), ("2", 1), ("3", 1)]
    (note,) = answer.trail.notes
    assert note.what == "order_bias" and note.detail.startswith("3 of 3 choices changed with the order of the two: 3")


def test_in_one_order_every_other_pair_is_shown_in_reverse(run: Any) -> None:
    layers = [generators(4), {"pairwise": {"model": "j/judge", "both_orders": False}}]
    _, caller = run(layers, compare_with(prefer_higher))
    shown = [tuple(int(text) for _, text in SHOWN.findall(prompt)) for prompt in caller.prompts("j/judge")]
    assert sum(first < second for first, second in shown) == 3 and {frozenset(pair) for pair in shown} == {
        frozenset(pair) for pair in combinations((1, 2, 3, 4), 2)
    }


def test_a_cycle_stays_in_the_order_given(run: Any) -> None:
    beats = {(1, 2), (2, 3), (3, 1)}
    layers = [generators(3), {"pairwise": {"model": "j/judge", "top_k": 3}}]
    answer, _ = run(layers, compare_with(lambda a, b: f"Better: [{1 if (a, b) in beats else 2}]"))
    assert [c.text for c in answer.candidates] == ["1", "2", "3"]


def test_equal_wins_are_settled_by_the_comparison_of_the_two() -> None:
    # 0 and 1 have two wins each; 1 beat 0
    made = [
        PairComparison(0, 1, 0.0),
        PairComparison(0, 2, 1.0),
        PairComparison(0, 3, 1.0),
        PairComparison(1, 2, 1.0),
        PairComparison(1, 3, 0.0),
        PairComparison(2, 3, 1.0),
    ]
    assert sum_wins(made, 4) == [2, 2, 1, 1]
    assert rank_by_wins(made, 4) == [1, 0, 2, 3]


def test_an_unreadable_comparison_counts_as_not_made(run: Any) -> None:
    def choose(first: int, second: int) -> str:
        return "hard to say" if {first, second} == {1, 3} else prefer_higher(first, second)

    answer, _ = run([generators(3), {"pairwise": {"model": "j/judge", "top_k": 3}}], compare_with(choose))
    assert [(c.text, c.values["wins"]) for c in answer.candidates] == [("3", 1), ("2", 1), ("1", 0)]
    assert answer.trail.counts == {"fallback": 2, "reask": 4}


def test_failed_calls_obey_on_error(run: Any) -> None:
    def script(call: Call) -> Any:
        return ModelError("no more") if call.model == "j/judge" else call.model[2:]

    with pytest.raises(ModelError, match=r"layer 2 \(pairwise\), compare: no more"):
        run([generators(3), {"pairwise": "j/judge"}], script)
    answer, _ = run([generators(3), {"pairwise": {"model": "j/judge", "on_error": "drop"}}], script)
    assert answer.text == "1" and answer.trail.counts == {"dropped": 6, "fallback": 6}


def test_a_prompt_that_is_too_long_obeys_on_overflow(run: Any) -> None:
    def script(call: Call) -> Any:
        if call.model != "j/judge":
            return {"a/1": "long " * 50, "a/2": "2", "a/3": "3"}[call.model]
        if "long" in call.messages[0].content:
            return ModelError("maximum context length exceeded")
        return "Better: [1]"

    with pytest.raises(ContextOverflowError):
        run([generators(3), {"pairwise": "j/judge"}], script)
    dropping = {"pairwise": {"model": "j/judge", "on_overflow": "drop_longest"}}
    answer, _ = run([generators(3), dropping], script)
    assert answer.text == "2" and answer.trail.counts["overflow"] == 1


def test_a_function_compares(run: Any) -> None:
    layers = [generators(3), {"pairwise": {"function": "fakes.score_functions:prefer_longer", "top_k": 3}}]
    texts = {"a/1": "x", "a/2": "xxx", "a/3": "xx"}
    answer, _ = run(layers, lambda call: texts[call.model])
    assert [c.text for c in answer.candidates] == ["xxx", "xx", "x"]
    biased = {"pairwise": {"function": "fakes.score_functions:prefer_first"}}
    answer, _ = run([generators(2), biased], lambda call: texts[call.model])
    assert answer.text == "x" and answer.trail.counts == {"order_bias": 1}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"endpoint": "http://h/rerank"}, "scores each answer alone"),
        ({"endpoint": "http://h/score"}, "scores each answer alone"),
        ({"model": "a/x", "comparisons": "some"}, "all or ring"),
        ({"model": "a/x", "prompts": {"compare": "{instruction}"}}, "must use {candidates}"),
        ({"pipeline": "a/b", "prompts": {"input": "{first}"}}, "must use {second}"),
    ],
)
def test_bad_options_say_what_is_legal(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ArchitectureError, match=says):
        load_architecture({"layers": [{"generator": "a/x"}, {"pairwise": options}]})


@given(st.integers(2, 7).flatmap(lambda n: st.tuples(st.just(n), st.permutations(range(n)))))
def test_consistent_comparisons_give_their_order(case: tuple[int, list[int]]) -> None:
    count, order = case
    rank = {place: number for number, place in enumerate(order)}
    made = [PairComparison(a, b, float(rank[a] < rank[b])) for a in range(count) for b in range(count) if a != b]
    assert rank_by_wins(made, count) == order
    assert sum(sum_wins(made, count)) == count * (count - 1) / 2


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.tuples(
            st.just(n),
            st.lists(
                st.tuples(st.integers(0, n - 1), st.integers(0, n - 1), st.sampled_from([None, 0.0, 0.5, 1.0])).filter(
                    lambda each: each[0] != each[1]
                )
            ),
        )
    )
)
def test_any_comparisons_give_every_candidate_one_place(case: tuple[int, list[tuple[int, int, float | None]]]) -> None:
    count, made = case
    assert sorted(rank_by_wins([PairComparison(*each) for each in made], count)) == list(range(count))
