"""Reports and comparisons show the figures that benchmarks publish, from stored judgments."""

import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from fakes.logs import write_scored_log
from inspect_ai import eval as inspect_eval
from inspect_ai.log import read_eval_log
from inspect_ai.scorer import Score

from archon_eval.cli import main
from archon_eval.report.compare import compare_runs
from archon_eval.runs.read_log import read_run
from archon_eval.stats.length_control import compute_least_stderr

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no stored judgments in {DATA}")
RESULTS = {"model_a": 0.0, "tie": 0.5, "model_b": 1.0}


def read_lines(path: Path) -> list[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


@pytest.fixture(scope="module")
def arena_hard(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model -> a log of its official battles, as the scorer of this package leaves them."""
    folder = tmp_path_factory.mktemp("arena_hard")
    rows: dict[str, dict[str, list[float]]] = {}
    for battle in read_lines(DATA / "arena_hard" / "battles_vs_gpt-4-0314.jsonl.gz"):
        won = rows.setdefault(battle["model_b"], {}).setdefault(battle["question_id"], [])
        won.append(RESULTS.get(battle["winner"], 0.5))
    logs = {}
    for number, (model, by_question) in enumerate(rows.items()):
        scores = {
            question: [Score(value=sum(won) / len(won), metadata={"games": [{"rows": won}]})]
            for question, won in by_question.items()
        }
        path = folder / f"{number}.eval"
        logs[model] = write_scored_log(path, scores, scorer="archon_eval/arena_hard", name=model, task="arena_hard")
    return logs


@needs_data
def test_report_prints_the_official_win_rate_of_every_model(
    arena_hard: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(next(iter(arena_hard.values())).parent)
    assert main(["report", folder, "--format", "json"]) == 0
    [benchmark] = json.loads(capsys.readouterr().out)["benches"]
    shown = {system["label"]: system for system in benchmark["systems"]}
    official = read_lines(DATA / "arena_hard" / "expected_battles.jsonl")
    assert len(official) == len(shown) == 5
    for row in official:
        assert shown[row["model"]]["metric"] == "win rate"
        assert 100 * shown[row["model"]]["score"]["value"] == pytest.approx(row["score"], abs=1e-6)
    assert round(100 * shown["gpt-3.5-turbo-0125"]["score"]["value"], 2) == 23.34
    assert main(["report", folder, "--format", "md"]) == 0
    said = capsys.readouterr().out
    assert "| system | win rate (95%) |" in said and "| gpt-3.5-turbo-0125 | 23.34 (" in said


@needs_data
def test_compare_has_the_official_difference_of_every_pair(
    arena_hard: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    official = {row["model"]: row["score"] for row in read_lines(DATA / "arena_hard" / "expected_battles.jsonl")}
    runs = {model: read_run(log) for model, log in arena_hard.items()}
    for first, second in itertools.permutations(official, 2):
        pair = compare_runs(runs[first], runs[second])
        expected = official[first] - official[second]
        assert 100 * pair.first.estimate.value == pytest.approx(official[first], abs=1e-6)
        # one of the 500 questions is without judgments of one model, and left out of its differences
        assert 100 * pair.overall.paired.difference.value == pytest.approx(expected, abs=0.1 if pair.unpaired else 1e-6)
        assert pair.overall.verdict == ("better" if expected > 0 else "worse")
    [first, second] = (str(arena_hard[name]) for name in ("gpt-3.5-turbo-0125", "Nexusflow__Athene-V2-Chat"))
    assert main(["compare", first, second]) == 0
    said = capsys.readouterr().out
    assert "\ngpt-3.5-turbo-0125: win rate 23.34 (" in said and "\nNexusflow__Athene-V2-Chat: win rate 86.33 (" in said
    assert "gpt-3.5-turbo-0125 against Nexusflow__Athene-V2-Chat: win rate -63.0 points" in said
    assert main(["compare", first, second, "--json"]) == 0
    [shown] = json.loads(capsys.readouterr().out)
    assert [round(100 * system["score"]["value"], 2) for system in shown["systems"]] == [23.34, 86.33]


@needs_data
def test_the_mean_of_questions_is_another_figure_and_named_so(arena_hard: dict[str, Path]) -> None:
    run = read_run(arena_hard["gpt-3.5-turbo-0125"], metric="mean")
    assert run.metric.name == "mean of values" and run.estimate.value == pytest.approx(0.278, abs=5e-4)


@pytest.fixture(scope="module")
def alpaca_eval(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Evals of two simulated models on 60 official instructions in two epochs, judged by a simulated judge."""
    folder = tmp_path_factory.mktemp("alpaca_eval")
    calibration = folder / "df_gamed.csv"
    calibration.write_bytes(gzip.decompress((DATA / "alpaca_eval" / "df_gamed_RECONSTRUCTED.csv.gz").read_bytes()))
    data = str(DATA / "alpaca_eval" / "instructions_baseline.jsonl.gz")
    logs = []
    for model in ("sim/gpt-4o", "sim/llama-3.1-8b-instruct"):
        [log] = inspect_eval(
            "archon_eval/alpaca_eval",
            model=model,
            model_roles={"judge": "sim/gpt-4-turbo"},
            task_args={"data": data, "n": 60, "calibration": str(calibration)},
            epochs=2,
            display="none",
            log_dir=str(folder / "logs"),
            score_display=False,
        )
        assert log.status == "success"
        logs.append(Path(log.location))
    return logs


@needs_data
def test_the_length_controlled_rate_is_the_evals_own(
    alpaca_eval: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [read_run(log) for log in alpaca_eval]
    for run, path in zip(runs, alpaca_eval, strict=True):
        own = read_eval_log(str(path), header_only=True).results.scores[0].metrics
        assert run.metric.name == "LC win rate" and run.headline is None
        assert 100 * run.estimate.value == pytest.approx(own["length_controlled_winrate"].value, abs=1e-9)
        raw = run.estimate_companions()["win rate"]
        assert 100 * raw.value == pytest.approx(own["win_rate"].value, abs=1e-9)
        assert run.estimate.low is not None and run.estimate.high is not None
        assert run.estimate.low < run.estimate.value < run.estimate.high
        assert run.estimate.stderr is not None
        assert run.estimate.stderr >= compute_least_stderr(raw.stderr, [(run.estimate.value, raw.value)]) > 0
    paired = compare_runs(*runs).overall.paired
    assert paired.difference.value == pytest.approx(runs[0].estimate.value - runs[1].estimate.value, abs=1e-12)
    assert paired.difference.low is not None and paired.difference.low < paired.difference.value
    assert main(["report", str(alpaca_eval[0].parent), "--format", "md"]) == 0
    assert "| system | LC win rate (95%) | win rate |" in capsys.readouterr().out
    assert read_run(alpaca_eval[0], metric="win_rate").metric.name == "win rate"
