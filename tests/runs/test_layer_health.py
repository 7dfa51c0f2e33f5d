"""The sentences on layers that never worked: their numbers, the threshold, what an old log cannot say."""

from pathlib import Path
from typing import Any

import pytest
from fakes.logs import write_log

from archon_eval.errors import DataError
from archon_eval.runs.account import OutcomeCounts, parse_accounts
from archon_eval.runs.benchmark_run import merge_runs
from archon_eval.runs.layer_health import LayerHealth, RunHealth
from archon_eval.runs.read_log import read_run

KEPT = "(fallback: the candidate is kept, unverified)"


def verifier(count: int, **problems: int) -> tuple[str, ...]:
    return RunHealth((LayerHealth("verifier", 9, (OutcomeCounts(count, problems, model="a/b"),)),)).warnings


@pytest.mark.parametrize(
    ("count", "problems", "sentence"),
    [
        (231, {"unread": 231}, f"Layer 1 (verifier a/b) never worked: none of its 231 verdicts could be read {KEPT}."),
        (1, {"unread": 1}, f"Layer 1 (verifier a/b) never worked: its only verdict could not be read {KEPT}."),
        (
            1,
            {"dropped": 1},
            f"Layer 1 (verifier a/b) never worked: its only verdict was dropped after failed calls {KEPT}.",
        ),
        (
            2,
            {"dropped": 2},
            f"Layer 1 (verifier a/b) never worked: all of its 2 verdicts were dropped after failed calls {KEPT}.",
        ),
        (
            5000,
            {"dropped": 4000, "unread": 1000},
            "Layer 1 (verifier a/b) never worked: of its 5,000 verdicts 4,000 were dropped after failed calls and "
            f"1,000 could not be read {KEPT}.",
        ),
        (
            40,
            {"unread": 31},
            f"Layer 1 (verifier a/b) mostly did not work: 31 of its 40 verdicts (77.5%) could not be read {KEPT}.",
        ),
        (
            40,
            {"dropped": 1, "unread": 30},
            "Layer 1 (verifier a/b) mostly did not work: 31 of its 40 verdicts (77.5%) did not: 1 was dropped after "
            f"failed calls and 30 could not be read {KEPT}.",
        ),
    ],
)
def test_the_sentence_says_the_numbers(count: int, problems: dict[str, int], sentence: str) -> None:
    assert verifier(count, **problems) == (sentence,)


def test_up_to_a_half_is_no_warning() -> None:
    assert not verifier(40, unread=20) and not verifier(40) and not verifier(0) and verifier(40, unread=21)


def test_a_share_is_never_rounded_to_none_or_all() -> None:
    assert "(above 99.9%)" in verifier(100_000, unread=99_999)[0]
    assert RunHealth(replies=100_000, notes={"truncated": 1}).sentences == (
        "1 of 100,000 replies (below 0.1%) was cut at the token limit.",
    )


def test_shares_of_replies() -> None:
    notes = {"truncated": 48, "filtered": 3, "empty": 1, "dropped": 1, "reask": 7, "fallback": 2}
    layers = (LayerHealth("ranker", 9, (OutcomeCounts(20, {"unread": 2}, model="a/b"),)),)
    assert RunHealth(layers, 1155, notes).sentences == (
        "48 of 1,155 replies (4.2%) were cut at the token limit, 3 of 1,155 replies (0.26%) were refused by the "
        "content filter, 1 of 1,155 replies (below 0.1%) was empty, 1 call failed for good and was dropped.",
    )
    assert RunHealth(layers, 1155, {"reask": 7}).sentences == ()


def test_a_filter_that_never_let_anyone_pass() -> None:
    counts = (OutcomeCounts(30, model="a/b"),)
    assert RunHealth((LayerHealth("verifier", 10, counts, unfiltered=10),)).warnings == (
        "Layer 1 (verifier a/b) never passed a candidate: for all of 10 answers it rejected every one, so that all "
        "went on.",
    )
    assert not RunHealth((LayerHealth("verifier", 10, counts, unfiltered=9),)).warnings


def test_a_component_of_a_users_own_is_named_without_importing_it() -> None:
    health = RunHealth((LayerHealth("no_such_module:Judge", 3, (OutcomeCounts(3, {"fallback": 3}),)),))
    assert health.warnings == ("Layer 1 (no such module:Judge) never worked: all of its 3 outcomes fell back.",)
    long = RunHealth((LayerHealth("ranker", 3, (OutcomeCounts(3, {"unread": 3}, model="m\n" * 5000),)),))
    assert len(long.warnings[0]) < 400 and "\n" not in long.warnings[0]


def layers(*outcomes: dict[str, Any], unfiltered: int = 0) -> list[dict[str, Any]]:
    usage = {"calls": 1, "input_tokens": 1, "output_tokens": 1, "dollars": 0.0, "seconds": 1.0, "candidates": 1}
    plain = {**usage, "kind": "generator", "outcomes": list(outcomes)}
    return [plain | ({"unfiltered": unfiltered} if unfiltered else {})]


def test_logs_of_one_system_add_up(tmp_path: Path) -> None:
    runs = [
        read_run(
            write_log(
                tmp_path / f"{n}.eval",
                {"q1": ["C"], "q2": ["I"]},
                layers=layers(
                    {"model": "a", "count": 2}, {"model": "b", "component": 2, "count": 1, "problems": empty}
                ),
                notes={"empty": n},
            )
        )
        for n, empty in ((1, {"empty": 1}), (2, {"truncated": 1}))
    ]
    assert [counts.count for counts in runs[0].health.layers[0].outcomes] == [4, 2]
    whole = merge_runs(*runs).health
    assert whole.layers == (
        LayerHealth(
            "generator",
            4,
            (OutcomeCounts(8, model="a"), OutcomeCounts(4, {"empty": 2, "truncated": 2}, component=2, model="b")),
        ),
    )
    assert (whole.replies, whole.notes) == (12, {"empty": 6}) and whole.dead == ("generator b",)
    assert RunHealth.from_metadata(whole.to_metadata()) == whole
    assert whole.sentences == (
        "Layer 1, component 2 (generator b) never worked: of its 4 replies 2 were empty and 2 were cut at the token "
        "limit.",
        "6 of 12 replies (50%) were empty.",
    )


def test_an_old_log_does_not_say_which_layer_fell_back_and_none_is_called_healthy(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.eval", {"q1": ["C"], "q2": ["I"]}, notes={"fallback": 2, "truncated": 1})
    assert read_run(log).health.sentences == (
        "4 outcomes fell back; in which layer, a log of this age does not say.",
        "2 of 6 replies (33.3%) were cut at the token limit.",
    )
    assert read_run(write_log(tmp_path / "b.eval", {"q1": ["C"]})).health.sentences == ()


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"count": -1}, "count must be a whole number"),
        ({"count": 1, "problems": {"unread": 2}}, "2 of 1 outcomes cannot have problems"),
        ({"count": 1, "problems": {"unread": True}}, "unread must be a whole number"),
        ({"count": 1, "component": "2"}, "component must be a whole number"),
        ({"count": 1, "problems": 3}, "not the account of a question"),
    ],
)
def test_damaged_counts_are_an_error(counts: dict[str, Any], message: str) -> None:
    account = {"architecture": "a", "fingerprint": "f", "layers": layers({"model": "a", **counts})}
    with pytest.raises(DataError, match=message):
        parse_accounts({"archon": account})
    if message != "not the account of a question":
        with pytest.raises(DataError, match=message):
            RunHealth.from_metadata({"layers": [{"kind": "x", "answers": 1, "outcomes": [counts], "unfiltered": 0}]})
    for plain in ({"layers": 3}, {"layers": [{}]}, {"notes": 3}):
        with pytest.raises(DataError, match="no account of a run's layers"):
            RunHealth.from_metadata(plain)
