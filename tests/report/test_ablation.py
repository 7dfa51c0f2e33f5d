"""Ablations: which changes are made, that they share calls, and what the command says of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.cli import main
from archon_eval.components import CandidateGenerator, ComponentType, model_option
from archon_eval.report.ablation import list_variants
from archon_eval.runs.read_log import read_run


def changes(*layers: dict[str, object]) -> list[str]:
    return [one.change for one in list_variants(load_architecture({"name": "x", "layers": list(layers)}))]


def test_every_valid_change_once() -> None:
    assert changes(
        {"generator": ["a/one", "a/one", "a/two"]},
        {"critic": "a/one"},
        {"ranker": {"model": "a/one", "top_k": 2}},
        {"fuser": "a/two"},
    ) == [
        "layer 1 without one of 2 a/one",
        "layer 1 without a/two",
        "layer 1 with a/one alone, as many draws",
        "without layer 2 (critic)",
        "without layer 3 (ranker)",
        "without layer 4 (fuser)",
        "layer 4: ranker in place of the fuser",
    ]


def test_changes_that_break_the_rules_are_left_out() -> None:
    # without the ranker nobody reads the critiques
    assert changes({"generator": ["a/one", "a/two"]}, {"critic": "a/one"}, {"ranker": "a/one"}) == [
        "layer 1 without a/one",
        "layer 1 without a/two",
        "layer 1 with a/one alone, as many draws",
        "without layer 2 (critic)",
        "layer 3: fuser in place of the ranker",
    ]
    assert changes({"generator": "a/one"}) == []
    tests = changes({"generator": "a/one"}, {"unit_test_generator": "a/one"}, {"unit_test_evaluator": "a/one"})
    assert tests == ["without layer 2 and 3 (unit tests)"]


def test_the_command_runs_every_change_on_shared_calls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(
        "layers:\n  - generator: {model: sim/gpt-4o, samples: 2}\n  - ranker: sim/gpt-4o\n", encoding="utf-8"
    )
    task = ["--task", "archon_eval/math", "-T", "sample=true", "-T", "n=10", "--log-dir", str(tmp_path / "out")]
    assert main(["ablate", str(file), *task, "--json", "--png", str(tmp_path / "worth.png")]) == 0
    found = json.loads(capsys.readouterr().out)
    by_name = {one["change"]: one for one in found["changes"]}
    assert set(by_name) == {"without layer 2 (ranker)", "layer 2: fuser in place of the ranker"}
    dropped = by_name["without layer 2 (ranker)"]
    assert dropped["second"] <= 1 and dropped["difference"]["n"] == 10
    assert {one["difference"]["confidence"] for one in by_name.values()} == {0.975}  # both hold together at 95%
    assert dropped["second"] is not None and dropped["cost_ratio"]["calls"] > 1.2
    run = read_run(dropped["log"])
    assert run.calls == 20 and run.reused == 20 and run.paid == 0
    assert (tmp_path / "worth.png").read_bytes().startswith(b"\x89PNG")


def test_an_ablation_in_shards_has_the_figures_of_one_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, found = tmp_path / "two.yaml", list[dict[str, Any]]()
    file.write_text(
        "layers:\n  - generator: {model: sim/gpt-4o, samples: 2}\n  - fuser: sim/gpt-4o\n", encoding="utf-8"
    )
    task = ["--task", "archon_eval/math", "-T", "sample=true", "-T", "n=6", "--log-dir", str(tmp_path / "out")]
    for shards in ("2", "1"):  # the second finds every call of the first in the store
        assert main(["ablate", str(file), *task, "--json", "--shards", shards]) == 0
        found.append(json.loads(capsys.readouterr().out))
        beside = {path.name for path in (tmp_path / "out").glob("calls.db*")}
        assert beside <= {"calls.db", "calls.db-claims"}, "the file by itself is the store"
    sharded, whole = ([(c["change"], c["difference"], c["systems"][1]["score"]) for c in f["changes"]] for f in found)
    assert sharded == whole and len(whole) == 2
    assert [f["cost"]["dollars"] for f in found] == [pytest.approx(found[0]["cost"]["dollars"])] * 2
    runs = [read_run(change["log"]) for f in found for change in f["changes"]]
    assert sum(run.paid or 0 for run in runs[:2]) > 0 and [run.paid for run in runs[2:]] == [0, 0]


def test_the_command_lists_changes_and_needs_a_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ablate", "moa-lite", "--models", "sim/pool", "--dry-run"]) == 0
    assert "without layer 2 (fuser)" in capsys.readouterr().out
    assert main(["ablate", "single", "--models", "sim/gpt-4o"]) == 0
    assert "nothing can be dropped" in capsys.readouterr().out
    assert main(["ablate", "moa-lite", "--models", "sim/pool"]) == 1
    assert "which benchmark?" in capsys.readouterr().err


class Pair(CandidateGenerator):
    """Has a second model."""

    kind = ComponentType("pair", place="first", alone=False, options={"second": model_option()})

    async def produce(self, *args: object) -> None:
        return None


def test_components_with_the_same_model_are_told_apart_by_what_differs() -> None:
    pairs = [{"model": "a/one", "second": "a/x"}, {"model": "a/one", "second": "a/y"}, {"model": "a/two"}]
    assert changes({f"{__name__}:Pair": pairs})[:3] == [
        "layer 1 without a/one (second: a/x)",
        "layer 1 without a/one (second: a/y)",
        "layer 1 without a/two",
    ]
    warm = {"model": "a/one", "temperature": 1.0}
    assert changes({"generator": ["a/one", "a/one", warm]}) == [
        "layer 1 without one of 2 a/one (temperature: 0.7)",
        "layer 1 without a/one (temperature: 1.0)",
    ]
