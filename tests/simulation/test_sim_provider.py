"""The pool as an Inspect model provider: real evals, choices, log probabilities, errors, failures."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.solver import generate, multiple_choice

from archon_eval.errors import DataError, SimulationError
from archon_eval.models.draw import set_draw

QUESTION = "Solve for $x$: $7x - 5 = 3x + 19$."


def run_eval(tmp_path: Path, task: Task, **options: Any) -> EvalLog:
    return eval(task, log_dir=str(tmp_path), display="none", log_realtime=False, **options)[0]


def test_epochs_are_draws_of_their_own_and_runs_repeat(tmp_path: Path) -> None:
    task = Task(dataset=[Sample(input=QUESTION, target="6")], solver=generate())
    texts = []
    for _ in range(2):
        log = run_eval(tmp_path, task, model="sim/deepseek-llm-67b", epochs=4)
        assert log.status == "success" and log.samples
        texts.append([sample.output.completion for sample in log.samples])
    assert texts[0] == texts[1]
    assert len(set(texts[0])) == 4
    usage = log.stats.model_usage["sim/deepseek-llm-67b"]
    assert usage.input_tokens > 0 and usage.output_tokens > 0


def test_inspects_multiple_choice(tmp_path: Path) -> None:
    sample = Sample(input="Who is it?", choices=["me", "you"], target="A")
    log = run_eval(tmp_path, Task(dataset=[sample], solver=multiple_choice()), model="sim/gpt-4o")
    assert log.status == "success" and log.samples
    assert log.samples[0].output.completion.rstrip()[-9:] in ("ANSWER: A", "ANSWER: B")


def test_choices_are_consecutive_draws() -> None:
    async def texts() -> tuple[list[str], str]:
        many = await get_model("sim/gpt-4o").generate(QUESTION, config=GenerateConfig(num_choices=3))
        with set_draw(2, 1):
            third = await get_model("sim/gpt-4o").generate(QUESTION)
        return [choice.message.text for choice in many.choices], third.completion

    many, single = anyio.run(texts)
    assert len(set(many)) == 3 and many[2] == single


def test_log_probabilities_of_the_letter() -> None:
    answers = '<answer model="m">\n\\boxed{6}\n</answer>\n<answer model="M">\n\\boxed{4}\n</answer>'
    prompt = f"Which is better?\n{QUESTION}\n{answers}"

    async def reply() -> Any:
        config = GenerateConfig(logprobs=True, top_logprobs=5, max_tokens=1)
        return (await get_model("sim/gpt-4o").generate(prompt, config=config)).choices[0]

    choice = anyio.run(reply)
    top = choice.logprobs.content[0].top_logprobs
    assert {entry.token for entry in top} == {"m", "M"}
    assert choice.message.text == max(top, key=lambda entry: entry.logprob).token


def test_data_of_ones_own_and_bad_arguments(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"question": "What is the codeword of the day?", "answer": "swordfish"}\n')

    async def reply() -> str:
        output = await get_model("sim/gpt-4o", data=str(file)).generate("What is the codeword of the day?")
        return output.completion

    assert "Final answer: " in anyio.run(reply)
    with pytest.raises(DataError, match=r"absent\.jsonl"):
        get_model("sim/gpt-4o", data=str(tmp_path / "absent.jsonl"))
    with pytest.raises(SimulationError, match="did you mean 'latency'"):
        get_model("sim/gpt-4o", latancy=1)
    with pytest.raises(SimulationError, match="are numbers"):
        get_model("sim/gpt-4o", latency="soon")
    with pytest.raises(SimulationError, match="did you mean 'gpt-4o'"):
        get_model("sim/gpt4o")
    with pytest.raises(SimulationError, match="not one model"):
        get_model("sim/pool")


def test_asked_for_failures_fail_the_sample(tmp_path: Path) -> None:
    task = Task(dataset=[Sample(input=QUESTION, target="6")], solver=generate())
    log = run_eval(tmp_path, task, model="sim/gpt-4o", model_args={"failures": 1})
    assert log.status == "error" and "simulated failure" in str(log.error)
