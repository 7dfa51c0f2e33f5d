"""Texts of simulated replies: working of a plausible length, ending in the form the prompt demands.

    >>> corrupt_output("7 apples", Random(0))
    '8 apples\\n'

The text around an answer is drawn without regard to whether the answer is right: a judge can only read the answer.
"""

import re
from random import Random

from archon_eval.simulation.prompt_recognition import BASELINE_QUALITY, QUALITY_MARK, RIGHT, RecognizedPrompt
from archon_eval.simulation.questions import normalize_answer

UNKNOWN_QUESTION_REPLY = "(Simulated reply.) The simulated pool does not know this question, so it has no answer to it."
ERROR_PHRASE = "contains an error"
"""Phrase of a critique against a candidate; the pool's rankers and fusers look for it."""
SOUND_PHRASE = "holds up when checked"
"""Phrase of a critique in favour of a candidate."""
WORKING_MARK = "(Simulated working.)"
"""How working begins, so that nobody takes it for a real model's."""
_STEPS = (
    "First restate what is given and what is asked, so that nothing in the wording is missed.",
    "Write the quantities that matter side by side and note how they depend on one another.",
    "The conditions leave only a few cases; take them one after the other.",
    "Substituting the first relation into the second removes one unknown and leaves a simpler statement to work with.",
    "Simplifying step by step and collecting like terms, the expression becomes short enough to read off.",
    "Here the units and the signs need care, since a slip would go unnoticed until the end.",
    "The cases that break a condition are discarded, which narrows the possibilities further.",
    "A quick estimate gives the size the result must have, and the detailed working agrees with it.",
    "Putting the pieces together in the order in which they depend on one another gives the result.",
    "Going back through each step in the opposite direction turns up nothing that has to be changed.",
    "Another way to see the same thing is to look at the extreme case and let the rest follow.",
    "It remains to collect the intermediate results and to state the outcome in the form that was asked for.",
)
"""Sentences that fit any problem, so that they say nothing about the answer."""
NO_BOX = re.compile(r"\bnot\b[^.\n]{0,40}\\boxed")
"""A prompt that says a box is not needed."""


def write_working(rng: Random, at_least: int = 4, at_most: int = 11) -> str:
    """A few sentences, 80 to 250 tokens."""
    return " ".join([WORKING_MARK, *rng.sample(_STEPS, rng.randint(at_least, at_most))])


def write_rated_answer(quality: float, rng: Random) -> str:
    """An open-ended answer that shows its quality."""
    return f"{write_working(rng, 6, 12)}\n\n{QUALITY_MARK}{BASELINE_QUALITY + quality:.2f}]"


def write_solution(answer: str, prompt: RecognizedPrompt, rng: Random) -> str:
    """An answer (`right`, or a normal form) worked out and stated as the prompt demands."""
    question = prompt.question
    if answer == RIGHT and question.right:
        shown = rng.choice(question.right) if question.program else question.right[0]
    else:
        shown = question.errors.get(answer, answer)
    if prompt.choices:
        return _write_letter(shown, prompt, rng)
    if not question.known:
        return UNKNOWN_QUESTION_REPLY
    if not shown:
        return write_working(rng) + "\n\nThis leaves no definite answer."
    if question.program:
        return f"{write_working(rng, 2, 5)}\n\n```python\n{shown}\n```"
    boxed = "\\boxed" in prompt.frame and not NO_BOX.search(prompt.frame)
    if "ANSWER:" in prompt.frame and not boxed:
        return f"{write_working(rng)}\n\nANSWER: {shown}"
    if "\n#### " in prompt.frame and not boxed:
        return f"{write_working(rng)}\n#### {shown}"
    if boxed or question.family == "math":
        return f"{write_working(rng)}\n\nThe final answer is $\\boxed{{{shown}}}$."
    return f"{write_working(rng)}\n\nFinal answer: {shown}"


def _write_letter(shown: str, prompt: RecognizedPrompt, rng: Random) -> str:
    forms = [normalize_answer(choice) for choice in prompt.choices]
    form = normalize_answer(shown)
    known = prompt.question.known and form in forms
    letter = chr(65 + (forms.index(form) if known else rng.randrange(len(forms))))
    if "entire content" in prompt.frame:
        return f"ANSWER: {letter}"
    return f"{write_working(rng) if known else UNKNOWN_QUESTION_REPLY + ' This letter is a guess.'}\n\nANSWER: {letter}"


def write_critique(number: int, support: float, rng: Random) -> str:
    """A section about one candidate."""
    good, bad = rng.sample(_STEPS, 2)
    if support > 0:
        strengths, weaknesses = f"The result {SOUND_PHRASE}.\n- Well done here: {good}", "Some steps could be shorter."
    else:
        strengths = "The layout is easy to follow."
        weaknesses = (
            f"The response {ERROR_PHRASE}, and its conclusion should not be relied on.\n- Look again at this: {bad}"
        )
    return f"[{number}]\nStrengths:\n- {strengths}\nWeaknesses:\n- {weaknesses}"


def corrupt_output(output: str, rng: Random) -> str:
    """An output with a slip in it: one number off by one, or, where there is none, a word left out."""
    words = output.split()
    places = [place for place, word in enumerate(words) if word.lstrip("-").isdigit()]
    if not places:
        return " ".join(words[:-1] if len(words) > 1 else [*words, "none"]) + "\n"
    place = rng.choice(places)
    words[place] = str(int(words[place]) + rng.choice((-1, 1)))
    return " ".join(words) + "\n"


def write_statements(count: int, rng: Random) -> list[str]:
    """Statements that a good response satisfies."""
    return [f"The response does this correctly: {step[0].lower()}{step[1:-1]}" for step in rng.sample(_STEPS, count)]
