"""MT-Bench against stored judgments, and at its edges."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from archon_eval.errors import DataError, ParseError
from archon_eval.scorers._judge import JudgeReply
from archon_eval.scorers._judge_prompts import read_prompts
from archon_eval.scorers.mt_bench import (
    PAIR_PROMPTS,
    SINGLE_PROMPTS,
    compute_pair_metrics,
    compute_single_metrics,
    parse_pair_verdict,
    parse_rating,
    score_game_pair,
)

DATA = Path(__file__).parents[3] / "shared" / "data" / "mt_bench"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no stored judgments in {DATA}")


def lines(path: Path) -> list[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


EXPECTED = lines(DATA / "expected.jsonl") if DATA.is_dir() else []


@needs_data
@pytest.mark.parametrize("row", [r for r in EXPECTED if "turn1" in r], ids=lambda row: row["model"])
def test_single_ratings_from_the_judges_words(row: dict[str, Any]) -> None:
    stored = [r for r in lines(DATA / f"{row['file']}.jsonl.gz") if r["model"] == row["model"]]
    ratings, questions, unusable = [], [], 0
    for r in stored:
        if r["score"] == -1:
            with pytest.raises(ParseError):
                parse_rating(JudgeReply(r["judgment"]))
            unusable += 1
            continue
        rating = parse_rating(JudgeReply(r["judgment"]))
        assert rating == r["score"]
        ratings.append((r["turn"], rating))
        questions.append(r["question_id"])
    figures = compute_single_metrics(ratings, questions)
    assert unusable == row["n_errors"]
    assert len(stored) == row["n1"] + row["n2"]
    assert figures["turn_1"] == pytest.approx(row["turn1"], abs=1e-9)
    assert figures["turn_2"] == pytest.approx(row["turn2"], abs=1e-9)
    assert figures["average"] == pytest.approx(row["average"], abs=1e-9)


@needs_data
@pytest.mark.parametrize("row", [r for r in EXPECTED if "win" in r], ids=lambda row: row["model"])
def test_pairwise_outcomes_from_the_judges_words(row: dict[str, Any]) -> None:
    stored = lines(DATA / f"{row['file']}.jsonl.gz")
    winner = {"A": "model_1", "B": "model_2", "C": "tie"}
    swapped = {"A": "model_2", "B": "model_1", "C": "tie"}
    outcomes = []
    for r in stored:
        first, second = (
            parse_pair_verdict(JudgeReply(r["g1_judgment"])),
            parse_pair_verdict(JudgeReply(r["g2_judgment"])),
        )
        assert (winner[first], swapped[second]) == (r["g1_winner"], r["g2_winner"])
        outcomes.append(score_game_pair(first, second))
    figures = compute_pair_metrics(outcomes, [r["question_id"] for r in stored])
    n = row["win"] + row["loss"] + row["tie"]
    assert [outcomes.count(o) for o in (1, 0, 0.5)] == [row["win"], row["loss"], row["tie"]]
    assert figures["n_turns"] == n
    assert figures["win_rate_adjusted"] == pytest.approx(row["win_rate_adjusted"], abs=1e-9)
    assert figures["win_rate"] == pytest.approx(row["win_rate"], abs=1e-9)
    assert figures["loss_rate"] == pytest.approx(row["loss_rate"], abs=1e-9)


def test_outcome_needs_both_games() -> None:
    table = {(a, b): score_game_pair(a, b) for a in "ABC" for b in "ABC"}
    assert table.pop(("A", "B")) == 1 and table.pop(("B", "A")) == 0
    assert set(table.values()) == {0.5}


@pytest.mark.parametrize(("text", "rating"), [("Rating: [[8]]", 8), ("[[7.5]] ... [[7.5]]", 7.5), ("Rating: [3]", 3)])
def test_rating(text: str, rating: float) -> None:
    assert parse_rating(JudgeReply(text)) == rating


@pytest.mark.parametrize(
    "text", ["", "Rating: 8", "[[0]]", "[[11]]", "[[3]] or [[4]]", "[[rating]]", "[[-1]]", "[5] [6]"]
)
def test_no_rating(text: str) -> None:
    with pytest.raises(ParseError):
        parse_rating(JudgeReply(text))


@pytest.mark.parametrize("text", ["", "A is better", "[[D]]", "[[A]] no, [[B]]", "[A]"])
def test_no_verdict(text: str) -> None:
    with pytest.raises(ParseError):
        parse_pair_verdict(JudgeReply(text))


def test_no_win_only_ties_and_one_question() -> None:
    lost = compute_pair_metrics([0.0] * 4, [1, 1, 2, 2])
    assert (lost["win_rate_adjusted"], lost["loss_rate"], lost["stderr"]) == (0, 1, 0)
    assert compute_pair_metrics([0.5] * 4, [1, 1, 2, 2])["win_rate_adjusted"] == 0.5
    assert "stderr" not in compute_pair_metrics([1.0, 0.5], [1, 1])
    assert compute_single_metrics([(2, 4.0)], [1]) == {"average": 4, "turn_2": 4}
    with pytest.raises(DataError, match="no scores"):
        compute_pair_metrics([], [])
    with pytest.raises(DataError, match="no scores"):
        compute_single_metrics([], [])


FIELDS = dict.fromkeys(
    [
        "question",
        "question_1",
        "question_2",
        "answer",
        "answer_1",
        "answer_2",
        "answer_a",
        "answer_b",
        "answer_a_1",
        "answer_a_2",
        "answer_b_1",
        "answer_b_2",
        "ref_answer_1",
        "ref_answer_2",
    ],
    "text",
)


@pytest.mark.parametrize("official", [False, pytest.param(True, marks=needs_data)])
def test_own_and_official_prompts_are_of_one_format(official: bool) -> None:
    path = str(DATA / "judge_prompts.jsonl") if official else None
    prompts = read_prompts(path, "mt_bench.jsonl", PAIR_PROMPTS + SINGLE_PROMPTS)
    for prompt in prompts.values():
        assert "{" not in prompt.render(**FIELDS)[-1].text
    assert "reference" in prompts["pair-math-v1"].template.lower()
    assert prompts["pair-v2"].source == (path or "archon_eval")


def test_wrong_prompt_files(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    for text, message in (("{", "prompt_template"), ('{"name": "x"}', "prompt_template"), ("[]", "prompt_template")):
        file.write_text(text)
        with pytest.raises(DataError, match=message):
            read_prompts(str(file), "mt_bench.jsonl", PAIR_PROMPTS)
    file.write_text('{"name": "pair-v2", "system_prompt": "s", "prompt_template": "t"}\n')
    with pytest.raises(DataError, match="no prompt 'pair-math-v1'"):
        read_prompts(str(file), "mt_bench.jsonl", PAIR_PROMPTS)
