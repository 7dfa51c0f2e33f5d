"""The engine: order, overlap, filters, cancellation, failures. Time is virtual, so schedules are exact."""

import asyncio
import hashlib
import random
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from clock import run_virtual

from archon_eval.architecture.load import load_architecture
from archon_eval.engine.engine import Engine
from archon_eval.errors import ArchitectureError, ModelError
from archon_eval.models.call import Call, Reply, Usage
from archon_eval.types import Message

QUESTION = (Message("user", "What is 6 x 7?"),)


def kind_of(call: Call) -> str:
    text = call.messages[-1].content
    for mark, kind in (
        ("Several independent responses to one query", "fuse"),
        ("] > [", "ranker"),
        ("list of strings", "tests"),
        ("[Correct]", "verdict"),
        ("Your reasons", "reasons"),
        ("Unit Test #1", "evaluate"),
        ("Strengths:", "critique"),
    ):
        if mark in text:
            return kind
    return "generate"


class Scripted:
    """Answers every prompt in the right form, after a latency that depends on the call alone."""

    def __init__(
        self, latency: Callable[[Call], float] = lambda call: 1.0, passes: Callable[[str], bool] = lambda t: True
    ):
        self.calls: list[tuple[Call, float]] = []
        self.latency, self.passes = latency, passes
        self.cancelled = 0

    async def __call__(self, call: Call) -> Reply:
        seconds = self.latency(call)
        self.calls.append((call, seconds))
        try:
            await anyio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Reply(self.answer(call), usage=Usage(10, 5), seconds=seconds)

    def answer(self, call: Call) -> str:
        text = call.messages[-1].content
        count = text.count("<response id=")
        good = self.passes(text)
        match kind_of(call):
            case "ranker":
                return " > ".join(f"[{n}]" for n in range(count, 0, -1))
            case "tests":
                return '["The response gives a number.", "The response is short."]'
            case "verdict":
                return "[Correct]" if good else "[Incorrect]"
            case "evaluate":
                return f"Unit Test #1: [{'Passed' if good else 'Failed'}]\nUnit Test #2: [Passed]"
            case "critique":
                return "\n".join(f"[{n}]\nStrengths: fine" for n in range(1, count + 1))
            case _:
                return f"{call.model}/{call.draw}"


def jitter(seed: int) -> Callable[[Call], float]:
    """Log-normal latencies that depend on the call, not on the order of calls."""

    def latency(call: Call) -> float:
        text = f"{seed}|{call.model}|{call.draw}|{hash_of(call)}"
        return random.Random(text).lognormvariate(0, 0.6)

    return latency


def hash_of(call: Call) -> str:
    return hashlib.sha256("".join(m.content for m in call.messages).encode()).hexdigest()


def answer(layers: list[Any], caller: Any, **top: Any) -> tuple[Any, float]:
    engine = Engine(load_architecture({"layers": layers, **top}), caller)
    return run_virtual(lambda: engine.run(QUESTION))


def barriers(result: Any, caller: Scripted) -> float:
    """How long the same calls take when every stage of every layer waits for the one before."""
    seconds = {id(call.messages): latency for call, latency in caller.calls}
    stages: dict[tuple[int, str], float] = {}
    for step in result.trail.steps:
        latency = step.reply.seconds if step.reply else seconds[id(step.messages)]
        stage = (step.layer, step.purpose)
        stages[stage] = max(stages.get(stage, 0.0), latency)
    return sum(stages.values())


ALL = [
    {"generator": [{"model": "a", "samples": 2}, "b"]},
    {"critic": "c"},
    {"ranker": {"model": "r", "top_k": 2}},
    {"fuser": ["f", "g"]},
    {"verifier": "v"},
    {"unit_test_generator": "u"},
    {"unit_test_evaluator": "e"},
    {"fuser": "z"},
]


def test_all_seven_components_answer_and_leave_a_trail() -> None:
    result, seconds = answer(ALL, Scripted())
    assert result.text == "z/0"
    assert [layer.kind for layer in result.trail.layers] == [next(iter(layer)) for layer in ALL]
    assert [len(layer.candidates) for layer in result.trail.layers] == [3, 3, 2, 2, 2, 2, 2, 1]
    assert sum(step.reply is not None for step in result.trail.steps) == 3 + 1 + 1 + 2 + 4 + 1 + 2 + 1
    assert seconds == pytest.approx(8.0)  # the tests are written from time zero: 1+1+1+1+2+1+1
    assert result.trail.counts == {}


def test_samples_of_one_model_are_further_draws_also_across_components() -> None:
    caller = Scripted()
    answer([{"generator": [{"model": "a", "samples": 2}, "a", {"model": "a", "temperature": 0.1}, "b"]}], caller)
    assert [(c.model, c.draw, c.settings.temperature) for c, _ in caller.calls] == [
        ("a", 0, 0.7),
        ("a", 1, 0.7),
        ("a", 2, 0.7),
        ("a", 3, 0.1),
        ("b", 0, 0.7),
    ]


def test_candidates_and_ids_are_the_same_whatever_the_timing() -> None:
    layers = [*ALL[:5], ALL[-1]]
    seen = set()
    for seed in range(25):
        result, _ = answer(layers, Scripted(jitter(seed), passes=lambda text: "a/1" not in text))
        seen.add(
            tuple(
                tuple((c.id, c.text, c.critique, c.verified) for c in layer.candidates) for layer in result.trail.layers
            )
        )
    assert len(seen) == 1


def test_verifier_starts_on_each_candidate_as_it_arrives() -> None:
    slow = {"a": 10.0, "b": 1.0, "v": 3.0}
    _, seconds = answer([{"generator": ["a", "b"]}, {"verifier": "v"}], Scripted(lambda c: slow[c.model]))
    assert seconds == 16.0  # 10 + 2 x 3; b was verified meanwhile
    _, seconds = answer(
        [{"generator": ["a", "b"]}, {"verifier": "v"}, {"fuser": "b"}], Scripted(lambda c: slow[c.model])
    )
    assert seconds == 17.0


@pytest.mark.parametrize(
    ("then", "until"),
    [
        ([{"verifier": {"model": "w", "stop_after": 1}}], 1 + 2 * 3 + 2 * 5),
        ([{"unit_test_generator": "b"}, {"unit_test_evaluator": {"model": "w", "stop_after": 1}}], 1 + 2 * 3 + 5),
    ],
)
def test_what_passed_one_filter_is_in_the_next_while_others_are_in_the_first(then: list[Any], until: float) -> None:
    slow = {"a": 10.0, "b": 1.0, "v": 3.0, "w": 5.0}
    caller = Scripted(lambda c: slow[c.model])
    result, seconds = answer([{"generator": ["a", "b"]}, {"verifier": "v"}, *then], caller)
    assert seconds == until and result.text == "b/0" and caller.cancelled == 1


def test_unit_tests_are_written_from_time_zero() -> None:
    latency = {"a": 5.0, "u": 5.0, "e": 1.0}
    layers = [{"generator": "a"}, {"unit_test_generator": "u"}, {"unit_test_evaluator": "e"}]
    _, seconds = answer(layers, Scripted(lambda c: latency[c.model]))
    assert seconds == 6.0


FIGURE_3 = [
    {"generator": [f"g{n}" for n in range(10)]},
    {"critic": "c"},
    {"ranker": "r"},
    {"fuser": [f"f{n}" for n in range(6)]},
    {"verifier": "v"},
    {"fuser": "z"},
]
HUNDRED = [{"generator": {"model": "g", "samples": 100}}, {"unit_test_generator": "u"}, {"unit_test_evaluator": "e"}]


def speedup(layers: list[Any], passes: Callable[[str], bool], full: list[Any] | None = None) -> float:
    """Barrier time of the full work over dataflow time, mean over 20 seeds."""
    ratios = []
    for seed in range(20):
        caller = Scripted(jitter(seed), passes)
        result, seconds = answer(layers, caller)
        if full is not None:
            caller = Scripted(jitter(seed), passes)
            result, _ = answer(full, caller)
        ratios.append(barriers(result, caller) / seconds)
    return sum(ratios) / len(ratios)


def test_dataflow_beats_layer_barriers() -> None:
    some = lambda text: int(hashlib.sha256(text.encode()).hexdigest(), 16) % 10 < 3  # noqa: E731
    assert speedup(FIGURE_3, lambda text: True) > 1.05
    assert speedup(HUNDRED, some) > 1.3
    stopping = [*HUNDRED[:2], {"unit_test_evaluator": {"model": "e", "stop_after": 1}}]
    assert speedup(stopping, some, full=HUNDRED) > 3.5


def test_stop_after_keeps_the_first_to_pass_and_cancels_the_rest() -> None:
    order = {"a": 9.0, "b": 5.0, "c": 2.0, "d": 1.0, "v": 0.5}
    caller = Scripted(lambda c: order[c.model], passes=lambda text: "d/0" not in text)
    layers = [{"generator": ["a", "b", "c", "d"]}, {"verifier": {"model": "v", "stop_after": 2}}]
    result, seconds = answer(layers, caller)
    assert [c.text for c in result.candidates] == ["b/0", "c/0"]
    assert seconds == 6.0
    assert caller.cancelled == 1 and result.trail.counts == {"cancelled": 1}
    assert result.trail.layers[0].candidates[0].text == "b/0"  # the cancelled generator left no candidate


def test_stop_after_with_too_few_passing_is_the_ordinary_filter() -> None:
    layers = [{"generator": ["a", "b", "c"]}, {"verifier": {"model": "v", "stop_after": 2}}]
    result, _ = answer(layers, Scripted(passes=lambda text: "b/0" in text))
    assert [c.text for c in result.candidates] == ["b/0"]
    assert result.trail.counts == {}


@pytest.mark.parametrize("judge", [{"verifier": "v"}, {"verifier": {"model": "v", "stop_after": 1}}])
def test_a_filter_that_would_leave_nothing_passes_all_and_says_so(judge: Any) -> None:
    result, _ = answer([{"generator": ["a", "b"]}, judge, {"fuser": "f"}], Scripted(passes=lambda text: False))
    assert [c.text for c in result.trail.layers[1].candidates] == ["a/0", "b/0"]
    assert [(n.what, n.layer) for n in result.trail.notes] == [("unfiltered", 2)]


def test_evaluator_orders_by_passes_when_all_are_kept() -> None:
    evaluator = {"model": "e", "keep": "all", "top_k": 2}
    layers = [{"generator": ["a", "b", "c"]}, {"unit_test_generator": "u"}, {"unit_test_evaluator": evaluator}]
    result, _ = answer(layers, Scripted(passes=lambda text: "a/0" not in text))
    assert [c.text for c in result.candidates] == ["b/0", "c/0"]


class Failing(Scripted):
    def __init__(self, *models: str) -> None:
        super().__init__()
        self.models = models

    async def __call__(self, call: Call) -> Reply:
        if call.model in self.models:
            raise ModelError(f"{call.model}: out of order")
        return await super().__call__(call)


def test_a_failed_call_fails_the_question_and_says_where() -> None:
    with pytest.raises(ModelError, match=r"layer 1 \(generator\), generate: b: out of order"):
        answer([{"generator": ["a", "b"]}, {"fuser": "f"}], Failing("b"))


def test_on_error_drop_goes_on_without_and_counts_it() -> None:
    result, _ = answer([{"generator": ["a", "b"]}, {"critic": "c"}, {"fuser": "f"}], Failing("b", "c"), on_error="drop")
    assert result.text == "f/0" and len(result.trail.layers[0].candidates) == 1
    assert result.trail.counts == {"dropped": 2, "fallback": 1}
    with pytest.raises(ModelError, match=r"layer 1 \(generator\): no candidate left.*out of order"):
        answer([{"generator": ["a", "b"]}, {"fuser": "f"}], Failing("a", "b"), on_error="drop")


class Limit(Exception):
    """Stands for a host's limit, which is an Exception like any other."""


def test_the_hosts_limits_get_through_at_once_and_unwrapped() -> None:
    class Limited(Scripted):
        async def __call__(self, call: Call) -> Reply:
            if call.model == "b":
                raise Limit("enough")
            return await super().__call__(call)

    caller = Limited(lambda call: 1000.0)
    engine = Engine(
        load_architecture({"layers": [{"generator": ["a", "b"]}, {"fuser": "f"}], "on_error": "drop"}), caller
    )

    async def limited() -> float:
        with pytest.raises(Limit):
            await engine.run(QUESTION)
        return asyncio.get_running_loop().time()

    assert run_virtual(limited)[0] == 0.0 and caller.cancelled == 1


def test_cancellation_reaches_calls_in_flight() -> None:
    caller = Scripted(lambda call: 1000.0)
    engine = Engine(load_architecture({"layers": [{"generator": ["a", "b"]}, {"fuser": "f"}]}), caller)

    async def cancelled() -> None:
        with anyio.move_on_after(3):
            await engine.run(QUESTION)

    _, seconds = run_virtual(cancelled)
    assert seconds == 3.0 and caller.cancelled == 2


def test_epoch_and_conversation_reach_the_call() -> None:
    caller = Scripted()
    engine = Engine(load_architecture({"layers": [{"generator": "a"}]}), caller)
    history = (Message("system", "Be brief."), Message("user", "1"), Message("assistant", "2"), Message("user", "3"))
    run_virtual(lambda: engine.run(history, epoch=4))
    assert caller.calls[0][0].epoch == 4 and caller.calls[0][0].messages == history


def test_samples_with_a_seed_have_seeds_of_their_own() -> None:
    caller = Scripted()
    answer([{"generator": {"model": "a", "samples": 3}}], caller, seed=7)
    assert [call.settings.seed for call, _ in caller.calls] == [7, 8, 9]


def test_what_cannot_run_is_refused_before_any_call() -> None:
    caller = Scripted()
    with pytest.raises(ArchitectureError, match=r"places for models \(\$1\)"):
        Engine(load_architecture({"layers": [{"generator": "$1"}]}), caller)
    with pytest.raises(ModelError, match="no user turn"):
        run_virtual(lambda: Engine(load_architecture({"layers": [{"generator": "a"}]}), caller).run(()))
    assert caller.calls == []


def test_one_engine_answers_many_questions_at_once() -> None:
    engine = Engine(load_architecture({"layers": ALL}), caller := Scripted(jitter(1)))

    async def many() -> list[str]:
        answers = await asyncio.gather(*(engine.run((Message("user", f"q{n}"),)) for n in range(20)))
        return [a.trail.layers[0].candidates[0].id for a in answers]

    assert run_virtual(many)[0] == ["1.1"] * 20
    assert len(caller.calls) == 20 * 15


def test_without_a_candidate_nothing_more_is_paid_for() -> None:
    for layers in ([{"verifier": "v"}, {"fuser": "f"}], [{"critic": "c"}, {"ranker": "r"}], [{"fuser": "f"}]):
        caller = Failing("a")
        with pytest.raises(ModelError, match=r"layer 1 \(generator\): no candidate left.*out of order"):
            answer([{"generator": "a"}, *layers], caller, on_error="drop")
        assert caller.calls == []


def test_a_limit_wins_over_a_failure_of_the_same_moment() -> None:
    class Both(Scripted):
        async def __call__(self, call: Call) -> Reply:
            if call.model == "a":
                raise ModelError("broken")
            raise Limit("enough")

    with pytest.raises(Limit):
        answer([{"generator": ["a", "b"]}, {"fuser": "f"}], Both())


def test_each_reask_is_a_draw_of_its_own() -> None:
    class Mute(Scripted):
        def answer(self, call: Call) -> str:
            return "" if call.model == "r" else super().answer(call)

    caller = Mute()
    answer([{"generator": ["a", "b"]}, {"ranker": "r"}, {"fuser": "f"}], caller)
    assert [call.draw for call, _ in caller.calls if call.model == "r"] == [0, 1, 2]
