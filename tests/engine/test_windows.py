"""What a plan, `archon validate` and every door say of context windows before anything is paid."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from archon_eval import Archon, load_architecture
from archon_eval._notes import ArchonNote
from archon_eval.cli import main
from archon_eval.engine.plan import Plan, plan
from archon_eval.engine.windows import describe_judge
from archon_eval.integrations.build import build_engine
from archon_eval.models.prices import PriceTable, load_prices

GENERATORS = {"generator": {"model": "local/g", "samples": 4, "max_tokens": 1_000}}


def make_table(**windows: float) -> PriceTable:
    return PriceTable("test", (), tuple((f"local/{name}", window) for name, window in windows.items()))


def check(*layers: Any, **windows: float) -> Plan:
    return plan(load_architecture({"layers": list(layers)}), prices=make_table(**windows))


def test_the_worst_case_is_everything_at_its_max_tokens() -> None:
    layer = {"ranker": {"model": "local/j", "max_tokens": 300}}
    (found,) = check(GENERATORS, layer, j=5_000).windows
    # wording 120, question 200; candidates of 400 by the plan's assumptions, of 1,000 at most; a reply of 300
    assert (found.expected, found.most) == (120 + 200 + 4 * 400 + 300, 120 + 200 + 4 * 1_000 + 300)
    assert (found.layer, found.kind, found.model, found.window) == (2, "ranker", "local/j", 5_000)
    verdicts = {2_219: "exceeds", 2_220: "can exceed", 4_619: "can exceed", 4_620: "fits"}
    assert {w: check(GENERATORS, layer, j=w).windows[0].verdict for w in verdicts} == verdicts


def test_critiques_reasons_and_tests_are_read_too() -> None:
    writes = {"critic": {"model": "local/c", "max_tokens": 700}}
    tests = {"unit_test_generator": {"model": "local/t", "max_tokens": 250, "max_tests": 5}}
    judge = {"model": "local/j", "max_tokens": 300}
    found = {
        layer[0].kind: {check.model: check.most for check in planned.windows}
        for kinds in (
            [writes, {"ranker": judge}],
            [writes, {"ranker": {**judge, "use_critiques": False}}, {"fuser": judge}],
            [{"verifier": judge}],
            [tests, {"unit_test_evaluator": judge}],
        )
        for planned in [check(GENERATORS, *kinds, j=9)]
        for layer in [planned.architecture.layers[len(planned.layers) - 1]]
    }
    base = 120 + 200 + 300
    assert found == {
        "ranker": {"local/c": 120 + 200 + 4_000 + 700, "local/j": base + 4_000 + 700},
        "fuser": {"local/c": 120 + 200 + 4_000 + 700, "local/j": base + 4_000 + 700},
        "verifier": {"local/j": base + 1_000 + 300},
        "unit_test_evaluator": {"local/j": base + 1_000 + 250},
    }
    ranker = check(GENERATORS, writes, {"ranker": {**judge, "use_critiques": False}}, {"fuser": judge}, j=9).windows[1]
    assert ranker.most == base + 4_000


def test_a_second_fusion_reads_what_the_first_may_write() -> None:
    fusers = [{"fuser": {"model": "local/f", "samples": 3, "max_tokens": 2_000}}, {"fuser": {"model": "local/j"}}]
    found = check(GENERATORS, *fusers, j=9).windows[-1]
    assert found.most == 120 + 200 + 3 * 2_000 + 2_048 and found.expected == 120 + 200 + 3 * 400 + 2_048


def test_without_max_tokens_there_is_no_limit() -> None:
    planned = check({"generator": {"model": "local/g", "max_tokens": None}}, {"fuser": "local/j"}, j=10**9)
    assert planned.windows[0].most is None and planned.windows[0].verdict == "can exceed"
    assert "can need any number of tokens" in planned.warnings[0]


def test_a_warning_says_where_how_much_and_what_follows() -> None:
    layers = [GENERATORS, {"ranker": {"model": "local/j", "on_overflow": "drop_longest"}}, {"fuser": "local/k"}]
    assert check(*layers, j=5_000, k=4_000).warnings == (
        "layer 2 (ranker) can need up to 6,368 tokens for its prompt and reply, more than the 5,000 of local/j's "
        "context window: the longest candidates are left out until the prompt fits (on_overflow: drop_longest)",
        "layer 3 (fuser) can need up to 6,368 tokens for its prompt and reply, more than the 4,000 of local/k's "
        "context window: a prompt that does not fit fails (on_overflow: fail)",
    )


def test_what_reads_no_candidates_or_has_no_window_is_not_checked() -> None:
    alone = {"generator": "local/g"}
    assert check(GENERATORS, {"vote": None}, g=1).windows == ()
    assert check(alone, {"ranker": "local/j"}, j=1).windows == ()  # one candidate is not ranked
    assert check(GENERATORS, {"ranker": "$1"}, j=1).windows == ()
    assert plan(load_architecture("figure-3", ["sim/gpt-4o"])).windows == ()
    unknown = check(GENERATORS, {"ranker": "local/j"}, {"fuser": "local/k"}, k=10**6)
    assert unknown.unknown_windows == ("local/j",) and unknown.warnings == ()


SMALL = "prices: [{models: local/j, context: 5000}]"
FILE = "layers: [{generator: {model: local/g, samples: 4}}, {ranker: local/j}, {fuser: local/k}]"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALL)
    Path("mine.yaml").write_text(FILE)


@pytest.mark.usefixtures("files")
def test_plan_and_validate_print_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "mine.yaml", "--prices", "small.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "Warning: layer 2 (ranker) can need up to 10,560 tokens" in shown
    assert "Context window unknown: local/k (table small.yaml over 2024-11; give it as `context`" in shown
    assert main(["plan", "mine.yaml", "--prices", "small.yaml", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["windows"]
    assert [(each["model"], each["window"], each["verdict"]) for each in found] == [
        ("local/j", 5000, "can exceed"),
        ("local/k", None, "unknown"),
    ]
    assert main(["validate", "mine.yaml", "--prices", "small.yaml"]) == 0
    fine, warning = capsys.readouterr().out.splitlines()
    assert fine.startswith("mine.yaml: fine (3 layers") and warning.startswith("Warning: mine.yaml: layer 2 (ranker)")
    assert main(["validate", "mine.yaml", "moa"]) == 0
    assert "Warning" not in capsys.readouterr().out
    assert main(["validate", "moa", "--models", "together/deepseek-ai/deepseek-llm-67b-chat"]) == 0
    assert "more than the 4,096 of together/deepseek-ai" in capsys.readouterr().out


OPENAI = {
    "layers": [{"generator": {"model": "openai/gpt-4o-g", "samples": 4}}, {"ranker": "openai/gpt-4o-j"}],
    "name": "mine",
}


def test_every_door_says_it_once_before_anything_is_paid(fake_server: Any, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("prices: [{models: openai/gpt-4o-j, context: 5000}]")
    with pytest.warns(ArchonNote, match=r"mine: layer 2 \(ranker\) can need up to 10,560 tokens") as caught:
        archon = Archon(OPENAI, prices=tmp_path / "small.yaml")
    notes = [each for each in caught if each.category is ArchonNote]  # packages that Inspect loads warn, too
    assert len(notes) == 1 and notes[0].filename == __file__ and not fake_server.requests
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        archon.generate_sync("Why?")
        archon.generate_sync("Why not?")
        Archon(OPENAI)  # unknown windows: `archon plan` says so
    (tmp_path / "calls.db").touch()
    with pytest.warns(ArchonNote, match="context window"):
        build_engine(OPENAI, None, prices=tmp_path / "small.yaml", store=tmp_path / "calls.db")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_engine(
            OPENAI, None, prices=tmp_path / "small.yaml", store=tmp_path / "calls.db", store_policy="replay"
        )  # pays nothing


def test_the_table_of_the_package_knows_windows() -> None:
    table = load_prices()
    names = ["openai/gpt-4o", "anthropic/claude-3-opus-20240229", "together/meta-llama/Llama-3-70b-chat-hf", "x/y"]
    assert [table.get_context(name) for name in names] == [128_000, 200_000, 8_192, None]
    assert table.get_context("sim/gpt-4o") == float("inf")


@pytest.mark.parametrize(
    ("limit", "window", "says"),
    [
        (2_000, 4_319, "may have to read two answers of up to 2,000 tokens"),
        (2_000, 4_320, ""),
        (None, 10**9, "may have to read answers without a limit"),
        (2_000, float("inf"), ""),
        (2_000, None, ""),
    ],
)
def test_a_judge_must_read_two_answers(limit: int | None, window: float | None, says: str) -> None:
    fuser = {"fuser": [{"model": "local/f", "max_tokens": limit}, {"model": "local/g", "max_tokens": 100}]}
    architecture = load_architecture({"layers": [GENERATORS, fuser, {"verifier": "local/j"}]})
    table = make_table() if window is None else make_table(judge=window)
    found = describe_judge(architecture, "local/judge", table)
    assert found == "" if not says else says in found


def test_the_solver_says_it_of_the_judge_once_and_before_it_calls(fake_server: Any, tmp_path: Path) -> None:
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample

    from archon_eval.solvers import archon

    (tmp_path / "small.yaml").write_text("prices: [{models: openai/gpt-4o-judge, context: 4000}]")
    solver = archon({"layers": [{"generator": "openai/gpt-4o!400"}]}, prices=str(tmp_path / "small.yaml"))
    with pytest.warns(ArchonNote) as caught:
        eval(
            Task([Sample("Why?"), Sample("Why not?")], solver=solver),
            model=None,
            model_roles={"judge": "openai/gpt-4o-judge"},
            log_dir=str(tmp_path),
            display="none",
            fail_on_error=False,
        )
    notes = [str(note.message) for note in caught if note.category is ArchonNote]
    assert notes == [
        "the judge openai/gpt-4o-judge has a context window of 4,000 tokens and may have to read two answers of up to "
        "2,048 tokens: a prompt that does not fit is an error of the score"
    ]
