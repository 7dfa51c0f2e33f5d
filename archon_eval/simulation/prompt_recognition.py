"""Recognises from a prompt's text alone what it asks: the task (by the reply format), the question, the candidates.

    >>> from archon_eval.types import Message
    >>> text = 'Rank them. <response id="[1]">4</response> <response id="[2]">5</response> Reply as [2] > [1].'
    >>> prompt = recognize_prompt((Message("user", text),), QuestionBank([]))
    >>> prompt.task, prompt.candidates
    ('rank', ('4', '5'))

Nothing else reaches a model, simulated or not. So a prompt of a user's own works as long as it demands the same format.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archon_eval.components.parsing.final_answer import extract_last_box
from archon_eval.simulation.questions import QuestionBank, SimulatedQuestion, normalize_answer
from archon_eval.types import Message

QUALITY_MARK = "[simulated quality "
"""Start of the mark that an open-ended answer carries for judges to read: `[simulated quality 5.31]`."""
BASELINE_QUALITY = 5.0
"""The quality shown for an answer as good as the baseline's: the middle of 0 to 10."""
RIGHT = "right"
"""Stands for any right answer, where the normal form of a wrong one could stand."""
TASKS: Mapping[str, str] = {
    "generate": "answer a question",
    "fuse": "one answer from several candidates",
    "rank": "order candidates",
    "critique": "strengths and weaknesses of candidates",
    "reasons": "reasons for one response",
    "verdict": "whether one response is correct",
    "tests": "unit tests in words",
    "pairs": "unit tests as inputs with outputs",
    "evaluate": "one response against unit tests",
    "pair": "compare two answers (MT-Bench)",
    "pair5": "compare two answers in five steps (Arena-Hard)",
    "letter": "compare two answers by one letter with its probability (AlpacaEval)",
    "rate": "rate one answer",
    "grade": "grade one answer against references",
    "score": "score one response from 0 to 100",
    "compare": "which of two responses is better, or a tie",
    "option": "the option that an answer chose",
    "route": "which of several systems is to answer",
    "propose": "the next architecture of a search",
}
"""What a prompt can ask for, by the name of the task."""
ANSWER_TASKS = frozenset({"generate", "fuse"})
"""Tasks whose reply answers the question; every other task demands a reply format of its own."""
PAIR_TASKS = frozenset({"pair", "pair5", "letter"})
"""Tasks that compare two answers."""
_TASKS_WITHOUT_CANDIDATES = ANSWER_TASKS | {"tests", "route"}
_MAX_ID_CHARACTERS = 2000
"""Characters of an unknown question that tell it from others."""
_ANSWER_TAIL = 2000
"""Characters at a text's end in which its answer is stated."""
_OPEN, _CLOSE = '<response id="[', "</response>"
_CRITIQUE, _CRITIQUE_END = '<critique of="[', "</critique>"
_TRIED = '<tried name="'
_RANKING = re.compile(r"\[\d+\]\s*>\s*\[\d+\]")
_RATING = (re.compile(r"\brat(?:e|ing)\b", re.I), re.compile(r"\[\[(?:rating|\d{1,2})\]\]", re.I))
_TESTS = re.compile(r"\blist of (?:strings|tests|statements|unit tests)\b|json (?:list|array)")
_PAIRS = tuple(map(re.compile, (r"json list of objects\b", '"input":', '"output":')))
_GRADE = re.compile(r"\[\[[01]?\.\d\]\]|GRADE: (?:\$LETTER|C\b)")
_QUALITY = re.compile(r"-?\d{1,2}\.\d\d")
_STATED = re.compile(r"(?:\bfinal answer|^\W*answer)\s*:\s*(.+)", re.I | re.M)
_SUBMITTED = re.compile(r'^Tool call: submit\w*\(\w+=("(?:[^"\\\n]|\\.)*")\)$', re.M)
"""How the proposal to submit an answer is shown to judges."""
_CHOICE = re.compile(r"^\s*\(?([A-J])[).:]\s+(\S.*?)\s*$", re.M)
STAGE = re.compile(r'<stage name="([\w.-]+)">')
"""How a router's prompt lists the stages."""
_SECOND = re.compile(r"of_B>|assistant_B>|with_B>|Assistant B's|Assistant B\]|\"M\"")


@dataclass(frozen=True, slots=True)
class RecognizedPrompt:
    """A conversation as the pool understands it."""

    task: str
    """One of `TASKS`."""
    question: SimulatedQuestion
    """The question asked; one with `known=False` where the pool does not know it."""
    text: str
    """The turn that asks."""
    frame: str
    """System prompt and turn without the candidates: what the asker wrote."""
    candidates: tuple[str, ...] = ()
    """The candidates' texts in the order shown."""
    critiques: tuple[str, ...] = ()
    """Their critiques, in the same order; empty text where there is none."""
    choices: tuple[str, ...] = ()
    """The options of a multiple-choice question, A first."""


def recognize_prompt(messages: Sequence[Message], known: QuestionBank) -> RecognizedPrompt:
    """Understands a conversation; never fails, whatever the text."""
    system = "\n".join(message.content for message in messages if message.role == "system")
    turns = [message.content for message in messages if message.role == "user"] or [""]
    # After a re-ask the format is in an earlier turn; a plain conversation has no turn that demands one.
    tasks = [
        (turn, *_recognize_task(system, turn))
        for turn in turns[:-1]
        if "[" in turn or "m or M" in turn or '"M"' in turn or '<stage name="' in turn or _TRIED in turn
    ]
    with_format = [entry for entry in tasks if entry[1] not in ANSWER_TASKS]
    text, task, frame = with_format[0] if with_format else (turns[-1], *_recognize_task(system, turns[-1]))
    start, end = _find_candidates(text)
    head = text[:start] + (text[end:] if text.startswith(_OPEN, start) else "") if "<response" in text else text
    question = known.find(head) or (known.find(text) if head is not text else None)
    if question is None:
        question = SimulatedQuestion(f"unknown/{head[:_MAX_ID_CHARACTERS]}", "mixeval", (head,), known=False)
    candidates, critiques = _split_candidates(text) if _OPEN in text else _find_single_candidates(text, task, question)
    choices = _parse_choices(head) if "\nA" in head or "\n(A" in head else ()
    return RecognizedPrompt(
        task=task,
        question=question,
        text=text,
        frame=frame,
        candidates=candidates,
        critiques=critiques,
        choices=choices,
    )


def _recognize_task(system: str, text: str) -> tuple[str, str]:
    """The task and the frame of one user turn."""
    if _TRIED in text and "Propose the next architecture" in text:
        return "propose", f"{system}\n{text}"
    start, end = _find_candidates(text)
    frame = system + "\n" + (text[:start] + text[end:] if 0 <= start < end else text)
    low = frame.casefold()
    if start >= 0 and text.startswith(_OPEN, start):
        if _RANKING.search(frame):
            return "rank", frame
        if "better: [1]" in low and "better: [2]" in low:
            return "compare", frame
        critic = "strength" in low and "weakness" in low and ("[1]" in frame or "[i]" in frame)
        return ("critique" if critic else "fuse"), frame
    if "score: n" in low and "0 to 100" in low:
        return "score", frame
    if '<stage name="' in frame and "stage: name" in low:
        return "route", frame
    if "[passed]" in low and "unit test #" in low:
        return "evaluate", frame
    if "[incorrect]" in low:
        return "verdict", frame
    if _holds_in_order(_PAIRS, low):
        return "pairs", frame
    if "unit test" in low and _TESTS.search(low):
        return "tests", frame
    if "[[" in frame and (judge_task := _recognize_judge_task(frame)):
        return judge_task, frame
    if "GRADE: " in frame and _GRADE.search(frame):
        return "grade", frame
    if '"M"' in frame and '"m"' in frame:
        return "letter", frame
    if start >= 0 and ("reason" in low or "why" in low):
        return "reasons", frame
    shows_answer = QUALITY_MARK in text or ("\\boxed{" in text.replace("\\boxed{}", "")) or _STATED.search(text)
    return ("reasons" if shows_answer and "reasons" in low else "generate"), frame


def _find_candidates(text: str) -> tuple[int, int]:
    """Where the candidates begin and where their last closing tag begins; -1 for none."""
    return text.find("<response"), max(text.rfind(_CLOSE), text.rfind(_CRITIQUE_END))


def _recognize_judge_task(frame: str) -> str:
    if "[[A>>B]]" in frame or "[[A=B]]" in frame:
        return "pair5"
    if "[[none]]" in frame or "[[Z]]" in frame:
        return "option"
    if "[[A]]" in frame and "[[B]]" in frame:
        return "pair"
    if "score" in frame.casefold() and _GRADE.search(frame):
        return "grade"
    return "rate" if _holds_in_order(_RATING, frame) else ""


def _holds_in_order(patterns: Sequence[re.Pattern[str]], text: str) -> bool:
    """Whether the text holds a match of each pattern, one after the other; in time linear in its length."""
    end = 0
    for pattern in patterns:
        if (match := pattern.search(text, end)) is None:
            return False
        end = match.end()
    return True


def _split_candidates(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    texts, critiques = [], []
    for part in text.split(_OPEN)[1:]:
        body, _, after = part.partition(_CLOSE)
        texts.append(body.partition('">')[2].strip())
        critiques.append(after.partition(_CRITIQUE)[2].partition(_CRITIQUE_END)[0])
    return tuple(texts), tuple(critiques)


def _find_single_candidates(
    text: str, task: str, question: SimulatedQuestion
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The one or two candidates of a prompt without numbered ones."""
    if task in PAIR_TASKS:
        second = _SECOND.search(text)
        return ((text[: second.start()], text[second.start() :]) if second else (text, text)), ("", "")
    if task in _TASKS_WITHOUT_CANDIDATES:
        return (), ()
    if "<response>" in text:
        body = text.partition("<response>")[2]
        return (body.rpartition(_CLOSE)[0] if "<reasons>" not in text else body.partition(_CLOSE)[0],), ("",)
    ends = [text.rfind(turn.strip()) + len(turn.strip()) for turn in question.turns if turn.strip() in text]
    rest = text[max(ends) :] if question.known and ends else text
    has_answer = QUALITY_MARK in rest or "\\boxed{" in rest or _STATED.search(rest)
    return (rest if has_answer else text,), ("",)


def _parse_choices(text: str) -> tuple[str, ...]:
    """The last run of options A, B, C, ... in a text."""
    choices: list[str] = []
    for match in _CHOICE.finditer(text):
        if match[1] == "A":
            choices = []
        if match[1] == chr(65 + len(choices)):
            choices.append(match[2])
    return tuple(choices) if len(choices) > 1 else ()


def parse_quality(text: str) -> float:
    """The simulated quality an answer shows, above the baseline's; an answer that shows none counts as the baseline.

    >>> round(parse_quality("Some words. [simulated quality 5.31]"), 2)
    0.31
    """
    place = text.rfind(QUALITY_MARK)
    shown = _QUALITY.match(text, place + len(QUALITY_MARK)) if place >= 0 else None
    return float(shown[0]) - BASELINE_QUALITY if shown else 0.0


def parse_answer(text: str, prompt: RecognizedPrompt) -> str:
    """`right`, or the normal form of the wrong answer a text gives; empty if it gives none."""
    stated = extract_stated_answer(text)
    letter = stated.strip(" ().*")[:1].upper() if re.match(r"[\s(*]*[A-J](?:[\s).:,*]|$)", stated) else ""
    if prompt.choices and letter and ord(letter) - 65 < len(prompt.choices):
        stated = prompt.choices[ord(letter) - 65]
    form = normalize_answer(stated)
    return RIGHT if form and form in prompt.question.forms else form


def extract_stated_answer(text: str) -> str:
    """What a text states as its answer; its last line where it states none."""
    if submitted := _SUBMITTED.search(text[-_ANSWER_TAIL:]):
        return str(json.loads(submitted[1]))
    if box := extract_last_box(text):
        return box
    fences = text.split("```")
    if len(fences) > 2:
        return fences[-2].partition("\n")[2]
    stated = _STATED.findall(text[-_ANSWER_TAIL:])
    if stated:
        return str(stated[-1])
    lines = text.strip()[-300:].splitlines()
    return lines[-1] if lines else ""
