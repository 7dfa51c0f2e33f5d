"""Two systems compared from logs: the verdict, and everything that makes a comparison meaningless."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from fakes.logs import write_log

from archon_eval.cli import main
from archon_eval.errors import DataError
from archon_eval.report.compare import compare_paths, summarize_comparison
from archon_eval.report.markdown import render_markdown
from archon_eval.report.report_data import ReportData, build_benchmark_report, format_interval
from archon_eval.runs.benchmark_run import Run
from archon_eval.runs.read_log import read_run, read_runs


def average(run: Run) -> dict[str, float]:
    """Question -> mean over its epochs."""
    return {question: fmean(scores) for question, scores in run.scores.items()}


def questions(right: int, of: int = 40) -> dict[str, list[str]]:
    return {f"q{n:02}": ["C" if n < right else "I"] for n in range(of)}


def test_a_clear_difference_is_better_one_way_and_worse_the_other(tmp_path: Path) -> None:
    good = write_log(tmp_path / "a.eval", questions(36), name="good", calls=6)
    poor = write_log(tmp_path / "b.eval", questions(10), name="poor")
    [pair] = compare_paths(good, poor)
    assert (pair.overall.first, pair.overall.second, pair.overall.paired.wins) == (0.9, 0.25, 26)
    assert pair.overall.verdict == "better" and compare_paths(poor, good)[0].overall.verdict == "worse"
    assert pair.cost_ratio["calls"] == 2.0 and pair.cost_ratio["dollars"] == pytest.approx(2.0)
    assert summarize_comparison(pair).startswith("good against poor: mean of values +65.0 points, 95% +")


def test_a_small_difference_says_how_many_questions_would_tell(tmp_path: Path) -> None:
    a = write_log(tmp_path / "a.eval", questions(22))
    b = write_log(tmp_path / "b.eval", questions(20), name="other")
    [pair] = compare_paths(a, b)
    assert pair.overall.verdict == "cannot tell"
    # sd of the 40 differences is sqrt(2 * .95 * .95 + 38 * .05 * .05) / sqrt(39); n = ((1.96 + .8416) * sd / .05) ^ 2
    assert "needs about 113 more questions" in summarize_comparison(pair)


def test_a_few_flips_among_many_ties_are_not_called_a_difference(tmp_path: Path) -> None:
    a = write_log(tmp_path / "a.eval", questions(204, 400))
    b = write_log(tmp_path / "b.eval", questions(200, 400), name="other")
    [pair] = compare_paths(a, b)
    assert pair.overall.paired.difference.low > 0  # type: ignore[operator]
    assert pair.overall.paired.permutation_p == 0.125 and pair.overall.verdict == "cannot tell"
    assert "cannot tell (permutation test: p 0.125, where 0.050 is asked; needs" in summarize_comparison(pair)


def test_three_questions_tell_nothing_whatever_they_say(tmp_path: Path) -> None:
    a = write_log(tmp_path / "a.eval", questions(3, 3))
    b = write_log(tmp_path / "b.eval", questions(0, 3), name="other")
    assert summarize_comparison(compare_paths(a, b)[0]).endswith("cannot tell (3 questions are too few)")
    assert summarize_comparison(compare_paths(a, a)[0]).endswith(
        "cannot tell (the two score the same on every question)"
    )


def test_sub_benchmarks_share_the_confidence(tmp_path: Path) -> None:
    subjects = {f"q{n:02}": "algebra" if n % 2 else "geometry" for n in range(40)}
    a = write_log(tmp_path / "a.eval", questions(36), subjects=subjects)
    b = write_log(tmp_path / "b.eval", questions(10), name="other", subjects=subjects)
    [pair] = compare_paths(a, b)
    assert [(part.name, part.paired.difference.n) for part in pair.parts] == [("geometry", 20), ("algebra", 20)]
    assert pair.parts[0].paired.difference.confidence == pytest.approx(0.975)


def test_several_systems_share_the_confidence(tmp_path: Path) -> None:
    names = ("cheapest", "b", "c", "d", "e")
    runs = [
        read_run(write_log(tmp_path / f"{name}.eval", questions(20 + n), name=name, calls=2 + n))
        for n, name in enumerate(names)
    ]
    bench = build_benchmark_report("bench", runs)
    found = {pair.overall.paired.difference.confidence for pair in bench.pairs.values()}
    assert (
        found == {0.9875}
        and bench.confidence_note == "Differences to the first at 98.8%, which holds for all 4 together."
    )
    assert bench.confidence_note in render_markdown(ReportData((bench,), ()))
    assert build_benchmark_report("bench", runs[:2]).confidence_note == "Differences to the first at 95%."


def test_questions_that_all_tie_leave_an_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = [str(write_log(tmp_path / f"{name}.eval", questions(20), name=name)) for name in "ab"]
    assert main(["compare", *logs]) == 0
    said = capsys.readouterr().out
    assert "a against b: mean of values +0.0 points, 95% -" in said
    assert "cannot tell (the two score the same on every question)" in said
    runs = [read_run(log) for log in logs]
    bench = build_benchmark_report("bench", runs)
    difference = bench.pairs["b"].overall.paired.difference
    assert difference.low is not None and difference.high is not None
    assert difference.low == -difference.high and 0.05 < difference.high < 0.2
    assert f"+0.0 (-{100 * difference.high:.1f} to" in render_markdown(ReportData((bench,), ()))


def test_epochs_that_all_agree_are_no_certainty(tmp_path: Path) -> None:
    for letter, value in (("C", 1.0), ("I", 0.0)):
        once, often = (
            read_run(write_log(tmp_path / "a.eval", {f"q{n}": [letter] * epochs for n in range(10)})).estimate
            for epochs in (1, 3)
        )
        assert once == often and often.value == value
        assert often.low is not None and often.high is not None and often.high - often.low > 0.25


def test_epochs_are_averaged_and_logs_of_one_system_joined(tmp_path: Path) -> None:
    write_log(tmp_path / "a" / "1.eval", {"q": [1, 0], "r": [1, 1]})
    write_log(tmp_path / "a" / "2.eval", {"q": [0, 0], "r": [1, 1]}, calls=5)
    [run] = read_runs(tmp_path / "a")
    assert average(run) == {"q": 0.25, "r": 1.0} and run.cost["calls"] == 4.0


def test_a_system_of_more_epochs_on_some_questions_has_one_score_everywhere(tmp_path: Path) -> None:
    write_log(tmp_path / "a" / "1.eval", {"q": ["C"], "r": ["I"]})
    write_log(tmp_path / "a" / "2.eval", {"q": ["C"], "r": ["I"], "s": ["I"], "t": ["I"]})
    [run] = read_runs(tmp_path / "a")
    assert run.merge_note == f"{tmp_path / 'a' / '1.eval'} has 2 of 4 questions: the others have fewer answers."
    other = write_log(tmp_path / "b.eval", {question: ["I"] for question in "qrst"}, name="other")
    assert run.estimate.value == compare_paths(tmp_path / "a", other)[0].overall.first == 0.25


def test_a_question_that_another_log_of_the_system_scored_is_not_missing(tmp_path: Path) -> None:
    write_log(tmp_path / "1.eval", {"q": ["C"], "r": [None], "s": [None]})
    write_log(tmp_path / "2.eval", {"q": ["C"], "r": ["C"]})
    assert (run := read_runs(tmp_path, missing="drop")[0]).missing.keys() == {"s"}
    assert f"1 question failed in {tmp_path / '1.eval'} and was answered in another log." in run.merge_note
    assert read_runs(tmp_path, missing="zero")[0].missing.keys() == {"r", "s"}


def test_logs_of_other_questions_of_a_system_are_runs_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some, others = questions(20, 30), {f"q{n:02}": ["I"] for n in range(20, 40)}
    logs = [write_log(tmp_path / f"{n}.eval", scores) for n, scores in enumerate((others, some))]
    runs = read_runs(tmp_path)
    assert sorted((len(run.scored), run.estimate.value) for run in runs) == [(20, 0.0), (30, 2 / 3)]
    why = (
        f"Not joined with {logs[1]}, which is of the same system: its questions are 30 and these 20, of which both have"
    )
    assert {run.merge_note for run in runs} == {"", f"{why} 10."}
    for paths in ([str(tmp_path)], [*map(str, logs)]):
        assert main(["report", "--table", "--format", "json", *paths]) == 0
        table = json.loads(capsys.readouterr().out)
        assert len(table["systems"]) == 2 and any(f"{why} 10." in note for note in table["notes"])
    write_log(tmp_path / "2.eval", others, version=2)
    assert any("different versions of the benchmark: 1 and 2" in run.merge_note for run in read_runs(tmp_path))


@pytest.mark.parametrize("other", [{"solver": "chain_of_thought"}, {"temperature": 0.1}])
def test_one_model_asked_in_two_ways_is_two_systems(tmp_path: Path, other: dict[str, Any]) -> None:
    write_log(tmp_path / "1.eval", questions(20), name="openai/x", plain=True)
    write_log(tmp_path / "2.eval", questions(30), name="openai/x", plain=True)
    assert len(read_runs(tmp_path)) == 1
    write_log(tmp_path / "3.eval", questions(40), name="openai/x", plain=True, **other)
    assert sorted(len(run.scores["q00"]) for run in read_runs(tmp_path)) == [1, 2]


def test_scores_by_different_judges_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place, (name, judge) in enumerate((("one", "openai/a"), ("one", "openai/b"), ("two", "openai/b"))):
        write_log(tmp_path / f"{place}.eval", questions(10 * place), name=name, judge=judge, calls=2 + place)
    told = "judged differently: judge: openai/b and judge: openai/a"
    with pytest.raises(DataError, match="judged differently: judge: openai/a and judge: openai/b"):
        compare_paths(tmp_path / "0.eval", tmp_path / "2.eval")
    assert main(["report", str(tmp_path), "--format", "md"]) == 0  # no epochs of one system either
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line.endswith(f"{told} |") for line in rows[2:5]] == [False, True, True]
    assert main(["report", str(tmp_path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["benches"][0]["not_compared"] == {"one (2)": told, "two": told}
    same = build_benchmark_report("bench", [read_run(tmp_path / f"{place}.eval") for place in range(3)][1:])
    assert same.confidence_note == "Differences to the first at 95%." and not same.not_compared


def test_equal_scores_of_any_value_have_no_interval_of_no_width(tmp_path: Path) -> None:
    run = read_run(write_log(tmp_path / "a.eval", {f"q{n}": [0.7] for n in range(30)}))
    low, high = run.estimate.low, run.estimate.high
    assert low is not None and high is not None and low < 0.65 and high > 0.72
    assert format_interval(run.estimate, 100.0).startswith("70.0 (")


def test_questions_without_a_score_are_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = str(write_log(tmp_path / "a.eval", {"q": ["C"], "r": ["I"], "s": [None]}))
    for missing, what in (("drop", "left out"), ("zero", "count as wrong")):
        assert main(["compare", log, log, "--missing", missing]) == 0
        said = f"Without a score: 1 questions of system (first), {what}.\n  s: the model is gone"
        assert said in capsys.readouterr().out
    assert main(["report", log, "--format", "md"]) == 0
    assert "| system | no score (questions that failed: left out" in capsys.readouterr().out


def test_a_p_value_just_above_what_is_asked_is_shown_to_be(tmp_path: Path) -> None:
    a = write_log(tmp_path / "a.eval", {"q": [1], "r": [1], "s": [1], "t": [1], "u": [1], "v": [1]})
    b = write_log(tmp_path / "b.eval", {"q": [0], "r": [0], "s": [0], "t": [0], "u": [0.1], "v": [0]}, name="other")
    said = summarize_comparison(compare_paths(a, b, confidence=0.9689)[0])
    assert "permutation test: p 0.03125, where 0.03110 is asked" in said


def test_scales_other_than_zero_to_one_keep_their_own(tmp_path: Path) -> None:
    a = write_log(tmp_path / "a.eval", {f"q{n}": [7 + n % 3] for n in range(20)})
    b = write_log(tmp_path / "b.eval", {f"q{n}": [6] for n in range(20)}, name="other")
    assert "mean of values +1.95, 95% +1.56 to +2.34: better" in summarize_comparison(compare_paths(a, b)[0])


def test_what_cannot_be_compared_says_why(tmp_path: Path) -> None:
    a = write_log(tmp_path / "a.eval", questions(5))
    cases = {
        "no benchmark in common": write_log(tmp_path / "t.eval", questions(5), task="other"),
        "no question in common": write_log(tmp_path / "n.eval", {"x1": ["C"], "x2": ["I"]}),
        "another prompt or expected answer": write_log(tmp_path / "p.eval", questions(5), text="Tell me {id}!"),
        "did not finish": write_log(tmp_path / "s.eval", questions(5), status="error"),
        "q01: the model is gone .--missing drop": write_log(tmp_path / "m.eval", {"q00": ["C"], "q01": [None]}),
        "different versions of the benchmark: 1 and 2": write_log(tmp_path / "v.eval", questions(5), version=2),
        "different scorers": write_log(tmp_path / "d.eval", questions(5), scorer="exact"),
        "is no number": write_log(tmp_path / "w.eval", {"q00": ["maybe"]}),
        "no such log": tmp_path / "absent",
    }
    for message, path in cases.items():
        with pytest.raises(DataError, match=message):
            compare_paths(a, path)
    (tmp_path / "bad.eval").write_bytes(b"PK nonsense")
    with pytest.raises(DataError, match="not readable"):
        compare_paths(a, tmp_path / "bad.eval")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no Inspect log"):
        compare_paths(a, tmp_path / "empty")
    folder = tmp_path / "several"
    write_log(folder / "1.eval", questions(5), name="one")
    write_log(folder / "2.eval", questions(5), name="two")
    with pytest.raises(DataError, match="several systems answered bench: one"):
        compare_paths(folder, a)


def test_missing_scores_may_be_left_out_or_count_as_wrong(tmp_path: Path) -> None:
    log = write_log(tmp_path / "m.eval", {"q": ["C", None], "r": ["C", "C"]})
    assert average(read_run(log, missing="drop")) == {"r": 1.0}
    assert average(read_run(log, missing="zero")) == {"q": 0.5, "r": 1.0}


@pytest.mark.parametrize("value", ["N/A", float("nan")], ids=repr)
def test_a_score_that_is_no_number_is_left_out_but_never_zero(tmp_path: Path, value: Any) -> None:
    log = write_log(tmp_path / "m.eval", {"q": ["C"], "r": [value], "s": [None]})
    with pytest.raises(DataError, match=rf"m\.eval: r: scorer right: .*{value}.* is .*number, which --missing zero"):
        read_run(log, missing="zero")
    dropped = read_run(log, missing="drop")
    assert (
        average(dropped) == {"q": 1.0} and str(value) in dropped.missing["r"] and dropped.missing.keys() == {"r", "s"}
    )


def test_one_of_several_values_of_a_score_is_named(tmp_path: Path) -> None:
    log = write_log(tmp_path / "v.eval", {"q": [{"first": 1, "second": 0}]})
    assert average(read_run(log, "right/first")) == {"q": 1.0}
    with pytest.raises(DataError, match="gives several values; name one"):
        read_run(log)
    with pytest.raises(DataError, match="no scorer 'wrong'"):
        read_run(log, "wrong")


def test_the_command_prints_a_table_or_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subjects = {f"q{n:02}": "algebra" if n % 2 else "geometry" for n in range(40)}
    a = write_log(tmp_path / "a.eval", questions(36), name="good", subjects=subjects, notes={"reask": 1})
    b = write_log(tmp_path / "b.eval", {**questions(10), "q99": ["C"]}, name="poor", subjects={**subjects, "q99": "x"})
    assert main(["compare", str(a), str(b)]) == 0
    out = capsys.readouterr().out
    assert "algebra" in out and ": better" in out
    table = out[out.index("cost per question") :].splitlines()
    assert table[0].split()[3:] == ["calls", "input", "tokens", "output", "tokens", "$", "seconds"]
    assert table[1].split() == ["good", "3", "300", "150", "0.003", "2"]
    assert table[3].split() == ["ratio", *["1x"] * 5]
    assert "Left out of the difference: 1 questions" in out and "Notes on good: 40 reask" in out
    assert main(["compare", str(a), str(b), "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["wins"], found["left_out"]) == ("better", 26, 1)
    assert main(["compare", str(a), str(tmp_path / "absent.eval")]) == 1
    assert "no such log" in capsys.readouterr().err
