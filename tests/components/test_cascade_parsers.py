"""Choices of a stage, as models really write them."""

import pytest

from archon_eval.architecture.routing import choose_row, extract_features, parse_rows
from archon_eval.components.parsing.choice_of_stage import parse_stage
from archon_eval.errors import ArchitectureError, ParseError


@pytest.mark.parametrize(
    ("reply", "stage"),
    [
        ("It is plain.\nStage: cheap", "cheap"),
        ("**Stage:** `Strong`", "strong"),
        ('Stage: "strong".', "strong"),
        ("I would use the strong one", "strong"),
        ("Not cheap at all, I first thought.\nStage: v1.5-x", "v1.5-x"),
    ],
)
def test_choices_are_read(reply: str, stage: str) -> None:
    assert parse_stage(reply, ["cheap", "strong", "v1.5-x"]) == stage


@pytest.mark.parametrize(
    "reply", ["", "Stage: medium", "cheap or strong", "Stage: cheap, then Stage: strong", "a" * 100_000]
)
def test_what_is_no_choice_is_asked_for_again(reply: str) -> None:
    with pytest.raises(ParseError):
        parse_stage(reply, ["cheap", "strong"])


def test_features_of_questions() -> None:
    plain = extract_features("How many primes are below 1,000?")
    assert (plain["words"], plain["numbers"], plain["longest_number"], plain["code"], plain["choices"]) == (
        6,
        1,
        4,
        0,
        0,
    )
    code = extract_features("Mend this:\n```python\ndef f(x):\n    return x\n```")
    options = extract_features("Which?\nA) one\nB) two\nC) three", turns=2)
    assert code["code"] == 1 and options["choices"] == 3 and options["turns"] == 2
    assert extract_features(r"Solve $x^2 + 1 = 5$ for \alpha")["formulas"] >= 3
    assert set(plain.values()) and extract_features("")["words"] == 0


def test_the_first_row_that_holds_decides() -> None:
    rows = parse_rows(
        [{"when": {"words": {"max": 3}, "code": False}, "stage": "a"}, {"when": {"words": {"max": 9}}, "stage": "b"}],
        "r",
    )
    chosen = [choose_row(rows, extract_features(text)) for text in ("one two", "one two three four", "w " * 10)]
    assert [row and row["stage"] for row in chosen] == ["a", "b", None]
    for bad in ({"when": {}, "stage": "a"}, {"when": {"words": "3"}, "stage": "a"}, {"when": {"words": {"most": 3}}}):
        with pytest.raises(ArchitectureError):
            parse_rows([bad], "r")
