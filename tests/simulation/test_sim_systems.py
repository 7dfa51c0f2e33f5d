"""The pool inside debates, refinement and other systems: its replies can be read, and its judgments inform."""

from collections import Counter
from statistics import fmean
from typing import Any

import anyio

from archon_eval.architecture.load import load_architecture
from archon_eval.components.confidence import get_confidence
from archon_eval.engine.engine import Engine
from archon_eval.engine.trace import Answer
from archon_eval.simulation import pool_names
from archon_eval.simulation.client import SimCaller
from archon_eval.simulation.prompt_recognition import RIGHT, SYSTEM_TASKS, parse_answer, recognize_prompt
from archon_eval.simulation.simulator import Simulator
from archon_eval.simulation.system_writers import SYSTEM_WRITERS
from archon_eval.types import Message

MODEL = "sim/llama-3.1-70b-instruct"


def answer_all(pool: Simulator, layers: list[Any], count: int) -> list[Answer]:
    engine = Engine(load_architecture({"layers": layers}), SimCaller(pool))

    async def run() -> list[Answer]:
        return [await engine.run((Message("user", question.turns[0]),)) for question in pool.known.questions[:count]]

    return anyio.run(run)


def is_right(pool: Simulator, answer: Answer, place: int = 0) -> bool:
    prompt = recognize_prompt(answer.trail.steps[0].messages, pool.known)
    return parse_answer(answer.candidates[place].text, prompt) == RIGHT


def test_every_task_has_a_writer() -> None:
    assert SYSTEM_TASKS.keys() == SYSTEM_WRITERS.keys()


def test_every_prompt_of_a_system_is_recognised(math_pool: Simulator) -> None:
    layers = [
        {"guided_generator": {"model": MODEL, "guide": "role"}},
        {"refine": MODEL},
        {"diversifier": MODEL},
        {"model_ranker": MODEL},
    ]
    asked: dict[str, Counter[str]] = {}
    agents = {"model": MODEL, "samples": 2}
    for one in (layers, [{"moderated_debate": MODEL}], [{"generator": agents}, {"debate": agents}]):
        for answer in answer_all(math_pool, one, 12):
            for step in answer.trail.steps:
                prompt = recognize_prompt(step.messages, math_pool.known)
                asked.setdefault(step.purpose.partition(" (")[0], Counter())[prompt.task] += 1
                assert prompt.question.known
    tasks = {purpose: set(counts) for purpose, counts in asked.items()}
    assert tasks["guide"] == {"guide"} and tasks["feedback"] == {"feedback"} and tasks["rewrite"] == {"rewrite"}
    assert tasks["diversify"] == {"diversify"} and tasks["pick"] == {"pick"} and tasks["debate"] == {"fuse"}
    assert tasks["negative"] == {"argue"} and tasks["affirmative"] <= {"generate", "argue"}
    assert tasks["moderate"] == {"moderate"} and tasks["generate"] == {"generate"}


def test_confidences_inform_but_are_too_high(math_pool: Simulator) -> None:
    answers = answer_all(math_pool, [{"debate": {"model": MODEL, "confidence": True}}], 200)
    stated = [(get_confidence(a.candidates[0]), is_right(math_pool, a)) for a in answers]
    right = [value for value, good in stated if good and value is not None]
    wrong = [value for value, good in stated if not good and value is not None]
    assert 0.9 * len(answers) < len(right) + len(wrong) < len(answers)
    assert fmean(right) > fmean(wrong) + 0.05
    assert fmean(wrong) > 0.5


def test_feedback_rejects_wrong_answers_more_often(math_pool: Simulator) -> None:
    answers = answer_all(math_pool, [{"generator": MODEL}, {"refine": {"model": MODEL, "rounds": 1}}], 200)
    kept: dict[bool, list[bool]] = {True: [], False: []}
    for answer in answers:
        first = next(step for step in answer.trail.steps if step.purpose == "generate")
        prompt = recognize_prompt(first.messages, math_pool.known)
        good = first.reply is not None and parse_answer(first.reply.text, prompt) == RIGHT
        kept[good].append(not any(step.purpose == "rewrite" for step in answer.trail.steps))
    assert fmean(kept[True]) > fmean(kept[False]) + 0.1


def test_a_debate_of_several_models_does_not_lose_to_the_first(math_pool: Simulator) -> None:
    names = list(pool_names("math")[:3])
    answers = answer_all(math_pool, [{"generator": names}, {"debate": names}, {"vote": {"top_k": 1}}], 150)
    debated = fmean(is_right(math_pool, answer) for answer in answers)
    alone = fmean(is_right(math_pool, answer) for answer in answer_all(math_pool, [{"generator": names[0]}], 150))
    assert debated > alone - 0.05


def test_answers_in_a_system_message_are_fused_like_those_in_the_prompt(math_pool: Simulator) -> None:
    models = [{"model": name, "max_tokens": 2048} for name in pool_names("math")[3:7]]
    system = {"model": MODEL, "system": "Others answered:\n{candidates}", "prompts": {"fuse": "{instruction}"}}
    answers = answer_all(math_pool, [{"generator": models}, {"fuser": system}], 60)
    for answer in answers:
        prompt = recognize_prompt(answer.trail.steps[-1].messages, math_pool.known)
        assert prompt.task == "fuse" and len(prompt.candidates) == 4 and prompt.question.known
