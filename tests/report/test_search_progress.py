"""What a search's journal says while it runs, after it was killed, and when an earlier version wrote it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes.report_inputs import HOSTILE, write_search
from fakes.search_journals import TASK, FakeJournal

from archon_eval.cli import main
from archon_eval.report.markdown import render_markdown
from archon_eval.report.progress_cells import list_progress_facts
from archon_eval.report.report_data import ReportData
from archon_eval.report.search_follower import SearchFollower
from archon_eval.report.search_progress import FollowedProgress, split_key
from archon_eval.report.search_results import read_search, read_unfinished_search
from archon_eval.stats.metrics import MeanMetric, ScoredAnswer


def read(folder: Path) -> FollowedProgress:
    follower = SearchFollower(folder)
    follower.update()
    return follower.build_progress()


def fill(journal: FakeJournal) -> None:
    """A search in the middle of its trials."""
    journal.begin()
    for model, alone, fused in (("x/a", 12, 13), ("x/b", 14, 11)):
        journal.result(f"rank/generator/{model}/0a1b2c3d", alone, name=model)
        journal.result(f"rank/fuser/{model}/0a1b2c3e", fused, name=model)
    journal.result("rank/generator/x/c@2024/0a1b2c3f", 0, name="x/c@2024", scores={}, error="no key")
    journal.report("searching", 0, 40, notes=["x/c@2024 is left out as a generator: no key"])
    journal.trial(15, "g2x1-f1")
    journal.trial(11, "g1x1-f0", value=0.74)
    journal.add("ask", number=2, fingerprint="abcdef", name="g2x2-f4.1")
    journal.add("start", key=f"search/2/abcdef@{TASK}", name="g2x2-f4.1", calls=9, dollars=0.0, whole=True)


def test_a_running_search_says_where_it_is(tmp_path: Path) -> None:
    fill(FakeJournal(tmp_path))
    progress = read(tmp_path)
    assert (progress.state, progress.stage, progress.done, progress.total) == ("running", "searching", 2, 40)
    assert (progress.max_trials, progress.options, progress.budget["calls"]) == (40, 61, 5000)
    assert progress.calls == 7 * 40 and progress.reused == 7 * 20 and progress.dollars == 3.5
    assert [(trial.label, trial.scored.performance) for trial in progress.trials] == [
        ("g2x1-f1", 0.75),
        ("g1x1-f0", 0.55),
    ]
    expected = MeanMetric("accuracy", (0.0, 1.0)).estimate({f"q{n}": (ScoredAnswer(float(n < 15)),) for n in range(20)})
    assert (progress.trials[0].low, progress.trials[0].high) == (expected.low, expected.high)
    assert progress.under_way == ("g2x2-f4.1",)
    assert progress.failures == (("x/c@2024", "no key"),) and progress.notes[0].endswith("no key")
    best = progress.incumbents[-1]
    assert (best.trials, best.name, best.value) == (2, "g1x1-f0", 0.74)
    assert best.low == pytest.approx(0.74 - 1.96 * 0.02) and best.high == pytest.approx(0.74 + 1.96 * 0.02)
    ranked = [(row.rank, row.model, row.fusion_rank) for row in progress.ranking]
    assert ranked == [(1, "x/b", 2), (2, "x/a", 1), (None, "x/c@2024", None)]
    assert progress.ranking[2].generation and progress.ranking[2].generation.problem == "no key"


def test_trials_that_cost_nothing_are_counted_apart(tmp_path: Path) -> None:
    journal = FakeJournal(tmp_path / "out")
    journal.begin()
    for number, name, more in (
        (0, "g2x1-f1", {"draws": 3, "last_draws": 4}),
        (1, "g1x1-f0", {"draws": 3, "last_draws": 1, "free": True}),
    ):
        journal.add("ask", number=number, fingerprint=f"{number:06x}", name=name, **more)
        journal.result(f"search/{number}/{number:06x}", 15 - number, name=name)
        best = {"trials": number + 1, "options": 61, "incumbent": name, "value": 0.7}
        journal.report("searching", 1, 40, **best)
    search = read_unfinished_search(tmp_path / "out")
    assert search.progress is not None and search.progress.chosen_trials == 1
    assert (search.summary["trials"], search.summary["free_trials"]) == (2, 1)
    assert [trial.drawn for trial in search.trials] == ["set 3, last layer x4", "set 3, free"]
    assert [best.trials for best in search.incumbents] == [1, 2]
    facts = dict(list_progress_facts(search.progress))
    assert facts["trials"] == "1 of 40, from a space of 61" and facts["free trials"].startswith("1, all of whose calls")
    text = render_markdown(ReportData((), (search,), ()))
    assert "set 3, last layer x4" in text and "set 3, free" in text


def test_finalists_that_were_not_searched_for_have_their_names(tmp_path: Path) -> None:
    journal = FakeJournal(tmp_path)
    fill(journal)
    journal.result("confirm/search/0/000000/2x3", 14)
    for key, name in (("single", "x/b"), ("best-of-n", "x/b x 10, ranked"), ("ranked-fuser", "x/a fuses 2 models")):
        journal.result(f"confirm/{key}/2x3/0a1b2c3d", 13, name=name)
    assert [found.label for found in read(tmp_path).finalists] == [
        "g2x1-f1, fresh draws",
        "best single model: x/b, fresh draws",
        "best-of-n: x/b x 10, ranked, fresh draws",
        "ranked-fuser: x/a fuses 2 models, fresh draws",
    ]


def test_further_held_out_draws_of_a_system_take_the_place_of_its_first(tmp_path: Path) -> None:
    journal = FakeJournal(tmp_path)
    fill(journal)
    for key, right in (("single", 12), ("winner", 14), ("single/3", 13)):
        journal.result(f"report/{key}/0a1b2c3d", right, name=key.partition("/")[0])
    found = [(each.label, each.scored.performance) for each in read(tmp_path).held_out]
    assert found == [("single: single, held-out", 0.65), ("winner: winner, held-out", 0.7)]


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    journal = FakeJournal(tmp_path)
    fill(journal)
    follower = SearchFollower(tmp_path)
    assert follower.update() and not follower.update()
    before = journal.path.read_bytes()
    journal.trial(18, "g3x1-f1")
    whole = journal.path.read_bytes()
    for cut in range(len(before) + 1, len(whole), 150):
        journal.path.write_bytes(whole[:cut])
        follower.update()
        assert len(follower.build_progress().trials) in (2, 3) and not follower.build_progress().problems
    journal.path.write_bytes(before)  # a process that goes on cuts off what was not whole
    journal.path.write_bytes(whole)
    follower.update()
    assert follower.build_progress() == read(tmp_path)
    assert follower.build_progress().trials[-1].label == "g3x1-f1"


def test_a_damaged_line_is_said_and_another_search_in_its_place_begins_anew(tmp_path: Path) -> None:
    journal = FakeJournal(tmp_path)
    fill(journal)
    with journal.path.open("a") as stream:
        stream.write("{]\n")
    follower = SearchFollower(tmp_path)
    follower.update()
    assert "is damaged" in follower.build_progress().problems[0]
    journal.path.unlink()
    FakeJournal(tmp_path).begin()
    follower.update()
    progress = follower.build_progress()
    assert not progress.trials and not progress.problems and progress.calls == 0


@pytest.mark.parametrize(
    ("end", "state", "says"),
    [
        ({}, "running", "The search runs: searching (2 of 40)."),
        ({"kind": "stop", "why": "interrupted", "at": 1.0}, "stopped", ": interrupted. The same command goes on"),
        ({"kind": "stop", "why": "the budget is spent", "at": 1.0}, "stopped", "the budget is spent"),
        ({"kind": "end", "at": 1.0}, "ended", "its files are about to be written"),
    ],
)
def test_how_a_process_ended_is_said(tmp_path: Path, end: dict[str, Any], state: str, says: str) -> None:
    journal = FakeJournal(tmp_path)
    fill(journal)
    if end:
        journal.add(**end)
    search = read_unfinished_search(tmp_path)
    assert search.progress and search.progress.state == state
    assert says in search.outcome and "g1x1-f0, 74.0% (70.1 to 77.9)" in search.outcome
    assert bool(search.progress.under_way) is (state == "running")


def test_a_search_that_was_killed_is_said_to_have_stopped(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    journal = FakeJournal(tmp_path, pid=ended.pid)
    fill(journal)
    ended.wait()
    search = read_unfinished_search(tmp_path)
    assert search.progress and search.progress.state == "stopped" and not search.progress.why
    assert "The search stopped at 20" in search.outcome and "The same command goes on where it was." in search.outcome
    journal.begin(host="another machine")
    assert read(tmp_path).state == "unknown"
    assert "Whether it still runs is unknown; it last wrote at 20" in read_unfinished_search(tmp_path).outcome


def test_a_journal_of_an_earlier_version_has_no_lines_of_progress(tmp_path: Path) -> None:
    journal = FakeJournal(tmp_path)
    fill(journal)
    journal.result("confirm/search/0/000000/2", 14)
    journal.result("confirm/single/2/0a1b2c3d", 13)
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
    kept = [line for line in lines if line["kind"] not in ("session", "progress")]
    for line in kept:
        line.pop("name", None)
    journal.path.write_text("".join(json.dumps(line) + "\n" for line in kept))
    progress = read(tmp_path)
    assert (progress.state, progress.stage) == ("unknown", "confirming finalists")
    assert [trial.label for trial in progress.trials] == ["trial 0", "trial 1"]
    assert [found.label for found in progress.finalists] == ["trial 0, fresh draws", "best single model, fresh draws"]
    assert [row.model for row in progress.ranking] == ["x/b", "x/a", "x/c@2024"]
    assert "Highest dev score of 2 trials so far: trial 0, 75.0% (" in read_unfinished_search(tmp_path).outcome


def test_keys_are_read_whatever_models_and_tasks_are_called() -> None:
    assert split_key("search/3/0a1b2c@mine.py@sums") == ("search/3/0a1b2c", "mine.py@sums")
    assert split_key("confirm/search/3/0a1b2c/2@archon_eval/math") == ("confirm/search/3/0a1b2c/2", "archon_eval/math")
    assert split_key("confirm/search/3/0a1b2c/2x3@mine.py@sums") == ("confirm/search/3/0a1b2c/2x3", "mine.py@sums")
    key = "rank/fuser/x/a@b@c/0a1b2c3d@t@u"
    assert split_key(key) == ("rank/fuser/x/a@b@c/0a1b2c3d", "t@u")
    assert split_key("odd@t", {"t": None}) == ("odd", "t")


def test_the_report_of_an_unfinished_search_in_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(FakeJournal(tmp_path / "out"))
    assert main(["report", str(tmp_path / "out"), "--format", "md"]) == 0
    text = capsys.readouterr().out
    assert "The search runs: searching (2 of 40)." in text and "| calls paid | 280 of 5,000 (6%) |" in text
    assert "| 1 | x/b | 70.0% (" in text and "| x/c@2024 | no key |" in text and "| g2x1-f1 |" in text
    assert main(["report", str(tmp_path / "out"), "-o", str(tmp_path / "r.json")]) == 0
    [search] = json.loads((tmp_path / "r.json").read_text())["searches"]
    assert [trial["name"] for trial in search["trials"]] == ["g2x1-f1", "g1x1-f0"]
    assert search["ranking"][0]["model"] == "x/b" and search["convergence"][1]["name"] == "g1x1-f0"
    assert search["summary"]["finished"] is False and search["trials"][0]["low"] < 0.75
    assert main(["report", str(tmp_path / "out"), "-o", str(tmp_path / "r.html")]) == 0
    assert "refresh" not in (tmp_path / "r.html").read_text(encoding="utf-8").partition("</head>")[0]


def test_a_finished_search_of_an_earlier_version_has_its_ranking_from_the_journal(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "out", 3)
    assert read_search(folder).ranking == ()
    fill(FakeJournal(folder))
    search = read_search(folder)
    assert [row.model for row in search.ranking] == ["x/b", "x/a", "x/c@2024"] and search.progress is None
    assert [best.name for best in search.incumbents] == ["g2x1-f1", "g1x1-f0"]
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "ranking": None}))
    assert read_search(folder).ranking == ()  # it says that models were not ranked


def test_a_result_after_which_the_search_went_on_says_so(tmp_path: Path) -> None:
    folder = write_search(tmp_path / "out", 3)
    journal = FakeJournal(folder)
    fill(journal)
    assert ["has not finished" in problem for problem in read_search(folder).problems] == [True]
    journal.add("end", at=1.0)
    assert read_search(folder).problems == ()


def test_hostile_names_and_errors_are_text(browser: Any, tmp_path: Path) -> None:
    journal = FakeJournal(tmp_path / "out")
    fill(journal)
    journal.result(f"rank/generator/{HOSTILE}/0a1b2c3d", 3, name=HOSTILE)
    journal.trial(3, HOSTILE, notes=(HOSTILE,), failed={"q19": HOSTILE})
    journal.trial(3, HOSTILE, scores={}, error=HOSTILE)
    journal.result("confirm/search/2/000002/2", 14, name=HOSTILE)
    journal.report(HOSTILE, 3, 40)
    page = tmp_path / "r.html"
    assert main(["report", str(tmp_path / "out"), "-o", str(page)]) == 0
    browser.get_log("browser")
    browser.get(page.as_uri())
    browser.set_script_timeout(30)
    browser.execute_async_script("drawn.then(() => arguments[0]())")
    assert browser.execute_script("return [window.hacked, document.querySelectorAll('img, [onload]').length]") == [
        None,
        0,
    ]
    assert HOSTILE[:40] in browser.find_element("css selector", "body").text
    assert browser.get_log("browser") == []
