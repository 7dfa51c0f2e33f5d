"""A model that proposes architectures: what it may write, what comes of it, and that a search with it goes on."""

import json
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archon_eval.architecture.load import load_architecture
from archon_eval.errors import ProposalError, SearchError
from archon_eval.search import load_settings, search
from archon_eval.search.proposals import (
    ProposalRules,
    find_nearest,
    read_proposal,
    render_changes,
    render_layers,
)
from archon_eval.search.proposer_prompt import TriedArchitecture, render_propose_prompt
from archon_eval.search.summary import write_results
from archon_eval.simulation.simulator import Simulator
from archon_eval.types import Message

RULES = ProposalRules(models=("sim/gpt-4o", "sim/qwen2-72b-instruct"), most_calls=40)
TASK = {"name": "archon_eval/math", "args": {"sample": True}}


def wrap(file: str) -> str:
    return f"Parent: first\nWhy: it is better\n```yaml\n{file}\n```"


GOOD = "layers:\n- generator: [sim/gpt-4o, {model: sim/qwen2-72b-instruct, samples: 3}]\n- fuser: sim/gpt-4o"


def test_a_reply_is_read_with_its_parent_and_its_reasons() -> None:
    read = read_proposal("Let me think.\n```\nno file\n```\n" + wrap(GOOD), RULES, "p7")
    assert (read.architecture.name, read.parent, read.why) == ("p7", "first", "it is better")
    assert load_architecture({"layers": read.architecture.to_mapping()["layers"]}).layers == read.architecture.layers


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("layers:\n- os:system: sim/gpt-4o", "component 'os:system' may not be used"),
        ("layers:\n- evil_module:Evil: sim/gpt-4o", "component 'evil_module:Evil' may not be used"),
        ("layers:\n- generator: openai/gpt-4o", "model 'openai/gpt-4o' is none of those that may be used (sim/gpt-4o"),
        ("layers:\n- generator: $1..1000000000", "model '$1..1000000000' is none of those"),
        ("layers:\n- generator: {model: sim/gpt-4o, solver: evil_module/x}", "option 'solver' may not be set"),
        ("layers: !!python/object/apply:os.system [true]", "the file has a tag"),
        ("layers: &a [*a, *a]", "an anchor or an alias"),
        ("layers:\n- generator: {<<: {model: x}}", "model 'x' is none of those"),
        ("layers: " + "[" * 19_000, "lie more than 20 deep in one another"),
        ("layers:\n" + "- critic: sim/gpt-4o\n" * 20, "there are 20 layers, more than 16"),
        ("layers:\n- generator: [" + "sim/gpt-4o, " * 201 + "]", "201 components, more than 200"),
        ("# " + "x" * 20_001 + "\n" + GOOD, "characters, more than 20,000"),
        ("name: x\nprompts: {}\n" + GOOD, "unknown key 'prompts': a proposal has `layers` alone"),
        ("layers:\n- fuser: sim/gpt-4o", "the first layer holds generators"),
        ("layers:\n- generator: {model: sim/gpt-4o, samples: 0}", "`samples` must be a whole number of at least 1"),
        ("layers:\n- generator: [[sim/gpt-4o]]", "a component must be a model or a mapping"),
        ("just words", "not text"),
        (GOOD + "\n- {unit_test_generator: {model: sim/gpt-4o, form: input_output}}"
         "\n- {unit_test_evaluator: {execute: sandbox}}", "runs programs, which this search's space does not"),
    ],
)  # fmt: skip
def test_what_a_model_writes_is_refused_before_it_is_looked_up(file: str, words: str, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ProposalError) as error:
        read_proposal(wrap(file), RULES)
    assert words in str(error.value) and len(str(error.value)) < 2_500
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize("filling", ["\n", ".", "\n.\n", "```\n", "Parent\n", "Why: \n", "Why: x\n ", "why", " \t"])
def test_a_reply_of_repetitions_is_read_at_once(filling: str) -> None:
    """Time that grows with the square of the length would be minutes."""
    for reply in (wrap(GOOD) + filling * (90_000 // len(filling)), filling * (90_000 // len(filling)) + wrap(GOOD)):
        started = time.process_time()
        with suppress(ProposalError):
            read_proposal(reply, RULES)
        assert time.process_time() - started < 10


def test_what_may_stand_in_any_layer_may_be_proposed_and_programs_only_where_they_are_run() -> None:
    debate = (
        "layers:\n- generator: {model: sim/gpt-4o, samples: 2}\n- debate: {model: sim/gpt-4o, samples: 2}\n- vote: {}"
    )
    assert [each[0].kind for each in read_proposal(wrap(debate), RULES).architecture.layers][1] == "debate"
    program = "layers:\n- programmer: sim/gpt-4o"
    with pytest.raises(ProposalError, match="component 'programmer' may not be used"):
        read_proposal(wrap(program), RULES)
    runs = replace(RULES, runs_programs=True)
    assert read_proposal(wrap(program), runs)
    prompt = render_propose_prompt([], runs, tasks=["math"], goal="at any cost")
    assert "one or more of: debate, generator, guided_generator, moderated_debate, programmer. No" in prompt
    assert "except debate, programmer." in prompt and "kind: debate, fuser, generator" in prompt


def test_only_options_of_closed_values_may_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_kind.py").write_text(
        "from archon_eval.components import *\n"
        "class Own(ListComponent):\n"
        "    kind = ComponentType('own', needs_model=False, options={'keep': int_option(1),\n"
        "        'function': ComponentOption('', 'a function', lambda value: True)})\n"
        "    async def run(self, state, ctx): return state\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    own = ProposalRules(models=RULES.models, most_calls=9, own_kinds=frozenset({"own_kind:Own"}))
    base = "layers:\n- generator: sim/gpt-4o\n- own_kind:Own: "
    assert read_proposal(wrap(base + "{keep: 2}"), own)
    with pytest.raises(ProposalError, match="option 'function' may not be set by a proposal"):
        read_proposal(wrap(base + "{function: 'os:system'}"), own)
    with pytest.raises(ProposalError, match="may not be used"):
        read_proposal(wrap(base + "{keep: 2}"), RULES)
    sys.modules.pop("own_kind", None)


def test_a_proposal_is_told_by_what_it_changes() -> None:
    first = load_architecture({"layers": [{"generator": "sim/gpt-4o"}, {"fuser": "sim/gpt-4o"}]})
    far = load_architecture({"layers": [{"generator": {"model": "a/x", "samples": 2}}, {"ranker": "a/x"}]})
    second = load_architecture({"layers": [{"generator": "sim/gpt-4o"}, {"fuser": "a/x"}]})
    assert find_nearest(second, [far, first]) is first
    assert render_changes(first, second) == ["- - {fuser: sim/gpt-4o}", "+ - {fuser: a/x}"]


def make_prompt(performances: dict[str, float]) -> str:
    layers = render_layers(read_proposal(wrap(GOOD), RULES).architecture)
    tried = [TriedArchitecture(name, layers, value, 5.0) for name, value in performances.items()]
    return render_propose_prompt(tried, RULES, tasks=["math"], goal="at any cost")


def test_the_simulated_pool_proposes_what_can_be_tried_and_mends_what_cannot() -> None:
    simulator, fine = Simulator(), 0
    prompt = Message("user", make_prompt({"first": 0.8, "second": 0.2}))
    for draw in range(60):
        reply = simulator.reply("gpt-4o", (prompt,), draw=draw, epoch=1).text
        assert reply == simulator.reply("gpt-4o", (prompt,), draw=draw, epoch=1).text
        try:
            fine += read_proposal(reply, RULES).parent == "first"
        except ProposalError as exc:
            again = (prompt, Message("assistant", reply), Message("user", f"This cannot be tried: {exc}"))
            mended = [simulator.reply("gpt-4o", again, draw=n, epoch=1).text for n in range(8)]
            assert any("```yaml" in text for text in mended)
    assert 45 <= fine < 60  # the best one is changed nearly always, and some replies break a rule


def test_a_long_history_is_shown_by_its_best_and_its_newest() -> None:
    prompt = make_prompt({f"a{n}": n / 100 for n in range(40)})
    assert prompt.count("<tried ") == 12 and "28 worse ones are not shown" in prompt
    assert 'name="a39"' in prompt and 'name="a0"' not in prompt


def settings(trials: int = 9, **more: Any) -> Any:
    models = ["sim/gpt-4o", "sim/qwen2-72b-instruct", "sim/llama-3.1-70b-instruct"]
    data = {"tasks": [TASK], "models": models, "space": "small", "algorithm": "proposer", "skip_ranking": True,
            "finalists": 2, "budget": {"trials": trials}}  # fmt: skip
    return load_settings({**data, **more})


def read_lines(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "search.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_a_search_tries_proposals_and_says_what_they_change(tmp_path: Path, fake_run: Any) -> None:
    folder = tmp_path / "out"
    result = search(settings(), folder, fake_run)
    summary = write_results(result, folder)
    accepted = [line for line in read_lines(folder, "proposal") if line["status"] == "accepted"]
    tried = [option.architecture.name for option, _ in result.tried]
    assert len(tried) == 9 and tried[4:] == [line["name"] for line in accepted] == [f"p{n}" for n in range(1, 6)]
    known = set(tried[:4])
    for line in accepted:
        assert line["parent"] in known and line["why"] and any(change[0] in "+-" for change in line["changes"])
        known.add(line["name"])
    proposals = summary["proposals"]
    assert proposals["accepted"] == 5 and proposals["calls"] == len(read_lines(folder, "proposal_call")) >= 5
    assert summary["calls_paid"] == sum(calls for calls, _ in fake_run.paid.values()) + proposals["calls"]
    assert any(note.startswith("p1 from ") for note in summary["notes"])
    rows = (folder / "trials.csv").read_text().splitlines()
    assert len(rows) == 10 and ",p5," in rows[9]
    best = load_architecture(folder / "best.yaml")
    assert {*best.models} <= {*settings().models}


@pytest.mark.parametrize("stop", [4, 5, 7])
def test_a_search_that_was_killed_has_the_same_proposals(tmp_path: Path, fake_run: Any, stop: int) -> None:
    whole = write_results(search(settings(), tmp_path / "a", fake_run), tmp_path / "a")
    fake_run.jobs.clear()
    fake_run.stop_after = stop
    with pytest.raises(KeyboardInterrupt):
        search(settings(), tmp_path / "b", fake_run)
    fake_run.stop_after = -1
    resumed = write_results(search(settings(), tmp_path / "b", fake_run), tmp_path / "b")
    assert resumed == whole


def test_a_reply_that_was_paid_and_not_written_down_is_taken_from_the_store(tmp_path: Path, fake_run: Any) -> None:
    folder = tmp_path / "out"
    search(settings(6), folder, fake_run)
    lines = (folder / "search.jsonl").read_text().splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if '"proposal_call"' in line)
    before = read_lines(folder, "proposal")
    (folder / "search.jsonl").write_text("".join(lines[:first]))  # killed between the reply and the journal
    search(settings(6), folder, fake_run)
    assert read_lines(folder, "proposal") == before
    assert all(line["calls"] == 0 and line["reused"] == 1 for line in read_lines(folder, "proposal_call"))


class MuteAsker:
    """Replies that hold nothing."""

    def __init__(self, *args: Any, **options: Any) -> None: ...

    def generate_sync(self, messages: Any, epoch: int) -> Any:
        from archon_eval.engine.trace import Trace
        from archon_eval.integrations.python import PricedAnswer
        from archon_eval.models.call import Usage

        return PricedAnswer("No idea.", (), Trace(), Usage(), 0.0, 0.0)


def test_after_failures_in_a_row_the_space_is_tried(tmp_path: Path, fake_run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("archon_eval.search.proposal_registry.Archon", MuteAsker)
    folder = tmp_path / "out"
    result = search(settings(6), folder, fake_run)
    lines = read_lines(folder, "proposal")
    assert [line["status"] for line in lines] == ["invalid"] * 3 + ["fallback"] + ["invalid"] * 3 + ["fallback"]
    assert "3 replies in a row could not be tried; the last: there is no file" in lines[3]["problem"]
    assert len(result.tried) == 6 and len({option.architecture.fingerprint for option, _ in result.tried}) == 6
    summary = write_results(result, folder)
    assert any(note.startswith("2 trials took an architecture of the space instead") for note in summary["notes"])


def test_proposing_takes_no_more_than_its_share_of_the_budget(tmp_path: Path, fake_run: Any) -> None:
    folder = tmp_path / "out"
    loaded = settings(8)
    fake_run.chance = lambda job: 0.5
    from dataclasses import replace

    budget = replace(loaded.budget, dollars=1e9, calls=100_000)
    search(replace(loaded, budget=budget), folder, fake_run)
    assert not [line for line in read_lines(folder, "proposal") if line["status"] == "fallback"]
    small = tmp_path / "small"
    import archon_eval.search.proposal_registry as registry

    before, registry.PROPOSAL_BUDGET_SHARE = registry.PROPOSAL_BUDGET_SHARE, 2e-5  # two calls of 100,000
    try:
        search(replace(loaded, budget=budget), small, fake_run)
    finally:
        registry.PROPOSAL_BUDGET_SHARE = before
    assert sum(line["calls"] for line in read_lines(small, "proposal_call")) == 2
    fallen = [line for line in read_lines(small, "proposal") if line["status"] == "fallback"]
    assert fallen and "proposing has taken 2 calls" in fallen[0]["problem"]


def test_a_proposer_is_of_this_algorithm_alone() -> None:
    with pytest.raises(SearchError, match="proposer=sim/gpt-4o: only algorithm proposer has it, not smac"):
        settings(algorithm="smac", proposer="sim/gpt-4o")
    assert settings(proposer="sim/gpt-4o").identity != settings().identity
    plain = {"tasks": [TASK], "models": ["sim/gpt-4o"], "space": "small"}
    assert "proposer" not in load_settings(plain)._identity_fields


def test_a_proposer_of_ones_own_has_the_registry(
    tmp_path: Path, fake_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "terse_proposer.py").write_text(
        "from archon_eval.search import ModelProposer\n"
        "class Terse(ModelProposer):\n"
        "    seen = []\n"
        "    def render_prompt(self, tried):\n"
        "        self.seen.append([each.name for each in tried])\n"
        "        return super().render_prompt(tried[-1:])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded = settings(6, algorithm="terse_proposer:Terse", proposer="sim/qwen2-72b-instruct")
    result = search(loaded, tmp_path / "out", fake_run)
    [first, second] = sys.modules["terse_proposer"].Terse.seen
    assert len(first) == 4 and second == [*first, "p1"]
    assert [option.architecture.name for option, _ in result.tried][4] == "p1"  # the next may be a repetition
    sys.modules.pop("terse_proposer")
