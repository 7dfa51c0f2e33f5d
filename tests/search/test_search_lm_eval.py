"""Searches over a task of lm-eval: jobs on chosen documents, refusals, and a whole search killed and resumed."""

import csv
import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fakes.lm_eval_runs import answer_some, list_rows, write_task
from fakes.server import FakeServer

from archon_eval.cli import main
from archon_eval.errors import SearchError
from archon_eval.runs.eval_worker import EvalJob, EvalTask, run_job
from archon_eval.runs.read_log import read_run
from archon_eval.search.config import TaskSpec, load_settings
from archon_eval.search.questions import load_questions

STRONG = {"name": "strong", "layers": [{"generator": "openai/gpt-4o"}]}
SPACE = {"preset": "small", "generators": [1, 2], "layers": [0, 1], "evaluations": "none"}


def job(
    folder: Path, *questions: str, scorer: str | None = None, args: dict[str, Any] | None = None, **more: Any
) -> EvalJob:
    options = {"include_path": str(folder), **(args or {})}
    task = EvalTask("sums", tuple(options.items()), scorer, None, "lm-eval")
    given: dict[str, Any] = {"architecture": STRONG, "log_dir": str(folder / "logs"), **more}
    return EvalJob("search/0/x@sums (lm-eval)", task=task, questions=questions, **given)


def test_a_job_asks_the_chosen_documents_and_scores_them(fake_server: FakeServer, tmp_path: Path) -> None:
    write_task(tmp_path, count=12)
    fake_server.answer = answer_some
    args = {"system_instruction": "Be exact.", "apply_chat_template": True, "num_fewshot": 2, "gen_kwargs": "seed=5"}
    found = run_job(job(tmp_path, "7", "2", "5", args=args))
    assert found.error == "" and found.scores == {"2": {"1": 1.0}, "5": {"1": 1.0}, "7": {"1": 0.0}}
    assert (found.scorer, found.metric, found.calls, found.reused) == ("exact_match,strict", "exact_match", 3, 0)
    assert found.dollars is not None and found.dollars > 0 and found.health["replies"] == 3
    sent = [request.body for request in fake_server.requests]
    assert all(body["messages"][0] == {"role": "system", "content": "Be exact."} for body in sent)
    assert all([m["role"] for m in body["messages"]] == ["system", *["user", "assistant"] * 2, "user"] for body in sent)
    rows = list_rows(12)
    asked = {
        next(n for n, row in enumerate(rows) if row["question"] in body["messages"][-1]["content"]) for body in sent
    }
    assert asked == {2, 5, 7} and {body["seed"] for body in sent} == {5}
    run = read_run(found.log)
    assert run.name == "strong" and run.cost["calls"] == 1 and run.scores == {"2": (1.0,), "5": (1.0,), "7": (0.0,)}


def test_repetitions_have_draws_of_their_own_and_the_store_replays_them(tmp_path: Path) -> None:
    write_task(tmp_path, count=12)
    drawn = {"layers": [{"generator": "sim/gpt-4o"}]}
    given = {"architecture": drawn, "epochs": 2, "first_epoch": 3, "solver_args": (("store", str(tmp_path / "c.db")),)}
    first, again = (run_job(job(tmp_path, *map(str, range(12)), **given)) for _ in range(2))
    assert first.error == again.error == "" and first.scores == again.scores
    assert (first.calls, first.reused, again.calls, again.reused) == (24, 0, 0, 24)
    assert all(set(by_epoch) == {"1", "2"} for by_epoch in first.scores.values())
    other = run_job(job(tmp_path, *map(str, range(12)), **{**given, "epochs": 1, "first_epoch": 1}))
    assert (other.calls, other.reused) == (12, 0)


def test_an_answer_that_fails_has_no_score(fake_server: FakeServer, tmp_path: Path) -> None:
    write_task(tmp_path, count=8)
    fake_server.answer = answer_some
    fake_server.script("400-context")
    found = run_job(job(tmp_path, "6", "2", "5", solver_args=(("num_concurrent", 1),)))
    assert found.error == "" and list(found.failed) == ["2"] and found.lost == 1
    assert found.scores == {"5": {"1": 1.0}, "6": {"1": 1.0}} and found.unscored == {}
    run = read_run(found.log, missing="drop")
    assert list(run.missing) == ["2"] and run.cost["calls"] == 1 and run.scores == {"5": (1.0,), "6": (1.0,)}


def test_a_job_stops_paying_at_its_limit(fake_server: FakeServer, tmp_path: Path) -> None:
    write_task(tmp_path, count=12)
    fake_server.answer = answer_some
    found = run_job(job(tmp_path, *map(str, range(12)), max_calls=5, solver_args=(("num_concurrent", 2),)))
    assert len(fake_server.requests) == found.calls == 5 and len(found.failed) == 7


def test_what_cannot_be_run_is_in_the_result(tmp_path: Path) -> None:
    write_task(tmp_path)
    assert (
        "no filter 'nosuch'"
        in run_job(job(tmp_path, "0", scorer="nosuch", architecture={"layers": [{"generator": "sim/gpt-4o"}]})).error
    )
    assert (
        "model 'nosuch/x' cannot be used"
        in run_job(job(tmp_path, "0", architecture={"layers": [{"generator": "nosuch/x"}]})).error
    )


CHOICE = """
task: choose
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_choice: ["1", "2"]
doc_to_target: 0
"""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scorer": "strickt"}, "no filter 'strickt'; did you mean 'strict'"),
        ({"metric": "exact"}, "no metric 'exact'; did you mean 'exact_match'"),
        (
            {"metric": "bleu"},
            "bleu has no value per document, by which trials are compared; choose another: exact_match",
        ),
        ({"args": {"limit": 3}}, "the search chooses documents itself"),
        ({"args": {"fewshot": 3}}, "no option 'fewshot'"),
        ({"name": "choose"}, "choose: an architecture answers with text and has no log-likelihood"),
        ({"name": "worse"}, "less wer is better, so that its negative counts: say in a search file"),
    ],
)
def test_refusals_before_anything_is_paid(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    file = write_task(tmp_path)
    (tmp_path / "choose.yaml").write_text(CHOICE.format(data=tmp_path / "sums.jsonl"))
    text = file.read_text().replace("task: sums", "task: worse").replace("metric: bleu", "metric: bypass")
    text = text.replace(
        "  - {metric: exact_match, aggregation: mean, higher_is_better: true}",
        "  - {metric: !function wer.wer, aggregation: mean, higher_is_better: false}",
    )
    (tmp_path / "worse.yaml").write_text(text)
    (tmp_path / "wer.py").write_text("def wer(references, predictions):\n    return 0.5\n")
    args = {"include_path": str(tmp_path), **given.get("args", {})}
    task = TaskSpec(**{"name": "sums", "harness": "lm-eval", **given, "args": tuple(args.items())})
    with pytest.raises(SearchError, match=said):
        load_questions(task)


def test_a_fifth_of_the_documents_is_for_the_search(tmp_path: Path) -> None:
    write_task(tmp_path, count=40)
    task = TaskSpec("sums", (("include_path", str(tmp_path)),), harness="lm-eval")
    answers, digest, dev, door, _ = load_questions(task)
    assert door.door == "model"
    assert list(answers) == [str(n) for n in range(40)] and len(dev) == 8 and set(answers.values()) == {1}
    write_task(tmp_path, count=40, before="Now: ")
    from archon_eval.integrations.lm_eval_tasks import _build_manager

    _build_manager.cache_clear()
    assert load_questions(task)[1] != digest


def test_settings_name_the_harness_and_old_searches_stay_the_same() -> None:
    plain = {"tasks": [{"name": "gsm8k"}], "models": "sim/gpt-4o"}
    old, new = load_settings(plain), load_settings({**plain, "tasks": [{"name": "gsm8k", "harness": "lm-eval"}]})
    assert old.tasks[0].key == "gsm8k" and new.tasks[0].key == "gsm8k (lm-eval)" and old.identity != new.identity
    assert '"harness"' not in json.dumps(old._identity_fields)
    with pytest.raises(SearchError, match="unknown harness 'lmeval'; did you mean 'lm-eval'"):
        load_settings({**plain, "tasks": [{"name": "gsm8k", "harness": "lmeval"}]})
    with pytest.raises(SearchError, match="lm-eval has no roles"):
        load_settings({**plain, "tasks": [{"name": "gsm8k", "harness": "lm-eval"}], "model_roles": {"grader": "a/b"}})


def command(folder: Path, *more: str) -> list[str]:
    (folder / "space.yaml").write_text(json.dumps(SPACE))
    words = ["search", "--harness", "lm-eval", "--task", "sums", "-T", f"include_path={folder}"]
    words += ["-T", "num_fewshot=1", "--models", "sim/gpt-4o,sim/qwen2-72b-instruct", "--scorer", "flexible"]
    words += ["--space", str(folder / "space.yaml"), "--trials", "3", "--finalists", "2", "-o", str(folder / "out")]
    return [sys.executable, "-c", "from archon_eval.cli import main; raise SystemExit(main())", *words, *more]


def list_results(folder: Path) -> list[dict[str, Any]]:
    path = folder / "out" / "search.jsonl"
    raw = path.read_text() if path.exists() else ""
    found = [json.loads(line) for line in raw.splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in found if line["kind"] == "result"]


def test_a_search_killed_and_resumed_pays_for_nothing_twice(tmp_path: Path, capsys: Any) -> None:
    write_task(tmp_path, count=30)
    process = subprocess.Popen(command(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 200
    while len(list_results(tmp_path)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    said = process.communicate()[0]
    before = list_results(tmp_path)
    assert len(before) >= 3, said
    done = subprocess.run(
        command(tmp_path, "--budget", "calls=2000"), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    after, summary = list_results(tmp_path), json.loads((tmp_path / "out" / "summary.json").read_text())
    assert after[: len(before)] == before and len({line["result"]["key"] for line in after}) == len(after)
    assert summary["trials"] - summary["free_trials"] == 3 and summary["calls_reused"] > 0
    assert summary["metric"] == "exact_match"
    assert summary["calls_paid"] <= 2000 and not any(line["result"]["error"] for line in after)
    rows = list(csv.DictReader((tmp_path / "out" / "trials.csv").open()))
    assert {row["last_draws"] for row in rows if row["free"] == "False"} == {"2"}
    assert all(row["calls_paid"] == "0" for row in rows if row["free"] == "True")
    with closing(sqlite3.connect(tmp_path / "out" / "calls.db")) as store:  # no call was paid for twice
        stored = store.execute("select count(*) from calls").fetchone()[0]
    assert summary["calls_paid"] >= stored > 0.9 * summary["calls_paid"]
    by_stage = {stage: set[str]() for stage in ("search", "report")}
    for line in after:
        by_stage.setdefault(line["result"]["key"].split("/")[0], set()).update(line["result"]["scores"])
    assert (
        len(by_stage["search"]) == 6 and len(by_stage["report"]) == 24 and not by_stage["search"] & by_stage["report"]
    )
    last = done.stdout.strip().splitlines()[-1]
    out = tmp_path / "out"
    given = f"model=best,architecture={out}/best.yaml,store={out}/calls.db"
    assert last.startswith(f"lm_eval --model archon --model_args {given} ")
    assert last.endswith(f"--tasks sums --include_path {tmp_path} --num_fewshot 1 --log_samples --output_path results")
    assert main(["report", str(tmp_path / "out"), "-o", str(tmp_path / "page.html")]) == 0
    assert "sums (lm-eval)" in (tmp_path / "page.html").read_text()
