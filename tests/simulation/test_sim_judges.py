"""The pool as a judge: it reads the prompts of the judged benchmarks, own and official, and tells good from bad."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest

from archon_eval.scorers import alpaca_eval, arena_hard, mixeval, mt_bench
from archon_eval.scorers._judge import JudgeReply
from archon_eval.scorers._judge_prompts import JudgePrompt, read_prompts
from archon_eval.simulation.check import make_question
from archon_eval.simulation.prompt_recognition import BASELINE_QUALITY, QUALITY_MARK
from archon_eval.simulation.questions import QuestionBank, SimulatedQuestion
from archon_eval.simulation.reply_writers import FORMAT_ERROR_RATE
from archon_eval.simulation.simulator import Simulator
from archon_eval.simulation.skills import get_generation_accuracy
from archon_eval.types import Message

JUDGE = "gpt-4-turbo"
PLAIN = "An answer of the baseline, which shows no quality."


def make_pool(family: str, count: int = 300) -> Simulator:
    return Simulator(QuestionBank([make_question(family, number) for number in range(count)]))


def ask_judge(pool: Simulator, prompt: JudgePrompt, **fields: str) -> JudgeReply:
    messages = tuple(Message(m.role, m.text) for m in prompt.render(**fields))  # type: ignore[arg-type]
    reply = pool.reply(JUDGE, messages)
    return JudgeReply(reply.text, reply.letter_logprobs or None)


def make_answer(quality: float) -> str:
    return f"Some words.\n\n{QUALITY_MARK}{BASELINE_QUALITY + quality:.2f}]"


def assert_wins_rise(share: Callable[[float], float]) -> None:
    shares = [share(quality) for quality in (-2.0, -0.5, 0.5, 2.0)]
    assert all(low < high for low, high in pairwise(shares)), shares
    assert shares[0] < 0.2 and shares[-1] > 0.8, shares


@pytest.mark.parametrize("switched", [False, True])
def test_alpaca_letters_have_probabilities(switched: bool) -> None:
    pool, prompt = make_pool("alpaca", 100), alpaca_eval.load_judge_prompt()

    def prefer(question: SimulatedQuestion, text: str) -> float:
        pair = (text, PLAIN) if switched else (PLAIN, text)
        reply = ask_judge(pool, prompt, instruction=question.turns[0], output_1=pair[0], output_2=pair[1])
        assert reply.text in ("m", "M")
        return alpaca_eval.parse_preference(reply, switched) - 1

    assert_wins_rise(lambda quality: fmean(prefer(q, make_answer(quality)) for q in pool.known.questions))


def test_own_alpaca_prompt_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alpaca_eval, "find_spec", lambda name: None)
    pool, prompt = make_pool("alpaca", 1), alpaca_eval.load_judge_prompt()
    assert prompt.source == "archon_eval"
    reply = ask_judge(
        pool, prompt, instruction=pool.known.questions[0].turns[0], output_1=PLAIN, output_2=make_answer(4)
    )
    assert reply.text == "M"


def test_alpaca_win_rate_is_the_published_one() -> None:
    pool, prompt = make_pool("alpaca", 400), alpaca_eval.load_judge_prompt()
    for model in ("gpt-4o", "deepseek-llm-67b"):
        wins = []
        for question in pool.known.questions:
            text = pool.reply(model, (Message("user", question.turns[0]),)).text
            reply = ask_judge(pool, prompt, instruction=question.turns[0], output_1=PLAIN, output_2=text)
            wins.append(alpaca_eval.parse_preference(reply, False) - 1)
        assert fmean(wins) == pytest.approx(get_generation_accuracy(model, "alpaca"), abs=0.06)


def test_arena_hard_verdicts() -> None:
    pool, prompt = make_pool("arena_hard", 100), arena_hard.load_judge_prompt()

    def measure_wins(quality: float) -> float:
        points: list[float] = []
        for q in pool.known.questions:
            for game, (a, b) in enumerate(((PLAIN, make_answer(quality)), (make_answer(quality), PLAIN)), 1):
                reply = ask_judge(pool, prompt, question_1=q.turns[0], answer_1=a, answer_2=b)
                points += arena_hard.score_game(game, arena_hard.parse_verdict(reply))
        return fmean(points)

    assert_wins_rise(measure_wins)


def build_mt_fields(question: str, first: Sequence[str], second: Sequence[str]) -> dict[str, str]:
    return {
        "question": question,
        "question_1": "Say hello.",
        "question_2": question,
        "ref_answer_1": "A reference.",
        "ref_answer_2": "Another reference.",
        **{"answer_a": first[1], "answer_b": second[1], "answer": first[1]},
        **{"answer_a_1": first[0], "answer_a_2": first[1], "answer_b_1": second[0], "answer_b_2": second[1]},
        **{"answer_1": first[0], "answer_2": first[1]},
    }


def check_mt_bench_prompts(path: str | None) -> None:
    names = (*mt_bench.PAIR_PROMPTS, *mt_bench.SINGLE_PROMPTS)
    prompts, pool = read_prompts(path, "mt_bench.jsonl", names), make_pool("mt_bench", 60)

    def measure_wins(name: str, quality: float) -> float:
        ours, theirs = (make_answer(-9), make_answer(quality)), (PLAIN, PLAIN)
        replies = [
            ask_judge(pool, prompts[name], **build_mt_fields(q.turns[0], ours, theirs)) for q in pool.known.questions
        ]
        return fmean({"A": 1.0, "C": 0.5, "B": 0.0}[mt_bench.parse_pair_verdict(reply)] for reply in replies)

    def measure_rating(name: str, quality: float) -> float:
        fields = [
            build_mt_fields(q.turns[0], (make_answer(-9), make_answer(quality)), (PLAIN, PLAIN))
            for q in pool.known.questions
        ]
        return fmean(mt_bench.parse_rating(ask_judge(pool, prompts[name], **values)) for values in fields)

    for name in mt_bench.PAIR_PROMPTS:
        assert measure_wins(name, -2) < 0.2 < 0.8 < measure_wins(name, 2), name
    for name in mt_bench.SINGLE_PROMPTS:
        assert measure_rating(name, -2) + 1 < measure_rating(name, 2), name


def test_mt_bench_own_prompts() -> None:
    check_mt_bench_prompts(None)


def test_mt_bench_official_prompts(shared_data: Path) -> None:
    check_mt_bench_prompts(str(shared_data / "mt_bench" / "judge_prompts.jsonl"))


def test_mixeval_grader_and_option_reader() -> None:
    prompts, pool = read_prompts(None, "mixeval.jsonl", mixeval.PARTS), make_pool("mixeval", 200)
    scores: dict[bool, list[float]] = {True: [], False: []}
    for q in pool.known.questions:
        for right in (True, False):
            response = f"It follows.\n\nFinal answer: {(q.right if right else q.wrong)[0]}"
            fields = {"question": q.turns[0], "answers": f"1. {q.right[0]}", "response": response}
            scores[right].append(mixeval.parse_score(ask_judge(pool, prompts["free-form"], **fields)))
    assert fmean(scores[True]) == pytest.approx(1 - FORMAT_ERROR_RATE, abs=0.04)
    assert fmean(scores[False]) == pytest.approx(FORMAT_ERROR_RATE, abs=0.04)
    fields = {"question": "Which?", "options": "A. this\nB. that", "response": "Some words.\n\nANSWER: B"}
    assert mixeval.parse_option(ask_judge(pool, prompts["multiple-choice"], **fields)) == "B"


def test_inspect_grades() -> None:
    from inspect_ai.scorer._model import DEFAULT_MODEL_GRADED_QA_TEMPLATE, default_instructions

    pool = make_pool("mixeval", 100)
    marks: dict[bool, list[bool]] = {True: [], False: []}
    for q in pool.known.questions:
        for right in (True, False):
            text = DEFAULT_MODEL_GRADED_QA_TEMPLATE.format(
                question=q.turns[0],
                answer=f"Final answer: {(q.right if right else q.wrong)[0]}",
                criterion=q.right[0],
                instructions=default_instructions(False),
            )
            marks[right].append(pool.reply(JUDGE, (Message("user", text),)).text.endswith("GRADE: C"))
    assert fmean(marks[True]) > 0.9 and fmean(marks[False]) < 0.1
