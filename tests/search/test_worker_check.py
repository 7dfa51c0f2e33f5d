"""What a worker must have, found out in this process."""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from fakes.stores import Stores

from archon_eval.errors import StoreError
from archon_eval.models.open_store import open_store
from archon_eval.runs.executors import DaskExecutor
from archon_eval.search.config import load_settings
from archon_eval.search.loop import search
from archon_eval.search.prepare import prepare_questions
from archon_eval.search.worker_check import build_checks, leave_word, list_missing

TASK = {"name": "archon_eval/math", "args": {"sample": True, "n": 25}}
TASK_FILE = """from inspect_ai import Task, task
from inspect_ai.dataset import json_dataset
from inspect_ai.scorer import match

@task
def mine():
    return Task(dataset=json_dataset("data.jsonl"), scorer=match())
"""


def check(settings, folder, word):
    digest = prepare_questions(settings).digest.split()
    digests = dict(zip((task.key for task in settings.tasks), digest, strict=True))
    executor = DaskExecutor(SimpleNamespace(say=lambda text: None))
    return [*build_checks(settings, executor, digests=digests, store=str(folder / "calls.db"), word=word)]


def test_keys_docker_store_and_data_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(TASK_FILE)
    data = "".join(f'{{"id": "{n}", "input": "question {n}", "target": "{n}"}}\n' for n in range(30))
    (tmp_path / "data.jsonl").write_text(data)
    given = {
        "tasks": [TASK, "mine.py@mine"],
        "models": ["sim/gpt-4o", "openai/gpt-4o"],
        "model_roles": {"judge": "sim/gpt-4o"},
    }
    given["model_roles"] = {"judge": "sim/gpt-4o"}
    given["space"] = {"preset": "small", "evaluations": ["executed_tests"]}
    with leave_word(str(tmp_path / "calls.db")) as word:
        first, second = check(load_settings(given), tmp_path, word)
        assert [*second.bundle.files] == ["data.jsonl", "mine.py"] and not first.bundle.files
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-worker")
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere.sock")
        [docker] = list_missing(first.args)
        assert "archon sandbox doctor" in docker and list_missing(second.args) == []
        monkeypatch.delenv("OPENAI_API_KEY")
        key, _ = list_missing(first.args)
        assert key.startswith("model openai/gpt-4o: ") and "OPENAI_API_KEY" in key
        # another version of the data, and none
        (tmp_path / "data.jsonl").write_text(data.replace("question 7", "question seven"))
        assert "its questions or prompts there are not those that they are here" in list_missing(second.args)[0]
        (tmp_path / "data.jsonl").unlink()
        assert "task mine.py@mine: " in list_missing(second.args)[0]
    assert not list(tmp_path.glob(".archon-seen-*"))
    store, *_ = list_missing(first.args)
    assert f"the call store {tmp_path}/calls.db is not there" in store and "postgresql://" in store


def test_a_password_in_the_address_of_the_store_is_refused_before_anything(tmp_path):
    given = {"tasks": [TASK], "models": "sim/gpt-4o", "space": "small"}
    settings = load_settings({**given, "solver_args": {"store": "postgresql://me:hunter2@host/db"}})
    with pytest.raises(StoreError, match="PGPASSWORD") as caught:
        prepare_questions(settings)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(StoreError, match="postgresql://"):
        prepare_questions(load_settings({**given, "solver_args": {"store": "mysql://host/db"}}))


def test_a_replay_needs_no_right_to_write_the_store(postgres_server, tmp_path):
    stores = Stores(tmp_path, postgres_server)
    address = stores.new()
    try:
        open_store(address).close()
        reader = address.replace("options=", "options=-cdefault_transaction_read_only%3Don%20")
        given = {"tasks": [TASK], "models": "sim/gpt-4o", "space": {"preset": "small", "evaluations": "none"}}
        for policy in ("reuse", "replay"):
            settings = load_settings({**given, "solver_args": {"store": reader, "store_policy": policy}})
            executor = DaskExecutor(SimpleNamespace(say=lambda text: None))
            digests = {settings.tasks[0].key: prepare_questions(settings).digest}
            [first] = build_checks(settings, executor, digests=digests, store=reader, word="")
            missing = list_missing(first.args)
            assert missing == [] if policy == "replay" else "are read-only" in missing[0]
            if policy == "reuse":
                with pytest.raises(StoreError, match="are read-only"):
                    search(settings, tmp_path / policy, lambda job: Future())
            else:
                with pytest.raises(Reached):
                    search(settings, tmp_path / policy, reach)
    finally:
        stores.close()


class Reached(Exception):
    """An eval was asked for."""


def reach(job):
    raise Reached
