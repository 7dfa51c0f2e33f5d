"""The simulated pool without any harness: messages in, a reply out, the same in every process.

>>> from archon_eval.types import Message
>>> reply = Simulator().reply("gpt-4o", (Message("user", "What is the capital of Nowhere?"),), draw=0, epoch=1)
>>> reply.text
'(Simulated reply.) The simulated pool does not know this question, so it has no answer to it.'

A reply depends on the pool's seed, the model, the messages, the draw, the epoch and the caller's seed: on nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from math import sqrt
from random import Random
from statistics import NormalDist
from typing import Literal

from archon_eval.simulation.prompt_recognition import extract_stated_answer, recognize_prompt
from archon_eval.simulation.questions import QuestionBank, SimulatedQuestion
from archon_eval.simulation.reply_templates import WORKING_MARK
from archon_eval.simulation.reply_writers import SimulatedCall, write_reply
from archon_eval.simulation.seeded_random import draw_normal, hash_parts
from archon_eval.simulation.skill_model import MODEL_VARIANCE, SHARED_VARIANCE, SkillModel
from archon_eval.simulation.skills import find_model
from archon_eval.simulation.tool_use import propose_call
from archon_eval.types import Message, ToolCall, ToolOffer, flatten_conversation, render_turn

CHARACTERS_PER_TOKEN = 4
"""Characters per token, the usual estimate for English text; every count here rests on it."""
EASE_PER_LEVEL = 0.5
"""Standard deviations of ease per level of difficulty that the authors name. Assumed."""
MIDDLE_LEVEL = 3
"""The level (of MATH's 1 to 5) at which a question is neither harder nor easier than its file's mean."""
_EASE = "ease"
"""Name of the effect that all models share; part of the random seed, so a change of it changes every reply."""
_PROMPT_CACHE_SIZE = 512
"""Prompts kept as understood: the samples of one question ask the same prompt many times in a row."""


@dataclass(frozen=True, slots=True)
class SimulatedReply:
    """A reply and what a provider reports with it."""

    text: str
    stop_reason: Literal["stop", "max_tokens"]
    input_tokens: int
    output_tokens: int
    letter_logprobs: tuple[tuple[str, float], ...] = ()
    """Log probabilities of the first token, where two letters were to choose between."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The calls of tools that were offered; at most one."""


class Simulator:
    """Twelve models in one world: the seed decides which questions are hard, and for which model."""

    def __init__(self, known: QuestionBank | None = None, seed: int = 0) -> None:
        self.known, self.seed = known if known is not None else QuestionBank.load(), seed
        self._shared_effects = cache(lambda: self._draw_effects(_EASE, ease_per_level=EASE_PER_LEVEL))
        self._model_effects = cache(self._draw_effects)
        self._recognize = lru_cache(_PROMPT_CACHE_SIZE)(lambda messages: recognize_prompt(messages, self.known))

    def _draw_effects(self, name: str, *, ease_per_level: float = 0.0) -> dict[str, float]:
        """A standard normal value per question, evenly spread within its file, so that small files come right."""
        groups: dict[tuple[str, str], list[tuple[float, str]]] = {}
        for question in self.known.questions:
            expected = ease_per_level * (MIDDLE_LEVEL - question.level) if question.level else 0.0
            group = groups.setdefault((question.family, question.id.partition("/")[0]), [])
            group.append((expected + draw_normal(self.seed, name, question.id), question.id))
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
            sqrt(SHARED_VARIANCE) * self._shared_effects()[question.id]
            + sqrt(MODEL_VARIANCE) * self._model_effects(model)[question.id]
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
        tools: ToolOffer | None = None,
    ) -> SimulatedReply:
        """The model's reply, cut at the first stop text and at the token limit; with tools it may be a call of one.

        Args:
            model: `sim/NAME` or `NAME`.
            messages: the conversation, oldest first.
            draw: which sample of the same prompt, from 0.
            epoch: the harness's repetition of the question, from 1.
            seed: the caller's own seed.
            max_tokens: limit of the reply, in tokens of `CHARACTERS_PER_TOKEN` characters.
            stop: texts at which the reply ends, themselves left out.
            tools: what the reply may call.

        Raises:
            SimulationError: no such model.
        """
        name = find_model(model)
        key = flatten_conversation(messages)
        prompt = self._recognize(key)
        parts = (part for message in key for part in (message.role, message.content))
        rng = Random(hash_parts(self.seed, name, draw, epoch, seed, *parts))
        skill_model = SkillModel(name, prompt.question.family, self.seed)
        effect = self._compute_question_effect(name, prompt.question)
        call = SimulatedCall(skill_model=skill_model, prompt=prompt, question_effect=effect, rng=rng)
        text, letters = write_reply(call)
        text, stop_reason = _truncate(text, max_tokens, stop)
        characters = sum(len(message.content) for message in key)
        calls: tuple[ToolCall, ...] = ()
        if tools is not None:
            characters += sum(len(tool.spec) for tool in tools.definitions)
            is_right = skill_model.draw_quality(effect, rng) > 0
            proposed = propose_call(
                messages, tools, world=self.seed, is_right=is_right, answer=extract_stated_answer(text), rng=rng
            )
            if proposed is not None:
                calls, text, stop_reason = (proposed,), WORKING_MARK, "stop"
        return SimulatedReply(
            text=text,
            stop_reason=stop_reason,
            input_tokens=estimate_tokens(characters),
            output_tokens=estimate_tokens(len(render_turn(text, calls))),
            letter_logprobs=letters,
            tool_calls=calls,
        )


def estimate_tokens(characters: int) -> int:
    """Tokens of so many characters, rounded up; at least 1.

    >>> estimate_tokens(9)
    3
    """
    return max(1, -(-characters // CHARACTERS_PER_TOKEN))


def _truncate(text: str, max_tokens: int | None, stop: Sequence[str]) -> tuple[str, Literal["stop", "max_tokens"]]:
    ends = [place for word in stop if word and (place := text.find(word)) >= 0]
    text = text[: min(ends)] if ends else text
    if max_tokens is not None and len(text) > max_tokens * CHARACTERS_PER_TOKEN:
        return text[: max_tokens * CHARACTERS_PER_TOKEN], "max_tokens"
    return text, "stop"
