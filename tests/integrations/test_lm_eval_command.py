"""The stock `lm_eval` command with `--model archon`, in a process of its own, on two of its versions.

Its own definitions of gsm8k, hendrycks_math and mmlu_pro run on local rows; only the older lm-eval is fetched.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from archon_eval.runs.read_log import read_runs

EXAMPLES = Path(__file__).parents[2] / "examples" / "lm_eval"
STOCK = {
    "gsm8k": "gsm8k/gsm8k.yaml",
    "hendrycks_math_algebra": "hendrycks_math/hendrycks_math_algebra.yaml",
    "mmlu_pro_math": "mmlu_pro/mmlu_pro_math.yaml",
}
ORDER = "End with a line 'ANSWER: ' and the answer."
TASKS = ",".join([*(f"local_{name}" for name in STOCK), "math_sample"])


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The oldest supported lm-eval, in front of the installed one; what it depends on is shared.

    Of its 10,000 task files only those used here are unpacked.
    """
    folder = tmp_path_factory.mktemp("lm_eval_0.4.10")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), "lm-eval==0.4.10"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"lm-eval 0.4.10 cannot be had here: {done.stderr[-300:]}")
    used = tuple(f"lm_eval/tasks/{path.split('/')[0]}/" for path in STOCK.values())
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        names = [
            name for name in wheel.namelist() if not re.match("lm_eval/tasks/[^/]+/", name) or name.startswith(used)
        ]
        wheel.extractall(folder, names)
    return folder


def rows(name: str) -> list[dict[str, Any]]:
    text = (resources.files("archon_eval.samples") / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def local_tasks(folder: Path, lm_eval: Path) -> None:
    """lm-eval's own definitions, included as they are and pointed at the package's rows; and the example."""
    math = [{"problem": row["problem"], "solution": f"\\boxed{{{row['answer']}}}"} for row in rows("math")]
    letters = [
        row | {"category": "math", "cot_content": f"A: Let's think step by step. The answer is ({row['answer']})."}
        for row in rows("mmlu_pro")
    ]
    for (task, path), found in zip(STOCK.items(), (rows("gsm8k"), math, letters), strict=True):
        data = folder / f"{task}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
        files = ", ".join(f"{split}: {data}" for split in ("train", "validation", "test"))
        (folder / f"{task}.yaml").write_text(
            f"include: {lm_eval / 'tasks' / path}\n"
            f"task: local_{task}\ntag: []\ndataset_path: json\ndataset_name: null\n"
            f"dataset_kwargs: {{data_files: {{{files}}}}}\n"
        )
    shutil.copytree(EXAMPLES, folder / "examples")


def run(folder: Path, *arguments: str, first_on_path: Path | None = None) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(first_on_path or ""), os.environ.get("PYTHONPATH")]))
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    return subprocess.run(
        [sys.executable, "-m", "lm_eval", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **offline},
        capture_output=True,
        text=True,
        timeout=300,
    )


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(next((folder / "out").rglob("results_*.json")).read_text())
    return found


def logged(folder: Path, task: str) -> list[dict[str, Any]]:
    text = next((folder / "out").rglob(f"samples_{task}_*.jsonl")).read_text()
    return [json.loads(line) for line in text.splitlines()]


def check_runs(folder: Path, found: dict[str, Any]) -> list[float | None]:
    """The calls per answer of the runs that this package reads, which have the figures of the results."""
    runs = read_runs(folder / "out")
    assert {run.task for run in runs} == {f"{task} (lm-eval)" for task in found["results"]}
    for run in runs:
        figure = found["results"][run.task.removesuffix(" (lm-eval)")][run.scorer]
        assert run.estimate.value == pytest.approx(figure) and run.metric_note == ""
    return [run.cost["calls"] for run in runs]


def test_stock_tasks_with_chat_template_and_shots_as_turns(tmp_path: Path) -> None:
    import lm_eval

    local_tasks(tmp_path, Path(lm_eval.__file__).parent)
    (tmp_path / "mine.yaml").write_text("layers: [{generator: [$1, $2]}, {fuser: $1}]")
    done = run(
        tmp_path, "run", "--model", "archon", "--include_path", str(tmp_path), "--limit", "6",
        "--model_args", "model=mine", "architecture=mine.yaml", "models=sim/gpt-4o+sim/claude-3.5-sonnet",
        "--tasks", TASKS, "--num_fewshot", "2", "--batch_size", "auto",
        "--apply_chat_template", "--fewshot_as_multiturn", "--system_instruction", ORDER,
        "--log_samples", "--output_path", "out", "--use_cache", "cache/mine",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "24/24" in done.stderr
    found = results(tmp_path)
    assert found["config"]["calls"] == 72 and len(found["config"]["fingerprint"]) == 16
    assert set(found["config"]["models"]) == {"sim/gpt-4o", "sim/claude-3.5-sonnet"}
    assert next((tmp_path / "out").iterdir()).name == "mine"
    assert found["results"]["local_gsm8k"]["exact_match,flexible-extract"] >= 0.5
    assert found["results"]["math_sample"]["exact_match,none"] >= 0.5
    assert check_runs(tmp_path, found) == [3.0, 3.0, 3.0, 3.0]
    sample = logged(tmp_path, "local_gsm8k")[0]
    turns = json.loads(sample["arguments"]["gen_args_0"]["arg_0"])
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert turns[0]["content"].startswith(ORDER) and turns[2]["content"].count("####") == 1


def test_the_oldest_supported_lm_eval_without_a_template(tmp_path: Path, older: Path) -> None:
    local_tasks(tmp_path, older / "lm_eval")
    given = {"architecture": "best-of-n", "models": ["sim/gpt-4o", "sim/gpt-4-turbo"], "model": "best"}
    done = run(
        tmp_path, "--model", "archon", "--model_args", json.dumps(given), "--include_path", str(tmp_path),
        "--tasks", TASKS, "--limit", "3", "--num_fewshot", "1", "--batch_size", "1",
        "--log_samples", "--output_path", "out", "--system_instruction", ORDER,
        "--gen_kwargs", "temperature=0.1", first_on_path=older,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = results(tmp_path)
    assert found["config"]["model_args"]["architecture"] == "best-of-n"
    assert found["lm_eval_version"] == "0.4.10"
    assert found["config"]["settings"][0]["settings"] == {"temperature": 0.1}  # typed, and not the tasks' own
    assert found["results"]["local_gsm8k"]["exact_match,flexible-extract"] >= 0.3
    assert len(set(check_runs(tmp_path, found))) == 1
    prompt = logged(tmp_path, "local_gsm8k")[0]["arguments"]["gen_args_0"]["arg_0"]
    assert prompt.count("Question:") == 2 and prompt.endswith("Answer:")
