"""Every recipe runs as written: its files are put down, its `$` lines end well and leave what they promise."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.server import FakeServer, helpful
from inspect_ai._cli.main import inspect as inspect_command
from inspect_ai.log import EvalLog, read_eval_log

from archon_eval.architecture.load import load_architecture, parse_text

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def answer(model: str, messages: list[dict[str, Any]], nonce: int) -> str:
    if str(messages[-1]["content"]).startswith("Rate this response"):
        return "Fine." if nonce % 3000 == 0 else f"Clear enough.\nRating: {nonce // 1000 % 10 + 1}"
    return helpful(model, messages, nonce)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with FakeServer(answer=answer) as found:
        for name in ("OPENAI", "QWEN", "OLLAMA", "LLAMA"):
            monkeypatch.setenv(f"{name}_API_KEY", "sk-loopback")
            monkeypatch.setenv(f"{name}_BASE_URL", found.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-loopback")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", found.anthropic_url)
        yield found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INSPECT_LOG_DIR", str(tmp_path / "logs"))
    monkeypatch.setenv("INSPECT_DISPLAY", "none")
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    return tmp_path


def follow(page: str) -> tuple[list[EvalLog], list[str]]:
    """The logs of the evals a page runs, and the output of its other commands."""
    logs, outputs = [], []
    for language, name, text in BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8")):
        if name:
            Path(name).write_text(text, encoding="utf-8")
        for line in re.findall(r"^\$ (.*)$", text, re.MULTILINE) if language == "console" else ():
            if line.startswith("inspect "):
                before = set(Path("logs").glob("*.eval"))
                inspect_command.main(shlex.split(line)[1:], standalone_mode=False)
                (new,) = set(Path("logs").glob("*.eval")) - before
                logs.append(read_eval_log(str(new)))
            else:
                done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=300)
                assert done.returncode == 0, f"{line}\n{done.stderr[-3000:]}"
                outputs.append(done.stdout)
    assert all(log.status == "success" and log.samples for log in logs), [log.error for log in logs]
    return logs, outputs


def accounts(log: EvalLog) -> list[dict[str, Any]]:
    return [sample.metadata["archon"] for sample in log.samples or ()]


def test_an_inspect_evals_task(folder: Path) -> None:
    plain, fused = follow("recipes/inspect-evals.md")[0]
    assert set(plain.stats.model_usage) == {"sim/gpt-4-turbo"} and len(fused.stats.model_usage) == 6
    assert fused.samples and all(s.output.metadata and s.output.metadata["archon"]["calls"] == 7 for s in fused.samples)


def test_an_lm_eval_task(folder: Path) -> None:
    shutil.copytree(ROOT / "examples", folder / "examples")
    _, (table, _, compared) = follow("recipes/lm-eval.md")
    assert "|math_sample|" in table and "moa-lite against single: exact_match" in compared
    assert (folder / "cache" / "moa-lite_rank0.db").is_file() and list((folder / "results" / "moa-lite").iterdir())


def test_a_custom_component(folder: Path, server: FakeServer) -> None:
    _, (plan, _) = follow("recipes/custom-component.md")
    assert "rating" in plan
    (log,) = [read_eval_log(str(path)) for path in (folder / "logs").glob("*.eval")]
    found = accounts(log)
    assert [layer["kind"] for layer in found[0]["layers"]] == ["generator", "rating:Rating"]
    assert all(one["layers"][-1]["candidates"] == 1 for one in found)
    assert any(one["notes"].get("reask") for one in found)


def test_a_custom_provider(folder: Path) -> None:
    (log,), _ = follow("recipes/custom-provider.md")
    assert log.results and log.results.scores[0].metrics["accuracy"].value == 1
    assert log.stats.model_usage["shouting/loud"].total_tokens == 15


def test_local_models(folder: Path, server: FakeServer) -> None:
    shutil.copytree(ROOT / "examples", folder / "examples")
    (log,), (table, plan) = follow("recipes/local-models.md")
    assert set(accounts(log)[0]["models"]) == {"openai-api/qwen/Qwen2-72B-Instruct", "ollama/llama3.1"}
    sent = {(request.body["model"], request.body["max_tokens"]) for request in server.requests}
    assert sent == {("Qwen2-72B-Instruct", 512), ("llama3.1", 512), ("my-model", 2048)}
    assert "|math_sample|" in table and "0.0000" in plan
    assert "unknown" not in plan.replace("Context window unknown", "")


def test_mixed_providers(folder: Path, server: FakeServer) -> None:
    (log,), _ = follow("recipes/mixing-providers.md")
    assert {request.path for request in server.requests} == {"/v1/chat/completions", "/v1/messages"}
    assert all(one["dollars"] > 0 and one["calls"] == 6 for one in accounts(log))


def test_an_open_weight_pool(folder: Path) -> None:
    (log,), _ = follow("recipes/open-weights.md")
    assert len(accounts(log)[0]["models"]) == 3 and len(accounts(log)) == 5


def test_reward_models(folder: Path) -> None:
    (own,), (_, checked, compared) = follow("recipes/reward-models.md")
    assert all(one["layers"][1]["kind"] == "reward" and one["calls"] >= 20 for one in accounts(own))
    (shortest,) = [
        log
        for path in (folder / "logs").glob("*.eval")
        if (log := read_eval_log(str(path))).eval.run_id != own.eval.run_id
    ]
    assert all(
        one["models"]["function/brevity:score"]["dollars"] == 0 and one["calls"] == 10 for one in accounts(shortest)
    )
    assert "to http://localhost:8000/rerank (rerank of BAAI/bge-reranker-v2-m3)" in checked
    assert "pairwise" in compared


def test_python(folder: Path, server: FakeServer) -> None:
    _, (printed,) = follow("recipes/python.md")
    assert "dollars, notes: {}" in printed and printed.count("Answer of gpt-4o ") == 10


def test_the_overview_links_every_recipe_and_its_architecture_loads() -> None:
    text = (ROOT / "docs" / "harnesses.md").read_text(encoding="utf-8")
    (architecture,) = [block for _, name, block in BLOCK.findall(text) if name]
    assert load_architecture(parse_text(architecture, "task-decides.yaml")).layers[0][0].settings.temperature is None
    linked = set(re.findall(r"\]\(recipes/([\w-]+\.md)\)", text))
    assert linked == {path.name for path in (ROOT / "docs" / "recipes").iterdir()} - {"github-gate.md"}
