"""One writer per task: who answers what becomes a text in the form that the prompt demands.

>>> {"critique", "evaluate", "fuse", "generate"} <= set(REPLY_WRITERS)
True
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, log
from random import Random
from statistics import NormalDist

from archon_eval.simulation import reply_templates as templates
from archon_eval.simulation.architecture_proposals import write_proposal
from archon_eval.simulation.prompt_recognition import RIGHT, STAGE, RecognizedPrompt, parse_answer, parse_quality
from archon_eval.simulation.skill_model import CRITIQUE_LOG_ODDS, POSITION_PENALTY, SkillModel

FORMAT_ERROR_RATE = 0.02
"""Share of judgments that break the demanded format (or, where there is little to break, are given the wrong way).

Assumed: often enough that a run of a few hundred calls meets the parsers' errors and the re-asks."""
TEST_OUTPUT_EASE = 2.0
"""How much easier one small output is to work out than the problem is to solve, in probits. Assumed."""
TIE_MARGIN = 0.1
"""Log-odds between two answers below which a judge calls a tie. Assumed."""
CLEAR_MARGIN = 2.0
"""Log-odds above which a judge calls one answer much better (`>>`). Assumed."""
LETTER_SHARPNESS = 5.0
"""Log-odds of the letter per log-odds between the answers: one-token judges are sure unless the answers look alike."""
MAX_TESTS = 10
"""Tests written where the prompt names no number."""
MAX_TEST_VERDICTS = 1000
"""Bound on the tests of one prompt that get a verdict, so that a number in a text cannot make a reply endless."""
_MAX_TESTS_PATTERN = re.compile(r"(?:at most|up to|exactly|maximum of|write)\s+(\d{1,3})", re.I)
_TEST_NUMBER = re.compile(r"unit test #(\d{1,4})\s*:", re.I)
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class SimulatedCall:
    """One call: which model answers which prompt, how easy the question is for it, and the call's own randomness."""

    skill_model: SkillModel
    prompt: RecognizedPrompt
    question_effect: float
    rng: Random

    def score_candidates(self) -> list[float]:
        """How good each candidate looks, 0 being undecided; critiques in the prompt count."""
        question, rng, scores = self.prompt.question, self.rng, []
        own = "" if question.open_ended else self.skill_model.draw_answer(question, self.question_effect, rng)
        for text, bonus in zip(self.prompt.candidates, self.weigh_critiques(), strict=True):
            if question.open_ended:
                look = self.skill_model.perceive_quality(parse_quality(text), rng) - self.skill_model.strength
            else:
                look = self.skill_model.score_answer(question, parse_answer(text, self.prompt), own_answer=own, rng=rng)
            scores.append(look + bonus)
        return scores

    def score_first_candidate(self) -> float:
        """How good the first candidate looks; 0 where there is none."""
        return next(iter(self.score_candidates()), 0.0)

    def compute_margin(self) -> float:
        """How much better the first of two answers looks than the second."""
        first, second = (*self.score_candidates(), 0.0, 0.0)[:2]
        return first - second

    def weigh_critiques(self) -> list[float]:
        """Log-odds that each candidate's critique adds."""
        return [
            -CRITIQUE_LOG_ODDS
            if templates.ERROR_PHRASE in critique
            else CRITIQUE_LOG_ODDS
            if templates.SOUND_PHRASE in critique
            else 0.0
            for critique in self.prompt.critiques
        ]

    def draw_format_error(self) -> bool:
        """Whether this judgment breaks the demanded format."""
        return self.rng.random() < FORMAT_ERROR_RATE


def write_answer(call: SimulatedCall) -> str:
    """The model's own answer."""
    model, prompt, rng = call.skill_model, call.prompt, call.rng
    if prompt.question.open_ended:
        return templates.write_rated_answer(model.draw_quality(call.question_effect, rng), rng)
    return templates.write_solution(model.draw_answer(prompt.question, call.question_effect, rng), prompt, rng)


def write_fused_answer(call: SimulatedCall) -> str:
    """One answer from the candidates and their critiques."""
    model, prompt, rng = call.skill_model, call.prompt, call.rng
    if prompt.question.open_ended:
        qualities = [parse_quality(text) for text in prompt.candidates]
        quality = model.fuse_quality(call.question_effect, qualities, evidence=call.weigh_critiques(), rng=rng)
        return templates.write_rated_answer(quality, rng)
    answers = [parse_answer(text, prompt) for text in prompt.candidates]
    answer = model.fuse_answers(
        prompt.question, call.question_effect, answers, evidence=call.weigh_critiques(), rng=rng
    )
    return templates.write_solution(answer, prompt, rng)


def write_ranking(call: SimulatedCall) -> str:
    """All candidates' numbers, best first; a broken one names the first twice."""
    looks = call.score_candidates()
    order = sorted(range(len(looks)), key=lambda place: -looks[place])
    if call.draw_format_error():
        order = [order[0], *order]
    return " > ".join(f"[{place + 1}]" for place in order)


def write_critiques(call: SimulatedCall) -> str:
    """A section per candidate; a broken reply lacks the last."""
    sections = [
        templates.write_critique(number, look, call.rng) for number, look in enumerate(call.score_candidates(), 1)
    ]
    if call.draw_format_error():
        sections.pop()
    return "\n\n".join(sections) or "There is nothing to criticise."


def write_reasons(call: SimulatedCall) -> str:
    """Reasons for a response, whatever it is."""
    return f"{templates.write_working(call.rng, 2, 5)} Each of these points speaks for the response."


def write_verdict(call: SimulatedCall) -> str:
    """`[Correct]` or `[Incorrect]` for one response; a broken reply has neither."""
    correct = call.score_first_candidate() > 0
    if call.draw_format_error():
        return f"{templates.write_working(call.rng, 1, 3)}\n\nIt is hard to say."
    return f"{templates.write_working(call.rng, 1, 3)}\n\n[{'Correct' if correct else 'Incorrect'}]"


def write_statements(call: SimulatedCall) -> str:
    """Unit tests in words, as a list of strings; a broken reply is prose."""
    count = max(1, min(_parse_max_tests(call), call.rng.randint(5, 10)))
    statements = templates.write_statements(count, call.rng)
    if call.draw_format_error():
        return "These statements should hold. " + " ".join(statements)
    return "[" + ", ".join(f'"{statement}"' for statement in statements) + "]"


def write_test_pairs(call: SimulatedCall) -> str:
    """Inputs of the problem's own tests with outputs worked out by hand, some of them wrong; JSON."""
    rng, question = call.rng, call.prompt.question
    if not question.tests:
        return f"{templates.UNKNOWN_QUESTION_REPLY} There is nothing to test."
    count = min(_parse_max_tests(call), rng.randint(5, 10), len(question.tests))
    accuracy = _NORMAL.cdf(call.skill_model.strength + call.question_effect + TEST_OUTPUT_EASE)
    pairs = [
        {"input": text, "output": output if rng.random() < accuracy else templates.corrupt_output(output, rng)}
        for text, output in rng.sample(question.tests, max(1, count))
    ]
    return json.dumps(pairs[0] if call.draw_format_error() else pairs)


def _parse_max_tests(call: SimulatedCall) -> int:
    """How many tests the prompt asks for at most."""
    numbers = _MAX_TESTS_PATTERN.findall(call.prompt.frame)
    return int(numbers[-1]) if numbers else MAX_TESTS


def write_test_verdicts(call: SimulatedCall) -> str:
    """A verdict per test: mostly passed, less so if the candidate looks wrong; a broken reply lacks the last."""
    numbers = (int(number) for number in _TEST_NUMBER.findall(call.prompt.frame))
    count = min(MAX_TEST_VERDICTS, max(numbers, default=1))
    look, rng = call.score_first_candidate(), call.rng
    passed = [look + 1 + rng.gauss(0, 0.5) > 0 for _ in range(count)]
    lines = [f"Unit Test #{n}: [{'Passed' if ok else 'Failed'}]" for n, ok in enumerate(passed, 1)]
    if call.draw_format_error():
        lines.pop()
    return "\n".join([templates.write_working(rng, 1, 3), "", *lines])


def compare_pair(call: SimulatedCall) -> str:
    """MT-Bench's form: `[[A]]`, `[[B]]` or `[[C]]` for a tie."""
    margin = call.compute_margin()
    letter = "C" if abs(margin) < TIE_MARGIN else "A" if margin > 0 else "B"
    return f"{templates.write_working(call.rng, 1, 3)}\n\n[[{letter}]]"


def compare_pair_in_five_steps(call: SimulatedCall) -> str:
    """Arena-Hard's form: `[[A>>B]]` to `[[B>>A]]`."""
    margin = call.compute_margin()
    sign = "=" if abs(margin) < TIE_MARGIN else ">>" if abs(margin) > CLEAR_MARGIN else ">"
    first, second = ("A", "B") if margin > 0 or sign == "=" else ("B", "A")
    return f"{templates.write_working(call.rng, 1, 3)}\n\nMy final verdict is: [[{first}{sign}{second}]]"


def write_rating(call: SimulatedCall) -> str:
    """A number from 1 to 10; an answer as good as the baseline's gets about 7."""
    offset = call.skill_model.strength if call.prompt.question.open_ended else 0.0
    rating = min(10, max(1, round(7 + 1.5 * (call.score_first_candidate() + offset))))
    return f"{templates.write_working(call.rng, 1, 3)}\n\nRating: [[{rating}]]"


def write_score(call: SimulatedCall) -> str:
    """A number from 0 to 100, about 60 for an answer that may be right or not; a broken reply says it in words."""
    offset = call.skill_model.strength if call.prompt.question.open_ended else 0.0
    score = min(100, max(0, round(60 + 15 * (call.score_first_candidate() + offset))))
    working = templates.write_working(call.rng, 1, 3)
    return f"{working}\n\nIt is hard to say." if call.draw_format_error() else f"{working}\n\nScore: {score}"


def compare_responses(call: SimulatedCall) -> str:
    """`Better: [1]`, `[2]` or `[tie]`; who stands first is favoured a little. A broken reply names none."""
    margin = call.compute_margin() + POSITION_PENALTY
    choice = "tie" if abs(margin) < TIE_MARGIN else "1" if margin > 0 else "2"
    working = templates.write_working(call.rng, 1, 3)
    return f"{working}\n\nIt is hard to say." if call.draw_format_error() else f"{working}\n\nBetter: [{choice}]"


def write_grade(call: SimulatedCall) -> str:
    """Against the reference answers in the prompt: nearly always as they say."""
    correct = parse_answer(call.prompt.text, call.prompt) == RIGHT
    if call.draw_format_error():
        correct = not correct
    mark = f"GRADE: {'C' if correct else 'I'}" if "GRADE:" in call.prompt.frame else f"[[{float(correct):.1f}]]"
    return f"{templates.write_working(call.rng, 1, 2)}\n\n{mark}"


def write_named_option(call: SimulatedCall) -> str:
    """The letter another model's answer names."""
    letters = re.findall(r"answer\s*:\s*\(?([A-J])\b", call.prompt.text, re.I)
    return f"The answer names this option: [[{letters[-1].upper() if letters else 'none'}]]"


def write_route(call: SimulatedCall) -> str:
    """The stage by how sure the model is of its own answer, the first for what is easy; a broken reply has none."""
    names = STAGE.findall(call.prompt.frame) or ["none"]
    ease = _NORMAL.cdf(call.skill_model.draw_quality(call.question_effect, call.rng))
    chosen = names[min(len(names) - 1, int((1 - ease) * len(names)))]
    working = templates.write_working(call.rng, 1, 1)
    return f"{working}\n\nIt depends." if call.draw_format_error() else f"{working}\n\nStage: {chosen}"


def propose_architecture(call: SimulatedCall) -> str:
    """An architecture for a search to try, by what the prompt shows of others."""
    return write_proposal(call.prompt.text, call.skill_model.strength, call.rng)


REPLY_WRITERS: Mapping[str, Callable[[SimulatedCall], str]] = {
    "generate": write_answer,
    "fuse": write_fused_answer,
    "rank": write_ranking,
    "critique": write_critiques,
    "reasons": write_reasons,
    "verdict": write_verdict,
    "tests": write_statements,
    "pairs": write_test_pairs,
    "evaluate": write_test_verdicts,
    "pair": compare_pair,
    "pair5": compare_pair_in_five_steps,
    "rate": write_rating,
    "grade": write_grade,
    "score": write_score,
    "compare": compare_responses,
    "option": write_named_option,
    "route": write_route,
    "propose": propose_architecture,
}
"""The writer of each task that `recognize_prompt` names, but `letter`: `compute_letter_logprobs` decides that one."""


def write_reply(call: SimulatedCall) -> tuple[str, tuple[tuple[str, float], ...]]:
    """The reply's text and, where there are two letters to choose between, their log probabilities."""
    if call.prompt.task != "letter":
        return REPLY_WRITERS[call.prompt.task](call), ()
    letters = compute_letter_logprobs(call)
    return max(letters, key=lambda letter: letter[1])[0], letters


def compute_letter_logprobs(call: SimulatedCall) -> tuple[tuple[str, float], ...]:
    """AlpacaEval's form: log probabilities of the two answers' names, `m` and `M`."""
    odds = max(-30.0, min(30.0, LETTER_SHARPNESS * call.compute_margin()))
    return (("m", -log(1 + exp(-odds))), ("M", -log(1 + exp(odds))))
