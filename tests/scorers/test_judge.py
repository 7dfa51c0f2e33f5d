"""The judged scorers in real Inspect evals, with a scripted judge that counts its calls."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from inspect_ai import Task, eval, score
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    GenerateConfig,
    Logprob,
    Logprobs,
    Model,
    ModelOutput,
    ModelUsage,
    TopLogprob,
    get_model,
)
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import LimitExceededError

from archon_eval.errors import DataError, JudgeError
from archon_eval.scorers._judge import gather, needs_judge
from archon_eval.scorers.alpaca_eval import alpaca_eval
from archon_eval.scorers.arena_hard import arena_hard
from archon_eval.scorers.mixeval import mixeval
from archon_eval.scorers.mt_bench import mt_bench_pair, mt_bench_single

Says = Callable[[list[ChatMessage]], str | ModelOutput]


class ScriptedJudge:
    """A judge that says what a function of the messages tells it to; keeps what it was asked and how."""

    def __init__(self, says: Says) -> None:
        self.says = says
        self.asked: list[tuple[list[ChatMessage], GenerateConfig]] = []

    def model(self, **config: Any) -> Model:
        return get_model("mockllm/judge", custom_outputs=self.answer, config=GenerateConfig(**config), memoize=False)

    def answer(self, messages: list[ChatMessage], tools: Any, choice: Any, config: GenerateConfig) -> ModelOutput:
        self.asked.append((messages, config))
        said = self.says(messages)
        output = ModelOutput.from_content("judge", said) if isinstance(said, str) else said
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output


@solver
def say(*answers: str) -> Solver:
    """Answers the sample with fixed texts; the second after asking the second turn."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        for number, answer in enumerate(answers):
            if number:
                state.messages.append(ChatMessageUser(content=state.metadata["turns"][number]))
            state.messages.append(ChatMessageAssistant(content=answer))
            state.output = ModelOutput.from_content("none", answer)
        return state

    return solve


PAIR = Sample(id="q1", input="Why?", metadata={"instruction": "Why?", "baseline_output": "Because.", "index": None})
CHAT = Sample(
    id="q1",
    input="One?",
    metadata={"turns": ["One?", "Two?"], "baseline_turns": ["base 1", "base 2"], "reference": None},
)


def run(
    judge: ScriptedJudge | None,
    scoring: Scorer,
    sample: Sample = PAIR,
    answers: tuple[str, ...] = ("Mine.",),
    config: dict[str, Any] | None = None,
    **options: Any,
) -> EvalLog:
    task = Task(dataset=[sample], solver=say(*answers), scorer=scoring, setup=options.pop("setup", None))
    roles = {"judge": judge.model(**(config or {}))} if judge else None
    main = options.pop("main", "mockllm/model")
    (log,) = eval(task, model=main, model_roles=roles, display="none", log_dir="memory://judging", **options)
    return log


def figures(log: EvalLog) -> dict[str, float]:
    assert log.status == "success", log.error
    assert log.results
    return {name: m.value for name, m in log.results.scores[-1].metrics.items()}


def metadata(log: EvalLog, name: str) -> dict[str, Any]:
    assert log.samples and log.samples[0].scores
    return log.samples[0].scores[name].metadata or {}


def for_mine(a: str, b: str) -> Says:
    """`a` if the answer under test is shown first, else `b`."""
    return lambda messages: a if messages[-1].text.index("Mine.") < messages[-1].text.index("Because.") else b


def test_arena_hard_plays_both_sides() -> None:
    judge = ScriptedJudge(for_mine("[[A>>B]]", "[[B>A]]"))
    log = run(judge, arena_hard())
    assert figures(log)["win_rate"] == 100
    kept = metadata(log, "arena_hard")
    assert [game["rows"] for game in kept["games"]] == [[1.0], [1.0, 1.0, 1.0]]
    assert kept["prompt"]["source"] == "archon_eval"
    assert [r["judge"] for r in kept["judgments"]] == ["mockllm/judge"] * 2
    assert len(judge.asked) == 2
    assert (judge.asked[0][1].temperature, judge.asked[0][1].max_tokens) == (0, 4096)


def test_what_the_role_is_bound_with_goes_before_the_protocol() -> None:
    judge = ScriptedJudge(for_mine("[[A>B]]", "[[B>A]]"))
    figures(run(judge, arena_hard(), config={"temperature": 0.3}))
    assert (judge.asked[0][1].temperature, judge.asked[0][1].max_tokens) == (0.3, 4096)


def test_a_reply_without_verdict_is_asked_again_once() -> None:
    judge = ScriptedJudge(lambda messages: "Hard to say." if len(messages) == 2 else "[[A=B]]")
    log = run(judge, arena_hard())
    assert figures(log)["win_rate"] == 50
    assert len(judge.asked) == 4
    again = judge.asked[-1][0]
    assert [m.role for m in again] == ["system", "user", "assistant", "user"] and "[[A>>B]]" in again[-1].text
    assert [r["text"] for r in metadata(log, "arena_hard")["judgments"][0]["replies"]] == ["Hard to say.", "[[A=B]]"]


def test_a_judges_cut_reply_is_no_verdict() -> None:
    def cut(messages: list[ChatMessage]) -> ModelOutput:
        return ModelOutput.from_content("judge", "[[A>B]] would be too", "max_tokens")

    judge = ScriptedJudge(lambda messages: cut(messages) if len(messages) == 2 else "[[A=B]]")
    log = run(judge, arena_hard())
    assert figures(log)["win_rate"] == 50 and len(judge.asked) == 4
    replies = metadata(log, "arena_hard")["judgments"][0]["replies"]
    assert replies == [{"text": "[[A>B]] would be too", "cut": True}, {"text": "[[A=B]]"}]
    judge = ScriptedJudge(cut)
    again = score(log, arena_hard(), model_roles={"judge": judge.model()}, display="none", action="overwrite")
    assert figures(again)["win_rate"] == 50 and not judge.asked, "stored replies say that they were cut"


def test_a_judges_thoughts_hold_no_verdict() -> None:
    judge = ScriptedJudge(lambda messages: "<think>[[A>>B]]?</think>My verdict: [[A=B]]")
    assert figures(run(judge, arena_hard()))["win_rate"] == 50 and len(judge.asked) == 2


@pytest.mark.parametrize("says", ["Hard to say.", "", "[[A>B]] or [[B>A]]"])
def test_no_verdict_is_an_error_never_a_score(says: str) -> None:
    judge = ScriptedJudge(lambda messages: says)
    log = run(judge, arena_hard())
    assert log.status == "error" and log.error
    assert "JudgeError" in log.error.traceback and "mockllm/judge gave no verdict in 2 replies" in log.error.message
    assert 2 <= len(judge.asked) <= 4


def test_an_unbound_judge_is_an_error_unless_allowed() -> None:
    log = run(None, arena_hard())
    assert log.status == "error" and log.error and "--model-role judge=" in log.error.message
    log = run(None, arena_hard(), setup=needs_judge())
    assert log.samples and not any(isinstance(m, ChatMessageAssistant) for m in log.samples[0].messages)
    main = ScriptedJudge(for_mine("[[A>B]]", "[[B>A]]"))
    log = run(None, arena_hard(allow_main_model=True), main=main.model(temperature=0.9))
    assert figures(log)["win_rate"] == 100
    assert main.asked[0][1].temperature == 0  # judging keeps to the protocol


def test_alpaca_eval_reads_log_probabilities() -> None:
    def says(messages: list[ChatMessage]) -> ModelOutput:
        mine_first = messages[-1].text.index("Mine.") < messages[-1].text.index("Because.")
        tokens = ("m", "M") if mine_first else ("M", "m")
        top = [TopLogprob(token=tokens[0], logprob=-0.5), TopLogprob(token=tokens[1], logprob=-1.5)]
        logprobs = Logprobs(content=[Logprob(token=tokens[1], logprob=-1.5, top_logprobs=top)])
        choice = ChatCompletionChoice(message=ChatMessageAssistant(content=tokens[1]), logprobs=logprobs)
        return ModelOutput(model="judge", choices=[choice])

    judge = ScriptedJudge(says)
    log = run(judge, alpaca_eval())
    assert figures(log)["win_rate"] == pytest.approx(100 / (1 + 2.718281828**-1))
    config = judge.asked[0][1]
    assert (config.temperature, config.max_tokens, config.logprobs, config.top_logprobs) == (1, 1, True, 5)
    assert metadata(log, "alpaca_eval")["graded_by"] == "log probabilities"
    assert "length_controlled_winrate" not in figures(log)  # not an official instruction
    again = score(log, alpaca_eval(judge_cache="only"), display="none")
    assert figures(again) == figures(log) and len(judge.asked) == 1


def test_alpaca_eval_falls_back_to_the_token_and_asks_nothing_of_equal_answers() -> None:
    judge = ScriptedJudge(for_mine("m", "M"))
    log = run(judge, alpaca_eval())
    assert figures(log)["win_rate"] == 100
    assert "top_logprobs" not in metadata(log, "alpaca_eval")["judgments"][0]["replies"][0]
    assert metadata(log, "alpaca_eval")["graded_by"] == "token"
    same = run(judge, alpaca_eval(), answers=("Because.",))
    assert figures(same)["win_rate"] == 50 and len(judge.asked) == 1


def test_mt_bench_pair_and_single() -> None:
    def says(messages: list[ChatMessage]) -> str:
        text = messages[-1].text
        if "base" not in text:
            return "[[9]]" if "Two?" not in text else "[[4]]"
        return "[[A]]" if "Two?" not in text or text.index("mine 1") < text.index("base 1") else "[[B]]"

    judge = ScriptedJudge(says)
    pair = run(judge, mt_bench_pair(), CHAT, ("mine 1", "mine 2"))
    assert metadata(pair, "mt_bench_pair")["outcomes"] == [0.5, 1.0]  # "A" both times is a tie
    assert figures(pair)["win_rate_adjusted"] == 0.75 and len(judge.asked) == 4
    single = run(judge, mt_bench_single(), CHAT, ("mine 1", "mine 2"))
    assert (figures(single)["turn_1"], figures(single)["turn_2"], figures(single)["average"]) == (9, 4, 6.5)


def test_mt_bench_with_one_answered_turn_is_an_error() -> None:
    log = run(ScriptedJudge(lambda m: "[[9]]"), mt_bench_single(), CHAT, ("mine 1",))
    assert log.status == "error" and log.error and "two answered turns" in log.error.message


def test_mixeval_parts() -> None:
    judge = ScriptedJudge(lambda messages: "[[B]]" if "options" in messages[-1].text else "[[0.5]]")
    shared = {"question": "Which?"}
    choice = {"part": "multiple-choice", "benchmark": "MMLU", "options": ["x", "y"], "correct": [1]}
    task = Task(
        dataset=[
            Sample(
                id="f", input="Which?", metadata=shared | {"part": "free-form", "benchmark": "DROP", "answers": ["7"]}
            ),
            Sample(id="m", input="Which?", metadata=shared | choice),
        ],
        solver=say("Mine."),
        scorer=mixeval(),
    )
    (log,) = eval(
        task,
        model="mockllm/model",
        model_roles={"judge": judge.model()},
        display="none",
        log_dir="memory://judging",
        epochs=2,
    )
    assert figures(log)["overall"] == 0.75
    assert figures(log)["multiple-choice/MMLU"] == 1 and figures(log)["free-form/DROP"] == 0.5
    assert "stderr" not in figures(log)  # one question in each part, however often it is asked


@pytest.mark.parametrize("action", ["append", "overwrite"])
def test_scoring_again_uses_stored_judgments(action: Any, tmp_path: Path) -> None:
    judge = ScriptedJudge(for_mine("[[A>B]]", "[[B>>A]]"))
    log = run(judge, arena_hard(), epochs=2)
    assert len(judge.asked) == 4
    silent = ScriptedJudge(lambda messages: "")
    again = score(log, arena_hard(judge_cache="only"), action=action, display="none")
    assert figures(again) == figures(log)
    prompt = tmp_path / "judge_config.yaml"
    prompt.write_text("system_prompt: Other.\nprompt_template: ['{question_1} {answer_1} {answer_2}']")
    other = arena_hard(judge_prompts=str(prompt), judge_cache="only")
    assert figures(score(log, other, action=action, display="none")) == figures(log)  # only: whatever the prompt
    fresh = ScriptedJudge(for_mine("[[B>A]]", "[[A>B]]"))
    for scoring in (arena_hard(), arena_hard(judge_cache="never"), arena_hard(judge_prompts=str(prompt))):
        assert figures(score(log, scoring, model_roles={"judge": fresh.model()}, action=action, display="none"))[
            "win_rate"
        ] in (0, 100)
    assert len(silent.asked) == 0 and len(fresh.asked) == 8  # the first reused: same judge, same prompt


def test_only_stored_judgments_without_any_is_an_error() -> None:
    judge = ScriptedJudge(for_mine("[[A>B]]", "[[B>A]]"))
    log = run(judge, arena_hard(judge_cache="only"))
    assert log.error and "no stored judgment" in log.error.message and not judge.asked
    with pytest.raises(DataError, match="did you mean 'only'"):
        arena_hard(judge_cache="onyl")


def test_of_two_failing_games_a_limit_is_told_first() -> None:
    both = anyio.Event()

    async def game(error: Exception) -> None:
        if isinstance(error, JudgeError):
            both.set()
        else:
            await both.wait()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.01)
        raise error

    async def main() -> None:
        await gather(game(JudgeError("no verdict")), game(LimitExceededError("token", value=2, limit=1)))

    with pytest.raises(LimitExceededError):
        anyio.run(main)
