"""What judging took, from real evals: each call that a scorer sent once, none of the answers', none from a store."""

from pathlib import Path
from typing import Any

import pytest
from fakes.mute_models import MuteModel
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import GenerateConfig, Model, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import includes, model_graded_qa

from archon_eval.models.prices import load_prices
from archon_eval.runs.eval_worker import EvalJob, EvalResult, EvalTask, read_result, run_job
from archon_eval.runs.judge_usage import JudgeUsage, read_judge_usage
from archon_eval.runs.metrics import DECLARED
from archon_eval.scorers.alpaca_eval import alpaca_eval
from archon_eval.scorers.arena_hard import arena_hard
from archon_eval.search.config import TaskSpec
from archon_eval.search.judging import find_declared_calls
from archon_eval.search.questions import load_questions
from archon_eval.solvers.archon import archon

SAMPLES = [
    Sample(id=n, input=f"Why {n}?", target="a", metadata={"instruction": f"Why {n}?", "baseline_output": "Because."})
    for n in range(3)
]
JUDGE = "sim/gpt-4-turbo"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert MuteModel


def run(scorer: Any, judge: Any = JUDGE, *, model: str = "sim/gpt-4o", **args: Any) -> EvalLog:
    solver = archon("single", model, **{"store": "calls.db", **args})
    roles = {"judge": judge, "grader": judge} if judge else None
    task = Task(dataset=SAMPLES, solver=solver, scorer=scorer)
    (log,) = eval(task, model=None, model_roles=roles, display="none", log_dir="logs", fail_on_error=False)
    return log


def read(log: EvalLog) -> JudgeUsage:
    return read_judge_usage(log.samples or (), load_prices())


def speak(text: str, **usage: int) -> Model:
    outputs = [
        ModelOutput.from_content("judge", text).model_copy(update={"usage": ModelUsage(**usage)}) for _ in range(30)
    ]
    return get_model("mockllm/judge", custom_outputs=outputs, config=GenerateConfig(), memoize=False)


@pytest.mark.parametrize("trace", ["full", "calls"])
def test_judges_calls_are_counted_apart_and_those_of_the_store_are_free(trace: str) -> None:
    log = run(arena_hard(), trace=trace)
    first = read(log)
    tokens = log.stats.role_usage["judge"]
    price = load_prices().get_price(JUDGE)
    assert price is not None and (first.calls, first.reused, first.unknown) == (6, 0, "")
    spent = (tokens.input_tokens * price.input + tokens.output_tokens * price.output) / 1e6
    assert first.dollars == pytest.approx(spent) and spent > 0
    assert read(run(arena_hard(), trace=trace)) == JudgeUsage(0, 0.0, 6, "")
    assert read(run(includes())) == JudgeUsage()


def test_a_reminder_and_a_judge_that_gives_no_verdict_are_paid_too() -> None:
    silent = run(alpaca_eval(), speak("I like both.", input_tokens=10, output_tokens=5, total_tokens=15))
    assert all(sample.error for sample in silent.samples or ())
    usage = read(silent)
    assert usage.calls == 6 and usage.dollars is None and usage.unknown == "no price of mockllm/judge"


def test_scorers_from_elsewhere_are_counted_in_any_role_or_in_none() -> None:
    graded = speak("GRADE: C", input_tokens=10, output_tokens=5, total_tokens=15)
    assert read(run(model_graded_qa(model_role="grader"), graded)).calls == 3
    own = read(run(model_graded_qa(model=JUDGE, model_role=None), None))
    assert own.calls == 3 and own.dollars and own.dollars > 0


def test_usage_that_nobody_reports_makes_dollars_unknown_and_no_call() -> None:
    usage = read(run(model_graded_qa(model_role="grader"), speak("GRADE: C", total_tokens=0)))
    assert usage.calls == 3 and usage.dollars is None and usage.unknown == "no usage reported by mockllm/judge"


def test_an_architecture_that_judges_counts_its_own_calls() -> None:
    Path("judge.yaml").write_text(
        "layers: [{generator: [sim/gpt-4o, sim/gpt-4-turbo]}, {fuser: sim/gpt-4-turbo}]\n", encoding="utf-8"
    )
    judge = get_model("archon/judge.yaml", memoize=False, store="judge.db")
    usage = read(run(model_graded_qa(model_role="grader"), judge))
    assert usage.calls == 9 and usage.dollars and usage.reused == 0
    again = get_model("archon/judge.yaml", memoize=False, store="judge.db")
    assert read(run(model_graded_qa(model_role="grader"), again)).calls == 0


def test_a_log_without_events_does_not_say() -> None:
    log = run(alpaca_eval())
    for sample in log.samples or ():
        sample.events = []
    usage = read(log)
    assert (usage.calls, usage.dollars, usage.unknown) == (None, None, "the log holds no model events")
    result = read_result(EvalJob("k", None, EvalTask("t")), log)
    assert (result.judge_calls, result.judge_dollars) == (None, None) and result.judge_unknown == usage.unknown


@pytest.mark.parametrize(
    ("door", "tasks"),
    [
        ("solver", {"alpaca_eval": "alpaca_eval", "mt_bench": "mt_bench_pair", "mixeval": "mixeval"}),
        ("model", {"mt_bench": "mt_bench_pair"}),
    ],
)
def test_a_job_tells_what_its_judges_took_and_scorers_keep_what_they_declare(door: Any, tasks: dict[str, str]) -> None:
    judged = {"alpaca_eval": 1, "arena_hard": 2, "mixeval": 1, "mt_bench_pair": 4, "mt_bench_single": 2}
    assert {name: each.judge_calls for name, each in DECLARED.items() if each.judge_calls} == judged
    given: dict[str, Any] = {"model_roles": (("judge", JUDGE),), "log_dir": "logs", "door": door}
    given |= {"solver_args": (("store", "calls.db"),)}
    for task, scorer in tasks.items():
        spec = TaskSpec(f"archon_eval/{task}", (("sample", True),))
        questions = tuple(load_questions(spec).answers)[:2]
        architecture = {"name": "one", "layers": [{"generator": "sim/gpt-4o"}]}
        result = run_job(EvalJob(f"k@{task}", architecture, spec, questions, **given))
        assert result.error == "" and find_declared_calls(spec) == judged[scorer]
        assert result.judge_calls == 2 * judged[scorer] and result.judge_dollars and result.judge_unknown == ""
        again = run_job(EvalJob(f"again@{task}", architecture, spec, questions, **given))
        assert (again.judge_calls, again.judge_dollars, again.judge_reused) == (0, 0.0, 2 * judged[scorer])


def test_what_a_lost_attempt_had_paid_is_counted() -> None:
    result = EvalResult("k", calls=1, reused=2, dollars=0.1, cost=0.3, judge_calls=2, judge_dollars=0.2, judge_reused=4)
    paid = result.count_reused_as_paid()
    assert (paid.calls, paid.reused, paid.dollars) == (3, 0, 0.3)
    assert (paid.judge_calls, paid.judge_dollars, paid.judge_reused) == (6, pytest.approx(0.6), 0)
    again = EvalResult("k", calls=3, reused=7, dollars=0.3, cost=1.0)
    partly = again.count_reused_as_paid(shared=5)
    assert (partly.calls, partly.reused, partly.dollars) == (5, 5, 0.5)
    nothing_new = EvalResult("k", judge_calls=0, judge_dollars=0.0, judge_reused=4).count_reused_as_paid()
    assert nothing_new.judge_calls == 4 and nothing_new.judge_dollars is None
    assert "lost attempt" in nothing_new.judge_unknown
    unjudged = EvalResult("k", judge_calls=0, judge_dollars=0.0).count_reused_as_paid()
    assert (unjudged.judge_calls, unjudged.judge_dollars, unjudged.judge_unknown) == (0, 0.0, "")
