"""`archon tune`: every stage is asked once, the tuned cascade is what was simulated, nothing is paid twice."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from archon_eval.architecture.load import load_architecture
from archon_eval.cli import main
from archon_eval.runs.read_log import find_logs, read_run

TASK = ["--task", "archon_eval/math", "-T", "sample=true", "-T", "n=25"]
MODELS = ["--models", "sim/gpt-4o,sim/llama-3.1-70b-instruct"]


def tune(*words: str, capsys: Any) -> dict[str, Any]:
    assert main(["tune", *words, *TASK, "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_a_tuned_cascade_is_compared_with_each_stage_and_pays_nothing_of_its_own(tmp_path: Path, capsys: Any) -> None:
    told = tune("cascade", *MODELS, "--limit", "dollars=0.012", "-o", str(tmp_path), capsys=capsys)
    assert set(told["held_out"]) == {"cheap", "strong", "tuned"} == {*told["tuned_against"], "tuned"}
    tuned = load_architecture(tmp_path / "tuned.yaml")
    assert tuned.fingerprint == told["fingerprint"]
    runs = {run.name: run for run in map(read_run, find_logs(tmp_path / "logs")) if len(run.questions) == 20}
    assert runs["tuned"].usage.paid_calls == 0 and runs["strong"].usage.paid_calls > 0
    every = [read_run(log) for log in find_logs(tmp_path / "logs")]
    assert sum(run.usage.paid_calls for run in every) == told["paid"]["calls"]
    shares = {stage.name: stage.stood for stage in runs["tuned"].stages}
    assert sum(shares.values()) == 20 and runs["tuned"].stage_note.startswith("cheap answered")
    assert told["dev"]["costs"]["dollars"] <= 0.012
    # the same command again asks nothing
    again = tune("cascade", *MODELS, "--limit", "dollars=0.012", "-o", str(tmp_path), capsys=capsys)
    assert again["paid"]["calls"] == 0 and again["thresholds"] == told["thresholds"]


def test_a_router_is_learnt_and_written(tmp_path: Path, capsys: Any) -> None:
    stages = [
        {"name": "cheap", "layers": [{"generator": "sim/llama-3.1-70b-instruct"}]},
        {"name": "strong", "layers": [{"generator": "sim/gpt-4o"}]},
    ]
    file = tmp_path / "routed.yaml"
    file.write_text(yaml.safe_dump({"router": {"only": True}, "cascade": stages}))
    words = (str(file), "--learn-router", "--limit", "calls=1", "--held-out", "cascade", "-o", str(tmp_path / "out"))
    told = tune(*words, capsys=capsys)
    table = json.loads((tmp_path / "out" / "router.json").read_text())
    tuned = load_architecture(tmp_path / "out" / "tuned.yaml")
    assert tuned.router is not None and [*table["rows"]] == told["rows"]
    assert tuned.router.get_option("default") == table["default"] and set(told["held_out"]) == {"tuned"}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["moa-lite", "--limit", "calls=9"], "is no cascade"),
        (["cascade"], "tune needs a limit"),
        (["cascade", "--limit", "calls=4"], "the cheapest stage takes at least 5 calls"),
        (["cascade", "--limit", "cals=4"], "did you mean 'calls'"),
        (["cascade", "--limit", "calls=-1"], "must be a number above 0"),
        (["cascade", "--limit", "calls=9", "--learn-router"], "write `router: {}`"),
        (["cascade", "--limit", "calls=9", "--budget", "tokens=3"], "unknown unit"),
        (["named.yaml", "--limit", "calls=9"], "stage 'tuned': tune calls the tuned cascade so"),
    ],
)
def test_what_cannot_be_tuned_is_refused_before_a_call(
    words: list[str], problem: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = {"name": "tuned", "layers": [{"generator": {"model": "$2", "samples": 3}}], "accept": {"agreement": "tune"}}
    stages = [first, {"name": "strong", "layers": [{"generator": "$1"}]}]
    (tmp_path / "named.yaml").write_text(yaml.safe_dump({"cascade": stages}))
    assert main(["tune", *words, *MODELS, *TASK, "-o", str(tmp_path / "out")]) == 1
    assert problem in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_dry_run_says_what_it_may_cost_and_asks_nothing(tmp_path: Path, capsys: Any) -> None:
    told = tune("routed-cascade", *MODELS, "--limit", "calls=9", "--dry-run", "-o", str(tmp_path / "o"), capsys=capsys)
    assert [each["eval"] for each in told["evals"]] == [
        "dev/cheap", "dev/strong", "dev/router", "test/cheap", "test/strong", "test/tuned",
    ]  # fmt: skip
    assert (told["dev"], told["held_out"]) == (5, 20) and not (tmp_path / "o").exists()


def test_a_budget_ends_it(tmp_path: Path, capsys: Any) -> None:
    words = ["tune", "cascade", *MODELS, *TASK, "--limit", "calls=9", "--budget", "calls=10", "-o", str(tmp_path)]
    assert main(words) == 1
    assert "budget" in capsys.readouterr().err
