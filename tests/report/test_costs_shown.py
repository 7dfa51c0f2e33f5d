"""Costs in every output: what is unknown is said and why, and who is not on a chart is named beside it."""

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.logs import write_log

from archon_eval.cli import main
from archon_eval.report.baseline import load_baseline, save_baseline
from archon_eval.report.ci_output import dump_outcome, escape_markdown, format_markdown, format_text
from archon_eval.report.formatting import explain_unknown_costs
from archon_eval.report.gate import check_regression
from archon_eval.report.html.benchmark_section import build_benchmark_section
from archon_eval.report.html.cost_charts import build_cost_chart
from archon_eval.report.report_data import read_report_data
from archon_eval.runs.read_log import read_run

SCORES: dict[str, list[Any]] = {f"q{n}": ["C" if n % 3 else "I"] for n in range(9)}
CALL = {"calls": 1, "input_tokens": 150, "output_tokens": 75, "seconds": 1.0}
BY_MODEL = {"a/<x>": {**CALL, "calls": 2, "dollars": 0.002}, "b/y": {**CALL, "dollars": None}}


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`priced` is known completely, `mixed` calls a model without a price, `plain` is a log without events."""
    monkeypatch.chdir(tmp_path)
    alike: dict[str, Any] = {"text": "the same question"}
    write_log(tmp_path / "logs" / "priced.eval", SCORES, name="priced", calls=2, **alike)
    write_log(tmp_path / "logs" / "mixed.eval", SCORES, name="mixed", models=BY_MODEL, dollars=None, **alike)
    write_log(tmp_path / "logs" / "plain.eval", SCORES, name="openai/gpt-4o", plain=True, **alike)
    return tmp_path / "logs"


def test_the_page_says_what_is_unknown_and_who_is_not_drawn(logs: Path) -> None:
    section = build_benchmark_section(read_report_data([logs]).benchmarks[0], "b", 1000)
    no_events = "the log holds no model events"
    assert section.labels == ["priced", "mixed", "openai/gpt-4o"], "what is unknown is not the cheapest"
    assert section.unknown_costs == [
        "mixed: dollars unknown (no price of b/y).",
        f"openai/gpt-4o: calls unknown ({no_events}), input tokens and output tokens and dollars unknown "
        f"({no_events}, and no usage), seconds unknown (no time in the log).",
    ]
    assert section.undrawn == [
        f"Not drawn by dollars: mixed (no price of b/y), openai/gpt-4o ({no_events}, and no usage).",
        f"Not drawn by tokens: openai/gpt-4o ({no_events}, and no usage).",
        f"Not drawn by calls: openai/gpt-4o ({no_events}).",
        "Not drawn by seconds: openai/gpt-4o (no time in the log).",
    ]
    assert section.model_rows == [
        ["mixed", "a/<x>", "2", "150", "75", "0.002"],
        ["mixed", "b/y", "1", "150", "75", "unknown"],
    ]
    drawn = {row["label"]: row for row in section.charts["cost"]["data"]["values"]}
    assert drawn["priced"]["dollars"] == 0.002 and "dollars" not in drawn["mixed"] and drawn["mixed"]["calls"] == 3
    assert main(["report", str(logs), "-o", "r.html"]) == 0
    page = Path("r.html").read_text(encoding="utf-8")
    assert "<th class=n>input tokens</th>" in page and "Cost by model" in page
    assert "a/&lt;x&gt;" in page and "<x>" not in page and all(line in page for line in section.undrawn)


def test_text_and_json_say_it_too(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(logs), "--format", "md"]) == 0
    text = capsys.readouterr().out
    assert "mixed: dollars unknown (no price of b/y)" in text and "| input tokens | output tokens |" in text
    assert main(["report", str(logs), "--format", "json"]) == 0
    systems = json.loads(capsys.readouterr().out)["benches"][0]["systems"]
    assert systems[0]["unknown_costs"] == {} and systems[0]["cost"]["input_tokens"] == 200
    assert systems[1]["unknown_costs"] == {"dollars": "no price of b/y"}
    assert systems[1]["cost_by_model"]["b/y"] == {
        "calls": 1,
        "input_tokens": 150,
        "output_tokens": 75,
        "dollars": None,
    }
    assert main(["report", str(logs), "-o", "r.png", "--cost", "dollars"]) == 0
    assert "Not drawn by dollars: mixed (no price of b/y)" in capsys.readouterr().err
    assert main(["compare", "logs/mixed.eval", "logs/priced.eval"]) == 0
    shown = capsys.readouterr().out
    assert "Cost of mixed: dollars unknown (no price of b/y)" in shown and "Cost of priced" not in shown
    assert main(["compare", "logs/mixed.eval", "logs/priced.eval", "--json"]) == 0
    pair = json.loads(capsys.readouterr().out)[0]
    assert pair["cost_ratio"]["dollars"] is None and pair["cost_ratio"]["input_tokens"] == 1.5
    assert pair["systems"][0]["unknown_costs"] == {"dollars": "no price of b/y"}


def test_the_gate_says_it_also_of_a_baseline_from_before_tokens_were_told_apart(logs: Path) -> None:
    run = read_run(logs / "mixed.eval")
    save_baseline(run, logs / "base.json")
    before = json.loads((logs / "base.json").read_text())
    assert before["cost"]["input_tokens"] == 300 and "seconds" not in before["cost"]
    before["cost"] = {"calls": 3.0, "tokens": 450.0, "dollars": None}
    (logs / "old.json").write_text(json.dumps(before))
    outcome = check_regression(load_baseline(logs / "old.json"), run)
    assert outcome.cost == (
        ("calls", 3.0, 3.0),
        ("input_tokens", None, 300.0),
        ("output_tokens", None, 150.0),
        ("dollars", None, None),
    )
    mine, theirs = outcome.unknown_costs
    assert mine == "cost of this run: dollars unknown (no price of b/y)"
    assert theirs == (
        "cost of the baseline: input tokens and output tokens unknown (not in its file, which an earlier version "
        "saved), dollars unknown (so when it was saved)"
    )
    assert mine in format_text(outcome) and "no price of b/y" in format_markdown(outcome, "x")
    assert "| input tokens | unknown | 300 |" in format_markdown(outcome, "x")
    assert dump_outcome(outcome, "x")["unknown_costs"] == (mine, theirs)


def test_what_is_known_has_no_sentence(logs: Path) -> None:
    run = read_run(logs / "priced.eval")
    assert run.unknown_costs == {} and explain_unknown_costs(run.unknown_costs) == ""
    assert run.cost_by_model == {}, "an account from before models were told apart"


def test_a_picture_by_a_cost_that_nobody_knows_is_not_drawn(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mixed = str(logs / "mixed.eval")
    assert main(["report", mixed, "-o", "none.png", "--cost", "dollars"]) == 1
    said = capsys.readouterr().err
    assert "nothing to draw by dollars: Not drawn by dollars: mixed (no price of b/y)." in said
    assert not Path("none.png").exists()
    rows = [{"label": "a", "score": 1.0, "calls": 2.0, "tokens": 30.0}]
    picture = build_cost_chart(rows, "tokens", "score", fixed=True)
    assert picture["encoding"]["x"]["title"] == "tokens per question" and "bind" not in picture["params"][0]
    assert build_cost_chart(rows, "tokens", "score")["encoding"]["x"]["title"] == "cost per question"


def test_a_dollar_begins_no_formula() -> None:
    assert escape_markdown("$x$") == "\\$x\\$"
