"""What a plain model thought is no part of what any scorer reads: its provider left `<think>` in the text."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    Model,
    ModelName,
    ModelOutput,
    ModelUsage,
    get_model,
)
from inspect_ai.scorer import Score, Scorer, Target
from inspect_ai.solver import Generate, Solver, TaskState, solver

from archon_eval.scorers._answer import SampleAnswer, extract_answer, read_answer
from archon_eval.scorers.alpaca_eval import alpaca_eval
from archon_eval.scorers.arena_hard import arena_hard
from archon_eval.scorers.choices import letter_answer
from archon_eval.scorers.math import math_answer
from archon_eval.scorers.mixeval import mixeval
from archon_eval.scorers.mt_bench import mt_bench_pair, mt_bench_single
from archon_eval.scorers.programs import programs

SECRET = "a thought"


def make_state(content: Any, stop_reason: Any = "stop", metadata: dict[str, Any] | None = None) -> TaskState:
    output = ModelOutput.from_content("mockllm/model", content, stop_reason=stop_reason)
    name = ModelName("mockllm/model")
    return TaskState(name, "s", 1, "?", messages=[], output=output, metadata=metadata or {})


def grade(scoring: Scorer, reply: str, target: str = "", metadata: dict[str, Any] | None = None) -> Score:
    score = asyncio.run(scoring(make_state(reply, metadata=metadata), Target(target)))  # type: ignore[arg-type]
    assert score is not None
    return score


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<think>A, surely</think>\n\nB", "B"),
        ("A, surely</think>B", "B"),
        ("<think>A, surely", ""),
        ("B", "B"),
        ("Write `<think>A</think>`.", "Write `<think>A</think>`."),
        (
            [ContentReasoning(reasoning="A"), ContentText(text="The tag\n</think>\nends it.")],
            "The tag\n</think>\nends it.",
        ),
        ([ContentReasoning(reasoning="A"), ContentText(text="<think>more</think>B")], "B"),
    ],
)
def test_the_answer_in_a_message(content: Any, text: str) -> None:
    assert extract_answer(ChatMessageAssistant(content=content)) == text
    assert read_answer(make_state(content)) == SampleAnswer(text, is_cut=False)


def test_a_cut_answer_is_known_as_one_and_no_output_is_none() -> None:
    assert read_answer(make_state("<think>A", "max_tokens")) == SampleAnswer("", is_cut=True)
    state = make_state("")
    state.output = ModelOutput()
    assert read_answer(state) == SampleAnswer("", is_cut=False)


def test_an_architectures_answer_has_come_without_thoughts() -> None:
    text = "The template ends it with\n</think>\nand goes on."
    assert read_answer(make_state(text)).text == "and goes on."
    account = {"archon": {"fingerprint": "1"}}
    assert read_answer(make_state(text, metadata=account)).text == text
    state = make_state(text)
    state.output.metadata = account
    assert read_answer(state).text == text


def test_letters() -> None:
    assert grade(letter_answer(), "<think>ANSWER: A</think>I cannot say.", "A").value == "I"
    assert grade(letter_answer(), "ANSWER: B\n</think>\nANSWER: A", "A").value == "C"


def test_maths() -> None:
    assert grade(math_answer(), r"<think>\boxed{5}</think>I cannot say.", "5").value == "I"
    assert grade(math_answer(), r"<think>\boxed{4}</think>\boxed{5}", "5").value == "C"
    thought = grade(math_answer(), r"<think>So it is \boxed{5}", "5")
    assert (thought.value, (thought.metadata or {})["status"]) == ("I", "empty")


WRONG, RIGHT = "```python\nprint(1)\n```", "```python\nprint(2)\n```"


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (f"<think>\n{RIGHT}\n</think>\n\n{WRONG}", "I"),
        (f"<think>\n{RIGHT}\n</think>\n\nI cannot.", "I"),
        (f"<think>\n{WRONG}\n</think>\n\nprint(2)", "C"),
        (f"<think>\n{RIGHT}", "I"),
    ],
)
def test_programs(reply: str, value: str) -> None:
    tests = {"tests": [{"input": "", "output": "2"}]}
    assert grade(programs(sandbox="local", time_factor=10.0, workers=1), reply, metadata=tests).value == value


class Judge:
    """A judge that always says the same and keeps what it was asked."""

    def __init__(self, says: str) -> None:
        self.says = says
        self.asked: list[str] = []

    def model(self) -> Model:
        return get_model("mockllm/judge", custom_outputs=self.answer, memoize=False)

    def answer(self, messages: list[ChatMessage], tools: Any, choice: Any, config: GenerateConfig) -> ModelOutput:
        self.asked.append("\n".join(message.text for message in messages))
        output = ModelOutput.from_content("judge", self.says)
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output


@solver
def think_and_say() -> Solver:
    """Answers each turn, with thoughts in the text."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        for turn in range(len(state.metadata.get("turns", ["?"]))):
            if turn:
                state.messages.append(ChatMessageUser(content=state.metadata["turns"][turn]))
            text = f"<think>{SECRET}</think>\n\nMine {turn}."
            state.messages.append(ChatMessageAssistant(content=text))
            state.output = ModelOutput.from_content("none", text)
        return state

    return solve


PAIR = {"instruction": "Why?", "baseline_output": "Because."}
CHAT = {"turns": ["One?", "Two?"], "baseline_turns": ["base 1", "base 2"], "reference": None}
MIXED = {"question": "Which?", "benchmark": "X"}
FREE = {**MIXED, "part": "free-form", "answers": ["7"]}
CHOICE = {**MIXED, "part": "multiple-choice", "options": ["x", "y"], "correct": [1]}


@pytest.mark.parametrize(
    ("scoring", "metadata", "says", "answer"),
    [
        (arena_hard, PAIR, "[[A>B]]", "Mine 0."),
        (alpaca_eval, PAIR, "m", "Mine 0."),
        (mixeval, FREE, "[[0.5]]", "Mine 0."),
        (mixeval, CHOICE, "[[B]]", "Mine 0."),
        (mt_bench_pair, CHAT, "[[A]]", "Mine 1."),
        (mt_bench_single, CHAT, "[[5]]", "Mine 1."),
    ],
)
def test_judges_see_no_thoughts(
    scoring: Callable[[], Scorer], metadata: dict[str, Any], says: str, answer: str, tmp_path: Path
) -> None:
    judge = Judge(says)
    task = Task([Sample("?", id="q", metadata=metadata)], solver=think_and_say(), scorer=scoring())
    log: EvalLog
    (log,) = eval(
        task, model="mockllm/model", model_roles={"judge": judge.model()}, display="none", log_dir=str(tmp_path)
    )
    assert log.status == "success", log.error
    assert judge.asked and all("Mine" in text and SECRET not in text and "think>" not in text for text in judge.asked)
    assert log.samples and log.samples[0].scores
    (score,) = log.samples[0].scores.values()
    assert score.answer == answer
    if scoring is alpaca_eval:
        assert (score.metadata or {})["length"] == len("Mine 0.")
