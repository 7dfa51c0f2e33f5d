"""Which door a task is run through, and what is refused because the task would lose its own solver."""

import gc
from pathlib import Path
from typing import Any

import pytest
from fakes.rich_task import write_tasks
from inspect_ai import Task, eval_retry
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import Generate, TaskState, chain, generate, system_message
from inspect_ai.util import registry_info

from archon_eval._inspect_compat import ensure_entry_points, load_task_spec, registry_find
from archon_eval.errors import DataError
from archon_eval.runs.account import read_accounts
from archon_eval.runs.door import build_model_words, choose_door, count_asks, decide_door, list_lost, list_lost_steps
from archon_eval.runs.eval_worker import EvalJob, EvalTask, run_job
from archon_eval.runs.layer_health import RunHealth
from archon_eval.runs.read_log import read_run
from archon_eval.runs.run_eval import Eval
from archon_eval.solvers.archon import archon

OWN = ("architecture=single", "models=sim/gpt-4o")


@pytest.fixture(autouse=True)
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tasks(tmp_path)


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        *((bare, ()) for bare in ("default", "generate", "listed", "choices")),
        ("hot", ("generate(temperature)",)),
        ("twice", ("generate", "generate")),
        ("cot", ("multiple_choice(cot)",)),
        ("template", ("multiple_choice(template)",)),
        ("system", ("system_message",)),
        ("nested", ("chain_of_thought",)),
        ("tools", ("use_tools",)),
        ("agent", ("react",)),
        ("own", ("mine",)),
    ],
)
def test_a_solver_that_only_asks_loses_nothing_and_every_other_takes_the_model_door(
    name: str, lost: tuple[str, ...]
) -> None:
    choice = choose_door("rich_tasks.py@kind", {"name": name}, {})
    assert choice.door == ("model" if lost else "solver")
    [task] = load_task_spec("rich_tasks.py@kind", {"name": name})
    assert list_lost_steps(task) == lost and all(step in choice.reason for step in lost)


def test_setup_runs_through_both_doors_unless_it_offers_tools() -> None:
    assert choose_door("rich_tasks.py@kind", {"name": "generate", "setup": "system"}, {}).door == "solver"
    tools = choose_door("rich_tasks.py@kind", {"name": "generate", "setup": "tools"}, {})
    assert tools.door == "model" and "use_tools (setup)" in tools.reason


def test_choices_are_asked_alike_or_through_the_model_door() -> None:
    assert choose_door("rich_tasks.py@kind", {"name": "cot"}, {"cot": True}).door == "solver"
    with pytest.raises(DataError, match=r"'cot' has no meaning there: the task's own multiple_choice\(\) has it"):
        choose_door("rich_tasks.py@kind", {"name": "choices"}, {"cot": True})


def test_the_solver_that_was_made_without_a_decorator_has_its_functions_name() -> None:
    async def plain(state: TaskState, generate: Generate) -> TaskState:
        return state

    assert list_lost_steps(Task(solver=chain(plain, generate()))) == ("plain",)  # type: ignore[arg-type]


def test_a_task_that_names_its_model_has_no_model_door(tmp_path: Path) -> None:
    (tmp_path / "fixed.py").write_text(
        "from inspect_ai import Task, task\nfrom inspect_ai.dataset import Sample\n"
        "from inspect_ai.solver import generate, system_message\n"
        "@task\ndef fixed(text=''):\n"
        "    steps = [*([system_message(text)] if text else []), generate()]\n"
        "    return Task([Sample('1+1')], solver=steps, model='mockllm/model')\n"
    )
    assert choose_door("fixed.py", {}, {}).door == "solver"
    for args, wanted in (({"text": "Be brief."}, "auto"), ({}, "model")):
        with pytest.raises(DataError, match=r"task fixed names its own model, mockllm/model.*--door solver"):
            choose_door("fixed.py", args, {}, wanted)


def test_how_often_a_task_asks() -> None:
    def count(name: str) -> int:
        return count_asks(load_task_spec("rich_tasks.py@kind", {"name": name})[0])

    assert [count(name) for name in ("default", "twice", "system", "tools", "agent")] == [1, 2, 1, 1, 1]


def test_tasks_of_this_package_lose_nothing() -> None:
    """They are not loaded for it (`choose_door`), so it must be so of all of them."""
    ensure_entry_points("archon_eval")
    names = {registry_info(task).name for task in registry_find(lambda info: info.type == "task")}
    own = sorted(name for name in names if name.startswith("archon_eval/"))
    assert len(own) > 10
    for name in own:
        [task] = load_task_spec(name, {"sample": True})
        assert list_lost(task, {}) == (), name


def test_the_user_has_the_last_word_and_is_told_of_it() -> None:
    choice = choose_door("rich_tasks.py@rich", {}, {}, "solver")
    assert choice.sentence == "door: solver (as --door says)"
    assert choose_door("archon_eval/math", {}, {}, "model").door == "model"
    with pytest.raises(DataError, match="no door 'modle'; did you mean 'model'"):
        decide_door((), {}, "modle")
    eval, _ = Eval("rich_tasks.py@rich", (), OWN, door="solver").choose_door()
    assert "replace_solver=true" in eval.build_command(Path("logs"))


def test_a_task_that_cannot_be_loaded_is_left_to_its_eval() -> None:
    assert choose_door("absent.py@rich", {}, {}).reason == "the task cannot be loaded, and its eval says why"


def test_the_command_line_of_the_model_door() -> None:
    eval, choice = Eval(
        "rich_tasks.py@rich", ("number=3",), (*OWN, "store=calls.db"), ("judge=sim/gpt-4o",)
    ).choose_door()
    assert choice.door == "model"
    words = " ".join(eval.build_command(Path("logs")))
    assert words == (
        "inspect eval rich_tasks.py@rich -T number=3 --model archon/single -M models=sim/gpt-4o -M store=calls.db "
        "--model-role judge=sim/gpt-4o --epochs 1 --log-dir logs"
    )
    assert build_model_words(["architecture={layers: [[{generator: $1}]]}"])[:3] == ["--model", "archon/inline", "-M"]
    with pytest.raises(DataError, match="which architecture"):
        build_model_words(["models=sim/gpt-4o"])


@pytest.mark.parametrize("retry", [False, True], ids=["eval", "eval-retry"])
def test_a_task_with_a_solver_of_its_own_is_refused_with_the_command_that_keeps_it(tmp_path: Path, retry: bool) -> None:
    from inspect_ai.solver import SolverSpec

    from archon_eval._inspect_compat import PrerequisiteError

    args = {"architecture": "single", "models": ["sim/gpt-4o"]}
    spec = SolverSpec("archon", {}, args)  # as the command line gives it
    with pytest.raises(PrerequisiteError) as refused:
        inspect_eval(
            "rich_tasks.py@rich", model=None, solver=spec, task_args={"number": 1}, log_dir="logs", display="none"
        )
    message = str(refused.value.message)
    assert "lose system_message, prompt_template, multiple_choice(template)" in message
    assert "inspect eval rich_tasks.py@rich -T number=1 --model archon/single -M models=sim/gpt-4o\n" in message
    assert "-S replace_solver=true" in message and not list(tmp_path.glob("logs/*.eval"))
    if retry:
        spec = SolverSpec("archon", {}, args | {"replace_solver": True})
        [log] = inspect_eval("rich_tasks.py@rich", model=None, solver=spec, log_dir="logs", display="none", limit=1)
        [again] = eval_retry(log, log_dir="again", display="none")
        assert read_accounts(again.samples[0])[0].lost_steps[:1] == ("system_message",)


def test_an_eval_from_python_is_refused_too_or_says_what_was_lost() -> None:
    def run(task: Task, **more: Any) -> Any:
        solver = archon("single", ["sim/gpt-4o"], **more)
        return inspect_eval(task, model=None, solver=solver, log_dir="logs", display="none")[0]

    def build(*steps: Any) -> Task:
        return Task([Sample("1+1", target="2")], solver=[*steps, generate()], scorer=includes())

    refused = run(build(system_message("Be brief.")))
    assert refused.status == "error" and "lose system_message" in refused.error.message
    assert not refused.samples[0].model_usage
    allowed = run(build(system_message("Be brief.")), replace_solver=True)
    [account] = read_accounts(allowed.samples[0])
    assert allowed.status == "success" and account.lost_steps == ("system_message",)
    kept = run(build())
    [account] = read_accounts(kept.samples[0])
    assert kept.status == "success" and account.lost_steps == ()
    own = Task([Sample("1+1", target="2")], solver=[system_message("Be brief."), archon("single", ["sim/gpt-4o"])])
    assert inspect_eval(own, model="mockllm/model", log_dir="logs", display="none")[0].status == "success"


def test_where_it_cannot_be_known_a_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "get_objects", list)
    task = Task([Sample("1+1", target="2")], solver=[system_message("Be brief."), generate()])
    with pytest.warns(FutureWarning, match="which it replaces, had a prompt is not known"):
        [log] = inspect_eval(task, model=None, solver=archon("single", ["sim/gpt-4o"]), log_dir="logs", display="none")
    assert log.status == "success"


def test_the_own_scorers_scores_say_what_was_lost(tmp_path: Path) -> None:
    (tmp_path / "graded.py").write_text(
        "from inspect_ai import Task, task\nfrom inspect_ai.dataset import Sample\n"
        "from inspect_ai.solver import generate, system_message\nfrom archon_eval.scorers.math import math_answer\n"
        "@task\ndef graded():\n"
        "    return Task([Sample('1+1', target='2')], solver=[system_message('x'), generate()], scorer=math_answer())\n"
    )
    solver = archon("single", ["sim/gpt-4o"], replace_solver=True)
    [log] = inspect_eval("graded.py", model=None, solver=solver, log_dir="logs", display="none")
    [score] = log.samples[0].scores.values()
    assert score.metadata["archon"]["lost_steps"] == ["system_message"]
    run = read_run(log.location)
    assert run.health.sentences == ("The task's own solver was replaced, and without it went: system_message.",)
    assert RunHealth.from_metadata(run.health.to_metadata()) == run.health


def test_a_job_through_the_model_door_counts_every_call_shares_draws_and_keeps_its_budget() -> None:
    layers = [{"generator": {"model": "sim/gpt-4o", "samples": 2}}, {"fuser": "sim/gpt-4o"}]
    architecture = {"name": "two", "layers": layers}

    def run(name: str, **more: Any) -> Any:
        task = EvalTask("rich_tasks.py@kind", (("name", name),))
        job = EvalJob(name, architecture, task, (0, 1), epochs=2, solver_args=(("store", "calls.db"),), **more)
        return run_job(job)

    twice = run("twice", door="model", max_calls=24)
    assert (twice.error, twice.calls, twice.reused, twice.lost) == ("", 24, 0, 0)
    again = run("twice", door="model", max_calls=1)
    assert (again.error, again.calls, again.reused, again.failed) == ("", 0, 24, {})
    fresh = run("twice", door="model", first_epoch=2)  # epochs 2 and 3, of which the first is stored
    assert (fresh.calls, fresh.reused) == (12, 12)
    through_solver, through_model = run("choices"), run("choices", door="model")
    assert (through_solver.calls, through_model.calls, through_model.reused) == (12, 0, 12)
    assert through_solver.scores == through_model.scores
    spent = run("own", door="model", first_epoch=9, max_calls=2)
    assert set(spent.failed) == {"0", "1"} and "limit of 2 calls is used up" in spent.failed["0"]
    assert "lose system_message" in run("system").failed["0"]  # the solver guards itself


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ({"cot": True}, "does not take it: the task's own multiple_choice"),
        ({"replace_solver": True}, "nothing is replaced there"),
        ({"epoch_offset": -1}, "epoch_offset must be a whole number from 0, not -1"),
    ],
)
def test_the_model_refuses_what_only_the_solver_takes(option: dict[str, Any], why: str) -> None:
    architecture = {"layers": [{"generator": "sim/gpt-4o"}]}
    job = EvalJob("k", architecture, EvalTask("rich_tasks.py@bare"), solver_args=tuple(option.items()), door="model")
    assert why in run_job(job).error
