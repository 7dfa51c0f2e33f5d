"""Ratings and choices of a stage, as models really write them."""

import pytest

from archon_eval.architecture.routing import choose_row, extract_features, parse_rows
from archon_eval.components.parsing.choice_of_stage import parse_stage
from archon_eval.components.parsing.rating import parse_rating
from archon_eval.errors import ArchitectureError, ParseError


@pytest.mark.parametrize(
    ("reply", "rating"),
    [
        ("It holds.\nRating: [[7]]", 7),
        ("**Rating: [[10]]**", 10),
        ("Step 3 of 10 is wrong.\n\nRating: 3/10", 3),
        ("Overall rating: 8.5", 8.5),
        ("[[8]]\n\nLet me know if you need more.", 8),
        ("Fine.\n9", 9),
        ("Rating: [[ 6 / 10 ]].", 6),
    ],
)
def test_ratings_are_read(reply: str, rating: float) -> None:
    assert parse_rating(reply) == rating


@pytest.mark.parametrize(
    "reply", ["", "It is good.", "Rating: [[11]]", "Rating: [[0]]", "[[3]] or [[7]]", "x" * 100_000, "[[" * 50_000]
)
def test_what_is_no_rating_is_asked_for_again(reply: str) -> None:
    with pytest.raises(ParseError) as error:
        parse_rating(reply)
    assert error.value.request and len(str(error.value)) < 500


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
