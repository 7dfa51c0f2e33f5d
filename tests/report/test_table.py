"""`archon report --table`: the figures of systems by benchmarks, in every format, through the command."""

import csv
import io
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fakes.logs import write_log
from inspect_ai._cli.main import inspect as inspect_command
from inspect_ai.log import EvalMetric, EvalResults, EvalScore, read_eval_log, write_eval_log

from archon_eval.cli import main
from archon_eval.report.benchmark_table import build_benchmark_table
from archon_eval.report.formatting import dump_json
from archon_eval.report.report_data import ReportData, build_benchmark_report, read_report_data
from archon_eval.report.table_formats import TABLE_FORMATS, escape_latex
from archon_eval.runs.layer_health import LayerHealth, OutcomeCounts, RunHealth
from archon_eval.runs.metrics import DECLARED, find_declaration
from archon_eval.runs.read_log import read_run
from archon_eval.runs.run_eval import Eval
from archon_eval.stats.metrics import Answers, MeanMetric, Metric

HOSTILE = '=\\input{/etc/passwd} & 100% $x$ #1 _a^b~c "q" | `r` <t> [1]* -- \x1b[31m\u202e\nnew\\\\ line'


def right(count: int, of: int = 40, epochs: int = 1) -> dict[str, list[str]]:
    """`count` of the questions right in every epoch."""
    return {f"q{n:02}": ["C" if n < count else "I"] * epochs for n in range(of)}


def show(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(["report", *words, "--table"]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def show_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    return dict(json.loads(show(capsys, *words, "--format", "json")))


def show_csv(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(show(capsys, *words, "--format", "csv"))))


def write_two_benchmarks(folder: Path) -> Path:
    """`cheap`: 20 and 36 of 40; `dear`: 24 and 18 of 40, at three times the calls, on one of them five times."""
    for task, cheap, dear, calls in (("one", 20, 24, 9), ("two", 36, 18, 15)):
        write_log(folder / f"{task}-cheap.eval", right(cheap), name="cheap", task=task)
        write_log(folder / f"{task}-dear.eval", right(dear), name="dear", task=task, calls=calls)
    return folder


def test_systems_are_rows_and_benchmarks_are_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_two_benchmarks(tmp_path)
    cheap, dear = show_json(capsys, str(tmp_path))["systems"]
    one, two = "one, mean of values", "two, mean of values"
    assert [cheap["cells"][key]["estimate"]["value"] for key in (one, two)] == [0.5, 0.9]
    assert [dear["cells"][key]["estimate"]["value"] for key in (one, two)] == [0.6, 0.45]
    # 24 against 20 of 40, all four moves one way: p 1/8; 36 against 18: p 2^-17
    assert [cheap["cells"][key]["mark"] for key in (one, two)] == ["near", "best"]
    assert [dear["cells"][key]["mark"] for key in (one, two)] == ["best", ""]
    assert cheap["average"] == pytest.approx((0.5 + 0.9) / 2) and dear["average"] == pytest.approx((0.6 + 0.45) / 2)
    assert cheap["share_of_best"] == pytest.approx((0.5 / 0.6 + 1) / 2)
    assert dear["share_of_best"] == pytest.approx((1 + 0.45 / 0.9) / 2)
    assert [system["cost"]["calls"] for system in (cheap, dear)] == [3, 12]
    assert dear["cost"]["dollars"] == pytest.approx(0.012) and dear["cost"]["seconds"] == 2
    assert [system["cost"]["input_tokens"] for system in (cheap, dear)] == [300, 1200]
    assert [system["cost"]["output_tokens"] for system in (cheap, dear)] == [150, 600]


def test_markdown_shows_points_marks_and_both_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_two_benchmarks(tmp_path)
    values = {**right(20), **{f"q{n:02}": ["C", "I"] for n in range(20, 40)}}
    write_log(
        tmp_path / "runs.eval", {q: v if len(v) == 2 else v * 2 for q, v in values.items()}, name="twice", task="one"
    )
    lines = show(capsys, str(tmp_path)).splitlines()
    head = "| system | one, mean of values, % | two, mean of values, % | average | share of the best, % | calls | "
    assert lines[2].startswith(head + "input tokens | output tokens | dollars | seconds |")
    cheap, twice, dear = lines[4:7]
    assert re.match(
        r"\| cheap \| 50\.0 \(\d+\.\d to \d+\.\d\)  ?\| \*\*90\.0 \(.*\)\*\* \| 70\.0 \| 83\.3 \| 3 \|", cheap
    )
    assert re.match(r"\| twice \| \*\*75\.0 \(.*\)\*\* \| - \| - \| - \| 3 \|", twice)
    assert re.match(r"\| dear \| 60\.0 \(.*\)( †)? \| 45\.0 \([^†]*\) \| 52\.5 \| 65\.0 \| 12 \|", dear)
    errors = next(line for line in lines if line.startswith("| twice | one, mean of values |"))
    # over questions: 20 means of 1 and 20 of 1/2, so sqrt(40 * 0.25^2 / 39 / 40); over runs: 1 and 1/2, sd / sqrt(2)
    assert errors == "| twice | one, mean of values | 4.00 | 25.00 | 2 |"
    assert "| cheap | two, mean of values | 4.80 | unknown: one run tells nothing about spread | 1 |" in lines
    assert any(line.startswith("- twice has no average and no share of the best") for line in lines)


def test_the_ending_of_the_output_decides_the_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_two_benchmarks(tmp_path / "logs")
    write_log(tmp_path / "logs" / "stopped.eval", right(1), status="cancelled")
    table = build_benchmark_table(read_report_data([tmp_path / "logs"], merge=True))
    for ending, form in ((".md", "md"), (".csv", "csv"), (".tex", "latex"), (".json", "json")):
        output = tmp_path / f"table{ending}"
        assert main(["report", str(tmp_path / "logs"), "--table", "-o", str(output)]) == 0
        captured = capsys.readouterr()
        assert output.read_text(encoding="utf-8") == TABLE_FORMATS[form](table)
        assert captured.out == f"{output}: 2 systems, 2 columns of figures\n"
        assert "left out: " in captured.err and "stopped.eval: the eval did not finish" in captured.err
        assert ("stopped.eval" in output.read_text(encoding="utf-8")) == (form in ("json", "md", "latex"))
    assert "legal with --table: .md, .csv, .tex, .json" in show(capsys, str(tmp_path), "-o", "x.html", code=1)
    assert "--format png; legal with --table" in show(capsys, str(tmp_path), "--format", "png", code=1)
    for words in (["--by-part"], ["--format", "csv"]):
        assert main(["report", str(tmp_path), *words]) == 1
        assert f"{' '.join(words)} needs --table" in capsys.readouterr().err


def test_names_have_no_power_over_the_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(
        tmp_path / "a.eval",
        right(9),
        name=HOSTILE,
        task="@one",
        subjects={q: f"+{HOSTILE}" if q < "q20" else "-x" for q in right(9)},
    )
    for words in ((), ("--by-part",)):
        latex = show(capsys, str(tmp_path), "--format", "latex", *words)
        body = "\n".join(line for line in latex.splitlines() if not line.startswith("% needs"))
        allowed = "begin|end|toprule|midrule|bottomrule|textbf|par|footnotesize|dagger|char34"
        allowed += "|textbackslash|textasciicircum|textasciitilde|textless|textgreater|textbar|textdagger"
        assert "\\" not in re.sub(rf"\\(?:(?:{allowed})(?![a-z])|[\\{{}}$&#%_])", "", body)
        plain = re.sub(r"\\[{}$&#%_]", "", body)
        assert not re.search(r"[#_~%\x1b\u202e|<>\"]", plain) and plain.count("{") == plain.count("}")
        rows = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == ({7 + 1, 4, 2} if words else {7 + 1, 4})
        markdown = show(capsys, str(tmp_path), *words)
        assert not re.search(r"(?<!\\)[<`]", markdown) and "\x1b" not in markdown and "\u202e" not in markdown
        table = [line for line in markdown.splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == ({10, 6, 4} if words else {10, 6})
        for row in csv.reader(io.StringIO(show(capsys, str(tmp_path), "--format", "csv", *words))):
            for cell in row:
                assert cell[:1] not in ("=", "+", "@", "-") and "\n" not in cell and "\x1b" not in cell
    assert escape_latex("50% \\input{x}") == "50\\% \\textbackslash{}input\\{x\\}"


def test_negative_numbers_of_a_csv_stay_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(tmp_path / "a.eval", {"q1": [-2.0], "q2": [-1.0]}, name="-a")
    (row,) = show_csv(capsys, str(tmp_path))
    assert row["system"] == "'-a" and float(row["bench, mean of values"]) == -1.5
    assert row["share of the best"] == "" and float(row["average"]) == -1.5
    assert row["bench, mean of values, standard error over runs"] == "unknown"


def test_logs_named_singly_are_runs_of_one_system(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As those of a folder; a log that is given twice counts once."""
    logs = [str(write_log(tmp_path / f"{n}.eval", right(20 + 4 * n))) for n in range(3)]
    for words in (logs, [str(tmp_path)], [str(tmp_path), *logs], [*logs, *logs]):
        (system,) = show_json(capsys, *words)["systems"]
        cell = system["cells"]["bench, mean of values"]
        assert cell["over_runs"]["values"] == [0.5, 0.6, 0.7] and cell["repeats"] == 3
        assert cell["over_runs"]["stderr"] == pytest.approx(0.1 / 3**0.5)


def test_runs_that_are_not_alike_are_rows_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(tmp_path / "a.eval", right(20), judge="strict")
    write_log(tmp_path / "b.eval", right(30), judge="mild")
    write_log(tmp_path / "c.eval", right(10), fingerprint="f" * 16)
    result = show_json(capsys, str(tmp_path))
    assert [system["system"] for system in result["systems"]] == ["system", "system (2)", "system (3)"]
    values = [system["cells"]["bench, mean of values"]["estimate"]["value"] for system in result["systems"]]
    assert sorted(values) == [0.25, 0.5, 0.75]
    notes = "\n".join(result["notes"])
    assert "judged by judge: strict" in notes.replace("judged by strict", "judged by judge: strict")
    assert "fingerprint ffffffffffffffff" in notes and notes.count("are not compared: ") == 2
    marks = {system["cells"]["bench, mean of values"]["mark"] for system in result["systems"]}
    assert marks == {""}  # bold needs another that it may be compared with
    assert {system["share_of_best"] for system in result["systems"]} == {None, 1.0}


def test_the_best_must_be_shown_better_at_a_confidence_that_holds_for_the_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """6 lost of 40 questions: p 1/32, enough for one comparison at 95%, not for each of two at 97.5%."""
    write_log(tmp_path / "a.eval", right(26), name="best")
    write_log(tmp_path / "b.eval", right(20), name="lost", calls=4)

    def read_mark() -> str:
        rows = show_csv(capsys, str(tmp_path))
        return next(row["bench, mean of values, mark"] for row in rows if row["system"] == "lost")

    assert read_mark() == ""
    write_log(tmp_path / "c.eval", right(1), name="third", calls=5)
    assert read_mark() == "near"


def test_scales_that_differ_have_no_average_but_a_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, grade, count in (("a", 8.0, 20), ("b", 4.0, 40)):
        facts = {"ratings": [1, 2]}
        log = {f"q{n}": [grade] for n in range(4)}
        write_log(tmp_path / f"{name}1.eval", log, name=name, task="grades", scorer="mt_bench_single", facts=facts)
        write_log(tmp_path / f"{name}2.eval", right(count), name=name, task="answers")
    result = show_json(capsys, str(tmp_path))
    by_name = {system["system"]: system for system in result["systems"]}
    assert by_name["a"]["cells"]["grades, mean grade"]["estimate"]["value"] == 8
    assert (by_name["a"]["average"], by_name["b"]["average"]) == (None, None)
    assert (by_name["a"]["share_of_best"], by_name["b"]["share_of_best"]) == (0.75, 0.75)
    assert any(note.startswith("No average: the scales of the benchmarks differ") for note in result["notes"])


def test_the_logs_own_figure_stands_beside_and_is_in_no_average(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_log(tmp_path / "a.eval", right(20), scorer="theirs")
    log = read_eval_log(str(path))
    score = EvalScore(name="theirs", scorer="theirs", metrics={"f1": EvalMetric(name="f1", value=0.8)})
    log.results = EvalResults(total_samples=40, completed_samples=40, scores=[score])
    write_eval_log(log, str(path))
    (system,) = show_json(capsys, str(tmp_path))["systems"]
    own, f1 = system["cells"]["bench, mean of values"], system["cells"]["bench, f1"]
    assert (own["estimate"]["value"], f1["estimate"]["value"], f1["estimate"]["low"]) == (0.5, 0.8, None)
    assert f1["over_runs"]["why"] == "the log has only the figure" and system["average"] == 0.5


@dataclass(frozen=True)
class HalvedMetric(MeanMetric):
    """Half of the mean, with the mean itself beside it."""

    @property
    def companions(self) -> tuple[Metric, ...]:
        return (MeanMetric("raw"),)

    def _round(self, answers: Answers, value: float) -> float:
        return value / 2


def test_a_figure_that_belongs_beside_the_metric_has_a_column_and_is_in_no_average(tmp_path: Path) -> None:
    runs = [
        replace(read_run(write_log(tmp_path / f"{n}.eval", right(n), name=str(n))), metric=HalvedMetric("halved"))
        for n in (10, 40)
    ]
    table = build_benchmark_table(ReportData((build_benchmark_report("bench, right", runs),), ()))
    assert [(column.heading, column.beside) for column in table.columns] == [
        ("bench, halved", False),
        ("bench, raw", True),
    ]
    values = [[cell.estimate.value for cell in row.cells if cell] for row in table.rows]
    assert values == [[0.125, 0.25], [0.5, 1.0]]
    assert [[cell.mark for cell in row.cells if cell] for row in table.rows] == [["", ""], ["best", "best"]]
    assert [(row.average, row.share_of_best) for row in table.rows] == [(0.125, 0.25), (0.5, 1.0)]


def test_a_layer_that_never_worked_is_said_before_the_figures(tmp_path: Path) -> None:
    health = RunHealth((LayerHealth("ranker", 9, (OutcomeCounts(9, {"unread": 9}, model="a/b"),)),))
    run = replace(read_run(write_log(tmp_path / "a.eval", right(9))), health=health)
    table = build_benchmark_table(ReportData((build_benchmark_report("bench, right", [run]),), ()))
    (warning,) = table.warnings
    assert warning.startswith("system on bench: Layer 1 (ranker a/b) never worked")
    for form, start in (("md", "| system |"), ("latex", "\\begin{tabular}")):
        text = TABLE_FORMATS[form](table)
        assert 0 < text.index("never worked") < text.index(start)
    assert json.loads(TABLE_FORMATS["json"](table))["warnings"] == [warning]


def test_an_unknown_cost_stays_unknown_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(tmp_path / "a.eval", right(20), task="one")
    write_log(tmp_path / "b.eval", right(20), task="two", dollars=None)
    result = show_json(capsys, str(tmp_path))
    assert result["systems"][0]["cost"]["dollars"] is None and result["systems"][0]["cost"]["calls"] == 3
    assert any(re.match(r"system on two: unknown .*dollars", note) for note in result["notes"])
    assert not any(re.match(r"system on one: unknown .*dollars", note) for note in result["notes"])
    (row,) = show_csv(capsys, str(tmp_path))
    assert (row["dollars"], row["calls"]) == ("unknown", "3.0")


def test_questions_without_a_score_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(tmp_path / "a.eval", {**right(20), "lost": [None]}, name="a")
    write_log(tmp_path / "b.eval", {**right(20), "lost": ["C"]}, name="b", calls=4)
    notes = show_json(capsys, str(tmp_path))["notes"]
    assert any(note.startswith("a on bench: 1 without a score") for note in notes)
    assert "bench: not all systems have scores of the same questions." in notes
    assert main(["report", str(tmp_path), "--table", "--missing", "error"]) == 0  # the log is left out, and named
    assert "a.eval: 1 of 41 questions have no score" in capsys.readouterr().err


@pytest.fixture(scope="module")
def real_logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two systems on three benchmarks of this package, one of them judged, all on the simulated pool."""
    folder = tmp_path_factory.mktemp("table")
    judge = folder / "judge.yaml"
    judge.write_text("layers:\n  - generator: sim/gpt-4-turbo\n", encoding="utf-8")
    options = ("architecture=single", "models=sim/gpt-4o")
    moa = ("architecture=moa-lite", "models=sim/pool")
    for task, solver, epochs, roles in (
        ("math", options, 3, ()),
        ("math", moa, 1, ()),
        ("mmlu", options, 1, ()),
        ("mixeval", options, 2, (f"judge=archon/{judge}",)),
    ):
        asked = Eval(f"archon_eval/{task}", ("sample=true",), solver, roles, epochs)
        words = [*asked.build_command(folder / "logs")[1:], "--display", "none", "--no-log-realtime"]
        inspect_command.main(words, standalone_mode=False)  # in this process, which has imported Inspect
    return folder / "logs"


def test_real_evals_of_three_benchmarks(real_logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = show_json(capsys, str(real_logs), "--by-part")
    single = next(system for system in result["systems"] if system["average"] is not None)
    moa = next(system for system in result["systems"] if system["average"] is None)
    runs = {
        run.task: run for run in (read_run(log) for log in sorted(real_logs.glob("*.eval"))) if run.cost["calls"] == 1
    }
    assert len(runs) == 3 and single["cost"]["calls"] == 1 and moa["cost"]["calls"] == pytest.approx(7)
    assert [key.partition(", ")[2] for key in single["cells"]] == ["accuracy", "overall", "accuracy"]
    for (heading, cell), task in zip(single["cells"].items(), sorted(runs), strict=True):
        assert heading.startswith(f"{task}, ") and cell["estimate"]["value"] == runs[task].estimate.value
    math, mixeval, mmlu = single["cells"].values()
    # over runs: three epochs of math, by hand
    (scores,) = (run.scores for task, run in runs.items() if "math" in task)
    means = [sum(epochs[n] for epochs in scores.values()) / len(scores) for n in range(3)]
    middle = sum(means) / 3
    assert math["over_runs"]["values"] == pytest.approx(means)
    assert math["over_runs"]["stderr"] == pytest.approx((sum((m - middle) ** 2 for m in means) / 2 / 3) ** 0.5)
    assert mmlu["over_runs"]["stderr"] is None and mixeval["repeats"] == 2
    assert [cell and cell["mark"] for cell in moa["cells"].values()][1:] == [None, None]
    # parts of MixEval as the benchmark's own metrics publish them
    log = read_eval_log(next(str(log) for log in real_logs.glob("*mixeval*.eval")))
    assert log.results
    assert find_declaration(log, "mixeval") is DECLARED["mixeval"]
    published = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    parts = {p["part"]: p["estimate"]["value"] for p in result["parts"] if "mixeval" in p["benchmark"]}
    assert {"free-form", "multiple-choice", "free-form/TriviaQA"} <= parts.keys()
    assert parts == pytest.approx(
        {n: published[n] for n in published if n.startswith(("free-form", "multiple-choice"))}
    )
    assert mixeval["estimate"]["value"] == pytest.approx(published["overall"])
    # and subjects of the others, whose questions add up
    for part in ("math", "mmlu"):
        counts = [
            p["estimate"]["n"] for p in result["parts"] if part in p["benchmark"] and p["system"] == single["system"]
        ]
        assert len(counts) > 1 and sum(counts) == next(len(run.scored) for task, run in runs.items() if part in task)
    rows = show_csv(capsys, str(real_logs), "--by-part")
    wholes = [row for row in rows if row["part"] == ""]
    assert len(wholes) == 4 and all(float(row["calls"]) in (1, 7) for row in wholes)
    drawn = {(row["benchmark"], row["part"]): row["figure"] for row in rows if row["system"] == single["system"]}
    name = next(task for task in runs if "mixeval" in task)
    assert float(drawn[name, "free-form"]) == published["free-form"]
    markdown = show(capsys, str(real_logs), "--by-part")
    assert "| free-form/TriviaQA | " in markdown and f"Parts of {name}: accuracy, %" in markdown.replace("\\_", "_")


def test_the_best_is_the_best_of_those_that_may_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, count, judge in (("lax", 39, "mild"), ("good", 30, "strict"), ("poor", 10, "strict")):
        write_log(tmp_path / f"{name}.eval", right(count), name=name, judge=judge)
    result = show_json(capsys, str(tmp_path))
    found = {system["system"]: system for system in result["systems"]}
    marks = {name: system["cells"]["bench, mean of values"]["mark"] for name, system in found.items()}
    assert marks == {"lax": "", "good": "best", "poor": ""}
    assert [found[name]["share_of_best"] for name in ("lax", "good", "poor")] == [None, 1.0, pytest.approx(1 / 3)]
    assert any("lax and good are not compared: judged differently" in note for note in result["notes"])


def test_a_csv_counts_the_runs_behind_the_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n, of in enumerate((40, 40, 30)):
        write_log(tmp_path / f"{n}.eval", dict(list(right(20 + 2 * n).items())[:of]))
    (row,) = show_csv(capsys, str(tmp_path))
    assert (row["bench, mean of values, runs"], row["bench, mean of values, runs left out"]) == ("2", "1")
    assert float(row["bench, mean of values, standard error over runs"]) == pytest.approx(0.025)


def test_a_logs_own_figure_is_shown_as_the_log_has_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_log(tmp_path / "a.eval", right(20), scorer="theirs")
    log = read_eval_log(str(path))
    score = EvalScore(name="theirs", scorer="theirs", metrics={"lift": EvalMetric(name="lift", value=0.8)})
    log.results = EvalResults(total_samples=40, completed_samples=40, scores=[score])
    write_eval_log(log, str(path))
    line = next(line for line in show(capsys, str(tmp_path)).splitlines() if line.startswith("| system | 50.0"))
    assert "| 0.8000 |" in line or "**0.8000** |" in line


def test_a_number_without_end_is_null_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(dump_json({"a": [float("nan"), float("inf"), 1.5]})) == {"a": [None, None, 1.5]}
    write_log(tmp_path / "a.eval", {f"q{n}": [1e99 if n % 2 else -1e99] for n in range(6)})
    for words in (("--table",), ()):
        assert main(["report", str(tmp_path), *words, "--format", "json"]) == 0
        json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
