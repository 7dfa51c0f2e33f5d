"""Real evals in which a layer never works: every place that shows scores names it before the scores."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import mute_models  # noqa: F401, the provider `mute`
from fakes.logs import build_account, write_log
from fakes.report_inputs import HOSTILE
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import includes
from rich.console import Console

from archon_eval.cli import ablate, demo, main
from archon_eval.models.usage_totals import UsageTotals
from archon_eval.report.ablation import AblationResult, dump_ablation
from archon_eval.report.baseline import create_baseline, save_baseline
from archon_eval.report.ci_output import format_junit, format_markdown, format_text
from archon_eval.report.compare import compare_runs
from archon_eval.report.gate import check_regression
from archon_eval.runs.layer_health import RunHealth
from archon_eval.runs.read_log import read_run
from archon_eval.solvers import archon

QUESTIONS = 6
RANKER = (
    "Layer 2 (ranker mute/prose) never worked: none of its 6 rankings could be read (fallback: unranked candidates "
    "stay in their order, after the ranked ones)."
)
VERIFIER = (
    "Layer 3 (verifier mute/prose-v) never worked: none of its 12 verdicts could be read (fallback: the candidate is "
    "kept, unverified)."
)
FUSER = "Layer 4 (fuser mute/cut) never worked: all of its 6 texts were cut at the token limit."
CUT = "6 of 66 replies (9.1%) were cut at the token limit."


def build_layers(ranker: str, verifier: str, fuser: str) -> list[dict[str, Any]]:
    judges = [
        {kind: {"model": model, "max_parse_retries": 1}} for kind, model in (("ranker", ranker), ("verifier", verifier))
    ]
    return [{"generator": {"model": "mute/good", "samples": 2}}, *judges, {"fuser": fuser}]


def run_eval(folder: Path, name: str, layers: Any, **top: Any) -> Path:
    samples = [Sample(input=f"What is {n} + 2?", target="Answer of" if n else "none", id=n) for n in range(QUESTIONS)]
    task = Task(
        MemoryDataset(samples), solver=archon({"name": name, "layers": layers, **top}), scorer=includes(), name="sums"
    )
    [log] = eval(task, model=None, log_dir=str(folder / name), display="none")
    assert log.status == "success", log.error
    return Path(log.location)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A system whose ranker, verifier and fuser never work, and one in which all do."""
    folder = tmp_path_factory.mktemp("logs")
    dead = build_layers("mute/prose", "mute/prose-v", "mute/cut")
    healthy = build_layers("mute/good", "mute/good", "mute/good")
    return {"dead": run_eval(folder, "dead", dead), "healthy": run_eval(folder, "healthy", healthy)}


def test_the_run_says_it_and_a_healthy_one_says_nothing(logs: Mapping[str, Path]) -> None:
    assert read_run(logs["dead"]).health.sentences == (RANKER, VERIFIER, FUSER, CUT)
    health = read_run(logs["healthy"]).health
    assert health.sentences == () and health.dead == ()
    assert [[counts.count for counts in layer.outcomes] for layer in health.layers] == [[12], [6], [12], [6]]


def test_compare_says_it_before_the_scores(logs: Mapping[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(logs["dead"]), str(logs["healthy"])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:5] == [f"Warning: dead: {text}" for text in (RANKER, VERIFIER, FUSER, CUT)]
    assert lines[5].startswith("dead: accuracy") and "Warning: healthy" not in "".join(lines)
    assert main(["compare", str(logs["healthy"]), str(logs["dead"]), "--json"]) == 0
    [pair] = json.loads(capsys.readouterr().out)
    assert pair["warnings"] == [f"dead: {text}" for text in (RANKER, VERIFIER, FUSER, CUT)]


def test_the_report_says_it_at_its_top(
    logs: Mapping[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(log) for log in logs.values()]
    assert main(["report", *paths, "-o", str(tmp_path / "r.html")]) == 0
    assert f"Warning: dead: {VERIFIER}" in capsys.readouterr().out
    head, _, rest = (tmp_path / "r.html").read_text(encoding="utf-8").partition("<h2>")
    assert f'<p class="worse">dead: {VERIFIER}</p>' in head and f"dead: {CUT}" in head and rest
    assert main(["report", *paths, "--format", "md"]) == 0
    head, _, rest = capsys.readouterr().out.partition("\n## ")
    assert "**Warning:** dead: Layer 3 (verifier mute/prose-v) never worked" in head and rest
    assert main(["report", *paths, "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["warnings"] == [f"dead: {text}" for text in (RANKER, VERIFIER, FUSER, CUT)]
    by_label = {system["label"]: system for system in report["benches"][0]["systems"]}
    assert by_label["dead"]["warnings"] == [RANKER, VERIFIER, FUSER, CUT] and by_label["healthy"]["warnings"] == []
    assert RunHealth.from_metadata(by_label["dead"]["health"]) == read_run(logs["dead"]).health
    assert main(["report", str(logs["healthy"]), "-o", str(tmp_path / "h.html")]) == 0
    assert "never worked" not in (tmp_path / "h.html").read_text(encoding="utf-8")
    assert "Warning" not in capsys.readouterr().out


def test_a_gate_that_passes_says_it_all_the_same(
    logs: Mapping[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = read_run(logs["dead"])
    outcome = check_regression(create_baseline(run), run)
    assert outcome.warnings == (RANKER, VERIFIER, FUSER, CUT)
    assert f"warning: {RANKER}" in format_text(outcome).splitlines()[1]
    assert "- **warning:** Layer 2 (ranker mute/prose) never worked" in format_markdown(outcome, "gate")
    assert RANKER in format_junit(outcome, "gate")
    replayed = replace(run, usage=UsageTotals(calls=9, reused=UsageTotals(calls=9)))
    passed = check_regression(create_baseline(replayed), replayed)
    assert passed.code == 0 and passed.warnings == outcome.warnings, "the baseline's layers are as dead"
    healthy = read_run(logs["healthy"])
    assert check_regression(create_baseline(healthy), healthy).warnings == ()
    save_baseline(run, tmp_path / "b.json")
    assert main(["gate", str(logs["dead"]), "--baseline", str(tmp_path / "b.json"), "--json"]) == outcome.code
    assert json.loads(capsys.readouterr().out)["warnings"] == [RANKER, VERIFIER, FUSER, CUT]
    words = ["gate", str(logs["dead"]), "--save-baseline", "--baseline", str(tmp_path / "b.json")]
    assert main(words) == 0
    assert f"warning: {RANKER}" in capsys.readouterr().err


def test_an_ablation_says_of_which_change_it_is(logs: Mapping[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    whole, changed = read_run(logs["healthy"]), read_run(logs["dead"])
    worth = [AblationResult("other models", changed, compare_runs(whole, changed), "x.eval")]
    ablate._print_worth(whole, worth, "error")
    assert capsys.readouterr().out.splitlines()[0] == f"Warning: other models: {RANKER}"
    assert dump_ablation(whole, worth)["warnings"][1] == f"other models: {VERIFIER}"
    assert dump_ablation(changed, [])["warnings"][0] == f"the whole: {RANKER}"


def test_the_demo_says_it_before_its_table(
    logs: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = iter([logs["healthy"], logs["dead"], logs["healthy"], logs["healthy"]])
    monkeypatch.setattr(demo, "run_eval", lambda *_: next(given))
    console = Console(width=300)
    with console.capture() as capture:
        demo.run_demo("sim/pool", tmp_path, console)
    said = capture.get()
    assert said.index(f"Warning: best model x 10, ranker: {RANKER}") < said.index("accuracy")
    assert said.count("Warning") == 4


def test_a_layer_that_mostly_fails_says_its_share(tmp_path: Path) -> None:
    layers = build_layers("mute/good", "mute/rare", "mute/good")
    assert read_run(run_eval(tmp_path, "rarely", layers)).health.sentences == (
        "Layer 3 (verifier mute/rare) mostly did not work: 10 of its 12 verdicts (83.3%) could not be read (fallback: "
        "the candidate is kept, unverified).",
    )


def test_one_component_of_several_is_named_with_its_model(tmp_path: Path) -> None:
    generators = ["mute/good", "mute/empty", "mute/good-2", {"model": "mute/down", "on_error": "drop"}]
    run = read_run(run_eval(tmp_path, "some", [{"generator": generators}, {"fuser": "mute/good"}]))
    assert run.health.sentences == (
        "Layer 1, component 2 (generator mute/empty) never worked: all of its 6 replies were empty.",
        "Layer 1, component 4 (generator mute/down) never worked: all of its 6 replies were dropped after failed "
        "calls.",
        "6 of 24 replies (25%) were empty, 6 calls failed for good and were dropped.",
    )


def test_a_layer_skipped_by_on_error_is_named(tmp_path: Path) -> None:
    layers = build_layers("mute/down", "mute/good", "mute/good")
    run = read_run(run_eval(tmp_path, "skipped", layers, on_error="drop"))
    assert run.health.warnings == (
        RANKER.replace("prose", "down").replace(
            "none of its 6 rankings could be read", "all of its 6 rankings were dropped after failed calls"
        ),
    )


def test_hostile_names_have_no_power(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers = build_account()["layers"]
    layers[1] |= {
        "kind": f"x:{HOSTILE[:60]}",
        "outcomes": [{"model": f"\x1b[31m{HOSTILE[:30]}", "count": 1, "problems": {HOSTILE: 1}}],
    }
    log = write_log(tmp_path / "a.eval", {"q1": ["C"], "q2": ["I"]}, layers=layers)
    assert "never worked" in read_run(log).health.warnings[0]
    assert main(["report", str(log), "-o", str(tmp_path / "r.html")]) == 0
    head, _, _ = (tmp_path / "r.html").read_text(encoding="utf-8").partition("<h2>")
    warning = re.search(r'<p class="worse">(.*)</p>', head)
    assert warning and "never worked" in warning[1] and "<" not in warning[1]
    capsys.readouterr()
    assert main(["report", str(log), "--format", "md"]) == 0
    said = capsys.readouterr().out.partition("\n## ")[0]
    assert "never worked" in said and not re.search(r"(?<!\\)<", said)
    assert main(["compare", str(log), str(log)]) == 0
    said = capsys.readouterr().out
    assert "never worked" in said and "\x1b" not in said


def test_many_warnings_are_folded_in(tmp_path: Path) -> None:
    for n in range(14):
        write_log(tmp_path / "logs" / f"{n}.eval", {"q1": ["C"], "q2": ["I"]}, name=f"s{n:02}", notes={"truncated": 1})
    assert main(["report", str(tmp_path / "logs"), "-o", str(tmp_path / "r.html")]) == 0
    head, _, _ = (tmp_path / "r.html").read_text(encoding="utf-8").partition("<h2>")
    assert (
        '<details><summary class="worse">and 2 more</summary>' in head
        and head.count("were cut at the token limit") == 14
    )
