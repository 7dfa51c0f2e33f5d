"""One eval in several processes leaves the log of one process, whoever of them is killed, and asks nothing twice."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log, recompute_metrics

from archon_eval.cli import main
from archon_eval.errors import ArchonError, DataError
from archon_eval.runs.read_log import find_logs, read_run
from archon_eval.runs.shard_parts import PartFolder
from archon_eval.runs.sharded_eval import run_sharded

TASK_FILE = Path(__file__).parents[1] / "fakes" / "sharded_task.py"
RANDOM_IDS = {"eval_id", "run_id", "task_id", "uuid", "span_id", "parent_id", "message_id", "source_id"}
TIMES = {
    *("created", "started_at", "completed_at", "timestamp", "working_start", "working_time", "total_time", "seconds"),
    *("connection_limit_history", "time", "completed", "latency", "init_time", "solver_time", "scoring_time"),
}
SECONDS = re.compile(r"\b\d+(\.\d+)? s\b")
ARCHON = ("--model", "none", "--solver", "archon", "-S", "models=sim/pool")


def plain(value: Any) -> Any:
    """A log without times and random ids, with its attachments in their places."""
    if isinstance(value, dict):
        names = value.keys() - RANDOM_IDS - TIMES
        names -= {"value"} if str(value.get("path")).rpartition("/")[2] in TIMES else set()  # a change of one
        names -= {"id"} if {"role", "content"} <= value.keys() or "event" in value or "layers" in value else set()
        return {name: plain(value[name]) for name in sorted(names)}
    if isinstance(value, str):
        return SECONDS.sub("N s", value)
    return [plain(item) for item in value] if isinstance(value, list) else value


def read(log: str) -> Any:
    return plain(read_eval_log(log, resolve_attachments=True).model_dump(mode="json", exclude={"location"}))


def find_differences(first: Any, second: Any, path: str = "") -> Iterator[str]:
    if isinstance(first, dict) and isinstance(second, dict):
        for name in sorted(first.keys() | second.keys()):
            yield from find_differences(first.get(name), second.get(name), f"{path}.{name}")
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from find_differences(one, other, f"{path}[{number}]")
    elif first != second:
        yield f"{path}: {str(first)[:200]} / {str(second)[:200]}"


def inspect_eval(words: list[str], folder: Path) -> str:
    subprocess.run(
        [sys.executable, "-m", "inspect_ai", "eval", *words, "--log-dir", str(folder), "--display", "none"],
        check=True,
        timeout=300,
    )
    [log] = folder.glob("*.eval")
    return str(log)


JUDGE = ("--model-role", "judge=sim/gpt-4-turbo")
SAME_LOG = {
    "math": ("archon_eval/math", "-T", "sample=true", "--limit", "9", *ARCHON, "-S", "architecture=moa-lite"),
    "epochs": (
        *("sharded_task.py@numbers", "-T", "n=11", "--epochs", "3", "--epochs-reducer", "mode,at_least_2"),
        *("--sample-shuffle", "7", "--limit", "2-10", "--model", "none"),
    ),
    "alpaca_eval": (
        *("archon_eval/alpaca_eval", "-T", "sample=true", "--limit", "6", "--epochs", "2"),
        *(*ARCHON, "-S", "architecture=single", *JUDGE),
    ),
    "mt_bench": (
        *("archon_eval/mt_bench", "-T", "sample=true", "--limit", "4", *JUDGE, "--model", "archon/single"),
        *("-M", "models=sim/gpt-4o"),
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / TASK_FILE.name).write_text(TASK_FILE.read_text())
    monkeypatch.chdir(tmp_path)  # Inspect takes no absolute path
    return tmp_path


@pytest.mark.parametrize("name", SAME_LOG)
def test_the_log_of_shards_is_that_of_one_process(name: str, folder: Path) -> None:
    words = list(SAME_LOG[name])
    sharded = run_sharded([*words, "--log-dir", "sharded"], shards=2)
    assert sharded.status == "success"
    whole = inspect_eval(words, folder / "whole")
    assert not list(find_differences(read(whole), read(sharded.log)))
    assert [log.name for log in (folder / "sharded").iterdir()] == [Path(sharded.log).name]
    first, second = (read_eval_log(log) for log in (whole, sharded.log))
    assert [(s.id, s.epoch) for s in first.samples or ()] == [(s.id, s.epoch) for s in second.samples or ()]
    if name == "math":
        runs = [read_run(log, metric="accuracy") for log in (whole, sharded.log)]
        assert runs[0].estimate == runs[1].estimate and runs[0].cost.keys() == runs[1].cost.keys()
        recompute_metrics(second)
        assert second.results and first.results and second.results.scores == first.results.scores


def start(words: list[str], shards: int = 2) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "archon_eval.cli", "eval", *words, "--shards", str(shards), "--log-dir", "logs"]
    # a background job's Ctrl-C is ignored, and so would its children's be
    restore = (lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) if os.name == "posix" else None
    return subprocess.Popen(command, preexec_fn=restore)


def wait_until(holds: Callable[[], object], parent: "subprocess.Popen[bytes]") -> None:
    for _ in range(1200):
        if holds():
            return
        if parent.poll() is not None:
            pytest.fail(f"ended with code {parent.poll()}")
        time.sleep(0.1)
    parent.kill()
    pytest.fail("it never came to that")


def list_asked(folder: Path) -> list[dict[str, int]]:
    file = folder / "asked.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def count_kept(folder: Path) -> int:
    """Answers that are safe in the logs of parts."""
    return sum(len(PartFolder(each).read_answered()) for each in (folder / "logs" / ".shards").glob("*"))


def read_only_log(folder: Path) -> EvalLog:
    [log] = list_eval_logs(str(folder / "logs"))  # as `inspect view` shows them
    assert [Path(log.name).name] == [found.name for found in find_logs(folder / "logs")]
    return read_eval_log(log)


HELD = ["sharded_task.py@numbers", "-T", "n=8", "-T", "held=3-7", "--model", "none"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@posix
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=lambda how: how.name)
def test_the_same_command_goes_on_with_what_is_missing(how: signal.Signals, folder: Path) -> None:
    parent = start(HELD)
    wait_until(lambda: count_kept(folder) == 6 and len(list_asked(folder)) == 8, parent)
    shards = {line["pid"] for line in list_asked(folder)}
    parent.send_signal(how)
    assert parent.wait(90) == (-how if how == signal.SIGKILL else 130)
    for _ in range(600):
        if not any(Path(f"/proc/{pid}").exists() for pid in shards):
            break
        time.sleep(0.1)
    else:
        pytest.fail("a shard outlives its parent")
    if how == signal.SIGINT:
        log = read_only_log(folder)
        assert log.status == "cancelled" and log.results and log.results.completed_samples == 6
    (folder / "go").touch()
    assert start(HELD).wait(120) == 0
    asked = Counter(line["id"] for line in list_asked(folder))
    assert asked == Counter({id: 2 if id in (3, 7) else 1 for id in range(1, 9)})
    log = read_only_log(folder)
    assert log.status == "success" and [sample.id for sample in log.samples or ()] == list(range(1, 9))
    assert not (folder / "logs" / ".shards").exists()


@posix
def test_a_shard_that_is_killed_is_started_again_and_asks_only_what_is_missing(folder: Path) -> None:
    parent = start(HELD)
    wait_until(lambda: count_kept(folder) == 6 and len(list_asked(folder)) == 8, parent)
    [killed] = {line["pid"] for line in list_asked(folder) if line["id"] == 3}
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(list_asked(folder)) == 9, parent)
    (folder / "go").touch()
    assert parent.wait(120) == 0
    asked = Counter(line["id"] for line in list_asked(folder))
    assert asked == Counter({id: 2 if id == 3 else 1 for id in range(1, 9)})
    assert read_only_log(folder).status == "success"


def test_a_failed_question_ends_the_eval_and_is_asked_again_by_the_same_command(folder: Path) -> None:
    words = ["sharded_task.py@numbers", "-T", "broken=5", "--model", "none", "--log-dir", "logs"]
    first = run_sharded(words, shards=2)
    assert first.status == "error" and "question 5 is broken" in first.error
    log = read_only_log(folder)
    assert log.status == "error" and log.error and "question 5 is broken" in log.error.message
    (folder / "mended").touch()
    second = run_sharded(words, shards=2)
    assert second.status == "success" and second.log == first.log
    assert [note for note in second.notes if re.match(r"note: [4-7] of 8 answers are of an earlier run", note)]
    assert [sample.error for sample in read_only_log(folder).samples or ()] == [None] * 8


def test_as_many_questions_may_fail_over_all_shards_as_in_one_process(folder: Path) -> None:
    words = ["sharded_task.py@numbers", "-T", "broken=2-7", "--model", "none", "--log-dir", "logs"]
    done = run_sharded([*words, "--fail-on-error=2"], shards=2)  # one fails in each shard
    assert done.status == "error"
    assert sum(sample.error is not None for sample in read_only_log(folder).samples or ()) == 2


def test_shards_spend_the_budget_of_one_process_to_its_last_call(folder: Path) -> None:
    words = ["archon_eval/math", "-T", "sample=true", "--limit", "12", "--epochs", "2", *ARCHON, "--no-fail-on-error"]
    words += ["-S", "architecture=single", "-S", "budget=eval.calls=15", "--log-dir", "logs"]
    done = run_sharded(words, shards=2)
    samples = read_eval_log(done.log).samples or ()
    assert sum(sample.error is None for sample in samples) == 15
    assert all("15 calls spent" in sample.error.message for sample in samples if sample.error)


def test_an_eval_with_a_second_budget_keeps_to_both(folder: Path) -> None:
    """A shard's process makes the task anew for each part, but Inspect would keep the model, and so its budget."""
    words = ["archon_eval/math", "-T", "sample=true", "--limit", "12", "--no-fail-on-error", "--log-dir", "logs"]
    words += ["--model", "archon/single", "-M", "models=sim/gpt-4o", "-M", "budget=eval.calls=99", *ARCHON[2:]]
    done = run_sharded([*words, "-S", "architecture=single", "-S", "budget=eval.calls=5"], shards=2)
    assert sum(sample.error is None for sample in read_eval_log(done.log).samples or ()) == 5


def test_a_gate_runs_its_eval_in_shards(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["gate", "--save-baseline", "--baseline", "b.json", "--task", "archon_eval/math", "-T", "sample=true"]
    words += ["-T", "n=6", "-S", "architecture=single", "-S", "models=sim/gpt-4o", "--log-dir", "logs"]
    assert main([*words, "--shards", "2"]) == 0, capsys.readouterr().err
    assert len(read_only_log(folder).samples or ()) == 6
    assert "note: each of the 2 shards has its own connections" in capsys.readouterr().err
    assert main([*words, "--shards", "2", "--harness", "lm-eval"]) == 2
    assert "runs in one process" in capsys.readouterr().err


def test_containers_are_divided_by_the_shards_that_there_are(folder: Path) -> None:
    file = folder / TASK_FILE.name
    file.write_text(file.read_text().replace("os.getpid()", 'int(os.environ["ARCHON_SANDBOX_SHARERS"])'))
    words = ["sharded_task.py@numbers", "-T", "n=2", "--model", "none", "--log-dir", "logs"]
    assert run_sharded(words, shards=8).status == "success"
    assert [line["pid"] for line in list_asked(folder)] == [2, 2]


def test_a_changed_task_file_begins_anew(folder: Path) -> None:
    words = ["sharded_task.py@numbers", "-T", "broken=5", "--model", "none", "--log-dir", "logs"]
    run_sharded(words, shards=1)
    file = folder / TASK_FILE.name
    file.write_text(file.read_text().replace("Say {id}.", "Tell me {id}."))
    run_sharded(words, shards=1)
    assert len([*(folder / "logs" / ".shards").iterdir()]) == 2


def test_more_samples_than_the_eval_began_with_are_an_error(folder: Path) -> None:
    file, words = folder / TASK_FILE.name, ["sharded_task.py@numbers", "-T", "broken=2", "--model", "none"]
    (folder / "count.txt").write_text("4")
    file.write_text(
        file.read_text().replace("    samples = [", '    n = int(Path("count.txt").read_text())\n    samples = [')
    )
    assert run_sharded([*words, "--log-dir", "logs"], shards=1).status == "error"
    (folder / "count.txt").write_text("6")
    with pytest.raises(DataError, match="its 4 samples are 6 now; remove that folder to begin anew"):
        run_sharded([*words, "--log-dir", "logs"], shards=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["archon_eval/mathh"], "did you mean 'archon_eval/math'"),
        (["archon_eval/math", "-T", "sample=true", "--limitt", "3", "--model", "none"], "No such option"),
        (["archon_eval/math", "-T", "sample=true", "--model", "none,sim/gpt-4o"], "one task and one model"),
    ],
)
def test_a_wrong_command_fails_in_its_own_words_before_anything_is_asked(
    words: list[str], message: str, folder: Path
) -> None:
    with pytest.raises(ArchonError, match=message):
        run_sharded([*words, "--log-dir", "logs"], shards=2)
    assert not (folder / "logs").exists()


def test_a_secret_that_a_dying_shard_printed_is_not_in_the_error(folder: Path) -> None:
    file = folder / TASK_FILE.name
    text = file.read_text().replace('broken: str = "")', 'broken: str = "", api_key: str = "")')
    file.write_text(
        text.replace("    ids = [", '    os.environ["SAID"] = api_key\n    ids = [').replace(
            "        id = int(state.sample_id)\n",
            '        print("a key:", os.environ["SAID"], flush=True)\n        os._exit(3)\n',
        )
    )
    words = ["sharded_task.py@numbers", "-T", "api_key=hunter2hunter2", "--model", "none", "--log-dir", "logs"]
    with pytest.raises(ArchonError, match=r"(?s)ended with code 3: .*a key: <secret>") as caught:
        run_sharded(words, shards=1)
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


def test_questions_that_change_with_each_load_are_not_divided(folder: Path) -> None:
    file = folder / TASK_FILE.name
    file.write_text(file.read_text().replace("Say {id}.", "Say {id} {os.getpid()}."))
    with pytest.raises(DataError, match="another sample"):
        run_sharded(["sharded_task.py@numbers", "--model", "none", "--log-dir", "logs"], shards=2)
