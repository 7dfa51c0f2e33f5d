"""The table of models that a search ranks first: both roles, intervals, costs, and why a model is left out."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from archon_eval.report.search_follower import SearchFollower
from archon_eval.runs.eval_worker import EvalJob
from archon_eval.runs.model_ranking import load_ranking
from archon_eval.runs.performance import estimate_performance
from archon_eval.search.config import SearchSettings, load_settings
from archon_eval.search.loop import SearchResult, search
from archon_eval.search.summary import write_results

MODELS = ["sim/gpt-4o", "sim/qwen2-72b-instruct", "sim/llama-3.1-70b-instruct"]
SPACE = {"preset": "small", "generators": [1, 2], "samples": 1, "layers": [0, 1], "evaluations": "none"}


def load(**more: Any) -> SearchSettings:
    task = {"name": "archon_eval/math", "args": {"sample": True}}
    given = {"tasks": [task], "models": MODELS, "space": SPACE, "budget": {"trials": 2}, "finalists": 1}
    return load_settings({**given, **more})


def run(folder: Path, fake_run: Any, **more: Any) -> tuple[SearchResult, dict[str, Any]]:
    result = search(load(**more), folder, fake_run)
    return result, write_results(result, folder)


def chance(job: EvalJob) -> float:
    """The second model generates best, the third fuses best."""
    role = job.key.split("/")[1]
    best = MODELS[1] if role == "generator" else MODELS[2]
    return 0.9 if f"/{best}/" in job.key else 0.5


def test_both_roles_with_intervals_and_costs(tmp_path: Path, fake_run: Any) -> None:
    fake_run.chance = chance
    result, summary = run(tmp_path, fake_run)
    rows = load_ranking(summary["ranking"])
    assert rows == result.ranking.table
    assert rows[0].model == MODELS[1] and [row.rank for row in rows] == [1, 2, 3]
    assert result.generators == tuple(row.model for row in rows)
    assert next(row.model for row in rows if row.fusion_rank == 1) == MODELS[2] == result.fusers[0]
    for row in rows:
        trial, fused = result.ranking.generation[row.model], result.ranking.fusion[row.model]
        expected = estimate_performance(trial.parts)
        assert row.generation and row.fusion and expected
        assert (row.generation.value, row.generation.low, row.generation.high) == (
            trial.performance,
            expected.low,
            expected.high,
        )
        assert row.generation.low < row.generation.value < row.generation.high
        assert (row.generation.calls_per_question, row.fusion.calls_per_question) == (1, 4)
        assert row.fusion.tokens_per_question == 400 and row.fusion.dollars_per_question == pytest.approx(0.004)
        assert fused.architecture.layers[0][0].kind == "generator" and len(fused.architecture.layers[0]) == 3
    assert len(result.ranking.trials) == 6
    with (tmp_path / "ranking.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [line["model"] for line in table] == [row.model for row in rows]
    assert float(table[0]["generation_low"]) == rows[0].generation.low and table[0]["fusion_problem"] == ""


def test_a_model_that_is_left_out_stands_last_with_its_reason(tmp_path: Path, fake_run: Any) -> None:
    fake_run.error = lambda job: "no key" if job.key.startswith(f"rank/generator/{MODELS[0]}") else ""
    result, summary = run(tmp_path, fake_run)
    last = summary["ranking"][-1]
    assert last["model"] == MODELS[0] and last["rank"] is None and last["generation"]["problem"] == "no key"
    assert last["generation"]["value"] is None and last["generation"]["calls_per_question"] is None
    assert last["fusion"] is None and MODELS[0] not in result.fusers
    assert (tmp_path / "ranking.csv").read_text().splitlines()[-1].startswith(f",{MODELS[0]},,,,,0,,,,no key")


def test_a_model_that_only_fuses_has_no_generation_score(tmp_path: Path, fake_run: Any) -> None:
    _, summary = run(tmp_path, fake_run, models=MODELS[:2], fusers=MODELS[1:])
    rows = {row["model"]: row for row in summary["ranking"]}
    assert rows[MODELS[2]]["generation"] is None and rows[MODELS[2]]["fusion"]["value"] is not None
    assert rows[MODELS[0]]["fusion"] is None and rows[MODELS[0]]["rank"] is not None


def test_models_that_are_not_ranked_have_no_table_and_a_note(tmp_path: Path, fake_run: Any) -> None:
    result, summary = run(tmp_path, fake_run, skip_ranking=True)
    assert summary["ranking"] is None and not result.ranking.trials and not (tmp_path / "ranking.csv").exists()
    assert any("no ranking table" in note and "--skip-ranking" in note for note in summary["notes"])


def test_a_single_model_is_ranked_as_generator_alone(tmp_path: Path, fake_run: Any) -> None:
    _, summary = run(tmp_path, fake_run, models=MODELS[:1], space={**SPACE, "generators": [1]})
    [row] = summary["ranking"]
    assert row["rank"] == 1 and row["fusion"] is None
    assert any("no fusion scores" in note for note in summary["notes"])


def test_a_search_that_goes_on_has_the_same_table(tmp_path: Path, fake_run: Any) -> None:
    fake_run.chance = chance
    fake_run.stop_after = 8
    with pytest.raises(KeyboardInterrupt):
        search(load(), tmp_path, fake_run)
    before = len((tmp_path / "search.jsonl").read_text().splitlines())
    fake_run.stop_after = -1
    _, summary = run(tmp_path, fake_run)
    _, whole = run(tmp_path.with_name("whole"), fake_run)
    assert summary["ranking"] == whole["ranking"]
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "search.jsonl").read_text().splitlines()]
    assert kinds[before - 1 : before + 1] == ["stop", "session"] and kinds[-1] == "end"


def test_the_journal_gives_the_same_table_with_tasks_by_weight(tmp_path: Path, fake_run: Any) -> None:
    tasks = [
        {"name": "archon_eval/math", "args": {"sample": True}, "weight": 3},
        {"name": "archon_eval/math", "args": {"sample": True, "n": 40}, "scale": [0, 2]},
    ]
    fake_run.chance = chance
    result, _ = run(tmp_path, fake_run, tasks=tasks)
    follower = SearchFollower(tmp_path)
    follower.update()
    assert follower.build_ranking() == result.ranking.table
    assert len({row.generation.value for row in result.ranking.table if row.generation}) > 1
    progress = follower.build_progress()
    tried = {option.configuration.key: trial.performance for option, trial in result.tried}
    assert {trial.label: trial.scored.performance for trial in progress.trials} == tried
    assert progress.state == "ended" and progress.calls == result.ledger.calls
