"""The simulated pool without any harness: messages in, a reply out, the same in every process.

    pool = Simulator()
    pool.reply("gpt-4o", (Message("user", "What is 2 + 2?"),), draw=0, epoch=1).text

A reply depends on the pool's seed, the model, the messages, the draw, the epoch and the caller's seed: on nothing else.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from math import exp, log, sqrt
from random import Random
from statistics import NormalDist
from typing import Literal

from archon_eval.simulation import reply_templates as writing
from archon_eval.simulation.prompt_recognition import (
    RIGHT,
    RecognizedPrompt,
    parse_answer,
    parse_quality,
    recognize_prompt,
)
from archon_eval.simulation.questions import QuestionBank, SimulatedQuestion
from archon_eval.simulation.seeded_random import draw_normal, hash_parts
from archon_eval.simulation.skill_model import CRITIQUE_LOG_ODDS, MODEL_VARIANCE, SHARED_VARIANCE, SkillModel
from archon_eval.simulation.skills import find_model
from archon_eval.types import Message

FORMAT_ERROR_RATE = 0.02
"""Share of judgments that break the demanded format (or, where there is little to break, are given the wrong way)."""
TEST_OUTPUT_EASE = 2.0
"""How much easier one small output is to work out than the problem is to solve, in probits. Assumed."""
CHARACTERS_PER_TOKEN = 4
"""Characters per token, the estimate behind every count."""
_MAX_TESTS = re.compile(r"(?:at most|up to|exactly|maximum of|write)\s+(\d{1,3})", re.I)
_TEST_NUMBER = re.compile(r"unit test #(\d{1,4})\s*:", re.I)
_PROMPT_CACHE_SIZE = 512
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class SimulatedReply:
    """A reply and what a provider reports with it."""

    text: str
    stop_reason: Literal["stop", "max_tokens"]
    input_tokens: int
    output_tokens: int
    letter_logprobs: tuple[tuple[str, float], ...] = ()
    """Log probabilities of the first token, where two letters were to choose between."""


@dataclass(frozen=True, slots=True)
class SimulatedCall:
    """One call: who answers what, with which chance."""

    skill_model: SkillModel
    prompt: RecognizedPrompt
    question_effect: float
    rng: Random

    def score_candidates(self) -> list[float]:
        """How good each candidate looks, 0 being undecided; critiques in the prompt count."""
        question, rng, found = self.prompt.question, self.rng, []
        held = "" if question.open_ended else self.skill_model.draw_answer(question, self.question_effect, rng)
        for text, bonus in zip(self.prompt.candidates, self.weigh_critiques(), strict=True):
            if question.open_ended:
                look = self.skill_model.perceive_quality(parse_quality(text), rng) - self.skill_model.strength
            else:
                look = self.skill_model.score_answer(question, parse_answer(text, self.prompt), held, rng)
            found.append(look + bonus)
        return found

    def weigh_critiques(self) -> list[float]:
        """What the critiques say, in log-odds."""
        return [
            -CRITIQUE_LOG_ODDS
            if writing.ERROR_PHRASE in critique
            else CRITIQUE_LOG_ODDS
            if writing.SOUND_PHRASE in critique
            else 0.0
            for critique in self.prompt.critiques
        ]


def generate(turn: SimulatedCall) -> str:
    mind, prompt, rng = turn.skill_model, turn.prompt, turn.rng
    if prompt.question.open_ended:
        return writing.write_rated_answer(mind.draw_quality(turn.question_effect, rng), rng)
    return writing.write_solution(mind.draw_answer(prompt.question, turn.question_effect, rng), prompt, rng)


def fuse(turn: SimulatedCall) -> str:
    mind, prompt, rng = turn.skill_model, turn.prompt, turn.rng
    if prompt.question.open_ended:
        qualities = [parse_quality(text) for text in prompt.candidates]
        return writing.write_rated_answer(
            mind.fuse_quality(turn.question_effect, qualities, turn.weigh_critiques(), rng), rng
        )
    answers = [parse_answer(text, prompt) for text in prompt.candidates]
    return writing.write_solution(
        mind.fuse(prompt.question, turn.question_effect, answers, turn.weigh_critiques(), rng), prompt, rng
    )


def rank(turn: SimulatedCall) -> str:
    looks = turn.score_candidates()
    order = sorted(range(len(looks)), key=lambda place: -looks[place])
    if turn.rng.random() < FORMAT_ERROR_RATE:
        order = [order[0], *order]
    return " > ".join(f"[{place + 1}]" for place in order)


def critique(turn: SimulatedCall) -> str:
    sections = [
        writing.write_critique(number, look, turn.rng) for number, look in enumerate(turn.score_candidates(), 1)
    ]
    if turn.rng.random() < FORMAT_ERROR_RATE:
        sections.pop()
    return "\n\n".join(sections) or "There is nothing to criticise."


def reasons(turn: SimulatedCall) -> str:
    return f"{writing.write_working(turn.rng, 2, 5)} Each of these points speaks for the response."


def verdict(turn: SimulatedCall) -> str:
    correct = _score_first(turn) > 0
    if turn.rng.random() < FORMAT_ERROR_RATE:
        return f"{writing.write_working(turn.rng, 1, 3)}\n\nIt is hard to say."
    return f"{writing.write_working(turn.rng, 1, 3)}\n\n[{'Correct' if correct else 'Incorrect'}]"


def tests(turn: SimulatedCall) -> str:
    count = max(1, min(_parse_max_tests(turn), turn.rng.randint(5, 10)))
    statements = writing.write_tests(count, turn.rng)
    if turn.rng.random() < FORMAT_ERROR_RATE:
        return "These statements should hold. " + " ".join(statements)
    return "[" + ", ".join(f'"{statement}"' for statement in statements) + "]"


def pairs(turn: SimulatedCall) -> str:
    """Inputs of the problem's own tests with outputs worked out by hand, some of them wrong."""
    rng, question = turn.rng, turn.prompt.question
    if not question.tests:
        return f"{writing.UNKNOWN_QUESTION_REPLY} There is nothing to test."
    wanted = min(_parse_max_tests(turn), rng.randint(5, 10), len(question.tests))
    right = _NORMAL.cdf(turn.skill_model.strength + turn.question_effect + TEST_OUTPUT_EASE)
    written = [
        {"input": given, "output": output if rng.random() < right else writing.corrupt_output(output, rng)}
        for given, output in rng.sample(question.tests, max(1, wanted))
    ]
    return json.dumps(written[0] if rng.random() < FORMAT_ERROR_RATE else written)


def _parse_max_tests(turn: SimulatedCall) -> int:
    """How many tests the prompt asks for at most."""
    said = _MAX_TESTS.findall(turn.prompt.frame)
    return int(said[-1]) if said else 10


def evaluate(turn: SimulatedCall) -> str:
    """A verdict per test: mostly passed, less so if the candidate looks wrong."""
    count = min(1000, max((int(number) for number in _TEST_NUMBER.findall(turn.prompt.frame)), default=1))
    look, rng = _score_first(turn), turn.rng
    passed = [look + 1 + rng.gauss(0, 0.5) > 0 for _ in range(count)]
    lines = [f"Unit Test #{n}: [{'Passed' if ok else 'Failed'}]" for n, ok in enumerate(passed, 1)]
    if rng.random() < FORMAT_ERROR_RATE:
        lines.pop()
    return "\n".join([writing.write_working(rng, 1, 3), "", *lines])


def _score_first(turn: SimulatedCall) -> float:
    return next(iter(turn.score_candidates()), 0.0)


def _compute_margin(turn: SimulatedCall) -> float:
    """How much better the first of two answers looks than the second."""
    first, second = (*turn.score_candidates(), 0.0, 0.0)[:2]
    return first - second


def pair(turn: SimulatedCall) -> str:
    margin = _compute_margin(turn)
    letter = "C" if abs(margin) < 0.1 else "A" if margin > 0 else "B"
    return f"{writing.write_working(turn.rng, 1, 3)}\n\n[[{letter}]]"


def pair5(turn: SimulatedCall) -> str:
    margin = _compute_margin(turn)
    sign = "=" if abs(margin) < 0.1 else ">>" if abs(margin) > 2 else ">"
    first, second = ("A", "B") if margin > 0 or sign == "=" else ("B", "A")
    return f"{writing.write_working(turn.rng, 1, 3)}\n\nMy final verdict is: [[{first}{sign}{second}]]"


def rate(turn: SimulatedCall) -> str:
    look = _score_first(turn) + (turn.skill_model.strength if turn.prompt.question.open_ended else 0.0)
    return f"{writing.write_working(turn.rng, 1, 3)}\n\nRating: [[{min(10, max(1, round(7 + 1.5 * look)))}]]"


def grade(turn: SimulatedCall) -> str:
    """Against the reference answers in the prompt: nearly always as they say."""
    correct = parse_answer(turn.prompt.text, turn.prompt) == RIGHT
    if turn.rng.random() < FORMAT_ERROR_RATE:
        correct = not correct
    mark = f"GRADE: {'C' if correct else 'I'}" if "GRADE:" in turn.prompt.frame else f"[[{float(correct):.1f}]]"
    return f"{writing.write_working(turn.rng, 1, 2)}\n\n{mark}"


def option(turn: SimulatedCall) -> str:
    """The letter another model's answer names."""
    named = re.findall(r"answer\s*:\s*\(?([A-J])\b", turn.prompt.text, re.I)
    return f"The answer names this option: [[{named[-1].upper() if named else 'none'}]]"


_REPLY_WRITERS = (
    generate,
    fuse,
    rank,
    critique,
    reasons,
    verdict,
    tests,
    pairs,
    evaluate,
    pair,
    pair5,
    rate,
    grade,
    option,
)
WRITERS_BY_TASK: Mapping[str, Callable[[SimulatedCall], str]] = {write.__name__: write for write in _REPLY_WRITERS}
"""What writes the reply, by the task that `recognize_prompt` found."""


class Simulator:
    """Twelve models in one world: the seed decides which questions are hard, and for whom."""

    def __init__(self, known: QuestionBank | None = None, seed: int = 0) -> None:
        self.known, self.seed = known if known is not None else QuestionBank.load(), seed
        self._effects = cache(self._draw_effects)
        self._recognize = lru_cache(_PROMPT_CACHE_SIZE)(lambda messages: recognize_prompt(messages, self.known))

    def _draw_effects(self, what: str) -> dict[str, float]:
        """A standard normal value per question, evenly spread within its file, so that small files come right.

        What is called `ease` is mostly lower for harder levels.
        """
        groups: dict[tuple[str, str], list[tuple[float, str]]] = {}
        for question in self.known.questions:
            told = 0.5 * (3 - question.level) if question.level and what == "ease" else 0.0
            group = groups.setdefault((question.family, question.id.partition("/")[0]), [])
            group.append((told + draw_normal(self.seed, what, question.id), question.id))
        spread = NormalDist()
        return {
            id: spread.inv_cdf((place + 0.5) / len(group))
            for group in groups.values()
            for place, (_, id) in enumerate(sorted(group))
        }

    def _compute_question_effect(self, model: str, question: SimulatedQuestion) -> float:
        if not question.known:
            return 0.0
        return (
            sqrt(SHARED_VARIANCE) * self._effects("ease")[question.id]
            + sqrt(MODEL_VARIANCE) * self._effects(model)[question.id]
        )

    def reply(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        draw: int = 0,
        epoch: int = 1,
        seed: int | None = None,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
    ) -> SimulatedReply:
        """The model's reply, cut at the first stop text and at the token limit.

        Args:
            model: `sim/NAME` or `NAME`.
            draw: which sample of the same prompt, from 0.
            epoch: the harness's repetition of the question, from 1.
            seed: the caller's own seed.

        Raises:
            SimulationError: no such model.
        """
        name = find_model(model)
        key = tuple(messages)
        prompt = self._recognize(key)
        mark = hash_parts(self.seed, name, draw, epoch, seed, *(part for m in key for part in (m.role, m.content)))
        mind = SkillModel(name, prompt.question.family, self.seed)
        turn = SimulatedCall(mind, prompt, self._compute_question_effect(name, prompt.question), Random(mark))
        letters = _compute_letter_logprobs(_compute_margin(turn)) if prompt.task == "letter" else ()
        text = max(letters, key=lambda pair: pair[1])[0] if letters else WRITERS_BY_TASK[prompt.task](turn)
        text, reason = _truncate(text, max_tokens, stop)
        size = sum(len(message.content) for message in key)
        return SimulatedReply(text, reason, _estimate_tokens(size), _estimate_tokens(len(text)), letters)


def _estimate_tokens(characters: int) -> int:
    return max(1, -(-characters // CHARACTERS_PER_TOKEN))


def _compute_letter_logprobs(margin: float) -> tuple[tuple[str, float], ...]:
    """Log probabilities of the two answers' names: a judge is sure unless they look alike."""
    odds = max(-30.0, min(30.0, 5 * margin))
    return (("m", -log(1 + exp(-odds))), ("M", -log(1 + exp(odds))))


def _truncate(text: str, max_tokens: int | None, stop: Sequence[str]) -> tuple[str, Literal["stop", "max_tokens"]]:
    ends = [place for word in stop if word and (place := text.find(word)) >= 0]
    text = text[: min(ends)] if ends else text
    if max_tokens is not None and len(text) > max_tokens * CHARACTERS_PER_TOKEN:
        return text[: max_tokens * CHARACTERS_PER_TOKEN], "max_tokens"
    return text, "stop"
