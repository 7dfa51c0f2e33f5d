"""`archon report`: its formats, and what it says of logs and searches that it cannot use."""

import json
import re
from pathlib import Path

import pytest
from fakes.logs import write_log
from fakes.report_inputs import HOSTILE, NAMES, write_logs, write_search

from archon_eval.cli import main
from archon_eval.runs.log_folder import LogFolder


def test_systems_with_other_questions_are_said_to_be(tmp_path: Path) -> None:
    write_log(tmp_path / "logs" / "a.eval", {f"q{n}": ["C"] for n in range(9)}, name="all")
    write_log(tmp_path / "logs" / "b.eval", {f"q{n}": ["I"] for n in range(7)}, name="fewer", calls=9)
    for names, differ in ((["a.eval", "b.eval"], True), (["a.eval"], False)):
        assert main(["report", *(str(tmp_path / "logs" / name) for name in names), "-o", str(tmp_path / "r.html")]) == 0
        assert (
            "Not all systems have scores of the same questions" in (tmp_path / "r.html").read_text(encoding="utf-8")
        ) is differ


def test_logs_at_an_address_are_reported_and_compared_like_those_of_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, verdicts in (("a", "CCI"), ("b", "CII")):
        answers = {f"q{n}": [verdict] for n, verdict in enumerate(verdicts)}
        write_log(tmp_path / "logs" / name / f"{name}.eval", answers, name=name)
    place = f"memory://reported-{tmp_path.name}/logs"
    LogFolder(place).add_all(tmp_path / "logs")

    def run_command(*words: str) -> str:
        assert main([*words]) == 0
        return capsys.readouterr().out

    here = str(tmp_path / "logs")
    there = run_command("report", place, "--format", "json")
    assert f"{place}/a/a.eval" in there and "archon-logs-" not in there, "logs are named by their address"
    assert there.replace(place, here) == run_command("report", here, "--format", "json")
    pairs = [run_command("compare", f"{root}/a", f"{root}/b/b.eval", "--json") for root in (place, here)]
    assert pairs[0].replace(place, here) == pairs[1]
    assert main(["report", "memory://no/such"]) == 1 and "memory://no/such cannot be read" in capsys.readouterr().err
    assert main(["report", place, "--watch"]) == 1 and "a folder of this machine" in capsys.readouterr().err


def test_a_search_over_several_tasks_shows_the_held_out_questions_of_each(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "search", 20)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    lines = []
    for place, (task, name) in enumerate((task, name) for task in ("two", "one") for name in ("winner", "single")):
        log = write_log(folder / "logs" / f"{place}.eval", {"q1": ["C"], "q2": ["I"]}, name=name, task=task)
        summary["held_out"][name]["fingerprint"] = f"{name}-fingerprint"
        key = f"report/{name}/{name}-fin@{task}"
        lines.append(json.dumps({"kind": "result", "result": {"key": key, "log": str(log)}}) + "\n")
    (folder / "search.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    assert main(["report", str(folder), "-o", str(tmp_path / "s.json")]) == 0
    benches = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))["benches"]
    assert [bench["task"] for bench in benches] == ["one, right", "two, right"]
    assert [sorted(system["label"] for system in bench["systems"]) for bench in benches] == [["single", "winner"]] * 2


def test_other_formats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = write_logs(tmp_path / "logs", NAMES, HOSTILE)
    assert main(["report", str(logs), "--format", "md"]) == 0
    text = capsys.readouterr().out
    assert "| middle |" in text and not re.search(r"(?<!\\)<", text)
    assert main(["report", str(logs), "-o", str(tmp_path / "r.json")]) == 0
    bench = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["benches"][0]
    assert [system["label"] for system in bench["systems"]] == [NAMES[0], NAMES[2], NAMES[1]]
    assert bench["frontier"]["calls"] == sorted([NAMES[0], NAMES[2], NAMES[1]])
    assert bench["against_cheapest"][NAMES[1]]["wins"] == 10
    assert main(["report", str(logs), "-o", str(tmp_path / "r.png"), "--cost", "dollars"]) == 0
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    search = write_search(tmp_path / "search", 20)
    assert main(["report", str(search), "-o", str(tmp_path / "s.png")]) == 0
    assert main(["report", str(search), "--format", "md"]) == 0
    assert main(["report", str(logs), "-o", str(tmp_path / "r.pdf")]) == 1
    assert "the ending says no format" in capsys.readouterr().err
    (search / "summary.json").write_text("{}")
    assert main(["report", str(search), "-o", str(tmp_path / "s.html")]) == 1


def test_a_log_of_a_folder_that_cannot_be_used_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_log(tmp_path / "good.eval", {"q": ["C"], "r": ["I"]})
    bad = write_log(tmp_path / "stopped.eval", {"q": ["C"]}, status="cancelled")
    assert main(["report", str(tmp_path), "--format", "md"]) == 0
    assert "Left out: " in capsys.readouterr().out
    assert main(["report", str(tmp_path), "-o", str(tmp_path / "r.json")]) == 0
    assert "stopped.eval: the eval did not finish" in capsys.readouterr().err
    assert main(["report", str(bad)]) == 1


def test_a_log_without_a_score_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_log(tmp_path / "good.eval", {"q": ["C"], "r": ["I"]})
    bare = write_log(tmp_path / "bare.eval", {"q": ["?"], "r": ["?"]}, name="bare")
    assert main(["report", str(bare), str(good), "-o", str(tmp_path / "r.json")]) == 0
    assert "bare.eval: no question has a score" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["benches"][0]["systems"]) == 1
    assert main(["report", str(bare)]) == 1
    assert "no question has a score" in capsys.readouterr().err


def test_a_search_that_has_not_finished_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_log(tmp_path / "logs" / "a.eval", {"q": ["C"], "r": ["I"]}, name="tried")
    (tmp_path / "search.jsonl").write_text("{}\n", encoding="utf-8")
    assert main(["report", str(tmp_path), "--format", "md"]) == 0
    text = capsys.readouterr().out
    assert "the search's result, as it has not finished" in text and "| tried |" in text


def test_a_search_whose_held_out_log_is_damaged_is_still_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = write_search(tmp_path / "search", 20)
    (search / "logs").mkdir()
    (search / "logs" / "x.eval").write_bytes(b"PK no zip")
    result = {"key": "report/winner@task", "log": "logs/x.eval"}
    (search / "search.jsonl").write_text(json.dumps({"kind": "result", "result": result}) + "\n")
    assert main(["report", str(search), "-o", str(tmp_path / "s.json")]) == 0
    assert "x.eval: not readable as an Inspect log" in capsys.readouterr().err
