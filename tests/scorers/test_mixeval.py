"""MixEval against the published scores of 11 runs, and at its edges."""

import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from archon_eval.errors import DataError, ParseError
from archon_eval.scorers._judge import JudgeReply
from archon_eval.scorers._judge_prompts import read_prompts
from archon_eval.scorers.mixeval import (
    NO_OPTION,
    PARTS,
    classify_option,
    compute_accuracies,
    parse_option,
    parse_score,
)

DATA = Path(__file__).parents[3] / "shared" / "data" / "mixeval"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no stored judgments in {DATA}")


def lines(path: Path) -> list[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def judged(file: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    free_form, multiple_choice = (lines(DATA / "judged" / f"{file}__{p}.jsonl.gz") for p in ("freeform", "multichoice"))
    return free_form, multiple_choice


def right(row: dict[str, Any], option: str) -> float:
    return float(option in [chr(65 + index) for index in row["target"]])


EXPECTED = lines(DATA / "expected_judged.jsonl") if DATA.is_dir() else []


@needs_data
@pytest.mark.parametrize("row", EXPECTED, ids=lambda row: row["file"])
def test_published_scores(row: dict[str, Any]) -> None:
    free_form, multiple_choice = judged(row["file"])
    result = compute_accuracies(
        [(r["benchmark_name"], r["judge_score"]) for r in free_form],
        [(r["benchmark_name"], right(r, r["judge_option"])) for r in multiple_choice],
    )
    assert result["overall"] == pytest.approx(row["published_score_json"]["overall score (final score)"], abs=1e-9)
    for part, key in zip(PARTS, ("recomputed_ff", "recomputed_mp"), strict=True):
        parts = {k.removeprefix(f"{part}/"): v for k, v in result.items() if k.startswith(f"{part}/")}
        assert parts | {"overall": result[part]} == row[key]


@needs_data
def test_the_judges_words_give_the_stored_verdicts() -> None:
    unusable, statuses = 0, Counter[str]()
    for row in EXPECTED:
        free_form, multiple_choice = judged(row["file"])
        assert all(parse_score(JudgeReply(r["judge_response"])) == r["judge_score"] for r in free_form)
        for r in multiple_choice:
            try:
                option = parse_option(JudgeReply(r["judge_response"]))
            except ParseError:
                unusable += 1  # upstream drew a random option here
                continue
            statuses[classify_option(option, r["n_options"])] += 1
            assert option in (NO_OPTION, r["judge_option"])
    assert statuses == {"read": 14_433, "no choice": 11, "beyond the options": 8} and unusable == 48


@needs_data
def test_row_order_changes_no_more_than_the_last_digit() -> None:
    free_form, multiple_choice = judged("mixeval_hard__70e78d45")
    first = [(r["benchmark_name"], r["judge_score"]) for r in free_form]
    second = [(r["benchmark_name"], right(r, r["judge_option"])) for r in multiple_choice]
    mixed = compute_accuracies(random.Random(0).sample(first, 500), random.Random(1).sample(second, 500))
    assert mixed == pytest.approx(compute_accuracies(first, second), abs=0.001)


def test_parts_and_edges() -> None:
    only = compute_accuracies([("DROP", 0.0)], [])
    assert only == {"free-form": 0, "free-form/DROP": 0}  # one part: no overall score
    both = compute_accuracies([("DROP", 1.0), ("BBH", 0.0)], [("MMLU", 0.0), ("MMLU", 1.0)])
    assert (both["overall"], both["free-form"], both["multiple-choice/MMLU"]) == (0.5, 0.5, 0.5)
    with pytest.raises(DataError, match="no scores"):
        compute_accuracies([], [])
    with pytest.raises(DataError, match="legal is 0 to 1"):
        compute_accuracies([("DROP", 1.5)], [])


def test_verdicts() -> None:
    assert parse_score(JudgeReply("The correctness score: [[0.9]]")) == 0.9
    assert parse_option(JudgeReply("[[B]], perhaps [[D]]")) == "B"
    assert parse_option(JudgeReply("[[None of the given options (A) or (B)]]")) == NO_OPTION
    for text in ("", "0.5", "[[1.5]]", "[[0.5]] or [[0.7]]", "[[high]]"):
        with pytest.raises(ParseError):
            parse_score(JudgeReply(text))
    for text in ("", "B", "[B]", "[[A, B]]", "[[Neither A nor B]]"):
        with pytest.raises(ParseError):
            parse_option(JudgeReply(text))


def test_own_prompts() -> None:
    prompts = read_prompts(None, "mixeval.jsonl", PARTS)
    assert "known" in prompts["free-form"].render(question="q", answers="known", response="r")[-1].text
    assert "A. x" in prompts["multiple-choice"].render(question="q", options="A. x", response="r")[-1].text
