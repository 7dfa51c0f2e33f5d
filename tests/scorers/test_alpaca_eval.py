"""AlpacaEval 2.0 against its leaderboard (stored judgments of 29 models) and at its edges."""

import gzip
import json
import logging
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from inspect_ai.scorer import SampleScore, Score

import archon_eval
from archon_eval.errors import DataError, ParseError
from archon_eval.scorers._judge import JudgeReply
from archon_eval.scorers.alpaca_eval import (
    alpaca_eval_metrics,
    compute_preference,
    compute_win_rates,
    is_switched,
    load_judge_prompt,
    parse_preference,
)
from archon_eval.stats.length_control import (
    JudgedPair,
    compute_lc_leave_outs,
    compute_lc_win_rate,
    find_official_index,
    get_calibration_file,
)

DATA = Path(__file__).parents[3] / "shared" / "data" / "alpaca_eval"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no stored judgments in {DATA}")


def lines(path: Path) -> list[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def annotations(model: str) -> list[dict[str, Any]]:
    return lines(DATA / "annotations" / f"{model}.jsonl.gz")


def comparisons(model: str) -> list[JudgedPair]:
    return [JudgedPair(r["index"], r["preference"], r["len_1"], r["len_2"]) for r in annotations(model)]


EXPECTED = lines(DATA / "expected.jsonl") if DATA.is_dir() else []


@pytest.fixture(scope="session")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("alpaca_eval", reason="the extra `alpaca` is not installed")
    if not DATA.is_dir():
        pytest.skip(f"no stored judgments in {DATA}")
    path = tmp_path_factory.mktemp("calibration") / "df_gamed.csv"
    path.write_bytes(gzip.decompress((DATA / "df_gamed_RECONSTRUCTED.csv.gz").read_bytes()))
    return path


@needs_data
@pytest.mark.parametrize("row", EXPECTED, ids=lambda row: row["model"])
def test_raw_win_rate_of_the_leaderboard(row: dict[str, Any]) -> None:
    figures = compute_win_rates([r["preference"] for r in annotations(row["model"])])
    for key in ("win_rate", "standard_error", "discrete_win_rate", "n_wins", "n_wins_base", "n_draws", "n_total"):
        assert figures[key] == pytest.approx(row["published"][key], abs=1e-6), key


@needs_data
def test_every_stored_judgment_gives_its_preference() -> None:
    checked = 0
    instruction = {r["index"]: r["instruction"] for r in lines(DATA / "instructions_baseline.jsonl.gz")}
    for row in EXPECTED:
        for r in annotations(row["model"]):
            if not r.get("top_logprobs"):
                continue
            switched = is_switched(instruction[r["index"]])
            assert switched == r["is_switched"]
            reply = JudgeReply("ignored", tuple((token, logprob) for token, logprob in r["top_logprobs"]))
            assert parse_preference(reply, switched) == pytest.approx(r["preference"], abs=1e-6), (
                row["model"],
                r["index"],
            )
            checked += 1
    assert checked > 20_000


@needs_data
@pytest.mark.parametrize("row", EXPECTED, ids=lambda row: row["model"])
def test_length_controlled_win_rate(row: dict[str, Any], calibration: Path) -> None:
    figures = compute_lc_win_rate(comparisons(row["model"]), calibration)
    rate = figures["length_controlled_winrate"]
    assert rate == pytest.approx(row["upstream_lc_with_reconstructed_calibration_aligned"], abs=1e-6)
    if row["n_rows"] == 805:
        assert rate == pytest.approx(row["published"]["length_controlled_winrate"], abs=0.25)


@needs_data
def test_row_order_does_not_matter_and_rows_may_be_missing(calibration: Path) -> None:
    rows = comparisons("claude-2")
    expected = compute_lc_win_rate(rows, calibration)
    shuffled = random.Random(0).sample(rows, len(rows))
    assert compute_lc_win_rate(shuffled, calibration) == expected
    fewer = compute_lc_win_rate(rows[:700], calibration)["length_controlled_winrate"]
    assert fewer == pytest.approx(expected["length_controlled_winrate"], abs=3)


@needs_data
def test_leaving_groups_out_is_the_rate_of_the_others(calibration: Path) -> None:
    rows = comparisons("claude-2")[:300]
    groups = [row.index % 3 for row in rows if row.index is not None]
    rate, left_out = compute_lc_leave_outs(rows, calibration, groups)
    assert rate == compute_lc_win_rate(rows, calibration)["length_controlled_winrate"]
    others = [row for row, group in zip(rows, groups, strict=True) if group != 1]
    assert set(left_out) == {0, 1, 2}
    assert left_out[1] == compute_lc_win_rate(others, calibration)["length_controlled_winrate"]
    base = [JudgedPair(i, 1.5, 10, 10) for i in range(9)]
    assert compute_lc_leave_outs(base, calibration, [i % 3 for i in range(9)]) == (50.0, {0: 50.0, 1: 50.0, 2: 50.0})
    with pytest.raises(DataError, match="300 rows, 1 groups"):
        compute_lc_leave_outs(rows, calibration, [0] * 300)


@needs_data
@pytest.mark.parametrize(("chosen", "low", "high"), [(1.0, 0, 5), (1.5, 40, 60), (2.0, 95, 100)])
def test_no_win_only_ties_only_wins(chosen: float, low: float, high: float, calibration: Path) -> None:
    rows = [JudgedPair(r.index, chosen, r.baseline_length, r.length) for r in comparisons("claude-2")]
    assert low <= compute_lc_win_rate(rows, calibration)["length_controlled_winrate"] <= high
    assert compute_win_rates([chosen] * 805)["win_rate"] == 100 * (chosen - 1)
    assert compute_win_rates([chosen] * 805)["standard_error"] == 0


@needs_data
def test_the_package_leaves_no_trace(calibration: Path) -> None:
    import sklearn

    root = logging.getLogger()
    before = (root.level, root.handlers[:], dict(os.environ), sklearn.get_config())
    compute_lc_win_rate(comparisons("claude-2")[:50], calibration)
    assert (root.level, root.handlers[:], dict(os.environ), sklearn.get_config()) == before


def test_length_control_says_what_it_needs(calibration: Path) -> None:
    row = JudgedPair(3, 1.2, 100, 90)
    for rows in ([], [row], [row, row], [row, JudgedPair(None, 1.0, 5, 6)], [row, JudgedPair(805, 1.0, 5, 6)]):
        with pytest.raises(DataError, match="length control needs"):
            compute_lc_win_rate(rows, calibration)
    with pytest.raises(DataError, match="no such file"):
        get_calibration_file("absent.csv")


@needs_data
def test_metrics_of_a_running_eval_do_not_fail(calibration: Path) -> None:
    rows = comparisons("claude-2")
    shared = {"epoch": 1, "length_controlled": True, "calibration": str(calibration)}
    scores = [
        SampleScore(
            score=Score(
                value=r.preference - 1,
                metadata=shared
                | {
                    "index": r.index,
                    "preference": r.preference,
                    "length": r.length,
                    "baseline_length": r.baseline_length,
                },
            ),
            sample_id=r.index,
        )
        for r in rows
    ]
    compute = cast(Callable[[list[SampleScore]], dict[str, float]], alpaca_eval_metrics())
    for n in (0, 1, 2, 3, 20, 805):
        figures = compute(scores[:n])
        assert ("length_controlled_winrate" in figures) == (n > 1)
        assert ("standard_error" in figures) == (n > 1)
    assert figures["length_controlled_winrate"] == compute_lc_win_rate(rows, calibration)["length_controlled_winrate"]


@needs_data
def test_every_official_instruction_is_known_by_its_text() -> None:
    rows = lines(DATA / "instructions_baseline.jsonl.gz")
    assert [find_official_index(row["instruction"]) for row in rows] == list(range(805))
    assert [find_official_index(f" {row['instruction'].strip()}\r\n") for row in rows] == list(range(805))
    assert not any(find_official_index(row["instruction"] + "?") for row in rows)


def test_other_instructions_have_no_official_index() -> None:
    rows = lines(Path(archon_eval.__file__).parent / "samples" / "alpaca_eval.jsonl")
    assert {find_official_index(text) for text in ["", "\ud800", *(row["instruction"] for row in rows)]} == {None}


def test_the_calibration_file_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    pytest.importorskip("alpaca_eval", reason="the extra `alpaca` is not installed")

    def unreachable(*args: object, **kwargs: object) -> str:
        raise OSError("offline")

    monkeypatch.setattr(hub, "hf_hub_download", unreachable)
    with pytest.raises(DataError, match=r"df_gamed.csv of tatsu-lab/alpaca_eval .*2edc6fad.*calibration=PATH"):
        get_calibration_file()


def test_preference_from_log_probabilities_and_text() -> None:
    assert compute_preference((("m", 0.0),), False) == 1.0
    assert compute_preference((("M", 0.0), ("The", -3.0)), False) == 2.0
    assert compute_preference((("M", 0.0),), True) == 1.0
    assert compute_preference((("M", -1.0), ("m", -1.0)), True) == 1.5
    assert parse_preference(JudgeReply(' "M".'), False) == 2.0
    for reply in (
        JudgeReply("Both"),
        JudgeReply(""),
        JudgeReply("mM"),
        JudgeReply("m", (("Both", -0.1), ("The", -2.0))),
    ):
        with pytest.raises(ParseError, match="neither m nor M"):
            parse_preference(reply, False)


def test_win_rate_of_one_answer_has_no_error_and_bad_input_is_one() -> None:
    assert compute_win_rates([1.25]) == {
        "win_rate": 25,
        "discrete_win_rate": 0,
        "n_wins": 0,
        "n_wins_base": 1,
        "n_draws": 0,
        "n_total": 1,
    }
    with pytest.raises(DataError, match="no scores"):
        compute_win_rates([])
    with pytest.raises(DataError, match="preference 0"):
        compute_win_rates([0])


def test_prompts_official_own_and_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("alpaca_eval", reason="the extra `alpaca` is not installed")
    official = load_judge_prompt()
    assert official.source.startswith("alpaca-eval 0.")
    system, user = official.render(instruction="Say {output_1}", output_1="one {x}", output_2="two")
    assert (system.role, user.role) == ("system", "user")
    assert 'Say {output_1}"""' in user.text and '"""one {x}"""' in user.text and user.text.endswith("Identifier")
    monkeypatch.setattr("archon_eval.scorers.alpaca_eval.find_spec", lambda name: None)
    own = load_judge_prompt()
    assert own.source == "archon_eval"
    assert "two" in own.render(instruction="i", output_1="one", output_2="two")[1].text
    wrong = tmp_path / "prompt.txt"
    wrong.write_text("Which is better?")
    with pytest.raises(DataError, match="ChatML"):
        load_judge_prompt(str(wrong))
    wrong.write_text("<|im_start|>system\nx<|im_end|>\n<|im_start|>user\n{answer}<|im_end|>")
    with pytest.raises(DataError, match="unknown field"):
        load_judge_prompt(str(wrong)).render(instruction="i", output_1="one", output_2="two")
