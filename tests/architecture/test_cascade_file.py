"""Cascades in a file: what is read, what is written back, what is refused before anything is paid."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from archon_eval.architecture.load import list_named_code, load_architecture
from archon_eval.architecture.spec import Architecture
from archon_eval.engine.engine import Engine
from archon_eval.engine.plan import plan
from archon_eval.errors import ArchitectureError
from archon_eval.models.call import Call, Reply

VOTE = {"name": "vote", "layers": [{"generator": {"model": "a/cheap", "samples": 5}}, {"vote": {"top_k": 1}}]}
STRONG = {"name": "strong", "layers": [{"generator": "a/strong"}]}


def cascade(*stages: dict[str, Any], **top: Any) -> Architecture:
    return load_architecture({"name": "x", "cascade": list(stages), **top})


def accept(**rule: Any) -> dict[str, Any]:
    return {**VOTE, "accept": rule}


async def unasked(call: Call) -> Reply:
    raise AssertionError(call)


@pytest.mark.parametrize(
    "rule",
    [
        {"agreement": 0.8},
        {"verifier": "a/strong"},
        {"judge": {"model": "a/strong", "threshold": 80, "temperature": 0.0}},
        {"function": {"function": "operator:truth", "threshold": 0.5}},
        {"agreement": "tune"},
    ],
)
def test_a_cascade_is_written_as_it_was_read(rule: dict[str, Any]) -> None:
    first = cascade(accept(**rule), STRONG, router={"model": "a/cheap", "default": "vote"})
    assert [span.first for span in first.spans] == [2, 5] and first.spans[0].rule == 4
    again = load_architecture(yaml.safe_load(first.to_yaml()))
    assert again == first and again.fingerprint == first.fingerprint


def test_a_stage_may_be_an_architecture_with_models_of_the_cascade() -> None:
    found = cascade(
        accept(agreement=1), {"name": "moa", "architecture": "moa-lite", "models": ["$2..3", "a/x"]}
    ).with_models(["one", "two", "three"])
    assert found.models == ("a/cheap", "two", "three", "a/x")
    assert [len(layer) for layer in found.layers] == [1, 1, 1, 6, 1]


def test_paths_in_a_file_are_taken_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "strong.yaml").write_text(yaml.safe_dump({"layers": [{"generator": "a/strong"}]}))
    (tmp_path / "rows.json").write_text(json.dumps({"rows": [{"when": {"code": True}, "stage": "strong"}]}))
    stages = [accept(agreement=1), {"name": "strong", "architecture": "./strong.yaml"}]
    router = {"table": "rows.json", "default": "vote"}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"cascade": stages, "router": router}))
    found = load_architecture(tmp_path / "c.yaml")
    assert found.models == ("a/cheap", "a/strong")
    assert found.router is not None and found.to_mapping()["router"]["rows"][0]["stage"] == "strong"


def test_fingerprints_differ_by_what_changes_an_answer() -> None:
    base = cascade(accept(agreement=0.8), STRONG)
    others = [
        cascade(accept(agreement=1.0), STRONG),
        cascade(accept(verifier="a/strong"), STRONG),
        cascade(accept(agreement=0.8), STRONG, measure_only=True),
        cascade(accept(agreement=0.8), STRONG, router={"model": "a/cheap"}),
        cascade({**accept(agreement=0.8), "keep": True}, {"name": "f", "layers": [{"fuser": "a/strong"}]}),
    ]
    assert len({each.fingerprint for each in (base, *others)}) == 6
    renamed = cascade({**accept(agreement=0.8), "name": "other"}, {**STRONG, "description": "d"})
    assert renamed.fingerprint == base.fingerprint


def test_the_code_of_a_function_is_part_of_the_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    prints = []
    for name, code in (("own_rule_one", "0.5"), ("own_rule_two", "0.6")):
        (tmp_path / f"{name}.py").write_text(f"def sure(state):\n    return {code}\n")
        prints.append(cascade(accept(function={"function": f"{name}:sure", "threshold": 0.5}), STRONG))
    one, two = (each.fingerprint for each in prints)
    assert one != two
    named = list_named_code(prints[0].to_mapping())
    assert named == {"own_rule_one:sure"} == list_named_code(prints[0])


@pytest.mark.parametrize(
    ("stages", "top", "problem"),
    [
        ([accept(agreement=1.5), STRONG], {}, "from 0 to 1"),
        ([accept(judge={"model": "a/x", "threshold": 101}), STRONG], {}, "from 0 to 100"),
        ([accept(agreemnt=1), STRONG], {}, "did you mean 'agreement'"),
        ([accept(judge=8), STRONG], {}, "needs `model:`"),
        ([VOTE, STRONG], {}, "stage vote has no `accept`"),
        ([accept(agreement=1)], {}, "stage vote is the last, whose answer always stands"),
        ([accept(agreement=1), {"name": "f", "layers": [{"fuser": "a/x"}]}], {}, "the first layer holds generators"),
        ([{**accept(agreement=1), "keep": True}, STRONG], {}, "drops the candidates that the stage before keeps"),
        ([accept(agreement=1), VOTE], {}, "2 stages are called 'vote'"),
        ([accept(agreement=1), {**STRONG, "name": "a b"}], {}, "a name is a word"),
        ([accept(tests=1), STRONG], {}, "no layer of it is a unit_test_evaluator"),
        ([accept(agreement=1), STRONG], {"router": {"model": "a/x", "default": "strnog"}}, "did you mean 'strong'"),
        (
            [accept(agreement=1), STRONG],
            {"router": {"rows": [{"when": {"words": 3}, "stage": "none"}]}},
            "there is no stage 'none'",
        ),
        ([accept(agreement=1), STRONG], {"router": {"rows": [{"when": {"wrds": 3}, "stage": "vote"}]}}, "'words'"),
        *(
            (
                [accept(agreement=1), STRONG],
                {"router": {"rows": [{"when": {"words": when}, "stage": "vote"}]}},
                "max of",
            )
            for when in (float("nan"), {"max": float("inf")}, {"min": 9, "max": 3}, {"max": True}, {}, "3")
        ),
        ([accept(agreement="80%"), STRONG], {}, "one rule and its threshold, such as {agreement: 0.8}"),
        ([accept(agreement=1), {"architecture": "cascade"}], {}, "cannot be a cascade itself"),
        ([accept(agreement=1), {"architecture": "single"}], {"temperature": 0.0}, "would not hold"),
        ([accept(agreement=1), {**STRONG, "architecture": "single"}], {}, "and not both"),
        ([{**VOTE, "layers": [*VOTE["layers"], {"accept_agreement": None}]}, STRONG], {}, "a stage's `accept`"),
        ([accept(agreement=1), STRONG], {"layers": [{"generator": "a/x"}]}, "leave one out"),
        ([accept(agreement=1), STRONG], {"router": {"model": "a/x", "only": True}}, "no rule is asked: leave it out"),
        ([], {}, "at least one stage"),
    ],
)
def test_what_cannot_work_is_refused(stages: list[dict[str, Any]], top: dict[str, Any], problem: str) -> None:
    with pytest.raises(ArchitectureError) as error:
        cascade(*stages, **top)
    assert problem in str(error.value)


def test_a_rule_that_can_measure_nothing_is_refused_by_plan_and_engine() -> None:
    one = cascade({"name": "one", "layers": [{"generator": "a/x"}], "accept": {"agreement": 0.5}}, STRONG)
    for use in (plan, lambda architecture: Engine(architecture, unasked)):
        with pytest.raises(ArchitectureError, match="one always agrees with itself"):
            use(one)


def test_a_cascade_without_a_threshold_is_planned_and_not_run() -> None:
    untuned = cascade(accept(agreement="tune"), STRONG)
    assert any("archon tune" in note for note in plan(untuned).notes)
    with pytest.raises(ArchitectureError, match="let `archon tune` find it"):
        Engine(untuned, unasked)


def test_rules_and_routers_are_no_layers_of_other_architectures() -> None:
    for kind in ("accept_agreement", "router"):
        with pytest.raises(ArchitectureError, match="is no layer by itself"):
            load_architecture({"layers": [{"generator": "a/x"}, {kind: None}]})
    with pytest.raises(ArchitectureError, match="is for a `cascade`"):
        load_architecture({"layers": [{"generator": "a/x"}], "router": {"model": "a/x"}})


def test_rules_and_routers_are_not_offered_as_layers() -> None:
    with pytest.raises(ArchitectureError) as error:
        load_architecture({"layers": [{"generator": "a/x"}, {"routr": None}]})
    assert "ranker" in str(error.value) and "accept_" not in str(error.value) and "router" not in str(error.value)
