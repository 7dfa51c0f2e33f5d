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

from archon_eval.candidates import Message
from archon_eval.simulation import writing
from archon_eval.simulation.chance import digest, normal
from archon_eval.simulation.mind import CRITIQUE, OWN, SHARED, Mind
from archon_eval.simulation.reading import RIGHT, Prompt, answer_of, quality_of, read
from archon_eval.simulation.records import Known, Question
from archon_eval.simulation.skills import find_model

SLIPS = 0.02
"""Share of judgments that break the demanded format (or, where there is little to break, are given the wrong way)."""
BY_HAND = 2.0
"""How much easier one small output is to work out than the problem is to solve, in probits. Assumed."""
TOKEN = 4
"""Characters per token, the estimate behind every count."""
_MOST = re.compile(r"(?:at most|up to|exactly|maximum of|write)\s+(\d{1,3})", re.I)
_NUMBER = re.compile(r"unit test #(\d{1,4})\s*:", re.I)
_REMEMBERED = 512
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Simulated:
    """A reply and what a provider reports with it."""

    text: str
    stop_reason: Literal["stop", "max_tokens"]
    input_tokens: int
    output_tokens: int
    letters: tuple[tuple[str, float], ...] = ()
    """Log probabilities of the first token, where two letters were to choose between."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One call: who answers what, with which chance."""

    mind: Mind
    prompt: Prompt
    leaning: float
    rng: Random

    def looks(self) -> list[float]:
        """How good each candidate looks, 0 being undecided; critiques in the prompt count."""
        question, rng, found = self.prompt.question, self.rng, []
        held = "" if question.open_ended else self.mind.belief(question, self.leaning, rng)
        for text, bonus in zip(self.prompt.candidates, self.evidence(), strict=True):
            if question.open_ended:
                look = self.mind.impression(quality_of(text), rng) - self.mind.strength
            else:
                look = self.mind.support(question, answer_of(text, self.prompt), held, rng)
            found.append(look + bonus)
        return found

    def evidence(self) -> list[float]:
        """What the critiques say, in log-odds."""
        return [
            -CRITIQUE if writing.ERROR in critique else CRITIQUE if writing.SOUND in critique else 0.0
            for critique in self.prompt.critiques
        ]


def generate(turn: Turn) -> str:
    mind, prompt, rng = turn.mind, turn.prompt, turn.rng
    if prompt.question.open_ended:
        return writing.rated(mind.quality(turn.leaning, rng), rng)
    return writing.solution(mind.belief(prompt.question, turn.leaning, rng), prompt, rng)


def fuse(turn: Turn) -> str:
    mind, prompt, rng = turn.mind, turn.prompt, turn.rng
    if prompt.question.open_ended:
        qualities = [quality_of(text) for text in prompt.candidates]
        return writing.rated(mind.fuse_quality(turn.leaning, qualities, turn.evidence(), rng), rng)
    answers = [answer_of(text, prompt) for text in prompt.candidates]
    return writing.solution(mind.fuse(prompt.question, turn.leaning, answers, turn.evidence(), rng), prompt, rng)


def rank(turn: Turn) -> str:
    looks = turn.looks()
    order = sorted(range(len(looks)), key=lambda place: -looks[place])
    if turn.rng.random() < SLIPS:
        order = [order[0], *order]
    return " > ".join(f"[{place + 1}]" for place in order)


def critique(turn: Turn) -> str:
    sections = [writing.critique(number, look, turn.rng) for number, look in enumerate(turn.looks(), 1)]
    if turn.rng.random() < SLIPS:
        sections.pop()
    return "\n\n".join(sections) or "There is nothing to criticise."


def reasons(turn: Turn) -> str:
    return f"{writing.working(turn.rng, 2, 5)} Each of these points speaks for the response."


def verdict(turn: Turn) -> str:
    correct = _look(turn) > 0
    if turn.rng.random() < SLIPS:
        return f"{writing.working(turn.rng, 1, 3)}\n\nIt is hard to say."
    return f"{writing.working(turn.rng, 1, 3)}\n\n[{'Correct' if correct else 'Incorrect'}]"


def tests(turn: Turn) -> str:
    count = max(1, min(_most(turn), turn.rng.randint(5, 10)))
    statements = writing.tests(count, turn.rng)
    if turn.rng.random() < SLIPS:
        return "These statements should hold. " + " ".join(statements)
    return "[" + ", ".join(f'"{statement}"' for statement in statements) + "]"


def pairs(turn: Turn) -> str:
    """Inputs of the problem's own tests with outputs worked out by hand, some of them wrong."""
    rng, question = turn.rng, turn.prompt.question
    if not question.tests:
        return f"{writing.NOT_KNOWN} There is nothing to test."
    wanted = min(_most(turn), rng.randint(5, 10), len(question.tests))
    right = _NORMAL.cdf(turn.mind.strength + turn.leaning + BY_HAND)
    written = [
        {"input": given, "output": output if rng.random() < right else writing.slip(output, rng)}
        for given, output in rng.sample(question.tests, max(1, wanted))
    ]
    return json.dumps(written[0] if rng.random() < SLIPS else written)


def _most(turn: Turn) -> int:
    """How many tests the prompt asks for at most."""
    said = _MOST.findall(turn.prompt.frame)
    return int(said[-1]) if said else 10


def evaluate(turn: Turn) -> str:
    """A verdict per test: mostly passed, less so if the candidate looks wrong."""
    count = min(1000, max((int(number) for number in _NUMBER.findall(turn.prompt.frame)), default=1))
    look, rng = _look(turn), turn.rng
    passed = [look + 1 + rng.gauss(0, 0.5) > 0 for _ in range(count)]
    lines = [f"Unit Test #{n}: [{'Passed' if ok else 'Failed'}]" for n, ok in enumerate(passed, 1)]
    if rng.random() < SLIPS:
        lines.pop()
    return "\n".join([writing.working(rng, 1, 3), "", *lines])


def _look(turn: Turn) -> float:
    return next(iter(turn.looks()), 0.0)


def _margin(turn: Turn) -> float:
    """How much better the first of two answers looks than the second."""
    first, second = (*turn.looks(), 0.0, 0.0)[:2]
    return first - second


def pair(turn: Turn) -> str:
    margin = _margin(turn)
    letter = "C" if abs(margin) < 0.1 else "A" if margin > 0 else "B"
    return f"{writing.working(turn.rng, 1, 3)}\n\n[[{letter}]]"


def pair5(turn: Turn) -> str:
    margin = _margin(turn)
    sign = "=" if abs(margin) < 0.1 else ">>" if abs(margin) > 2 else ">"
    first, second = ("A", "B") if margin > 0 or sign == "=" else ("B", "A")
    return f"{writing.working(turn.rng, 1, 3)}\n\nMy final verdict is: [[{first}{sign}{second}]]"


def rate(turn: Turn) -> str:
    look = _look(turn) + (turn.mind.strength if turn.prompt.question.open_ended else 0.0)
    return f"{writing.working(turn.rng, 1, 3)}\n\nRating: [[{min(10, max(1, round(7 + 1.5 * look)))}]]"


def grade(turn: Turn) -> str:
    """Against the reference answers in the prompt: nearly always as they say."""
    correct = answer_of(turn.prompt.text, turn.prompt) == RIGHT
    if turn.rng.random() < SLIPS:
        correct = not correct
    mark = f"GRADE: {'C' if correct else 'I'}" if "GRADE:" in turn.prompt.frame else f"[[{float(correct):.1f}]]"
    return f"{writing.working(turn.rng, 1, 2)}\n\n{mark}"


def option(turn: Turn) -> str:
    """The letter another model's answer names."""
    named = re.findall(r"answer\s*:\s*\(?([A-J])\b", turn.prompt.text, re.I)
    return f"The answer names this option: [[{named[-1].upper() if named else 'none'}]]"


_WRITERS = (generate, fuse, rank, critique, reasons, verdict, tests, pairs, evaluate, pair, pair5, rate, grade, option)
TASKS: Mapping[str, Callable[[Turn], str]] = {write.__name__: write for write in _WRITERS}
"""What writes the reply, by the task that `read` found."""


class Simulator:
    """Twelve models in one world: the seed decides which questions are hard, and for whom."""

    def __init__(self, known: Known | None = None, seed: int = 0) -> None:
        self.known, self.seed = known if known is not None else Known.load(), seed
        self._spreads = cache(self._spread)
        self._read = lru_cache(_REMEMBERED)(lambda messages: read(messages, self.known))

    def _spread(self, what: str) -> dict[str, float]:
        """A standard normal value per question, evenly spread within its file, so that small files come right.

        What is called `ease` is mostly lower for harder levels.
        """
        groups: dict[tuple[str, str], list[tuple[float, str]]] = {}
        for question in self.known.questions:
            told = 0.5 * (3 - question.level) if question.level and what == "ease" else 0.0
            group = groups.setdefault((question.family, question.id.partition("/")[0]), [])
            group.append((told + normal(self.seed, what, question.id), question.id))
        spread = NormalDist()
        return {
            id: spread.inv_cdf((place + 0.5) / len(group))
            for group in groups.values()
            for place, (_, id) in enumerate(sorted(group))
        }

    def _leaning(self, model: str, question: Question) -> float:
        if not question.known:
            return 0.0
        return sqrt(SHARED) * self._spreads("ease")[question.id] + sqrt(OWN) * self._spreads(model)[question.id]

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
    ) -> Simulated:
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
        prompt = self._read(key)
        mark = digest(self.seed, name, draw, epoch, seed, *(part for m in key for part in (m.role, m.content)))
        mind = Mind(name, prompt.question.family, self.seed)
        turn = Turn(mind, prompt, self._leaning(name, prompt.question), Random(mark))
        letters = _letters(_margin(turn)) if prompt.task == "letter" else ()
        text = max(letters, key=lambda pair: pair[1])[0] if letters else TASKS[prompt.task](turn)
        text, reason = _cut(text, max_tokens, stop)
        size = sum(len(message.content) for message in key)
        return Simulated(text, reason, _tokens(size), _tokens(len(text)), letters)


def _tokens(characters: int) -> int:
    return max(1, -(-characters // TOKEN))


def _letters(margin: float) -> tuple[tuple[str, float], ...]:
    """Log probabilities of the two answers' names: a judge is sure unless they look alike."""
    odds = max(-30.0, min(30.0, 5 * margin))
    return (("m", -log(1 + exp(-odds))), ("M", -log(1 + exp(odds))))


def _cut(text: str, max_tokens: int | None, stop: Sequence[str]) -> tuple[str, Literal["stop", "max_tokens"]]:
    ends = [place for word in stop if word and (place := text.find(word)) >= 0]
    text = text[: min(ends)] if ends else text
    if max_tokens is not None and len(text) > max_tokens * TOKEN:
        return text[: max_tokens * TOKEN], "max_tokens"
    return text, "stop"
