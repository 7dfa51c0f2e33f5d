"""The pool inside architectures: every component's parser reads it, and its judgments are informative but fallible."""

from collections.abc import Callable
from itertools import combinations
from statistics import fmean
from typing import Any

import anyio
import pytest

from archon_eval.architecture.load import list_presets, load_architecture
from archon_eval.architecture.prompts import render
from archon_eval.components import build_component
from archon_eval.components.critic import parse_critiques
from archon_eval.components.pairwise import COMPARE_PROMPT
from archon_eval.components.parsing.preference import parse_preference
from archon_eval.components.parsing.score import parse_rating
from archon_eval.components.prompt_parts import format_candidates, make_user_prompt
from archon_eval.components.ranker import parse_ranking
from archon_eval.components.reward import SCORE_PROMPT
from archon_eval.components.unit_tests import parse_test_verdicts, parse_tests
from archon_eval.components.verifier import parse_verdict
from archon_eval.engine.engine import Engine
from archon_eval.errors import ModelError, ParseError
from archon_eval.simulation import pool_names
from archon_eval.simulation.client import SimCaller
from archon_eval.simulation.prompt_recognition import RIGHT, parse_answer, recognize_prompt
from archon_eval.simulation.provider import FaultInjection
from archon_eval.simulation.questions import SimulatedQuestion
from archon_eval.simulation.reply_writers import FORMAT_ERROR_RATE
from archon_eval.simulation.simulator import Simulator
from archon_eval.types import Candidate, Message, State

JUDGE = "sim/gpt-4o"


def make_component(kind: str) -> Any:
    """A component of that kind with the judge's model and the built-in wording."""
    extra: list[Any] = [{"unit_test_evaluator": JUDGE}] if kind == "unit_test_generator" else []
    extra = [{"fuser": JUDGE}] if kind == "critic" else extra
    before: list[Any] = [{"unit_test_generator": JUDGE}] if kind == "unit_test_evaluator" else []
    layers = [{"generator": JUDGE}, *before, {kind: JUDGE}, *extra]
    return build_component(load_architecture({"layers": layers}).layers[len(before) + 1][0], "test")


def make_states(
    pool: Simulator, models: tuple[str, ...] = pool_names("math")[:6]
) -> list[tuple[SimulatedQuestion, State]]:
    pairs = []
    for question in pool.known.questions:
        messages = (Message("user", question.turns[0]),)
        candidates = tuple(Candidate(f"1.{n}", pool.reply(m, messages).text) for n, m in enumerate(models))
        pairs.append((question, State(messages, candidates)))
    return pairs


def mark_right(pool: Simulator, state: State) -> list[bool]:
    prompt = recognize_prompt(state.conversation, pool.known)
    return [parse_answer(candidate.text, prompt) == RIGHT for candidate in state.candidates]


def compute_auc(good: list[float], bad: list[float]) -> float:
    return fmean((g > b) + 0.5 * (g == b) for g in good for b in bad)


def measure_parse_errors(replies: list[str], parse: Callable[[str], Any]) -> float:
    def failed(reply: str) -> bool:
        try:
            parse(reply)
        except ParseError:
            return True
        return False

    return fmean(map(failed, replies))


def test_rankings_are_readable_and_informative(math_pool: Simulator) -> None:
    ranker, replies, good, bad = make_component("ranker"), [], [], []
    for _, state in make_states(math_pool):
        reply = math_pool.reply(JUDGE, ranker.build_prompt(state)).text
        replies.append(reply)
        marks = mark_right(math_pool, state)
        if any(marks) and not all(marks) and measure_parse_errors([reply], lambda text: parse_ranking(text, 6, 6)) == 0:
            for place, number in enumerate(parse_ranking(reply, 6, 6)):
                (good if marks[number] else bad).append(-place)
    assert measure_parse_errors(replies, lambda text: parse_ranking(text, 6, 6)) == pytest.approx(
        FORMAT_ERROR_RATE, abs=0.03
    )
    assert 0.55 < compute_auc(good, bad) < 0.9


def test_scores_are_readable_and_informative(math_pool: Simulator) -> None:
    reward, replies, good, bad = make_component("reward"), [], [], []
    for _, state in make_states(math_pool):
        for candidate, is_right in zip(state.candidates, mark_right(math_pool, state), strict=True):
            prompt = render(SCORE_PROMPT, instruction=state.instruction, candidate=candidate.text)
            reply = math_pool.reply(reward.spec.model, make_user_prompt(prompt)).text
            replies.append(reply)
            if not measure_parse_errors([reply], parse_rating):
                (good if is_right else bad).append(parse_rating(reply))
    assert measure_parse_errors(replies, parse_rating) == pytest.approx(FORMAT_ERROR_RATE, abs=0.03)
    assert 0.6 < compute_auc(good, bad) < 0.95


def test_comparisons_are_readable_and_informative(math_pool: Simulator) -> None:
    replies, right = [], []
    for _, state in make_states(math_pool):
        for first, second in combinations(range(6), 2):
            shown = format_candidates((state.candidates[first], state.candidates[second]))
            prompt = render(COMPARE_PROMPT, instruction=state.instruction, candidates=shown)
            reply = math_pool.reply(JUDGE, make_user_prompt(prompt)).text
            replies.append(reply)
            marks = mark_right(math_pool, state)
            if marks[first] != marks[second] and not measure_parse_errors([reply], parse_preference):
                right.append((1 if marks[first] else -1) == parse_preference(reply))
    assert measure_parse_errors(replies, parse_preference) == pytest.approx(FORMAT_ERROR_RATE, abs=0.03)
    assert 0.55 < fmean(right) < 0.9


def test_critiques_are_readable_and_steer_the_fuser(math_pool: Simulator) -> None:
    critic, fuser, replies = make_component("critic"), make_component("fuser"), []
    with_critiques, without = [], []
    for _, state in make_states(
        math_pool, ("gpt-4o", "llama-3.1-8b-instruct", "deepseek-llm-67b", "qwen1.5-110b-chat")
    ):
        reply = math_pool.reply(JUDGE, critic.build_prompt(state)).text
        replies.append(reply)
        if measure_parse_errors([reply], lambda text: parse_critiques(text, 4)):
            continue
        critiques, marks = parse_critiques(reply, 4), mark_right(math_pool, state)
        honest = {
            n: "The result holds up when checked." if ok else "It contains an error." for n, ok in enumerate(marks)
        }
        assert set(critiques) == set(honest)
        critiqued = State(
            state.conversation,
            tuple(Candidate(c.id, c.text, critique=honest[n]) for n, c in enumerate(state.candidates)),
        )
        for shown, results in ((critiqued, with_critiques), (state, without)):
            fused = math_pool.reply("sim/qwen1.5-72b-chat", fuser.build_prompt(shown)).text
            results.append(parse_answer(fused, recognize_prompt(state.conversation, math_pool.known)) == RIGHT)
    assert measure_parse_errors(replies, lambda text: parse_critiques(text, 4)) == pytest.approx(
        FORMAT_ERROR_RATE, abs=0.03
    )
    assert fmean(with_critiques) > fmean(without) + 0.03


@pytest.mark.parametrize("custom", [False, True])
def test_verdicts_are_readable_and_informative(math_pool: Simulator, custom: bool) -> None:
    from archon_eval.architecture.prompts import render
    from archon_eval.components.verifier import VERDICT_PROMPT

    own = (
        "Q: {instruction}\nProposed: {candidate}\nWhy it may hold: {reasons}\nSay [Correct] or [Incorrect] at the end."
    )
    replies, verdicts = [], []
    for _, state in make_states(math_pool, ("llama-3.1-8b-instruct",)):
        fields = {"instruction": state.instruction, "candidate": state.candidates[0].text, "reasons": "It adds up."}
        prompt = render(own if custom else VERDICT_PROMPT, **fields)
        replies.append(math_pool.reply(JUDGE, (Message("user", prompt),)).text)
        verdicts.append((replies[-1].endswith("[Correct]"), *mark_right(math_pool, state)))
    assert measure_parse_errors(replies, parse_verdict) == pytest.approx(FORMAT_ERROR_RATE, abs=0.03)
    kept, dropped = [v for v, ok in verdicts if ok], [v for v, ok in verdicts if not ok]
    assert fmean(kept) > fmean(dropped) + 0.15
    assert 0.05 < fmean(dropped) < 0.7


def test_unit_tests_are_readable_and_informative(math_pool: Simulator) -> None:
    writer, evaluator = make_component("unit_test_generator"), make_component("unit_test_evaluator")
    ctx = SingleAttemptContext(math_pool)
    passed: dict[bool, list[bool]] = {True: [], False: []}
    for _, state in make_states(math_pool, ("llama-3.1-8b-instruct",))[:200]:
        values = anyio.run(writer.prepare, state.conversation, ctx)
        judged = anyio.run(evaluator.judge, State(state.conversation, (), values), state.candidates[0], ctx)
        if values["tests"] and None not in judged.tests:
            assert 5 <= len(judged.tests) <= 10
            passed[mark_right(math_pool, state)[0]].append(all(judged.tests))
    assert ctx.failed / ctx.calls == pytest.approx(FORMAT_ERROR_RATE, abs=0.03)
    assert fmean(passed[True]) > fmean(passed[False]) + 0.15


class SingleAttemptContext:
    """A call context that never asks again and counts what its parsers rejected."""

    def __init__(self, pool: Simulator) -> None:
        self.pool, self.calls, self.failed = pool, 0, 0

    async def generate_parsed(self, purpose: str, messages: Any, parse: Callable[[str], Any], **_: Any) -> Any:
        self.calls += 1
        try:
            return parse(self.pool.reply(JUDGE, messages).text)
        except ParseError:
            self.failed += 1
            return None


def test_the_test_writer_keeps_to_the_number(math_pool: Simulator) -> None:
    writer = load_architecture(
        {
            "layers": [
                {"generator": JUDGE},
                {"unit_test_generator": {"model": JUDGE, "max_tests": 3}},
                {"unit_test_evaluator": JUDGE},
            ]
        }
    )
    from archon_eval.architecture.prompts import render
    from archon_eval.components.unit_tests import TESTS_PROMPT

    assert writer.layers[1][0].get_option("max_tests") == 3
    prompt = render(TESTS_PROMPT, instruction=math_pool.known.questions[0].turns[0], max_tests=3)
    assert len(parse_tests(math_pool.reply(JUDGE, (Message("user", prompt),)).text, 99)) == 3
    assert parse_test_verdicts("Unit Test #1: [Passed]", 1) == (True,)


def test_a_fuser_rarely_makes_right_from_wrong(math_pool: Simulator) -> None:
    fuser, results = make_component("fuser"), []
    for question in math_pool.known.questions:
        wrong = tuple(Candidate(str(n), f"So $\\boxed{{{question.wrong[n % 2]}}}$.") for n in range(6))
        messages = fuser.build_prompt(State((Message("user", question.turns[0]),), wrong))
        results.append(
            parse_answer(math_pool.reply(JUDGE, messages).text, recognize_prompt(messages, math_pool.known)) == RIGHT
        )
    assert 0 < fmean(results) < 0.1


def test_a_weaker_model_judges_worse(math_pool: Simulator) -> None:
    ranker = make_component("ranker")

    def measure_first_right(judge: str) -> float:
        marks = []
        for _, state in make_states(math_pool, pool_names("math")[-6:]):
            reply = math_pool.reply(judge, ranker.build_prompt(state)).text
            marks.append(mark_right(math_pool, state)[int(reply[1 : reply.index("]")]) - 1])
        return fmean(marks)

    assert measure_first_right("claude-3.5-sonnet") > measure_first_right("deepseek-llm-67b")


def test_a_reply_asked_for_again_is_another_draw_of_the_same_task(math_pool: Simulator) -> None:
    _, state = make_states(math_pool)[0]
    prompt = make_component("ranker").build_prompt(state)
    again = (*prompt, Message("assistant", "no idea"), Message("user", "no ranking of the form [2] > [1]; reply again"))
    assert len(parse_ranking(math_pool.reply(JUDGE, again, draw=5).text, 6, 6)) == 6


@pytest.mark.parametrize("preset", list_presets())
def test_every_preset_runs_on_the_pool(math_pool: Simulator, preset: str) -> None:
    engine = Engine(load_architecture(preset, pool_names("math")), SimCaller(math_pool))
    question = math_pool.known.questions[0]
    answer = anyio.run(engine.run, (Message("user", f"Put the answer in \\boxed{{}}.\n\n{question.turns[0]}"),))
    assert "\\boxed{" in answer.text
    assert all(step.reply and step.reply.usage for step in answer.trail.steps)


def test_failures_are_injected_at_the_given_rate() -> None:
    async def share() -> float:
        failed = 0
        for draw in range(300):
            try:
                await FaultInjection(failures=0.3).simulate(JUDGE, draw)
            except ModelError:
                failed += 1
        return failed / 300

    assert anyio.run(share) == pytest.approx(0.3, abs=0.08)
    with pytest.raises(ModelError, match="share from 0 to 1"):
        FaultInjection(failures=2)
