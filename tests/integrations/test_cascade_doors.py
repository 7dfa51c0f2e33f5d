"""A cascade behind every door: the solver, the model of Inspect and Python; decisions are in metadata and reports."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.model import get_model

from archon_eval import Archon
from archon_eval.architecture.load import load_architecture
from archon_eval.cli import main
from archon_eval.report.markdown import render_markdown
from archon_eval.report.report_data import read_report_data
from archon_eval.runs.account import parse_accounts
from archon_eval.runs.read_log import read_run
from archon_eval.solvers import archon

MODELS = "sim/gpt-4o,sim/llama-3.1-70b-instruct"
TASK: dict[str, Any] = {"task_args": {"sample": True, "n": 10}, "display": "none", "log_realtime": False}


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("doors")
    solver = archon(architecture="routed-cascade", models=MODELS)
    model = get_model("archon/routed-cascade", memoize=False, models=MODELS)
    logs = {
        "solver": inspect_eval("archon_eval/math", model=None, solver=solver, log_dir=str(folder / "solver"), **TASK),
        "model": inspect_eval("archon_eval/math", model=model, log_dir=str(folder / "model"), **TASK),
    }
    return {door: Path(found[0].location) for door, found in logs.items()}


def test_both_doors_answer_alike_and_say_which_stage_answered(logs: dict[str, Path]) -> None:
    one, other = (read_run(logs[door]) for door in ("solver", "model"))
    assert one.scores == other.scores and one.stages == other.stages and one.cost["calls"] == other.cost["calls"]
    assert {stage.name for stage in one.stages} <= {"cheap", "strong"} and sum(s.stood for s in one.stages) == 10
    assert one.notes["routed"] == 10 and one.notes["accepted"] + one.notes.get("escalated", 0) <= 10
    total = sum(stage.calls for stage in one.stages) + 10  # the router's
    assert one.usage.calls == total + one.notes.get("reask", 0)


def test_decisions_are_in_the_scores_metadata(logs: dict[str, Path]) -> None:
    from inspect_ai.log import read_eval_log

    for sample in read_eval_log(str(logs["solver"]), resolve_attachments=True).samples or ():
        [score] = (sample.scores or {}).values()
        [account] = parse_accounts(score.metadata)
        assert account.stages and sum(stage.stands for stage in account.stages) == 1
        text = "".join(event.data for event in sample.events if event.event == "info" and event.source == "archon")
        assert ("router" in text and "Decision" in text) or account.stages[0].name == "strong"


def test_reports_say_whose_the_answers_are(logs: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    note = read_run(logs["solver"]).stage_note
    assert "of 10 answers" in note
    text = render_markdown(read_report_data([str(logs["solver"])]))
    assert "of 10 answers" in text and "| router |" in text.replace("1 router", "router")
    assert main(["report", str(logs["solver"]), "-o", str(tmp_path / "r.html")]) == 0
    assert "of 10 answers" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert main(["compare", str(logs["solver"]), str(logs["model"])]) == 0
    assert "Stages of routed-cascade (first)" in capsys.readouterr().out


def test_python_pays_shared_draws_once() -> None:
    stages = [
        {
            "name": name,
            "layers": [{"generator": {"model": "sim/gpt-4o", "samples": samples}}, {"vote": {"top_k": 1}}],
            **({"accept": {"judge": {"model": "sim/gpt-4o", "threshold": 100}}} if samples == 3 else {}),
        }
        for name, samples in (("few", 3), ("many", 6))
    ]
    answer = asyncio.run(Archon({"name": "x", "cascade": stages}).generate("What is 6 x 7?"))
    asked = list(answer.trail.own_steps)
    drawn = [step.draw for step in asked if step.kind == "generator"]
    assert sorted(drawn) == [*range(6 if len(answer.trail.stages) == 2 else 3)]


def test_tools_are_allowed_where_every_stage_allows_them() -> None:
    from archon_eval.components import build_layer
    from archon_eval.engine.engine import list_tool_obstacles

    fused = load_architecture("cascade", ["a/x"])
    assert list(list_tool_obstacles([build_layer(n, layer) for n, layer in enumerate(fused.layers, 1)]))
    stages = [*list(fused.to_mapping()["cascade"][:1]), {"name": "strong", "layers": [{"generator": "a/x"}]}]
    choosing = load_architecture({"name": "y", "cascade": stages})
    assert not list_tool_obstacles([build_layer(n, layer) for n, layer in enumerate(choosing.layers, 1)])
