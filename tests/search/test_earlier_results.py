"""Folders of a version that took a score without a number for 0.0: read again from the logs, or refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.logs import write_log

from archon_eval.errors import SearchError
from archon_eval.search.config import load_settings
from archon_eval.search.earlier_results import list_results
from archon_eval.search.journal import Journal
from archon_eval.search.loop import search
from archon_eval.search.summary import write_results

WORD = "scorer right: 'N/A' is no number"
OLD = {"key": "k", "scores": {"1": {"1": 1.0}, "2": {"1": 0.0}}, "calls": 9, "dollars": 0.5}


def read(folder: Path, result: dict[str, Any], **more: Any) -> Any:
    journal = Journal(folder)
    journal.add("result", {"result": result, **more})
    try:
        [found] = list_results(journal, folder)
        return found
    finally:
        journal.close()


@pytest.mark.parametrize("moved", [False, True])
def test_a_zero_of_the_older_version_is_read_again_from_its_log(tmp_path: Path, moved: bool) -> None:
    (tmp_path / "logs").mkdir()
    log = write_log(tmp_path / "logs" / "a.eval", {"1": ["C"], "2": ["N/A"]})
    found = read(tmp_path, {**OLD, "log": f"/gone/{log.name}" if moved else str(log)})
    assert found.scores == {"1": {"1": 1.0}} and found.unscored == {"2": WORD}
    assert (found.calls, found.dollars) == (9, 0.5)  # as they were counted


def test_a_zero_that_was_a_zero_stays_one(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.eval", {"1": ["C"], "2": ["I"]})
    found = read(tmp_path, {**OLD, "log": str(log)})
    assert found.scores == OLD["scores"] and not found.unscored


def test_no_log_is_needed_where_nothing_is_in_doubt(tmp_path: Path) -> None:
    assert read(tmp_path / "a", {**OLD, "scores": {"1": {"1": 1.0}}}).scores == {"1": {"1": 1.0}}
    assert read(tmp_path / "b", OLD, scoring=2).scores == OLD["scores"]


def test_a_folder_whose_log_is_gone_or_that_is_of_a_later_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match=r"written by another version.*a\.eval: not readable.*bring the logs back"):
        read(tmp_path / "a", {**OLD, "log": "a.eval"})
    with pytest.raises(SearchError, match=r"written by another version \(scoring 4\): finish it with that one"):
        read(tmp_path / "b", OLD, scoring=4)


def test_a_search_of_the_older_version_without_words_goes_on(tmp_path: Path, fake_run: Any) -> None:
    settings = load_settings(
        {
            "tasks": [{"name": "archon_eval/math", "args": {"sample": True}}],
            "models": ["sim/gpt-4o", "sim/qwen2-72b-instruct"],
            "space": "small",
            "budget": {"trials": 4},
        }
    )
    whole = write_results(search(settings, tmp_path, fake_run), tmp_path)
    path, lines = tmp_path / "search.jsonl", []
    (tmp_path / "logs").mkdir()
    for number, line in enumerate(map(json.loads, path.read_text().splitlines())):
        if line["kind"] == "result":
            del line["scoring"], line["result"]["unscored"]
            scores = {id: list(by_epoch.values()) for id, by_epoch in line["result"]["scores"].items()}
            line["result"]["log"] = str(write_log(tmp_path / "logs" / f"{number}.eval", scores))
        lines.append(json.dumps(line))
    path.write_text("".join(f"{line}\n" for line in lines))
    fake_run.jobs = []
    assert write_results(search(settings, tmp_path, fake_run), tmp_path) == whole and not fake_run.jobs
