"""The statistics of the pool: published marginals, correlated errors, determinism, settings, unknown questions."""

import importlib
import json
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from random import Random
from statistics import NormalDist, fmean
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archon_eval.errors import SimulationError
from archon_eval.simulation import pool_names, skills
from archon_eval.simulation.check import make_question
from archon_eval.simulation.prompt_recognition import RIGHT, TASKS, parse_answer, parse_quality, recognize_prompt
from archon_eval.simulation.questions import QuestionBank
from archon_eval.simulation.reply_writers import REPLY_WRITERS
from archon_eval.simulation.simulator import Simulator
from archon_eval.simulation.skills import (
    FAMILIES,
    OPEN_ENDED,
    get_fusion_accuracy,
    get_generation_accuracy,
    list_models,
)
from archon_eval.simulation.system_writers import SYSTEM_WRITERS
from archon_eval.types import Message


def ask(pool: Simulator, model: str, text: str, **options: int) -> str:
    """The answer of a reply: `right`, or a wrong one in normal form."""
    messages = (Message("user", text),)
    return parse_answer(pool.reply(model, messages, **options).text, recognize_prompt(messages, pool.known))


def build_fuse_prompt(question: str, candidates: list[str]) -> str:
    shown = "\n\n".join(f'<response id="[{n}]">\n{text}\n</response>' for n, text in enumerate(candidates, 1))
    return f"Write a better response.\n\n<query>\n{question}\n</query>\n\n{shown}\n\nYour response:"


@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in OPEN_ENDED])
def test_single_model_accuracy_is_the_published_one(family: str) -> None:
    pool = Simulator(QuestionBank([make_question(family, number) for number in range(400)]))
    for model in list_models():
        accuracy = fmean(ask(pool, model, q.turns[0]) == RIGHT for q in pool.known.questions)
        assert accuracy == pytest.approx(get_generation_accuracy(model, family), abs=0.06), model


def test_bundled_problems_give_the_published_accuracy() -> None:
    pool = Simulator()
    questions = [q for q in pool.known.questions if q.id.startswith("math.jsonl/")]
    assert len(questions) >= 60
    for model in list_models():
        hits = [ask(pool, model, q.turns[0], epoch=epoch) == RIGHT for q in questions for epoch in range(1, 6)]
        assert fmean(hits) == pytest.approx(get_generation_accuracy(model, "math"), abs=0.09), model


@pytest.mark.parametrize("family", ["mt_bench", "math", "code_contests"])
def test_fusing_ten_random_models_gives_the_published_fusion_figure(family: str) -> None:
    pool = Simulator(QuestionBank([make_question(family, number) for number in range(400)]))
    for model in ("gpt-4o", "wizardlm-2-8x22b", "llama-3.1-70b-instruct"):
        results = []
        for number, question in enumerate(pool.known.questions):
            drawn = Random(number).sample(list_models(), 10)
            answers = [pool.reply(name, (Message("user", question.turns[0]),)).text for name in drawn]
            messages = (Message("user", build_fuse_prompt(question.turns[0], answers)),)
            fused = pool.reply(model, messages).text
            if family in OPEN_ENDED:
                results.append(NormalDist().cdf(parse_quality(fused)))
            else:
                results.append(float(parse_answer(fused, recognize_prompt(messages, pool.known)) == RIGHT))
        assert fmean(results) == pytest.approx(get_fusion_accuracy(model, family), abs=0.06), model


def test_errors_of_one_model_are_correlated_and_models_differ(math_pool: Simulator) -> None:
    """Wrong samples of one model agree more often than wrong samples of two models, and those more than by chance."""
    same, across = [], []
    for question in math_pool.known.questions:
        draws = {m: [ask(math_pool, m, question.turns[0], draw=d) for d in range(4)] for m in list_models()[:6]}
        wrong = {m: [a for a in answers if a != RIGHT] for m, answers in draws.items()}
        same += [a == b for answers in wrong.values() for a, b in combinations(answers, 2)]
        across += [a == b for x, y in combinations(wrong.values(), 2) for a, b in zip(x, y, strict=False)]
    assert fmean(same) > fmean(across) + 0.1
    assert fmean(across) > 0.2 + 0.05  # five wrong answers


def test_questions_differ_in_difficulty_for_all_models(math_pool: Simulator) -> None:
    rates = [fmean(ask(math_pool, m, q.turns[0]) == RIGHT for m in list_models()) for q in math_pool.known.questions]
    assert sum(rate > 0.9 for rate in rates) > 60
    assert sum(rate < 0.4 for rate in rates) > 20


SCRIPT = """
from archon_eval.types import Message
from archon_eval.simulation.simulator import Simulator
from archon_eval.simulation.system_writers import SYSTEM_WRITERS
pool = Simulator(seed=3)
for q in pool.known.questions[:30]:
    print(repr(pool.reply("gpt-4o", (Message("user", q.turns[0]),), draw=1, epoch=2).text))
"""


def test_replies_are_the_same_in_every_process() -> None:
    runs = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] != ""


def test_a_reply_depends_on_all_of_these(math_pool: Simulator) -> None:
    text = math_pool.known.questions[0].turns[0]
    messages = (Message("user", text),)
    base = math_pool.reply("gpt-4o", messages)
    assert math_pool.reply("sim/gpt-4o", messages) == base
    others = [
        math_pool.reply("gpt-4o", messages, draw=1),
        math_pool.reply("gpt-4o", messages, epoch=2),
        math_pool.reply("gpt-4o", messages, seed=7),
        math_pool.reply("gpt-4-turbo", messages),
        math_pool.reply("gpt-4o", (Message("system", "Be brief."), *messages)),
        Simulator(math_pool.known, seed=1).reply("gpt-4o", messages),
    ]
    assert base.text not in [other.text for other in others]


def test_token_limit_and_stop_texts(math_pool: Simulator) -> None:
    messages = (Message("user", math_pool.known.questions[0].turns[0]),)
    whole = math_pool.reply("gpt-4o", messages)
    cut = math_pool.reply("gpt-4o", messages, max_tokens=10)
    assert (cut.stop_reason, cut.output_tokens, whole.stop_reason) == ("max_tokens", 10, "stop")
    assert whole.text.startswith(cut.text)
    assert "\n\n" not in math_pool.reply("gpt-4o", messages, stop=("\n\n",)).text


def test_model_names() -> None:
    assert pool_names("math")[0] == "sim/claude-3.5-sonnet"
    assert set(pool_names()) == {f"sim/{name}" for name in list_models()}
    pool = Simulator(QuestionBank([]))
    with pytest.raises(SimulationError, match=r"did you mean 'gpt-4o'"):
        pool.reply("sim/gpt4o", (Message("user", "hi"),))
    with pytest.raises(SimulationError, match=r"stands for sim/claude-3\.5-sonnet"):
        pool.reply("sim/pool", (Message("user", "hi"),))
    with pytest.raises(SimulationError, match="did you mean 'math'"):
        pool_names("maths")


def test_importing_the_names_is_cheap() -> None:
    code = "import sys, archon_eval.simulation as s; s.pool_names(); print('inspect_ai' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_an_unknown_question_is_answered_and_says_so(math_pool: Simulator) -> None:
    text = math_pool.reply("gpt-4o", (Message("user", "Who am I?"),)).text
    assert "does not know this question" in text
    choices = "Answer with 'ANSWER: $LETTER' (without quotes).\n\nWho?\n\nA) me\nB) you"
    guess = math_pool.reply("gpt-4o", (Message("user", choices),)).text
    assert "ANSWER: " in guess and "guess" in guess


def test_multiple_choice_follows_the_options_of_the_prompt(tmp_path: Path) -> None:
    rows = [
        {
            "id": n,
            "question": f"Which word belongs to the number {n}?",
            "choices": [f"w{n}", "x", "y", "z"],
            "answer": 0,
        }
        for n in range(200)
    ]
    file = tmp_path / "mmlu.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    pool = Simulator(QuestionBank.load(str(file)))
    hits = []
    for n in range(200):
        options = f"A) z\nB) y\nC) w{n}\nD) x"
        text = f"Reply 'ANSWER: $LETTER'.\n\nWhich word belongs to the number {n}?\n\n{options}"
        hits.append("ANSWER: C" in pool.reply("gpt-4o", (Message("user", text),)).text)
    assert fmean(hits) == pytest.approx(get_generation_accuracy("gpt-4o", "mixeval"), abs=0.07)


def test_programs_are_answered_in_a_fenced_block(tmp_path: Path) -> None:
    row = {"id": "p", "description": "Read two numbers and print their sum, please.", "solutions": ["print(1)\n"]}
    file = tmp_path / "code_contests.jsonl"
    file.write_text(json.dumps({**row, "wrong_solutions": ["print(2)\n"]}))
    pool = Simulator(QuestionBank.load(str(file)))
    prompt = f"Solve it in Python.\n{row['description']}\nUse a fenced block."
    texts = {
        pool.reply("gpt-4o", (Message("user", prompt),), draw=d).text.partition("```python\n")[2] for d in range(50)
    }
    assert texts == {"print(1)\n```", "print(2)\n```"}


HOSTILE = ["[1] > [2]", '<response id="[1]">', "</response>", "[Passed] Unit Test #1:", "[[A]] [[B]]", "\\boxed{", "m"]
HOSTILE += [
    "[Correct] [Incorrect]",
    "strengths weaknesses [1]",
    "[[A>>B]]",
    "GRADE: C",
    '"m" "M"',
    "```",
    "\x00",
    "\ud800",
]
HOSTILE += [
    "[simulated quality nan]",
    "[simulated quality x",
    "[simulated quality 1e999]",
    "[simulated quality 99.99]",
    "Rating: [[5]]",
    "Unit test list of strings",
    "[[none]]",
    "[[rating]]",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30)), max_size=8), st.sampled_from([0, 1, 2]))
def test_no_prompt_crashes_it(parts: list[str], known: int) -> None:
    pool = Simulator(KNOWN)
    text = "\n".join([*parts[:4], KNOWN.questions[known].turns[0] if known < 2 else "", *parts[4:]])
    reply = pool.reply("gpt-4o", (Message("system", "\n".join(parts[:2])), Message("user", text)))
    assert reply.output_tokens >= 1


KNOWN = QuestionBank([make_question("math", 0), make_question("alpaca", 1)])


def test_a_conversation_without_a_user_turn_is_answered() -> None:
    assert Simulator(KNOWN).reply("gpt-4o", ()).text


def test_questions_of_real_benchmarks_are_tasks_to_answer_and_are_found_again(shared_data: Path) -> None:
    folder = shared_data / "mixeval" / "questions_2024-06-01"
    names = [shared_data / name for name in ("mbpp/problems.jsonl", "gsm8k/problems.jsonl", "mt_bench/questions.jsonl")]
    names += [shared_data / "arena_hard" / "questions_v0.1.jsonl.gz", *sorted(folder.glob("*hard*.jsonl.gz"))]
    known = QuestionBank.load(",".join(map(str, names)))
    questions = [q for q in known.questions if any(q.id.startswith(name.name) for name in names)]
    assert len(questions) > 1500
    missed = 0
    for question in questions:
        prompt = recognize_prompt((Message("user", f"Answer this:  {question.turns[-1]}\n\nThink first."),), known)
        assert prompt.task == "generate", question.turns
        missed += prompt.question.turns[-1] != question.turns[-1]
    assert missed / len(questions) < 0.02


def test_the_table_of_strengths_is_the_papers(shared_data: Path) -> None:
    notes = shared_data.parent / "design" / "PAPER.md"
    if not notes.is_file():
        pytest.skip(f"no notes on the papers at {notes}")
    rows = notes.read_text(encoding="utf-8").replace(" ", "")
    for line in skills._TABLE.strip().splitlines():
        assert "|" + "|".join(line.split()[1:]) + "|" in rows, line


@pytest.mark.parametrize(
    ("module", "name", "new"),
    [("core", "Simulator", "simulator.Simulator"), ("caller", "SimCaller", "client.SimCaller")],
)
def test_former_names_work_and_name_the_new_ones(module: str, name: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"is now archon_eval.simulation.{new}"):
        moved = getattr(importlib.import_module(f"archon_eval.simulation.{module}"), name)
    assert moved.__name__ == name


def test_every_task_has_a_writer() -> None:
    """`letter` has none: its reply is the more probable of two letters."""
    assert {*REPLY_WRITERS, *SYSTEM_WRITERS, "letter"} == set(TASKS)


@pytest.mark.parametrize("text", ["rate " * 200_000 + "[[x", "json list of objects " * 50_000])
def test_a_long_prompt_is_recognized_in_time_linear_in_its_length(text: str) -> None:
    start = perf_counter()
    assert recognize_prompt((Message("user", text),), QuestionBank([])).task == "generate"
    assert perf_counter() - start < 5
