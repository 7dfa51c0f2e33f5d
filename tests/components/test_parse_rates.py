"""The benchmark of how often replies can be read counts every request for a form once."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from archon_eval.engine.trace import TraceStep
from archon_eval.models.call import Reply
from archon_eval.types import Message

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "parse_rates.py"


@pytest.fixture
def benchmark() -> Any:
    spec = importlib.util.spec_from_file_location("parse_rates", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_figures_add_up(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["parse_rates.py", "--model", "sim/pool", "--questions", "3"])
    benchmark.main()
    found = json.loads(capsys.readouterr().out)
    asked = {name: figures["asked"] for name, figures in found["components"].items()}
    assert asked == {
        "unit_test_generator": 3,
        "unit_test_evaluator": 9,
        "critic": 3,
        "ranker": 3,
        "verifier": 9,
        "fuser": 0,
    }
    for figures in found["components"].values():
        assert figures["asked"] == figures["read_at_once"] + figures["after_reask"] + figures["fallback"]
        assert figures["calls"] >= figures["asked"] and figures["unread"] <= figures["outcomes"]


def test_what_is_particular_to_one_reply_is_left_out_of_a_reason(benchmark: Any) -> None:
    assert benchmark.shorten_reason("rank: 2 identifiers ranked, 3 needed, in '[1] > [2]'") == (
        "rank: N identifiers ranked, N needed,"
    )
    assert benchmark.shorten_reason('verdict: no verdict in "it\'s"; kept') == "verdict: no verdict"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Write one answer to the query below. It is 4.", True),
        ("Which number is the sum of two and two? It is 4.", False),
        ("The candidates all said that it is four.", False),
    ],
)
def test_a_text_that_repeats_the_prompt_is_noticed(benchmark: Any, reply: str, expected: bool) -> None:
    prompt = (
        "Write one answer to the query below.\n\n<query>\nWhich number is the sum of two and two?\n</query>\n\n"
        "<response1>\nThe candidates all said that it is four.\n</response1>\n"
    )
    step = TraceStep(
        layer=1,
        kind="fuser",
        component=1,
        model="m",
        purpose="fuse",
        about="",
        draw=0,
        messages=(Message("user", prompt),),
        reply=Reply(reply),
    )
    assert benchmark.holds_prompt(step) is expected
