"""Gates and ablations that run lm-eval in a process of its own, on a loopback server; and what is refused before."""

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.lm_eval_runs import ORDER, answer_some, write_task
from fakes.server import FakeServer

from archon_eval.cli import build_parser, main
from archon_eval.cli.search_options import build_settings
from archon_eval.errors import DataError
from archon_eval.integrations.lm_eval_tasks import check_task
from archon_eval.runs.run_lm_eval import LmEval, format_arguments, parse_lm_eval_pairs, parse_task_options

STRONG = {"name": "strong", "layers": [{"generator": "openai/gpt-4o"}]}
WEAK = {"name": "weak", "layers": [{"generator": "openai/gpt-4-turbo"}]}


def test_the_gate_runs_lm_eval_and_fails_decides_nothing_or_passes(
    fake_server: FakeServer, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path, count=12)
    fake_server.answer = answer_some
    for architecture in (STRONG, WEAK):
        Path(f"{architecture['name']}.yaml").write_text(json.dumps(architecture))
    task = ["--harness", "lm-eval", "--task", "sums", "-T", "include_path=.", "-T", "apply_chat_template=true"]
    task += ["-T", "system_instruction=Be exact: think.", "-T", "num_fewshot=1", "-S", "store=calls.db"]
    given = [*task, "--baseline", "base.json"]
    assert main(["gate", *given, "-S", "architecture=strong.yaml", "--scorer", "flexible", "--save-baseline"]) == 0
    turns = [message["role"] for message in fake_server.requests[0].body["messages"]]
    assert turns == ["system", "user", "assistant", "user"] and len(fake_server.requests) == 12
    assert fake_server.requests[0].body["messages"][0]["content"] == "Be exact: think."
    assert fake_server.requests[0].body["messages"][-1]["content"].endswith(ORDER)
    capsys.readouterr()
    assert main(["gate", *given, "-S", "architecture=strong.yaml", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["reasons"] == ["every score is the same, from recorded calls alone: no chance is in it"]
    progress = [json.loads(line) for line in said.err.splitlines() if line.startswith("{")]
    assert any(line.get("done") == 12 == line.get("total") for line in progress), said.err
    assert len(fake_server.requests) == 12
    assert main(["gate", *given, "-S", "architecture=weak.yaml", "--confidence", "0.51"]) == 1


def test_a_refusal_is_one_line_and_leaves_no_folder(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write_task(tmp_path, "choose")
    file.write_text(file.read_text().replace("output_type: generate_until", "output_type: multiple_choice"))
    Path("strong.yaml").write_text(json.dumps(STRONG))
    given = ["--harness", "lm-eval", "--task", "choose", "-T", "include_path=.", "-S", "architecture=strong.yaml"]
    assert main(["gate", *given, "-S", "api_key=sk-very-secret", "--baseline", "b.json", "--save-baseline"]) == 2
    said = capsys.readouterr().err
    assert "archon: choose: an architecture answers with text and has no log-likelihood" in said
    assert "Traceback" not in said and "very-secret" not in said and list(Path("logs").iterdir()) == []


def test_ablate_runs_lm_eval_on_shared_calls(
    fake_server: FakeServer, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path, count=6)
    fake_server.answer = answer_some
    layers = [{"generator": {"model": "openai/gpt-4-turbo", "samples": 2}}, {"fuser": "openai/gpt-4o"}]
    Path("two.yaml").write_text(json.dumps({"layers": layers}))
    task = ["--harness", "lm-eval", "--task", "sums", "-T", "include_path=.", "--scorer", "flexible"]
    assert main(["ablate", "two.yaml", *task, "--log-dir", "out", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    by_name = {one["change"]: one for one in found["changes"]}
    dropped = by_name["without layer 2 (fuser)"]
    assert (dropped["first"], dropped["second"]) == (pytest.approx(5 / 6), pytest.approx(3 / 6))
    assert dropped["difference"]["n"] == 6 and found["cost"]["calls"] == 3
    # the draws of the whole are those of what is left of it
    assert sum(r.body["model"] == "gpt-4-turbo" for r in fake_server.requests) <= 6 * 2 + 6 * 2


def test_what_is_no_single_task_that_generates_text_is_refused() -> None:
    with pytest.raises(DataError, match=r"no log-likelihood .*generate text: arc_challenge_chat"):
        check_task("arc_challenge", None)
    with pytest.raises(DataError, match="task mmlu: a group of lm-eval with several tasks; name one of them, such as"):
        check_task("mmlu", None)
    with pytest.raises(DataError, match="task gsm8kk: lm-eval has no such task; did you mean 'gsm8k'"):
        check_task("gsm8kk", None)
    check_task("gsm8k", None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"task_args": ("num_fewshots=1",)}, "no option 'num_fewshots' of lm-eval's tasks; did you mean 'num_fewshot'"),
        ({"task_args": ("num_fewshot=-1",)}, "num_fewshot must be a whole number from 0, not -1"),
        ({"task_args": ("fewshot_as_multiturn=true",)}, "fewshot_as_multiturn needs apply_chat_template"),
        ({"roles": ("grader=openai/gpt-4o",)}, "lm-eval has no roles"),
        ({"epochs": 2}, "says itself how often it asks"),
        ({"task": "a,b"}, "name one task of lm-eval"),
    ],
)
def test_options_that_lm_eval_has_not(given: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        LmEval(**{"task": "gsm8k", **given})


def test_the_command_line_is_lm_evals_own() -> None:
    plan = LmEval(
        "gsm8k",
        ("num_fewshot=5", "apply_chat_template=true", "gen_kwargs={temperature: 0}", "system_instruction=a: b"),
        ("architecture=x.yaml", "models=a,b", "num_concurrent=4"),
    )
    words = plan.build_command(Path("out"))
    assert words[:4] == ["lm_eval", "--model", "archon", "--tasks"]
    assert json.loads(words[words.index("--model_args") + 1]) == {
        "model": "archon", "architecture": "x.yaml", "models": "a,b", "num_concurrent": 4,
    }  # fmt: skip
    assert words[words.index("--num_fewshot") :] == [
        "--num_fewshot", "5", "--apply_chat_template", "--gen_kwargs", "temperature=0",
        "--system_instruction", "a: b", "--fewshot_as_multiturn",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        ('until=["a,b", "]"],top_p=1e-3', {"until": ["a,b", "]"], "top_p": 0.001}),
        ("{until: [x, y], temperature: 0.3}", {"until": ["x", "y"], "temperature": 0.3}),
        ("stop=it's,do_sample=false", {"stop": "it's", "do_sample": False}),
        ("stop=[,seed=3", {"stop": "[", "seed": 3}),
    ],
)
def test_settings_of_generation_are_the_same_in_a_command_and_in_python(given: str, settings: dict[str, Any]) -> None:
    """`simple_evaluate` would cut a list at its commas, and the command a mapping's text."""
    from lm_eval._cli.utils import key_val_to_dict, try_parse_json

    [(name, value)] = parse_task_options(parse_lm_eval_pairs([f"gen_kwargs={given}"]), "gsm8k").items()
    assert (name, value) == ("gen_kwargs", settings)
    word = format_arguments(value)
    assert (try_parse_json(word) if word.startswith("{") else key_val_to_dict(word)) == settings


@pytest.mark.parametrize("text", ["-short", "--tasks", "42", "[INST] a, b", "#1: yes", '"so"'])
def test_a_system_instruction_is_sent_as_it_was_typed(text: str) -> None:
    words = LmEval("gsm8k", (f"system_instruction={text}",)).build_command(Path("out"))
    assert words[-1] == f"--system_instruction={text}" if text.startswith("-") else words[-2:] == [
        "--system_instruction", text,
    ]  # fmt: skip
    assert build_settings_of_search(text) == text


def build_settings_of_search(text: str) -> Any:
    given = ["--task", "gsm8k", "--harness", "lm-eval", "-T", f"system_instruction={text}", "--models", "sim/gpt-4o"]
    [task] = build_settings(build_parser().parse_args(["search", *given])).tasks
    return dict(task.args)["system_instruction"]
