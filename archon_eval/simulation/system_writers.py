"""What the simulated models write in debates, refinement, programs and other systems, a writer per task.

>>> sorted(SYSTEM_WRITERS)[:3]
['argue', 'diversify', 'feedback']
"""

from collections.abc import Callable, Mapping
from statistics import NormalDist

from archon_eval.simulation import reply_templates as templates
from archon_eval.simulation.prompt_recognition import RIGHT, parse_answer
from archon_eval.simulation.reply_writers import SimulatedCall, write_answer, write_fused_answer
from archon_eval.simulation.system_recognition import list_identifiers

UNDECIDED_MARGIN = 0.4
"""Log-odds between two sides below which a moderator lets a debate go on, where it may. Assumed."""
LEAST_CONFIDENCE = 0.5
"""The confidence of a model that has no idea: models seldom state less. Assumed."""
INSIGHT = 0.7
"""By how much, in probits, a model's confidence tells its right answers from its wrong ones. Assumed."""
CONFIDENCE_NOISE = 0.5
"""Standard deviation of a stated confidence, in probits. Assumed."""
_NORMAL = NormalDist()


def write_speech(call: SimulatedCall) -> str:
    """A side's answer: its own where it has not spoken yet, else from both sides' last ones."""
    return write_fused_answer(call) if call.prompt.candidates else write_answer(call)


def write_decision(call: SimulatedCall) -> str:
    """A moderator's decision; a broken one names no side."""
    margin, working = call.compute_margin(), templates.write_working(call.rng, 1, 3)
    if call.draw_format_error():
        return f"{working}\n\nBoth sides have a point."
    if "[continue]" in call.prompt.frame.casefold() and abs(margin) < UNDECIDED_MARGIN:
        return f"{working}\n\n[Continue]"
    return f"{working}\n\n[{'Affirmative' if margin >= 0 else 'Negative'}]"


def write_feedback(call: SimulatedCall) -> str:
    """What is wrong with a response, or that nothing is; a broken one does not say which."""
    support = call.score_first_candidate()
    section = templates.write_critique(1, support, call.rng).partition("\n")[2]
    if call.draw_format_error():
        return section
    return f"{section}\n\n[{'Keep' if support > 0 else 'Revise'}]"


def write_program(call: SimulatedCall) -> str:
    """A program that prints the model's own answer as the query asks for it; a broken one raises."""
    solution = write_answer(call)
    if call.prompt.question.program and not call.prompt.question.open_ended:
        return solution
    answer = solution.strip().rpartition("\n")[2]
    code = "raise ValueError('a simulated slip')" if call.draw_format_error() else f"print({answer!r})"
    return f"{templates.write_working(call.rng, 1, 3)}\n\n```python\n{code}\n```"


def write_guidance(call: SimulatedCall) -> str:
    """A few sentences that fit any question."""
    return templates.write_working(call.rng, 2, 4)


def write_pick(call: SimulatedCall) -> str:
    """The identifier of the response that looks best; a broken reply has none."""
    looks, names = call.score_candidates(), list_identifiers(call.prompt.text)
    if call.draw_format_error() or not names:
        return "The first of them reads best."
    return names[max(range(len(looks)), key=lambda place: looks[place])]


def write_confidence(call: SimulatedCall, answer: str) -> str:
    """The line that states how sure the model is of its answer: too sure, but not without insight."""
    is_right = not call.prompt.question.open_ended and parse_answer(answer, call.prompt) == RIGHT
    insight = INSIGHT / 2 if is_right else -INSIGHT / 2
    sure = call.skill_model.strength + call.question_effect + insight + CONFIDENCE_NOISE * call.rng.gauss(0, 1)
    return f"Confidence: {LEAST_CONFIDENCE + (1 - LEAST_CONFIDENCE) * _NORMAL.cdf(sure):.2f}"


SYSTEM_WRITERS: Mapping[str, Callable[[SimulatedCall], str]] = {
    "argue": write_speech,
    "moderate": write_decision,
    "feedback": write_feedback,
    "rewrite": write_fused_answer,
    "program": write_program,
    "guide": write_guidance,
    "diversify": write_answer,
    "pick": write_pick,
}
"""The writer of each of SYSTEM_TASKS."""
