"""Options shared by tasks and scorers: what Inspect sees of them, and old names."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, signature

import pytest
from inspect_ai import Task, task
from inspect_ai._util.registry import registry_info, registry_params
from inspect_ai.scorer import Scorer

from archon_eval._inspect_compat import PrerequisiteError
from archon_eval.errors import DataError
from archon_eval.scorers._options import JudgeOptions, spread_options
from archon_eval.scorers.alpaca_eval import alpaca_eval
from archon_eval.scorers.arena_hard import arena_hard
from archon_eval.scorers.mixeval import mixeval
from archon_eval.scorers.mt_bench import mt_bench_pair, mt_bench_single
from archon_eval.tasks._data import Selection
from archon_eval.tasks.alpaca_eval import alpaca_eval as alpaca_eval_task
from archon_eval.tasks.mt_bench import mt_bench

SCORERS = (alpaca_eval, arena_hard, mixeval, mt_bench_pair, mt_bench_single)
SELECTION = {"split": "all", "sample": False, "data": None, "n": None, "seed": 0}


@dataclass(frozen=True, kw_only=True)
class Range:
    low: int = 0
    high: int = 9


@spread_options
def count(range: Range, step: int = 1, *, label: str = "x") -> tuple[Range, int, str]:
    """Counts."""
    return range, step, label


def test_fields_become_parameters_and_come_back_as_a_group() -> None:
    parameters = signature(count).parameters
    assert [(p.name, p.default) for p in parameters.values()] == [
        ("low", 0),
        ("high", 9),
        ("step", 1),
        ("label", "x"),
    ]
    assert parameters["label"].kind is Parameter.KEYWORD_ONLY and count.__doc__ == "Counts."
    assert count(1, step=2) == (Range(low=1), 2, "x")
    assert count(high=5, step=2, label="y") == (Range(high=5), 2, "y")
    with pytest.raises(PrerequisiteError, match=r"count: unknown option 'lwo'; did you mean 'low'.*legal: high, label"):
        count(lwo=1, step=2)
    with pytest.raises(TypeError, match="too many positional"):
        count(1, 2, 3, "x")
    assert count() == (Range(), 1, "x")


def test_inspect_takes_names_and_defaults_from_the_spread_signature() -> None:
    @task
    @spread_options
    def probe(selection: Selection, judging: JudgeOptions, extra: str = "e") -> Task:
        return Task(metadata={"selection": selection, "judging": judging})

    judge_names = ["judge_prompts", "judge_cache", "allow_main_model", "stored"]
    assert registry_info(probe).metadata["params"] == [*SELECTION, *judge_names, "extra", "kwargs"]
    made = probe(n=4, judge_cache="never")
    assert registry_params(made) == {"n": 4, "judge_cache": "never"}, "what a log keeps of a task's options"
    assert made.metadata == {"selection": Selection(n=4), "judging": JudgeOptions(judge_cache="never")}


@pytest.mark.parametrize("build", SCORERS)
def test_the_old_name_of_the_judge_cache_still_works_and_names_the_new_one(build: Callable[..., Scorer]) -> None:
    with pytest.warns(FutureWarning, match="`stored` is now `judge_cache`"):
        build(stored="only")
    with pytest.warns(FutureWarning), pytest.raises(DataError, match=r"judge_cache='onyl'.*did you mean 'only'"):
        build(stored="onyl")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build(judge_cache="only")


def test_the_old_name_means_the_same_policy() -> None:
    with pytest.warns(FutureWarning):
        options = JudgeOptions(stored="never", judge_prompts="x.jsonl")
    arguments = {"judge_prompts": "x.jsonl", "judge_cache": "never", "allow_main_model": False}
    assert options.to_arguments() == arguments


@pytest.mark.parametrize(
    ("build", "options", "said"),
    [
        (mt_bench, {"data": 3}, "mt_bench: data must be text or a list of texts or left out, not 3"),
        (mt_bench, {"data": ["a", 3]}, r"data must be text or a list of texts or left out, not \S*'a', 3"),
        (mt_bench, {"sample": True, "grading": ["single"]}, r"mt_bench: grading must be text, not \S*'single'"),
        (mt_bench, {"sample": True, "grading": 3}, "mt_bench: grading must be text, not 3"),
        (mt_bench, {"sample": "no"}, "sample must be true or false, not 'no'"),
        (mt_bench, {"sample": True, "seed": "x"}, "seed must be a whole number, not 'x'"),
        (mt_bench, {"sample": True, "allow_main_model": "no"}, "allow_main_model must be true or false, not 'no'"),
        (mt_bench_pair, {"allow_main_model": "no"}, "mt_bench_pair: allow_main_model must be true or false, not 'no'"),
        (alpaca_eval_task, {"length_controlled": "maybe"}, "length_controlled must be true or false, not 'maybe'"),
        (alpaca_eval_task, {"judgecache": "never"}, "unknown option 'judgecache'; did you mean 'judge_cache'"),
    ],
)
def test_an_option_of_another_kind_is_refused_by_its_name(
    build: Callable[..., object], options: dict[str, object], said: str
) -> None:
    with pytest.raises(PrerequisiteError, match=said):
        build(**options)
