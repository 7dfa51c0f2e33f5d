"""Questions that the simulated pool knows, with right and wrong answers, found again inside any prompt.

    >>> known = QuestionBank([SimulatedQuestion("mine/1", "math", ("What is 2 + 2?",), ("4",), ("5",))])
    >>> known.find("Solve this.\\nWhat is 2 + 2?\\nReply with a number.").id
    'mine/1'

A record is a JSON object with a question (`problem`, `question`, `prompt`, `instruction`, `description` or `turns`)
and, unless it is judged by preference, an answer (`answer`, `answers`, `target`, `solutions`), perhaps `choices` or
`options`, and wrong answers (`distractors`, `wrong_solutions`). `family` names the benchmark whose skills apply, else
the file's name does; any other question with an answer counts as MixEval, without one as AlpacaEval.
"""

import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

from archon_eval.components.parsing.final_answer import extract_last_box
from archon_eval.errors import DataError
from archon_eval.simulation.seeded_random import hash_parts
from archon_eval.simulation.skills import FAMILIES, OPEN_ENDED

_QUESTION_KEYS = ("problem", "question", "Question", "prompt", "instruction", "description", "text", "turns")
_PROGRAM_KEYS = ("solutions", "programs", "canonical_solution", "code")
_ANSWER_KEYS = (*_PROGRAM_KEYS, "answer", "answers", "target", "Correct Answer", "solution")
_WRONG_ANSWER_KEYS = ("distractors", "wrong_solutions", "wrong_solution", *(f"Incorrect Answer {n}" for n in (1, 2, 3)))
_FAMILY_BY_PREFIX = {
    "alpaca": "alpaca",
    "arena": "arena_hard",
    "gsm8k": "math",
    "gpqa": "mixeval_hard",
    "mmlu_pro": "mixeval_hard",
}
"""Families by the start of a file's name: a benchmark that the table lacks has the skills of the nearest one."""
_TEST_KEYS = ("public_tests", "private_tests")
"""Tests written by people; generated ones are often long to work out by hand."""
_MAX_TEST_CHARACTERS = 300
"""Characters of an input and its output that a model would still write down."""
_IGNORED_IN_ANSWERS = re.compile(r"[\s$]|\\left|\\right|\\[!,;:]|(?<=\\)[dt](?=frac)")
_NGRAM_SIZE = 6
"""Consecutive words by which a question is recognised in the middle of a line: fewer match by chance."""
_MAX_PROMPT_WORDS = 20_000
"""Words of a prompt that are searched for a question: longer prompts are contexts, and the search stays fast."""
_SEARCH_CACHE_SIZE = 2_000
"""Texts whose question is remembered: every judge and fuser of a question asks with the same head."""
_MAX_DISTRACTORS = 5
"""Answers of other questions that serve as wrong answers."""


@dataclass(frozen=True, slots=True)
class SimulatedQuestion:
    """One question and its answers."""

    id: str
    family: str
    turns: tuple[str, ...]
    """Its text; several for a conversation of several user turns."""
    right: tuple[str, ...] = ()
    """Right answers, the usual one first; programs for programming problems. Empty if judged by preference."""
    wrong: tuple[str, ...] = ()
    """Plausible wrong answers."""
    program: bool = False
    """Whether its answers are programs."""
    around: tuple[str, ...] = ()
    """Other text of a prompt that asks it (context, options), to tell it from questions with the same text."""
    level: float = 0.0
    """How hard its authors call it, higher is harder; 0 where they do not say."""
    tests: tuple[tuple[str, str], ...] = ()
    """Inputs short enough to write down, with their outputs, for a programming problem."""
    known: bool = True
    """False for a question that the pool was asked and cannot answer."""
    forms: frozenset[str] = field(init=False, compare=False)
    """The right answers in normal form."""
    errors: Mapping[str, str] = field(init=False, compare=False)
    """The wrong answers by their normal form."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "forms", frozenset(map(normalize_answer, self.right)))
        object.__setattr__(self, "errors", {normalize_answer(answer): answer for answer in self.wrong})

    @property
    def open_ended(self) -> bool:
        """Whether answers are better or worse, and not right or wrong."""
        return self.family in OPEN_ENDED


def normalize_answer(answer: str) -> str:
    """An answer in the form in which the pool compares its own answers.

    >>> normalize_answer(r"$\\dfrac{1}{2}$.")
    '\\\\frac{1}{2}'
    """
    return _IGNORED_IN_ANSWERS.sub("", answer).rstrip(".").casefold()


_Entry = tuple[str, SimulatedQuestion]


class QuestionBank:
    """The questions of some files, with an index by which a prompt's question is found in microseconds."""

    def __init__(self, questions: Sequence[SimulatedQuestion]) -> None:
        self.questions = tuple(questions)
        self._lines: dict[str, list[_Entry]] = {}
        self._ngrams: dict[str, list[_Entry]] = {}
        self._short_turns: list[_Entry] = []
        self._cached_search = lru_cache(_SEARCH_CACHE_SIZE)(self._search)
        for question in self.questions:
            for turn in filter(str.strip, question.turns):
                line = max((part.strip() for part in turn.strip().splitlines()[:20]), key=len)
                self._lines.setdefault(line, []).append((turn.strip(), question))
                words = turn.split()
                if len(words) > _NGRAM_SIZE:
                    self._ngrams.setdefault(_join_ngram(words, 1), []).append((" ".join(words), question))
                elif len(words) > 1:
                    self._short_turns.append((" ".join(words), question))

    @classmethod
    def load(cls, data: str | None = None) -> "QuestionBank":
        """The bundled problems and those of the files in `data` (comma-separated; .jsonl or .json, also .gz).

        Raises:
            DataError: a file that is missing or not readable, or without any question.
        """
        paths = [part.strip() for part in (data or "").split(",") if part.strip()]
        questions = [question for path in paths for question in _load_file(Path(path).expanduser())]
        for resource in sorted(files("archon_eval").joinpath("samples").iterdir(), key=lambda item: item.name):
            if resource.name.endswith(".jsonl"):
                questions += _parse_questions(
                    resource.name, _parse_rows(resource.name, resource.read_text(encoding="utf-8"))
                )
        return cls(questions)

    def find(self, text: str) -> SimulatedQuestion | None:
        """The last known question whose text stands in `text`; None if there is none."""
        return self._cached_search(text)

    def _search(self, text: str) -> SimulatedQuestion | None:
        lines = (part.strip() for part in text.splitlines())
        if question := _find_last(text, (entry for line in lines for entry in self._lines.get(line, ()))):
            return question
        words = text.split()
        runs = (_join_ngram(words, place) for place in range(min(len(words), _MAX_PROMPT_WORDS)))
        return _find_last(
            " ".join(words), chain((entry for run in runs for entry in self._ngrams.get(run, ())), self._short_turns)
        )


def _join_ngram(words: Sequence[str], start: int) -> str:
    return " ".join(words[start : start + _NGRAM_SIZE])


def _find_last(text: str, entries: Iterable[_Entry]) -> SimulatedQuestion | None:
    """The question whose text stands last in a text; of several there, the one with most of its `around` in it, too."""
    best: tuple[int, int, int] = (0, 0, 0)
    last: SimulatedQuestion | None = None
    for turn, question in entries:
        end = text.rfind(turn) + len(turn)
        if end >= max(best[0], len(turn)):
            rank = (end, sum(mark in text for mark in question.around), len(turn))
            best, last = (rank, question) if rank > best else (best, last)
    return last


def _load_file(path: Path) -> list[SimulatedQuestion]:
    try:
        raw = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"data={path}: cannot be read: {error}") from error
    questions = _parse_questions(path.name, _parse_rows(path.name, raw))
    if not questions:
        raise DataError(f"data={path}: no record has a question (legal keys: {', '.join(_QUESTION_KEYS)})")
    return questions


def _parse_rows(name: str, text: str) -> list[Mapping[str, Any]]:
    try:
        lines = ".jsonl" in name
        rows = [json.loads(row) for row in text.split("\n") if row.strip()] if lines else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: not JSON{' lines' if '.jsonl' in name else ''}: {error}") from error
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _parse_questions(name: str, rows: Sequence[Mapping[str, Any]]) -> list[SimulatedQuestion]:
    questions = [question for row in rows if (question := _parse_question(name, row))]
    return [_add_wrong_answers(question, questions) for question in questions]


def _parse_question(name: str, row: Mapping[str, Any]) -> SimulatedQuestion | None:
    text = next((row[key] for key in _QUESTION_KEYS if row.get(key)), None)
    turns = tuple(map(str, text)) if isinstance(text, list) else (str(text),)
    if not text or not any(turn.strip() for turn in turns):
        return None
    choices = [str(choice) for choice in row.get("choices") or row.get("options") or ()]
    key = next((key for key in _ANSWER_KEYS if row.get(key) not in (None, "", [])), "")
    right = _parse_answers(row.get(key), choices)
    wrong = [text for key in _WRONG_ANSWER_KEYS for text in _parse_answers(row.get(key), [])] + choices
    family = str(row.get("family") or _infer_family(name, bool(right)))
    forms = {normalize_answer(answer) for answer in right}
    wrong = [text for text in dict.fromkeys(wrong) if normalize_answer(text) not in forms]
    level = re.search(r"\d+", str(row.get("level") or ""))
    around = tuple(part.strip() for part in (str(row.get("context") or ""), *choices) if part.strip())
    return SimulatedQuestion(
        id=f"{name}/{row.get('id') or hash_parts(*turns)}",
        family=family,
        turns=turns,
        right=tuple(right),
        wrong=tuple(wrong),
        program=key in _PROGRAM_KEYS,
        around=around,
        level=float(level[0]) if level else 0.0,
        tests=_parse_tests(row),
    )


def _parse_tests(row: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Short tests of a record in CodeContests' form."""
    groups = [row[key] for key in _TEST_KEYS if isinstance(row.get(key), Mapping)]
    pairs = [pair for tests in groups for pair in zip(tests.get("input", ()), tests.get("output", ()), strict=False)]
    return tuple((str(text), str(output)) for text, output in pairs if len(text) + len(output) <= _MAX_TEST_CHARACTERS)


def _parse_answers(value: Any, choices: Sequence[str]) -> list[str]:
    """Answers as texts; an index or a letter becomes the choice it names."""
    items = value if isinstance(value, list | tuple) else [] if value is None else [value]
    answers = []
    for item in items:
        place = item if isinstance(item, int) else ord(str(item)) - 65 if re.fullmatch("[A-J]", str(item)) else None
        if choices and place is not None and 0 <= place < len(choices):
            answers.append(choices[place])
        else:
            text = "" if isinstance(item, Mapping) else str(item).strip("\n")
            text = text.rsplit("####", 1)[-1].strip() if "####" in text else text
            answers.append(extract_last_box(text) or text)
    return [text for text in answers if text.strip()]


def _infer_family(name: str, has_answer: bool) -> str:
    stem = name.lower().replace("-", "_")
    starts = {family: family for family in sorted(FAMILIES)} | _FAMILY_BY_PREFIX
    named = [family for start, family in starts.items() if stem.startswith(start)]
    return named[-1] if named else "mixeval" if has_answer else "alpaca"


def _add_wrong_answers(question: SimulatedQuestion, others: Sequence[SimulatedQuestion]) -> SimulatedQuestion:
    """The question with wrong answers: its own, else numbers near the right one, else answers of other questions."""
    if question.open_ended or question.wrong or not question.right:
        return question
    if question.program:
        return replace(question, wrong=("print()",))
    answer = question.right[0]
    if re.fullmatch(r"-?\d{1,12}", answer):
        value = int(answer)
        wrong = [str(value + 1), str(2 * value or 2), str(value - 1), str(-value or 10)]
    else:
        near = sorted(others, key=lambda other: hash_parts(question.id, other.id))[:_MAX_DISTRACTORS]
        wrong = [
            other.right[0]
            for other in near
            if other.right and normalize_answer(other.right[0]) != normalize_answer(answer)
        ]
    return replace(question, wrong=tuple(wrong) or ("none",))
