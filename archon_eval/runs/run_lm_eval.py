"""Runs a task of lm-eval as users do, `lm_eval --model archon ...`, in a process of its own; gives back its samples.

log = run_lm_eval(LmEval("gsm8k", ("num_fewshot=5",), ("architecture=single", "models=sim/pool")), Path("logs"))
"""

import ast
import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from archon_eval.errors import ArchonError, DataError, did_you_mean
from archon_eval.runs.child_process import ChildProcess, hide_secrets, join_words
from archon_eval.runs.door import DoorChoice
from archon_eval.runs.progress import EvalProgressCallback
from archon_eval.runs.read_lm_eval import list_samples
from archon_eval.runs.run_eval import Eval, follow_progress, run_eval

LAST_LINES = 12
"""Lines of what lm-eval printed that a message has: before them it tells of its own doings."""
LM_EVAL_DOOR = DoorChoice("model", "lm-eval asks an architecture as its model, so that the task is kept")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


TASK_OPTIONS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "num_fewshot": (lambda value: type(value) is int and value >= 0, "a whole number from 0"),
    "apply_chat_template": (lambda value: isinstance(value, bool | str), "true, false or a template's name"),
    "fewshot_as_multiturn": (lambda value: isinstance(value, bool), "true or false"),
    "system_instruction": (lambda value: isinstance(value, str), "text"),
    "gen_kwargs": (lambda value: isinstance(value, str | Mapping), "settings such as temperature=0,max_gen_toks=64"),
    "include_path": (lambda value: isinstance(value, str), "a folder with tasks"),
    "limit": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "confirm_run_unsafe_code": (lambda value: isinstance(value, bool), "true or false"),
}
"""What `-T` may say of a task of lm-eval, by the names of its options -> whether a value is legal, and what is."""
TEXT_OPTIONS = frozenset({"system_instruction", "include_path"})
"""Those of them that are text, whatever YAML would make of it."""
_PLAIN = re.compile(r"[^\s,=\"'{}\[\]()]*")
"""Text that lm-eval's `NAME=VALUE,NAME=VALUE` can hold."""
_PAIR = re.compile(r"""(?:"[^"]*"|'[^']*'|\[(?:"[^"]*"|'[^']*'|[^]"'])*\]|[^,])+""")


def parse_task_options(pairs: Sequence[tuple[str, Any]], task: str) -> dict[str, Any]:
    """The options as lm-eval's `simple_evaluate` takes them.

    Raises:
        DataError: an unknown one, or a value that is not legal.
    """
    options = {}
    for name, value in pairs:
        if name not in TASK_OPTIONS:
            raise DataError(f"task {task}: no option {name!r} of lm-eval's tasks{did_you_mean(name, TASK_OPTIONS)}")
        is_legal, words = TASK_OPTIONS[name]
        if not is_legal(value):
            raise DataError(f"task {task}: {name} must be {words}, not {value!r}")
        options[name] = _parse_gen_kwargs(value, task) if name == "gen_kwargs" else value
    is_chat = bool(options.get("apply_chat_template"))
    if options.get("fewshot_as_multiturn") and not is_chat:
        raise DataError(f"task {task}: fewshot_as_multiturn needs apply_chat_template")
    # said outright: the default has changed between lm-eval's versions, and differs between its command and Python
    return {**options, **({"fewshot_as_multiturn": options.get("fewshot_as_multiturn", True)} if is_chat else {})}


def _parse_gen_kwargs(given: str | Mapping[str, Any], task: str) -> dict[str, Any]:
    """The settings in `NAME=VALUE,NAME=VALUE` as a mapping: lm-eval's command and its Python read lists differently.

    Raises:
        DataError: no such pairs.
    """
    if not isinstance(given, str):
        return dict(given)
    settings: dict[str, Any] = {}
    for pair in _PAIR.findall(given):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not name:
            raise DataError(
                f"task {task}: gen_kwargs: {pair!r} must be NAME=VALUE, as in temperature=0,max_gen_toks=64"
            )
        words = {"true": True, "false": False, "none": None}
        try:
            settings[name] = words[value.lower()] if value.lower() in words else ast.literal_eval(value)
        except (ValueError, SyntaxError):  # text without quotation marks
            settings[name] = value
    return settings


@dataclass(frozen=True, slots=True)
class LmEval(Eval):
    """What to run; `task_args` are options of TASK_OPTIONS, `solver_args` are arguments of lm-eval's model `archon`."""

    def __post_init__(self) -> None:
        if not self.task.strip() or self.task.startswith("-") or "," in self.task:
            raise DataError(f"task {self.task!r}: name one task of lm-eval, e.g. gsm8k")
        if self.roles:
            raise DataError("--model-role is for tasks of Inspect: lm-eval has no roles")
        if self.door != "auto":
            raise DataError("--door is for tasks of Inspect: lm-eval asks an architecture as its model")
        if self.epochs != 1:
            raise DataError(
                "--epochs is for tasks of Inspect: a task of lm-eval says itself how often it asks (repeats)"
            )
        if self.shards > 1 or self.dask:
            option = "--dask" if self.dask else "--shards"
            raise DataError(f"{option} is for tasks of Inspect: a task of lm-eval ({self.task}) runs in one process")
        parse_task_options(parse_lm_eval_pairs(self.task_args), self.task)

    def choose_door(self) -> tuple[Eval, DoorChoice]:
        """The same: lm-eval has one door."""
        return self, LM_EVAL_DOOR

    def build_command(self, folder: Path) -> list[str]:
        """The command line; the output goes to the folder."""
        options = parse_task_options(parse_lm_eval_pairs(self.task_args), self.task)
        words = ["lm_eval", "--model", "archon", "--tasks", self.task, "--log_samples", "--output_path", str(folder)]
        words += ["--model_args", json.dumps({"model": "archon", **dict(parse_lm_eval_pairs(self.solver_args))})]
        return [*words, *build_options(options)]


def build_options(options: Mapping[str, Any]) -> list[str]:
    """Options of a task as words of lm-eval's command line."""
    words: list[str] = []
    for name, value in options.items():
        if name == "fewshot_as_multiturn":
            words += [f"--{name}"] if value else [f"--{name}", "false"]
        elif isinstance(value, bool):
            words += [f"--{name}"] if value else []
        elif isinstance(value, Mapping):
            words += [f"--{name}", format_arguments(value)]
        elif str(value).startswith("-"):  # it would be another option
            words += [f"--{name}={value}"]
        else:
            words += [f"--{name}", str(value)]
    return words


def format_arguments(arguments: Mapping[str, Any]) -> str:
    """`NAME=VALUE,NAME=VALUE` as lm-eval takes it; JSON where that would read another value back.

    >>> format_arguments({"temperature": 0, "top_p": 0.5}), format_arguments({"until": ["a", "b"]})
    ('temperature=0,top_p=0.5', '{"until": ["a", "b"]}')
    """
    words = {name: json.dumps(value) if isinstance(value, bool) else str(value) for name, value in arguments.items()}
    plain = ",".join(f"{name}={word}" for name, word in words.items())
    is_plain = all(_PLAIN.fullmatch(word) for word in words.values())
    return plain if is_plain and _parse_gen_kwargs(plain, "") == dict(arguments) else json.dumps(dict(arguments))


def parse_lm_eval_pairs(items: Sequence[str]) -> list[tuple[str, Any]]:
    """`NAME=VALUE`, values as YAML reads them, but text of TEXT_OPTIONS.

    Raises:
        DataError: no pair.
    """
    import yaml

    pairs = []
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise DataError(f"{item!r}: must be NAME=VALUE")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            parsed = value
        is_text = name in TEXT_OPTIONS or (isinstance(parsed, Mapping | None) and not value.startswith("{"))
        pairs.append((name, value if is_text else parsed))
    return pairs


def run_plan(plan: Eval, folder: Path, on_progress: EvalProgressCallback = lambda progress: None) -> Path:
    """The log of a finished eval, of whichever harness. Raises as `run_eval` and `run_lm_eval`."""
    return run_lm_eval(plan, folder, on_progress) if isinstance(plan, LmEval) else run_eval(plan, folder, on_progress)


def run_lm_eval(plan: LmEval, folder: Path, on_progress: EvalProgressCallback = lambda progress: None) -> Path:
    """The samples of the finished run, a file as `archon_eval.runs.read_log.read_run` takes it.

    Raises:
        ArchonError: nothing was written, and the end of what the command printed is in the message, without secrets;
            or it took too long.
    """
    output = folder / f"{plan.task.replace('/', '-')}_{token_hex(4)}"  # other runs may be writing there
    try:
        output.mkdir(parents=True)
    except OSError as exc:
        raise DataError(f"cannot write results to {folder}: {exc.strerror or exc}") from exc
    words = plan.build_command(output)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "progress.jsonl"
        file.touch()
        program = ["-P", "-m", "archon_eval.integrations.lm_eval_process", str(file), *words[1:]]
        child = ChildProcess(program, env={"TOKENIZERS_PARALLELISM": "false"})
        with file.open(encoding="utf-8") as events, closing(child):
            try:
                progress, in_time = follow_progress(child, events, on_progress, seconds=plan.seconds)
            finally:
                child.stop()
            printed = child.read_printed()
    results = sorted(output.rglob("results_*.json"))
    if results and (samples := list_samples(results[-1])) and samples[0] != results[-1]:
        return samples[0]
    if not any(output.iterdir()):
        output.rmdir()
    if not in_time:
        total = "?" if progress.total is None else progress.total
        text = f"no end after {plan.seconds:g} seconds, {progress.done} of {total} answered: {join_words(words)}"
        raise ArchonError(hide_secrets(text, words))
    lines = printed.strip().splitlines()
    said = next((number for number, line in enumerate(lines) if line.startswith("archon: ")), -LAST_LINES)
    text = f"{join_words(words)} failed:\n" + "\n".join(lines[said:])
    raise ArchonError(hide_secrets(text.strip(), words))
