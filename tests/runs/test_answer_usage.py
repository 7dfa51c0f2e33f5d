"""What answers took, by the logs that real evals of simulated models leave: of any solver, any door, any models."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from fakes import mute_models  # noqa: F401, the provider `mute`
from inspect_ai import Task, eval, score
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.model import ChatMessageUser, GenerateConfig, Model, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Score, Scorer, Target, accuracy, match, model_graded_qa, scorer
from inspect_ai.scorer import score as score_in_solver
from inspect_ai.solver import Generate, Solver, TaskState, generate, self_critique, solver

from archon_eval import Archon
from archon_eval.models.prices import load_prices
from archon_eval.models.replies import to_usage
from archon_eval.runs.account import ACCOUNT_SOURCE
from archon_eval.runs.benchmark_run import COST_NAMES, Run, merge_runs
from archon_eval.runs.layer_health import RunHealth
from archon_eval.runs.read_log import read_run
from archon_eval.solvers import archon

BIG, SMALL, OTHER = "sim/gpt-4o", "sim/qwen2-72b-instruct", "sim/wizardlm-2-8x22b"
QUESTIONS = [Sample(f"What is {n} + {n}?", target=str(2 * n), id=f"q{n}") for n in range(3)]
FUSED: dict[str, Any] = {"name": "fused", "layers": [{"generator": [BIG, SMALL]}, {"fuser": BIG}]}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


@scorer(metrics=[accuracy()])
def right() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=1)

    return score


@scorer(metrics=[accuracy()])
def asks(model: str = "", role: str = "") -> Scorer:
    """A judge without a prompt of its own."""

    async def score(state: TaskState, target: Target) -> Score:
        judge = get_model(role=role) if role else get_model(model or None)
        await judge.generate(f"Is this right? {state.output.completion}")
        return Score(value=1)

    return score


@solver
def debate(*models: str | Model, role: str = "") -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        for model in models:
            state.output = await get_model(model).generate(state.messages)
            state.messages += [state.output.message, ChatMessageUser(content="What do you say to that?")]
        if role:
            await get_model(role=role).generate(state.messages)
        return state

    return solve


@solver
def asks_an_architecture() -> Solver:
    engine = Archon(FUSED)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.output.completion = (await engine.generate(state.input_text)).text
        return state

    return solve


def run(solver: Any, scorer: Scorer | None = None, model: str | Model | None = None, **options: Any) -> EvalLog:
    task = Task(QUESTIONS, solver=solver, scorer=scorer or right())
    (log,) = eval(task, model=model, display="none", log_dir="logs", log_realtime=False, **options)
    assert log.status == "success", log.error
    return log


def count_log(log: EvalLog) -> tuple[float, float, float]:
    """Input tokens, output tokens and dollars per question, of all models that Inspect counted."""
    used = [(model, to_usage(usage)) for model, usage in log.stats.model_usage.items()]
    dollars = sum(load_prices().compute_cost(model, usage) or 0.0 for model, usage in used)
    totals = (sum(u.input_tokens for _, u in used if u), sum(u.output_tokens for _, u in used if u))
    return totals[0] / 3, totals[1] / 3, dollars / 3


def get_figures(run: Run) -> tuple[Any, ...]:
    assert run.cost["tokens"] == (run.cost["input_tokens"] or 0) + (run.cost["output_tokens"] or 0)
    return run.cost["input_tokens"], run.cost["output_tokens"], pytest.approx(run.cost["dollars"], rel=1e-12)


def test_a_debate_of_three_models_costs_what_the_log_says() -> None:
    log = run(debate(BIG, SMALL, OTHER, BIG), model=BIG)
    found = read_run(log.location)
    assert count_log(log) == get_figures(found)
    assert found.cost["calls"] == 4.0 and found.unknown_costs == {} and set(found.cost) == set(COST_NAMES)
    assert {model: costs["calls"] for model, costs in found.cost_by_model.items()} == {BIG: 2, SMALL: 1, OTHER: 1}
    for model, usage in log.stats.model_usage.items():
        counted, costs = to_usage(usage), found.cost_by_model[model]
        assert counted and costs["input_tokens"] == counted.input_tokens / 3
        assert costs["dollars"] == pytest.approx((load_prices().compute_cost(model, counted) or 0) / 3, rel=1e-12)


def test_a_plain_eval_has_calls() -> None:
    log = run(generate(), model=BIG)
    found = read_run(log.location)
    assert found.cost["calls"] == 1.0 and count_log(log) == get_figures(found) and not found.replayed
    several = read_run(run(generate(), model=get_model(BIG, config=GenerateConfig(num_choices=3))).location)
    assert several.cost["calls"] == 1.0, "one request, whatever num_choices"


def test_the_model_that_judges_itself_is_charged_for_its_answers_only() -> None:
    log = run(generate(), asks(), model=BIG)
    alone = read_run(run(generate(), model=BIG).location)
    found = read_run(log.location)
    assert found.cost["calls"] == 1.0 and get_figures(found) == get_figures(alone)
    assert (found.cost["input_tokens"] or 0) < count_log(log)[0]
    graded = read_run(run(generate(), model_graded_qa(), model=BIG, model_roles={"grader": BIG}).location)
    assert graded.cost["calls"] == 1.0 and get_figures(graded) == get_figures(alone)


def test_a_role_of_the_solver_is_charged_and_one_of_the_scorer_is_not() -> None:
    roles = {"critic": SMALL, "grader": SMALL}
    found = read_run(run(debate(BIG, role="critic"), asks(role="grader"), model=BIG, model_roles=roles).location)
    assert {model: costs["calls"] for model, costs in found.cost_by_model.items()} == {BIG: 1, SMALL: 1}
    without = read_run(run(debate(BIG, role="critic"), model=BIG, model_roles={"critic": SMALL}).location)
    assert get_figures(found) == get_figures(without) and found.unknown_costs == {}


@pytest.mark.parametrize("trace", ["calls", "full", "compact"])
def test_every_answer_of_an_architecture_as_model_is_charged(folder: Path, trace: str) -> None:
    (folder / "fused.yaml").write_text(f"layers: [{{generator: [{BIG}, {SMALL}]}}, {{fuser: {BIG}}}]")
    log = run([generate(), self_critique()], model="archon/fused.yaml", model_args={"trace": trace})
    found = read_run(log.location)
    assert found.cost["calls"] == 9.0, "generate, critique, generate: three calls each"
    assert count_log(log) == get_figures(found) and found.unknown_costs == {}
    assert (found.usage.calls, found.layers[0].calls, found.layers[0].candidates) == (27, 6.0, 2.0)


def test_an_architecture_that_judges_is_not_charged(folder: Path) -> None:
    (folder / "fused.yaml").write_text(f"layers: [{{generator: [{BIG}, {SMALL}]}}, {{fuser: {BIG}}}]")
    judge = {"judge": "archon/fused.yaml"}
    plain = read_run(run(generate(), asks(role="judge"), model=BIG, model_roles=judge).location)
    assert plain.cost["calls"] == 1.0 and plain.layers == () and plain.unknown_costs == {}
    inside = get_model("archon/fused.yaml", trace="calls")
    judged = read_run(run(generate(), asks(role="judge"), model=inside, model_roles={"judge": inside}).location)
    assert judged.cost["calls"] == 3.0 and judged.unknown_costs == {}


def test_choices_of_an_architecture_are_charged_each(folder: Path) -> None:
    (folder / "fused.yaml").write_text(f"layers: [{{generator: [{BIG}, {SMALL}]}}, {{fuser: {BIG}}}]")
    log = run(generate(num_choices=2), model="archon/fused.yaml")
    found = read_run(log.location)
    assert found.cost["calls"] == 6.0 and count_log(log) == get_figures(found)


@pytest.mark.parametrize("trace", ["calls", "full"])
def test_a_plain_model_beside_an_architecture_is_charged_too(trace: str) -> None:
    log = run([debate(BIG, OTHER), archon(FUSED, trace=trace)])
    found = read_run(log.location)
    assert found.cost["calls"] == 5.0 and count_log(log) == get_figures(found) and found.unknown_costs == {}
    assert {model: costs["calls"] for model, costs in found.cost_by_model.items()} == {BIG: 3, SMALL: 1, OTHER: 1}


def test_an_architecture_within_a_solver_of_ones_own_is_charged() -> None:
    log = run(asks_an_architecture(), model=BIG)
    found = read_run(log.location)
    assert found.cost["calls"] == 3.0 and count_log(log) == get_figures(found)
    assert found.name == "fused" and len(found.layers) == 2


def test_the_solver_alone_is_charged_by_its_accounts() -> None:
    log = run(archon(FUSED), asks(BIG))
    found, alone = read_run(log.location), read_run(run(archon(FUSED)).location)
    assert found.cost["calls"] == 3.0 and get_figures(found) == get_figures(alone)
    assert found.cost_by_model[SMALL]["calls"] == 1.0


def test_a_model_without_a_price_makes_dollars_unknown_and_is_named() -> None:
    found = read_run(run(debate(BIG, build_unpriced_model()), model=BIG).location)
    assert found.unknown_costs == {"dollars": "no price of mockllm/x"} and found.cost["dollars"] is None
    assert found.cost["calls"] == 2.0 and found.cost["tokens"] and found.cost_by_model["mockllm/x"]["dollars"] is None
    assert found.cost_by_model[BIG]["dollars"]
    known = read_run(run(debate(BIG), model=BIG).location)
    merged = merge_runs(known, found)
    assert merged.cost["calls"] == 1.5 and merged.unknown_costs == {"dollars": "no price of mockllm/x"}
    assert merged.cost_by_model["mockllm/x"]["calls"] == 0.5


def build_unpriced_model() -> Model:
    output = ModelOutput.from_content("x", "I do not agree.")
    output.usage = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)
    return get_model("mockllm/x", custom_outputs=lambda *_: output.model_copy(deep=True))


def edit(log: EvalLog, path: str, change: Any) -> str:
    """The log with its samples changed, at another place."""
    whole = read_eval_log(log.location)
    for sample in whole.samples or ():
        change(sample)
    write_eval_log(whole, path)
    return path


def test_usage_that_one_answer_lacks_makes_tokens_unknown() -> None:
    def forget(sample: Any) -> None:
        if sample.id == "q1":
            sample.model_usage = {}
            for event in sample.events:
                if event.event == "model":
                    event.output.usage = None

    found = read_run(edit(run(generate(), model=BIG), "less.eval", forget))
    why = f"no usage reported by {BIG} in 1 of 3 answers"
    assert found.unknown_costs == dict.fromkeys(("dollars", "tokens", "input_tokens", "output_tokens"), why)
    assert found.cost["calls"] == 1.0 and found.cost["tokens"] is None


def test_a_log_without_events_says_what_it_does_not_know() -> None:
    def strip(sample: Any) -> None:
        sample.events = []

    log = run(generate(), match(), model=BIG)
    for path in ("bare.eval", "bare.json"):
        bare = read_run(edit(log, path, strip))
        assert count_log(log) == get_figures(bare)
        assert bare.unknown_costs == {"calls": "the log holds no model events"} and bare.cost["calls"] is None
    judged = read_run(edit(run(generate(), asks(role="j"), model=BIG, model_roles={"j": BIG}), "j.eval", strip))
    assert judged.cost["tokens"] is None and "role j answers or judges" in judged.unknown_costs["tokens"]
    other = read_run(edit(run(generate(), asks(OTHER), model=BIG), "o.eval", strip))
    assert other.cost["tokens"] is None and f"whether {OTHER} answers or judges" in other.unknown_costs["tokens"]
    itself = read_run(edit(run(generate(), asks(), model=BIG), "i.eval", strip))
    assert itself.cost["dollars"] is None and "the scorer asks may ask" in itself.unknown_costs["dollars"]


@pytest.mark.parametrize("action", ["append", "overwrite"])
def test_a_judge_that_scored_later_is_not_charged(action: Any) -> None:
    log = run(generate(), model=BIG)
    first = read_run(log.location)
    write_eval_log(score(read_eval_log(log.location), asks(OTHER), action=action, display="none"), "again.eval")
    again = read_run("again.eval", scorer="asks")
    assert again.cost == first.cost and set(again.cost_by_model) == {BIG} and again.unknown_costs == {}


def test_a_scorer_that_the_solver_asks_is_charged() -> None:
    @solver
    def attempts() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            state = await generate(state)
            await score_in_solver(state)
            return state

        return solve

    found = read_run(run(attempts(), asks(OTHER), model=BIG).location)
    assert {model: costs["calls"] for model, costs in found.cost_by_model.items()} == {BIG: 1, OTHER: 1}


def test_a_failed_call_in_one_account_hides_no_tokens_of_other_models() -> None:
    log = run(asks_an_architecture(), model=BIG)

    def fail(sample: Any) -> None:
        for event in sample.events:
            if event.event == "info" and event.source == ACCOUNT_SOURCE:
                event.data["models"][SMALL]["failed"] = event.data["failed"] = 1
        sample.model_usage[SMALL].input_tokens += 1000

    assert read_run(edit(log, "failed.eval", fail)).unknown_costs == {}

    def hide(sample: Any) -> None:
        fail(sample)
        sample.model_usage[OTHER] = sample.model_usage[BIG]

    why = f"tokens of {OTHER} that belong to no call in the log"
    assert read_run(edit(log, "hidden.eval", hide)).unknown_costs["tokens"] == why


def test_attempts_that_failed_before_are_said_to_be_in_no_cost() -> None:
    tried = set[Any]()

    @solver
    def flaky() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            state = await generate(state)
            if state.sample_id not in tried:
                tried.add(state.sample_id)
                raise RuntimeError("not yet")
            return state

        return solve

    found = read_run(run(flaky(), model=BIG, retry_on_error=1).location)
    assert found.cost["calls"] == 1.0
    assert found.health.sentences == (
        "3 attempts at a sample failed before and were repeated: what they took is in no cost.",
    )


def test_replies_of_a_plain_model_that_are_cut_or_empty_are_said() -> None:
    def answer(messages: Any, *_: Any) -> ModelOutput:
        first = "0 + 0" in messages[0].text
        output = ModelOutput.from_content("x", "" if first else "I thi", stop_reason="stop" if first else "max_tokens")
        output.usage = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)
        return output

    found = read_run(run(generate(), model=get_model("mockllm/x", custom_outputs=answer)).location)
    assert found.health.sentences == (
        "2 of 3 replies (66.7%) were cut at the token limit, 1 of 3 replies (33.3%) was empty.",
    )


def test_layers_of_several_architectures_in_a_log_are_told_apart() -> None:
    first = Archon({"name": "first", "layers": [{"generator": [BIG, SMALL]}, {"verifier": "mute/prose"}]})
    second = Archon(FUSED)

    @solver
    def two() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            await first.generate(state.input_text)
            state.output.completion = (await second.generate(state.input_text)).text
            return state

        return solve

    found = read_run(run(two(), model=BIG).location)
    assert [layer.kind for layer in found.health.layers] == [layer.kind for layer in found.layers]
    assert found.health.layers[1].kind == "fuser" and found.health.layers[1].answers == 3
    [warning] = found.health.warnings
    assert warning.startswith(
        "Architecture first, which answered in the same log: Layer 2 (verifier mute/prose) never worked: "
    )
    assert found.health.dead == ("verifier mute/prose",)
    assert RunHealth.from_metadata(found.health.to_metadata()) == found.health
    assert [layer.answers for layer in found.health.merge(found.health).others["first"]] == [6, 6]


def test_an_architectures_last_answer_alone_is_not_passed_off_as_all(folder: Path) -> None:
    (folder / "fused.yaml").write_text(f"layers: [{{generator: [{BIG}, {SMALL}]}}, {{fuser: {BIG}}}]")

    def strip(sample: Any) -> None:
        sample.events = []

    one = read_run(edit(run(generate(), model="archon/fused.yaml"), "one.eval", strip))
    assert one.cost["calls"] == 3.0 and one.unknown_costs == {}
    three = read_run(edit(run([generate(), self_critique()], model="archon/fused.yaml"), "three.eval", strip))
    assert set(three.unknown_costs) == set(COST_NAMES) and "only the last answer's" in three.unknown_costs["calls"]


def test_tokens_that_no_call_explains_make_costs_unknown() -> None:
    def hide(sample: Any) -> None:
        sample.model_usage[OTHER] = sample.model_usage[BIG]

    found = read_run(edit(run(generate(), model=BIG), "hidden.eval", hide))
    assert found.unknown_costs["calls"] == f"tokens of {OTHER} that belong to no call in the log"
    assert found.cost["tokens"] is None and found.cost["seconds"] is not None


def test_replies_out_of_inspects_cache_count_like_others() -> None:
    first = read_run(run(generate(cache=True), model=BIG).location)
    log = run(generate(cache=True), model=BIG)
    again = read_run(log.location)
    assert log.stats.model_usage == {} and again.cost["calls"] == 1.0 and again.unknown_costs == {}
    assert get_figures(again) == get_figures(first)


def test_seconds_end_where_the_scorers_begin() -> None:
    @scorer(metrics=[accuracy()])
    def slow() -> Scorer:
        async def score(state: TaskState, target: Target) -> Score:
            await anyio.sleep(0.5)
            return Score(value=1)

        return score

    log = run(generate(), slow(), model=BIG)
    working = [sample.working_time or 0.0 for sample in log.samples or ()]
    seconds = read_run(log.location).cost["seconds"]
    assert seconds is not None and 0 < seconds < sum(working) / 3 - 0.4
