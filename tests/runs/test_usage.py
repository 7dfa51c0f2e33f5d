"""Means per layer: models from the architecture where its components are built in, else from the account."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from archon_eval.architecture.load import list_named_code, load_architecture
from archon_eval.components import CandidateGenerator, ComponentType, int_option
from archon_eval.models.usage_totals import UsageTotals
from archon_eval.runs.account import ComponentAccount, LayerAccount, QuestionAccount
from archon_eval.runs.usage import reload_architecture, summarize_layers

HERE = __name__


class Thrice(CandidateGenerator):
    """Three candidates, whatever `samples` is."""

    kind = ComponentType("thrice", place="first", options={"samples": int_option(5)})

    @property
    def candidate_count(self) -> int:
        return 3

    async def produce(self, *args: Any) -> None:
        return None


def build_account(kind: str, *models: str) -> QuestionAccount:
    used = UsageTotals(calls=1, dollars=None)
    parts = tuple(ComponentAccount(model, used) for model in models)
    return QuestionAccount("a", "0f", used, layers=(LayerAccount(kind, 2, used, parts),))


def test_models_of_built_in_components_are_those_of_the_plan() -> None:
    layers: Any = [{"generator": [{"model": "a/x", "samples": 2}, "b/y"]}]
    (layer,) = summarize_layers([build_account("generator")], load_architecture({"layers": layers}))
    assert layer.components == ("a/x", "a/x", "b/y")
    executed: Any = [*layers, {"vote": {}}]
    accounts = [QuestionAccount("a", "0f", UsageTotals(), layers=(build_account("vote").layers * 2))]
    assert summarize_layers(accounts, load_architecture({"layers": executed}))[1].components == ()


def test_models_of_a_component_of_ones_own_are_those_of_the_account() -> None:
    architecture = load_architecture({"layers": [{f"{HERE}:Thrice": "a/x"}]})
    (layer,) = summarize_layers([build_account(f"{HERE}:Thrice", "a/x", "b/y")], architecture)
    assert layer.components == ("a/x", "b/y")


@pytest.mark.parametrize("as_file", [True, False])
def test_a_log_imports_no_component(tmp_path: Path, monkeypatch: Any, as_file: bool) -> None:
    (tmp_path / "brought_by_a_log.py").write_text("raise SystemExit\n")
    monkeypatch.syspath_prepend(tmp_path)
    source: Any = {"layers": [{"generator": "a/x"}, {"brought_by_a_log:Component": {}}]}
    if as_file:
        (tmp_path / "mine.yaml").write_text("layers: [{generator: a/x}, {'brought_by_a_log:Component': {}}]\n")
        source = str(tmp_path / "mine.yaml")
    log = SimpleNamespace(eval=SimpleNamespace(solver_args={"architecture": source}, model_args={}, model="none"))
    assert reload_architecture(log, "0f") is None and "brought_by_a_log" not in sys.modules


@pytest.mark.parametrize("component", [{"function": "brought_by_a_log:score"}, [{"function": "brought_by_a_log:f"}]])
def test_a_log_brings_no_function_to_run(component: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brought_by_a_log.py").write_text("raise SystemExit\n")
    monkeypatch.syspath_prepend(tmp_path)
    source = {"layers": [{"generator": "a/x"}, {"reward": component}]}
    assert list_named_code(source) in ({"brought_by_a_log:score"}, {"brought_by_a_log:f"})
    log = SimpleNamespace(eval=SimpleNamespace(solver_args={"architecture": source}, model_args={}, model="none"))
    assert reload_architecture(log, "0f") is None and "brought_by_a_log" not in sys.modules


def test_a_log_with_built_in_components_leads_to_its_architecture() -> None:
    whole = load_architecture("single", ["a/x"])
    args = {"architecture": "single", "models": ["a/x"]}
    log = SimpleNamespace(eval=SimpleNamespace(solver_args=args, model_args={}, model="none"))
    assert reload_architecture(log, whole.fingerprint) == whole
    assert list_named_code(whole) == list_named_code(whole.to_mapping()) == set()


def test_a_log_with_lists_of_models_leads_to_its_architecture_in_silence(recwarn: pytest.WarningsRecorder) -> None:
    imported = {"imported_from": "old", "layers": [{"generator": "a/x"}, {"ranker": "a/x"}, {"fuser": "a/x"}]}
    args = {"architecture": imported, "models": "b/g", "fusers": "b/f", "judges": "b/j"}
    whole = load_architecture(
        {"layers": [{"generator": "b/g"}, {"ranker": "b/j"}, {"fuser": "b/f"}]},
    )
    log = SimpleNamespace(eval=SimpleNamespace(solver_args=args, model_args={}, model="none"))
    found = reload_architecture(log, whole.fingerprint)
    assert found is not None and found.models == ("b/g", "b/j", "b/f") and not recwarn.list
