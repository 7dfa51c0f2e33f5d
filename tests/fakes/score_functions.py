"""Functions that score answers, as a user would write them."""

from typing import Any

CALLED: list[Any] = []


def score_length(question: str, answer: str) -> float:
    CALLED.append((question, answer))
    return len(answer)


async def score_length_later(question: str, answer: str) -> float:
    return len(answer)


def score_batch(inputs: list[tuple[str, str]]) -> list[float]:
    CALLED.append(inputs)
    return [len(answer) for _, answer in inputs]


def prefer_longer(question: str, first: str, second: str) -> float:
    CALLED.append((first, second))
    return len(first) - len(second)


def prefer_first(question: str, first: str, second: str) -> float:
    return 1.0


def score_nothing(question: str, answer: str) -> float | None:
    return None if len(answer) == 1 else float("nan") if len(answer) == 2 else len(answer)


def fail(question: str, answer: str) -> float:
    raise ValueError("no such word")


def say_text(question: str, answer: str) -> Any:
    return "9"


def say_too_few(inputs: list[tuple[str, str]]) -> list[float]:
    return [1.0]


def say_one(inputs: list[tuple[str, str]]) -> Any:
    return 1.0


NOT_A_FUNCTION = 3
