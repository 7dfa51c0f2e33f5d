"""Arena-Hard-Auto against published win rates and stored judgments, and at its edges."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archon_eval.errors import DataError, ParseError
from archon_eval.scorers._judge import JudgeReply
from archon_eval.scorers.arena_hard import compute_win_rate, load_judge_prompt, parse_verdict, score_game

DATA = Path(__file__).parents[3] / "shared" / "data" / "arena_hard"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no stored judgments in {DATA}")


def lines(path: Path) -> list[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def expected(name: str) -> list[dict[str, Any]]:
    return lines(DATA / f"{name}.jsonl") if DATA.is_dir() else []


def battles(model: str, file: str = "battles_vs_gpt-4-0314.jsonl.gz") -> tuple[list[float], list[str]]:
    """Weighted rows of the official battle file, in which the baseline is model_a."""
    found = [r for r in lines(DATA / file) if r["model_b"] == model]
    return [{"model_a": 0.0, "model_b": 1.0}.get(r["winner"], 0.5) for r in found], [r["question_id"] for r in found]


@needs_data
@pytest.mark.parametrize("row", expected("expected_battles"), ids=lambda row: row["model"])
def test_win_rates_of_stored_battles(row: dict[str, Any]) -> None:
    results, questions = battles(row["model"])
    assert len(results) == row["n_battle_rows"]
    rate = compute_win_rate(results, questions)["win_rate"]
    assert rate == pytest.approx(row["score"], abs=1e-6)
    if published := row.get("published_leaderboard_20240731"):
        assert rate == pytest.approx(published["score"], abs=0.005)


@needs_data
@pytest.mark.parametrize("row", expected("expected_judgments"), ids=lambda row: row["source"])
def test_win_rates_from_the_judges_words(row: dict[str, Any]) -> None:
    results: list[float] = []
    questions: list[str] = []
    for judged in lines(DATA / "judgments" / f"{row['source']}.jsonl.gz"):
        for game, stored in enumerate(judged["games"], 1):
            verdict = parse_verdict(JudgeReply(stored["judgment"]))
            assert verdict == stored["score"]
            results += score_game(game, verdict)
            questions += [judged["question_id"]] * len(score_game(game, verdict))
    assert len(results) == row["n_battle_rows"]
    assert compute_win_rate(results, questions)["win_rate"] == pytest.approx(row["published"], abs=1e-6)


@needs_data
def test_row_interval_is_the_published_one_and_the_question_interval_is_wider() -> None:
    results, questions = battles("gpt-3.5-turbo-0125")
    figures = compute_win_rate(results, questions)
    assert figures["row_ci_low"] == pytest.approx(21.67, abs=0.7)  # published from 100 rounds
    assert figures["row_ci_high"] == pytest.approx(25.27, abs=0.7)
    wider = (figures["ci_high"] - figures["ci_low"]) / (figures["row_ci_high"] - figures["row_ci_low"])
    assert 1.3 < wider < 2.1
    assert figures["n_questions"] == len(set(questions))


@needs_data
def test_row_interval_agrees_with_refitted_ratings() -> None:
    results, questions = battles("claude-3-haiku-20240307", "archon_battles.jsonl")
    stored = [win_rate_of_elo(r["claude-3-haiku-20240307"]) for r in expected("archon_bootstrap_elo_seed42_100rounds")]
    low, high = np.percentile(stored, [2.5, 97.5])
    figures = compute_win_rate(results, questions)
    assert figures["row_ci_low"] == pytest.approx(low, abs=4)
    assert figures["row_ci_high"] == pytest.approx(high, abs=4)


def win_rate_of_elo(elo: float) -> float:
    """The win rate in percent of an Elo rating in the official files, where the baseline has 1000."""
    return float(100 / (1 + 10 ** ((1000 - elo) / 400)))


def test_rows_of_each_side_and_strength() -> None:
    assert [score_game(1, v) for v in ("A>>B", "A>B", "A=B", "B>A", "B>>A")] == [[0] * 3, [0], [0.5], [1], [1] * 3]
    assert [score_game(2, v) for v in ("A>>B", "A>B", "A=B", "B>A", "B>>A")] == [[1] * 3, [1], [0.5], [0], [0] * 3]


@pytest.mark.parametrize(("result", "rate"), [(0.0, 0), (0.5, 50), (1.0, 100)])
def test_no_win_only_ties_only_wins(result: float, rate: float) -> None:
    figures = compute_win_rate([result] * 40, [f"q{n % 10}" for n in range(40)])
    low, high = figures["ci_low"], figures["ci_high"]
    assert figures["win_rate"] == rate and low <= rate <= high
    assert 10 < high - low < 40  # ten equal questions are no certainty
    assert "row_ci_low" not in figures  # upstream's has no width, and says nothing


def test_one_question_has_no_interval_over_questions() -> None:
    figures = compute_win_rate([0.0, 1.0], ["a", "a"])
    assert figures["win_rate"] == 50 and "ci_low" not in figures and figures["row_ci_low"] < figures["row_ci_high"]
    assert compute_win_rate([1.0], ["a"]) == {"win_rate": 100, "n_questions": 1}


def test_row_order_does_not_matter() -> None:
    generator = random.Random(1)
    pairs = [(generator.choice([0.0, 0.5, 1.0]), i // 2) for i in range(50)]
    mixed = generator.sample(pairs, len(pairs))
    one, other = (compute_win_rate([r for r, _ in p], [q for _, q in p]) for p in (pairs, mixed))
    assert one == pytest.approx(other)


def test_bad_rows_are_errors() -> None:
    with pytest.raises(DataError, match="no scores"):
        compute_win_rate([], [])
    with pytest.raises(DataError, match=r"result 0\.3"):
        compute_win_rate([0.3], ["a"])


def test_verdicts() -> None:
    assert parse_verdict(JudgeReply("first [[A>B]], so again [[A>B]]")) == "A>B"
    assert parse_verdict(JudgeReply("[[ B>>A ]]")) == "B>>A"
    with pytest.raises(ParseError, match="different verdicts"):
        parse_verdict(JudgeReply("[[A>B]] or rather [[A=B]]"))
    for text in ("", "A>B", "[A>B]", "[[A>>>B]]", "[[C]]"):
        with pytest.raises(ParseError, match="no verdict"):
            parse_verdict(JudgeReply(text))


def test_prompt_files(tmp_path: Path) -> None:
    own = load_judge_prompt()
    assert own.source == "archon_eval" and "[[B>>A]]" in own.system
    text = own.render(question_1="Why {x}?", answer_1="Left", answer_2="Right")[1].text
    assert text.index("Why {x}?") < text.index("Left") < text.index("Right")
    file = tmp_path / "judge_config.yaml"
    file.write_text(
        'system_prompt: "Decide."\nprompt_template: ["Q {question_1} A {answer_1} B {answer_2}"]\nbaseline: True'
    )
    assert load_judge_prompt(str(file)).render(question_1="1", answer_1="2", answer_2="3")[1].text == "Q 1 A 2 B 3"
    for wrong in ("system_prompt: x", "[1", "prompt_template: [a, b]\nsystem_prompt: x", ""):
        file.write_text(wrong)
        with pytest.raises(DataError, match="prompt_template"):
            load_judge_prompt(str(file))
    with pytest.raises(DataError, match="cannot be read"):
        load_judge_prompt(str(tmp_path / "absent.yaml"))
