"""The options of every task: names and defaults as users type them with `-T`, and what a log keeps of them."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval, list_tasks
from inspect_ai.model import Model, ModelOutput, ModelUsage, get_model

import archon_eval.tasks
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
PROGRAMS = {"sandbox": "docker", "time_factor": "auto"}
JUDGING = {"judge_prompts": None, "judge_cache": "reuse", "allow_main_model": False, "stored": None}
OPTIONS: dict[Callable[..., Task], dict[str, Any]] = {
    math: {},
    gsm8k: {},
    mmlu: {},
    mmlu_pro: {},
    gpqa_diamond: {},
    code_contests: PROGRAMS,
    humaneval: PROGRAMS,
    mbpp: PROGRAMS,
    alpaca_eval: JUDGING | {"length_controlled": True, "calibration": None},
    arena_hard: JUDGING | {"baseline": "gpt-4-0314"},
    mixeval: JUDGING,
    mixeval_hard: JUDGING,
    mt_bench: JUDGING | {"grading": "pairwise", "baseline": "claude-3-5-sonnet-20240620", "reference": None},
}


def say(text: str) -> Model:
    output = ModelOutput.from_content("mockllm/model", text)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return get_model("mockllm/model", custom_outputs=[output] * 4)


@pytest.mark.parametrize("task", OPTIONS, ids=lambda task: str(task.__name__))
def test_names_and_defaults_of_every_task(task: Callable[..., Task]) -> None:
    defaults = {name: parameter.default for name, parameter in signature(task).parameters.items()}
    assert defaults == SELECTION | OPTIONS[task]


def test_inspect_lists_every_task() -> None:
    folder = Path(archon_eval.tasks.__file__).parent
    assert sorted(listed.name for listed in list_tasks(root_dir=folder)) == sorted(task.__name__ for task in OPTIONS)


def test_a_log_keeps_the_options_that_were_given_and_the_defaults(tmp_path: Path) -> None:
    options = {"sample": True, "n": 4}
    [log] = eval("archon_eval/math", task_args=options, model=say("?"), log_dir=str(tmp_path), display="none")
    assert log.status == "success" and log.eval.dataset.samples == 4
    assert log.eval.task_args == SELECTION | options and log.eval.task_args_passed == options


def test_the_old_name_of_an_option_reaches_the_scorer_under_its_new_name(tmp_path: Path) -> None:
    options = {"sample": True, "n": 1, "stored": "never", "allow_main_model": True}
    model = say("[[A=B]]")
    with pytest.warns(FutureWarning, match="`stored` is now `judge_cache`"):
        [log] = eval("archon_eval/arena_hard", task_args=options, model=model, log_dir=str(tmp_path), display="none")
    assert log.status == "success" and log.eval.scorers
    assert log.eval.scorers[0].options == {"judge_prompts": None, "judge_cache": "never", "allow_main_model": True}
