"""What goes to a machine that has none of the user's files, and what never does."""

import sys
from pathlib import Path

import pytest

from archon_eval.errors import DataError
from archon_eval.models.store import CallStore
from archon_eval.runs import file_bundle
from archon_eval.runs.eval_worker import EvalJob, EvalTask
from archon_eval.runs.file_bundle import BUNDLE_MARK, BundleBuilder, unpack
from archon_eval.runs.job_files import list_modules, pack_job


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a task and much that lies around."""
    folder = tmp_path / "project"
    for name in (
        *("tasks/mine.py", "tasks/helper.py", "tasks/data/questions.jsonl", "tasks/secret_sauce.py"),
        *("tasks/.env", "tasks/.git/config", "tasks/openai_api_key.txt", "tasks/server.pem", "tasks/__pycache__/a.pyc"),
        *("tasks/logs/old.eval", "tasks/calls.db", "tasks/calls.db-claims", "tasks/calls.db-wal", "tasks/plain.db"),
        *("tasks/out/search.jsonl", "tasks/out/best.yaml", "tasks/venv/pyvenv.cfg", "prices.yaml", "split/x"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "tasks" / "deploy.txt").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nx")
    (folder / "tasks" / "elsewhere").symlink_to(tmp_path)
    (folder / "tasks" / "same.jsonl").symlink_to(folder / "tasks" / "data" / "questions.jsonl")
    monkeypatch.chdir(folder)
    return folder


def test_a_task_goes_with_what_is_beside_it_and_without_secrets(project, tmp_path):
    builder = BundleBuilder(project)
    assert builder.add_task("tasks/mine.py@mine") == "tasks/mine.py@mine"
    assert builder.add_task("archon_eval/math") == "archon_eval/math"
    bundle = builder.build()
    assert [*bundle.files] == [
        *("tasks/data/questions.jsonl", "tasks/helper.py", "tasks/mine.py", "tasks/plain.db", "tasks/same.jsonl"),
        "tasks/secret_sauce.py",
    ]
    stays = " ".join(bundle.left_out)
    for name in (".env (hidden)", "server.pem (looks like a secret)", "deploy.txt (looks like a secret)"):
        assert name in stays
    assert "elsewhere (leads elsewhere)" in stays and "out (a search)" in stays and "calls.db (a call store)" in stays
    assert "openai_api_key.txt (looks like a secret)" in stays and "pyc" not in stays
    assert "6 files (0 kB) go to the workers: tasks/data/questions.jsonl" in bundle.describe()
    unpack(bundle.data, tmp_path / "there")
    assert (tmp_path / "there/tasks/helper.py").read_text() == "tasks/helper.py"
    again = BundleBuilder(project)
    again.add_task("tasks/mine.py@mine")
    assert again.build().digest == bundle.digest and again.build().data == bundle.data


def test_a_link_is_no_way_round_what_stays(project):
    tasks = project / "tasks"
    (tasks / "secrets").mkdir()
    (tasks / "secrets" / "prod.txt").write_text("s3cret")
    for name, end in (("plain.txt", ".env"), ("config.txt", ".git/config"), ("prod.txt", "secrets/prod.txt")):
        (tasks / name).symlink_to(tasks / end)
    (tasks / "data" / "round").symlink_to(tasks / "data")
    builder = BundleBuilder(project)
    builder.add_task("tasks/mine.py@mine")
    bundle = builder.build()
    assert len(bundle.files) == 6 and not any(b".env" in content for content in bundle.files.values())
    stays = " ".join(bundle.left_out)
    assert "plain.txt (hidden)" in stays and "config.txt (hidden)" in stays and "data/round (leads elsewhere)" in stays
    assert "secrets (looks like a secret)" in stays and "prod.txt (looks like a secret)" in stays


def test_a_call_store_that_nobody_has_claimed_stays_too(project):
    for is_open in (True, False):
        with CallStore(project / "tasks" / "recorded.sqlite") as store:  # one that was only recorded
            store.count()
            if not is_open:
                store.close()
            builder = BundleBuilder(project)
            builder.add_task("tasks/mine.py@mine")
            assert not [name for name in builder.build().files if "recorded" in name]


def test_the_folder_of_all_temporary_files_is_never_sent(project, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(project / "tasks"))
    builder = BundleBuilder(project)
    builder.add_task("tasks/mine.py@mine")
    assert [*builder.build().files] == ["tasks/mine.py"]


def test_arguments_that_name_files_take_them_along(project, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "set").mkdir(parents=True)
    (elsewhere / "judge.yaml").write_text("j")
    (elsewhere / "set" / "a.jsonl").write_text("a")
    builder = BundleBuilder(project)
    assert builder.add_value("prices.yaml") == "prices.yaml"
    assert builder.add_value(str(project / "prices.yaml")) == f"{BUNDLE_MARK}/prices.yaml"
    assert builder.add_value("split", "split") == "split"  # a word, though there is such a folder
    assert builder.add_value("tasks/data", "files") == "tasks/data"
    assert builder.add_value("../elsewhere/judge.yaml") == f"{BUNDLE_MARK}/_outside/0/judge.yaml"
    assert builder.add_value("archon/../elsewhere/judge.yaml") == f"archon/{BUNDLE_MARK}/_outside/0/judge.yaml"
    assert builder.add_value(str(elsewhere / "set"), "include_path") == f"{BUNDLE_MARK}/_outside/1"
    assert builder.add_value({"a": ["prices.yaml", 3, None]}) == {"a": ["prices.yaml", 3, None]}
    for plain in ("openai/gpt-4o", "https://host/x", "", "no such file", "x" * 5000, "two\nlines", 3, "."):
        assert builder.add_value(plain, "dir") == plain
    assert [*builder.build().files] == [
        *("_outside/0/judge.yaml", "_outside/1/a.jsonl", "prices.yaml", "tasks/data/questions.jsonl")
    ]
    for secret in ("tasks/.env", "tasks/server.pem"):
        with pytest.raises(DataError, match="looks like a secret, and is not sent"):
            builder.add_value(secret, "data")


def test_a_task_outside_of_the_folder_is_named_from_it(project, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "t.py").write_text("t")
    builder = BundleBuilder(project)
    assert builder.add_task("../other/t.py@t") == "_outside/0/t.py@t"
    assert [*builder.build().files] == ["_outside/0/t.py"]


def test_a_home_folder_is_never_sent(project, monkeypatch):
    monkeypatch.setenv("HOME", str(project / "tasks"))
    builder = BundleBuilder(project)
    builder.add_task("tasks/mine.py@mine")
    bundle = builder.build()
    assert [*bundle.files] == ["tasks/mine.py"] and "which is no folder of its own" in bundle.describe()
    with pytest.raises(DataError, match="is too much to send to workers"):
        builder.add_value(str(project), "include_path")


def test_too_much_is_an_error_that_says_what_to_do(project, monkeypatch):
    monkeypatch.setattr(file_bundle, "MAX_FILES", 3)
    with pytest.raises(DataError, match=r"more than 64 MB or 3 files .*put the task with what it needs into"):
        BundleBuilder(project).add_task("tasks/mine.py@mine")


def test_components_go_with_the_modules_that_they_import(tmp_path, monkeypatch):
    (tmp_path / "my_parts.py").write_text(
        "import json, my_tools.deep, pytest\n"
        "from archon_eval.components.generator import Generator\nclass Mine(Generator): ...\n"
    )
    (tmp_path / "my_tools").mkdir()
    (tmp_path / "my_tools" / "__init__.py").write_text("")
    (tmp_path / "my_tools" / "deep.py").write_text("")
    (tmp_path / "my_tools" / "words.txt").write_text("w")
    (tmp_path / "not_needed.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    architecture = {"layers": [{"my_parts:Mine": "sim/gpt-4o"}]}
    try:
        assert [*list_modules(architecture)] == ["my_parts"]
        scored = {"layers": [{"generator": "a/x"}, {"reward": {"function": "my_rewards:score"}}]}
        assert [*list_modules(scored)] == ["my_rewards"]
        job = EvalJob("k", architecture, EvalTask("archon_eval/math"), solver_args=(("store", "calls.db"),))
        packed, bundle = pack_job(job, Path.cwd(), ["my_parts"])
    finally:
        sys.modules.pop("my_parts", None)
    assert [*bundle.files] == [
        f"_modules/{name}" for name in ("my_parts.py", "my_tools/__init__.py", "my_tools/deep.py", "my_tools/words.txt")
    ]
    assert packed == job
