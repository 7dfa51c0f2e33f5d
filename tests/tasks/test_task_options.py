"""The options of every task: names and defaults as users type them with `-T`, and what a log keeps of them."""

from collections.abc import Callable
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval, list_tasks
from inspect_ai.model import Model, ModelOutput, ModelUsage, get_model

import archon_eval.tasks
from archon_eval._inspect_compat import PrerequisiteError, get_error_text, load_task_spec
from archon_eval.errors import DataError
from archon_eval.runs.read_log import GROUP_KEYS
from archon_eval.tasks._data import SIDE_KEY
from archon_eval.tasks.alpaca_eval import alpaca_eval
from archon_eval.tasks.arena_hard import arena_hard
from archon_eval.tasks.choices import gpqa_diamond, mmlu, mmlu_pro
from archon_eval.tasks.code_contests import code_contests
from archon_eval.tasks.gsm8k import gsm8k
from archon_eval.tasks.humaneval import humaneval
from archon_eval.tasks.math import math
from archon_eval.tasks.mbpp import mbpp
from archon_eval.tasks.mixeval import mixeval, mixeval_hard
from archon_eval.tasks.mt_bench import mt_bench

SELECTION: dict[str, Any] = {"split": "all", "sample": False, "data": None, "n": None, "seed": 0}
PROGRAMS = {"sandbox": "docker", "time_factor": "auto", "docker_hosts": None}
JUDGING = {"judge_prompts": None, "judge_cache": "reuse", "allow_main_model": False, "stored": None}
OPTIONS: dict[Callable[..., Task], dict[str, Any]] = {
    math: {"subject": None, "level": None},
    gsm8k: {},
    mmlu: {"subject": None},
    mmlu_pro: {"subject": None},
    gpqa_diamond: {"subject": None},
    code_contests: PROGRAMS,
    humaneval: PROGRAMS,
    mbpp: PROGRAMS,
    alpaca_eval: JUDGING | {"dataset": None, "length_controlled": True, "calibration": None},
    arena_hard: JUDGING | {"baseline": "gpt-4-0314"},
    mixeval: JUDGING | {"part": None, "benchmark": None},
    mixeval_hard: JUDGING | {"part": None, "benchmark": None},
    mt_bench: JUDGING
    | {"category": None, "grading": "pairwise", "baseline": "claude-3-5-sonnet-20240620", "reference": None},
}


def say(text: str) -> Model:
    output = ModelOutput.from_content("mockllm/model", text)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return get_model("mockllm/model", custom_outputs=[output] * 4)


@pytest.mark.parametrize("task", OPTIONS, ids=lambda task: str(task.__name__))
def test_names_and_defaults_of_every_task(task: Callable[..., Task]) -> None:
    *parameters, others = signature(task).parameters.values()
    assert others.kind is Parameter.VAR_KEYWORD, "else Inspect leaves unknown options out"
    defaults = {parameter.name: parameter.default for parameter in parameters}
    assert defaults == SELECTION | OPTIONS[task]


def test_inspect_lists_every_task() -> None:
    folder = Path(archon_eval.tasks.__file__).parent
    assert sorted(listed.name for listed in list_tasks(root_dir=folder)) == sorted(task.__name__ for task in OPTIONS)


def test_a_log_keeps_the_options_that_were_given_and_the_defaults(tmp_path: Path) -> None:
    options = {"sample": True, "n": 4}
    [log] = eval("archon_eval/math", task_args=options, model=say("?"), log_dir=str(tmp_path), display="none")
    assert log.status == "success" and log.eval.dataset.samples == 4
    assert log.eval.task_args == SELECTION | OPTIONS[math] | options and log.eval.task_args_passed == options


FILTERS: list[tuple[Callable[..., Task], dict[str, Any], int]] = [
    (mmlu, {"subject": ["biology", "law"]}, 3),
    (mmlu_pro, {"subject": "math,physics"}, 7),
    (gpqa_diamond, {"subject": "Physics"}, 4),
    (math, {"subject": "Counting & Probability", "level": [4, 5]}, 5),
    (mixeval, {"benchmark": ["GSM8k", "DROP"]}, 4),
    (mixeval, {"part": "multiple-choice", "benchmark": "AGIEval,MMLU"}, 3),
    (mixeval_hard, {"part": "free-form"}, 6),
    (mt_bench, {"category": "math,coding"}, 2),
    (alpaca_eval, {"dataset": "own"}, 12),
]


@pytest.mark.parametrize(("task", "options", "count"), FILTERS, ids=lambda value: getattr(value, "__name__", None))
def test_sub_benchmarks_are_chosen_by_the_keys_that_reports_group_by(
    task: Callable[..., Task], options: dict[str, Any], count: int
) -> None:
    chosen, whole = task(sample=True, **options).dataset, task(sample=True).dataset
    assert len(chosen) == count
    for key, value in options.items():
        wanted = {str(item) for item in (value if isinstance(value, list) else value.split(","))}
        assert {str(sample.metadata[key]) for sample in chosen if sample.metadata} == wanted
        assert key in (*GROUP_KEYS, "level")
    sides = {sample.id: sample.metadata[SIDE_KEY] for sample in whole if sample.metadata}
    assert all(sample.metadata and sides[sample.id] == sample.metadata[SIDE_KEY] for sample in chosen)
    with pytest.raises(DataError, match=r"no question has .*='GSM'.* .legal: "):
        task(sample=True, **{next(iter(options)): "GSM"})


def test_a_filter_of_a_command_reaches_the_task(tmp_path: Path) -> None:
    options = {"sample": True, "subject": ["biology", "chemistry"]}
    [log] = eval("archon_eval/mmlu", task_args=options, model=say("ANSWER: B"), log_dir=str(tmp_path), display="none")
    assert log.status == "success" and log.samples and log.eval.task_args["subject"] == ["biology", "chemistry"]
    assert [(sample.metadata or {})["subject"] for sample in log.samples] == ["biology"] * 2 + ["chemistry"] * 2
    assert log.eval.metadata == {"rows": 24}


def test_the_old_name_of_an_option_reaches_the_scorer_under_its_new_name(tmp_path: Path) -> None:
    options = {"sample": True, "n": 1, "stored": "never", "allow_main_model": True}
    model = say("[[A=B]]")
    with pytest.warns(FutureWarning, match="`stored` is now `judge_cache`"):
        [log] = eval("archon_eval/arena_hard", task_args=options, model=model, log_dir=str(tmp_path), display="none")
    assert log.status == "success" and log.eval.scorers
    assert log.eval.scorers[0].options == {"judge_prompts": None, "judge_cache": "never", "allow_main_model": True}


@pytest.mark.parametrize("task", OPTIONS, ids=lambda task: str(task.__name__))
def test_every_task_refuses_an_unknown_name_before_it_reads_data(task: Callable[..., Task]) -> None:
    name = task.__name__
    with pytest.raises(PrerequisiteError) as caught:
        load_task_spec(f"archon_eval/{name}", {"sampel": True})  # Inspect's own way from -T to the task
    assert f"{name}: unknown option 'sampel'; did you mean 'sample'?" in get_error_text(caught.value)
    with pytest.raises(PrerequisiteError) as caught:
        load_task_spec(f"archon_eval/{name}", {"sample": "maybe"})
    assert f"{name}: sample must be true or false, not 'maybe'" in get_error_text(caught.value)
