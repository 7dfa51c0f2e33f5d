"""What was really sent is compared: by digests that are the same whatever answers, and that other prompts change."""

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.rich_task import write_tasks
from inspect_ai import eval as inspect_eval
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, get_model

from archon_eval.cli import main
from archon_eval.errors import DataError
from archon_eval.report.baseline import load_baseline, save_baseline
from archon_eval.report.compare import compare_runs
from archon_eval.runs.benchmark_run import Run
from archon_eval.runs.prompts import (
    complete_prompt,
    digest_later_turns,
    digest_messages,
    explain_difference,
    find_other_later_turns,
    join_epochs,
)
from archon_eval.runs.read_log import read_run, read_runs
from archon_eval.solvers.archon import archon

GATE = ("gate", "--task", "rich_tasks.py@rich", "-S", "architecture=single", "-S", "models=sim/gpt-4o")


@pytest.fixture(autouse=True)
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tasks(tmp_path)


def run(task: str, answerer: str = "plain", folder: str = "logs", epochs: int = 1, **args: Any) -> Run:
    """The run of an eval by a plain model, by an architecture as the model, or by one as the solver."""
    by = {
        "plain": lambda: {"model": "sim/gpt-4o"},
        "model": lambda: {"model": get_model("archon/single", memoize=False, models="sim/gpt-4o")},
        "solver": lambda: {"model": None, "solver": archon("single", ["sim/gpt-4o"])},
    }[answerer]()
    [log] = inspect_eval(f"rich_tasks.py@{task}", task_args=args, epochs=epochs, log_dir=folder, display="none", **by)
    return read_run(log.location)


def list_prompts(run: Run) -> dict[str, tuple[str, ...]]:
    return {question: asked.prompt for question, asked in run.questions.items()}


def test_the_digest_is_the_same_whatever_answers() -> None:
    for kind in ("generate", "choices"):
        by_door = {door: list_prompts(run("kind", door, name=kind)) for door in ("plain", "model", "solver")}
        if kind == "choices":  # the solver archon shows options also where the task's own generate() does not
            assert by_door["solver"] == by_door["plain"]
        assert by_door["plain"] == by_door["model"] and all(by_door["plain"].values())
    plain, model = (list_prompts(run("rich", door, epochs=2)) for door in ("plain", "model"))
    assert plain == model
    assert [entry.partition(":")[0] for entry in plain["q00"]] == ["system", "user", "assistant", "user"]
    bare = {door: list_prompts(run("bare", door, epochs=2)) for door in ("plain", "model", "solver")}
    assert bare["plain"] == bare["model"] == bare["solver"] and len(set(bare["plain"].values())) == 1


def test_a_solvers_log_without_digests_in_its_accounts_is_read_by_its_messages(tmp_path: Path) -> None:
    new = run("kind", "solver", name="choices")
    log = read_eval_log(new.log)
    for sample in log.samples or ():
        assert sample.metadata["archon"].pop("prompt")
    write_eval_log(log, str(tmp_path / "old.eval"))
    assert list_prompts(read_run(tmp_path / "old.eval")) == list_prompts(new)


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"system": "Refuse arithmetic."}, "another system message"),
        ({"system": ""}, "one without system message"),
        ({"example": ""}, "4 and 2 messages"),
    ],
)
def test_another_prompt_is_not_the_same_task(args: dict[str, str], why: str) -> None:
    first, second = run("rich"), run("rich", **args)
    # what the sample itself holds is told first
    found = first.find_incompatibility(second)
    assert (why if "example" not in args else "2 of 2 questions have another prompt") in found
    with pytest.raises(DataError, match="cannot be compared"):
        compare_runs(first, second)


def test_the_template_and_the_tools_are_part_of_it() -> None:
    runs = [run("kind", name=name) for name in ("choices", "template", "generate", "tools")]
    assert "another user prompt" in runs[0].find_incompatibility(runs[1])
    assert "other tools" in runs[2].find_incompatibility(runs[3])


@pytest.mark.parametrize("answerer", ["plain", "model"])
@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("apart", "another prompt of the first call"),
        ("later", "another later turn"),
        ("config", "another system message"),
        ("tool", "other tools"),
    ],
)
def test_what_a_solver_sends_without_keeping_it_is_part_of_it_too(
    tmp_path: Path, answerer: str, kind: str, why: str
) -> None:
    (tmp_path / "rich_tasks.py").write_text(
        """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageUser, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, solver, use_tools
from inspect_ai.tool import ToolDef

@solver
def ask_apart(text):
    async def solve(state, generate):
        state.output = await get_model().generate([ChatMessageUser(content=text + state.input_text)])
        return state
    return solve

@solver
def ask_later(text):
    async def solve(state, generate):
        state = await generate(state)
        state.messages.append(ChatMessageUser(content=text))
        return await generate(state)
    return solve

def offer(text):
    async def add(a: int):
        return "2"
    return use_tools(ToolDef(add, name="add", description=text, parameters={"a": text}).as_tool())

@task
def asked(kind, text):
    steps = {
        "apart": lambda: ask_apart(text),
        "later": lambda: ask_later(text),
        "config": lambda: generate(system_message=text),
        "tool": lambda: [offer(text), generate(tool_calls="none")],
    }
    return Task([Sample("1+1", target="2", id=n) for n in range(2)], solver=steps[kind](), scorer=includes())
"""
    )
    first, again = run("asked", "plain", kind=kind, text=300 * "a"), run("asked", answerer, kind=kind, text=300 * "a")
    assert first.find_incompatibility(again) == "" == first.describe_prompt_check(again)
    other = run("asked", answerer, kind=kind, text=300 * "b")
    assert f"2 of 2 questions were asked with other prompts (0: {why}, 1: {why})" in first.find_incompatibility(other)


def test_a_system_message_of_the_settings_counts_where_it_was_sent() -> None:
    def ask(text: str, **by: Any) -> Run:
        [log] = inspect_eval("rich_tasks.py@bare", log_dir="logs", display="none", system_message=text, **by)
        return read_run(log.location)

    with pytest.warns(FutureWarning, match="--system-message has no effect"):
        solver = ask("Be brief.", model=None, solver=archon("single", ["sim/gpt-4o"]))
    assert "one without system message" in solver.find_incompatibility(ask("Be brief.", model="sim/gpt-4o"))
    assert solver.find_incompatibility(run("bare")) == ""


def test_later_turns_that_an_answer_may_have_decided_are_no_other_task() -> None:
    def build(*turns: str) -> tuple[str, ...]:
        answer = ChatMessageAssistant(content="a", source="generate")
        return digest_later_turns([ChatMessageUser(content="u"), answer, *(ChatMessageUser(content=t) for t in turns)])

    check, refuse, none = build("Check."), build("Refuse."), build()
    assert find_other_later_turns({"1": check, "2": check}, {"1": refuse, "2": refuse}) == "another later turn"
    for other in ({"1": none, "2": refuse}, {"1": refuse, "2": build("Check.", "Refuse.")}, {"1": none, "2": none}):
        assert find_other_later_turns({"1": check, "2": check}, other) == ""
    assert find_other_later_turns({"1": check}, {"1": refuse}) == ""  # of one question nothing is known
    asked = ("user:1",)
    assert join_epochs([(*asked, *check), (*asked, *build("Go on.", "Check."))]) == (*asked, *check)
    assert explain_difference((*asked, *check), asked) == ""


def test_words_for_what_differs() -> None:
    one = (ChatMessageSystem(content="s"), ChatMessageUser(content="u"))
    asked = digest_messages([*one, ChatMessageAssistant(content="a", source="generate"), ChatMessageUser(content="v")])
    assert asked == digest_messages(one) and len(asked) == 2
    assert len(digest_messages([*one, ChatMessageAssistant(content="example"), *one])) == 5
    assert complete_prompt((), ["bash"]) == ()
    assert explain_difference(asked, complete_prompt(asked, ["bash"])) == "other tools"
    assert explain_difference(asked, complete_prompt(asked, (), "more")) == "another system message"
    assert join_epochs([asked, asked]) == asked and join_epochs([asked, ()]) == join_epochs([]) == ()
    varying = join_epochs([asked, asked[1:]])
    assert varying == join_epochs([asked[1:], asked])
    assert explain_difference(asked, varying) == "the prompt differs from epoch to epoch"


def test_a_gate_sees_another_system_prompt_also_in_a_replay(capsys: pytest.CaptureFixture[str]) -> None:
    save = [*GATE, "--baseline", "base.json", "--log-dir", "logs", "-S", "store=calls.db", "-T", "number=60"]
    assert main([*save, "--save-baseline"]) == 0
    assert "door: model (the task's own solver stays: system_message" in capsys.readouterr().out
    assert main(save) == 0
    assert "every score is the same, from recorded calls alone" in capsys.readouterr().out
    turned = [*save, "-T", "system=Refuse arithmetic."]
    for policy in ("reuse", "replay"):
        assert main([*turned, "-S", f"store_policy={policy}", "--json"]) == 2
        outcome = json.loads(capsys.readouterr().out)
        assert outcome["door"].startswith("door: model")
        assert outcome["reasons"] == [
            "not the same task: 60 of 60 questions were asked with other prompts (q00: another system message, "
            "q01: another system message, q02: another system message); --ignore-prompts compares all the same"
        ]
    main([*turned, "--ignore-prompts", "--json"])
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["paired"]["difference"]["n"] == 60
    notes = outcome["notes"]
    assert any("(--ignore-prompts): 60 of 60 questions were asked with other prompts" in note for note in notes)


def test_compare_and_report_keep_other_prompts_apart_unless_told(capsys: pytest.CaptureFixture[str]) -> None:
    run("rich", folder="first"), run("rich", folder="second", system="Refuse arithmetic.")
    assert main(["compare", "first", "second"]) != 0
    assert "another system message" in capsys.readouterr().err
    assert main(["compare", "first", "second", "--ignore-prompts"]) == 0
    assert "Prompts are not compared (--ignore-prompts): 2 of 2 questions" in capsys.readouterr().out
    assert main(["report", "first", "second", "--table"]) == 0
    assert "are not compared: 2 of 2 questions were asked with other prompts" in capsys.readouterr().out
    assert main(["report", "first", "second", "--format", "md", "--ignore-prompts"]) == 0
    assert "Prompts are not compared" in capsys.readouterr().out
    merged = [*read_runs("first"), *read_runs("second")]
    assert len(merged) == 2


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    first = run("bare", folder="first")
    log = read_eval_log(first.log)
    for sample in log.samples or ():
        sample.messages = []
    write_eval_log(log, str(tmp_path / "compact.eval"))
    second = read_run(tmp_path / "compact.eval")
    pair = compare_runs(first, second)
    assert pair.prompt_note.endswith(f"no messages of all answers in {second.log}.")
    assert compare_runs(first, first).prompt_note == ""


def test_an_older_baseline_is_read_and_the_gate_says_that_it_has_no_prompts(tmp_path: Path) -> None:
    from archon_eval.report.gate import check_regression

    known = run("rich")
    save_baseline(known, tmp_path / "new.json")
    new = load_baseline(tmp_path / "new.json")
    assert new.prompts == list_prompts(known) and new.scored == known.scored
    plain = json.loads((tmp_path / "new.json").read_text())
    plain["format"] = 2
    plain["questions"] = {question: [row[0], *row[3:]] for question, row in plain["questions"].items()}
    (tmp_path / "old.json").write_text(json.dumps(plain))
    old = load_baseline(tmp_path / "old.json")
    assert old.scored == new.scored and old.digests == new.digests and not old.prompts
    assert any("save it again" in note for note in check_regression(old, known).notes)
    assert not any("prompts" in note for note in check_regression(new, known).notes)


def test_an_older_baseline_of_a_task_whose_solver_was_replaced_then_decides_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_baseline(run("rich"), tmp_path / "old.json")
    plain = json.loads((tmp_path / "old.json").read_text())
    plain["format"] = 2
    plain["questions"] = {question: [row[0], *row[3:]] for question, row in plain["questions"].items()}
    (tmp_path / "old.json").write_text(json.dumps(plain))
    assert main([*GATE, "--baseline", "old.json"]) == 2
    assert "would have replaced this task's own solver: save it again, or --ignore-prompts" in capsys.readouterr().out
    main([*GATE, "--baseline", "old.json", "--ignore-prompts"])
    assert "save it again" not in capsys.readouterr().out
