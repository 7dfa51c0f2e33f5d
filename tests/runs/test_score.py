"""A score's value as a number: one conversion, and no word without a number is zero."""

from typing import Any

import pytest
from inspect_ai.scorer import value_to_float

from archon_eval.errors import DataError
from archon_eval.runs.score import convert_score

NUMBERS = ["C", "I", "P", "N", True, False, 0, 3, 0.25, "0.25", " 7 ", "1e-3", "yes", "No", "TRUE", "false"]


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
def test_what_is_a_number_is_inspects_own(value: Any) -> None:
    assert convert_score(value, "right") == value_to_float()(value)


@pytest.mark.parametrize("value", ["N/A", "abc", "", "c", None, [1], ["C"]], ids=repr)
def test_a_value_without_a_number_is_an_error_that_names_scorer_and_value(value: Any) -> None:
    with pytest.raises(DataError) as caught:
        convert_score(value, "right")
    assert str(caught.value) == f"scorer right: {value!r} is no number"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "-inf", "1e999", "NaN"], ids=repr)
def test_a_number_that_is_not_finite_is_an_error(value: Any) -> None:
    with pytest.raises(DataError, match=r"scorer right: .* is not a finite number"):
        convert_score(value, "right")


def test_one_of_several_values_is_chosen_by_its_key() -> None:
    assert convert_score({"first": "C", "second": 0.5}, "right", "second") == 0.5
    with pytest.raises(DataError, match=r"scorer right gives several values; name one.*'first'"):
        convert_score({"first": 1}, "right", "frist")
    with pytest.raises(DataError, match="scorer right: 'N/A' is no number"):
        convert_score({"first": "N/A"}, "right", "first")
