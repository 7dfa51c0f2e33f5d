"""Runs an eval as users do, `inspect eval ... --solver archon` or `--model archon/...`, in a process of its own.

log = run_eval(Eval("archon_eval/math", ("sample=true",), ("architecture=single", "models=sim/pool")), Path("logs"))
"""

import re
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from secrets import token_hex
from typing import IO, TYPE_CHECKING, Any

from archon_eval._notes import show_note
from archon_eval.errors import ArchonError, DataError, did_you_mean
from archon_eval.runs.child_process import ChildProcess, hide_secrets, join_words
from archon_eval.runs.command_words import parse_value
from archon_eval.runs.door import DoorChoice, DoorOption, build_model_words, choose_door
from archon_eval.runs.progress import EvalProgress, EvalProgressCallback

if TYPE_CHECKING:
    from archon_eval.models.budget import CallLimits

POLL_INTERVAL = 0.2
"""Seconds between looks at how far an eval is: often enough for a progress bar."""
HOOKS_BANNER = re.compile(r"inspect_ai v\S+\n- hooks enabled: 1\n +\S*archon_progress.*\n*")
"""What Inspect prints because of `eval_process`."""
NO_TASK_MESSAGE = "No inspect tasks were found"


@dataclass(frozen=True, slots=True)
class Eval:
    """What to run; the texts are those of Inspect's command line."""

    task: str
    task_args: tuple[str, ...] = ()
    """`NAME=VALUE`, as -T takes them."""
    solver_args: tuple[str, ...] = ()
    """`NAME=VALUE`, as -S takes them."""
    roles: tuple[str, ...] = ()
    """`ROLE=MODEL`, as --model-role takes them."""
    epochs: int = 1
    seconds: float = inf
    """How long it may take; Inspect tries a model that cannot be reached again and again."""
    door: DoorOption = "auto"
    """How the architecture answers, `archon_eval.runs.door`; `run_eval` chooses where it is `auto`."""
    shards: int = 1
    """Processes that share its questions, `archon_eval.runs.sharded_eval`."""
    dask: str | None = None
    """The address of the Dask cluster on which these run."""

    def __post_init__(self) -> None:
        if not self.task.strip() or self.task.startswith("-"):  # without a name Inspect runs every task it finds
            raise DataError(f"task {self.task!r}: name one, e.g. archon_eval/math")

    @property
    def limits(self) -> "CallLimits":
        """Of the budget of the whole eval, where it is given as text or a mapping that can be read."""
        import yaml

        from archon_eval.models.budget import CallLimits, parse_budget

        pairs = [arg.partition("=") for arg in self.solver_args]
        budgets = [value for name, _, value in pairs if name == "budget"]
        try:
            return parse_budget(yaml.safe_load(budgets[-1]) if budgets else None).eval
        except (ArchonError, yaml.YAMLError):  # the eval itself refuses it, and says why
            return CallLimits()

    def choose_door(self) -> tuple["Eval", DoorChoice]:
        """The eval with its door, and why it is that one; a task that is not this package's own is loaded for it.

        Raises:
            DataError: no such door, or a solver argument that it does not take.
        """
        solver_args = _parse_args(self.solver_args)
        choice = choose_door(self.task, _parse_args(self.task_args), solver_args, self.door)
        more = ("replace_solver=true",) if self.door == "solver" and "replace_solver" not in solver_args else ()
        return replace(self, door=choice.door, solver_args=(*self.solver_args, *more)), choice

    def build_command(self, folder: Path) -> list[str]:
        """The command line, through the solver's door where none is chosen yet.

        Raises:
            DataError: no architecture for the model's door.
        """
        if self.door == "model":
            answering = build_model_words(self.solver_args)
        else:
            answering = [word for value in self.solver_args for word in ("-S", value)]
        options = [word for value in self.task_args for word in ("-T", value)] + answering
        options += [word for value in self.roles for word in ("--model-role", value)]
        words = ["inspect", "eval", self.task, *options, "--epochs", str(self.epochs)]
        words += [] if self.door == "model" else ["--model", "none", "--solver", "archon"]
        return [*words, "--log-dir", str(folder)]


def _parse_args(items: tuple[str, ...]) -> dict[str, Any]:
    """`NAME=VALUE` as Inspect reads it.

    Raises:
        DataError: a value that is no YAML.
    """
    from archon_eval._inspect_compat import parse_cli_args

    args: dict[str, Any] = {}
    for item in items:
        name, _, value = item.partition("=")
        parse_value(value, item)
        odd = value.encode("utf-8", "replace") != value.encode("utf-8", "surrogatepass")
        args |= {name: value} if odd else parse_cli_args([item])
    return args


def run_eval(eval: Eval, folder: Path, on_progress: EvalProgressCallback = lambda progress: None) -> Path:
    """The log of the finished eval; its status may be an error, which `read_log.read_run` then raises.

    Args:
        on_progress: called with how far the eval is, whenever that changed.

    Raises:
        ArchonError: no log was written, what the command printed is in the message without secrets; or several were,
            or it took too long.
    """
    if eval.door == "auto":
        eval, _ = eval.choose_door()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise DataError(f"cannot write logs to {folder}: {exc.strerror or exc}") from exc
    if eval.shards > 1 or eval.dask:
        return _run_in_shards(eval, folder, on_progress)
    words, mark = eval.build_command(folder), token_hex(4)  # other evals may be writing there
    pattern = {"INSPECT_EVAL_LOG_FILE_PATTERN": f"{{task}}_{mark}_{{id}}", "INSPECT_LOG_FORMAT": "eval"}
    pattern["PYTHONUTF8"] = "1"  # Inspect cannot read a word of its command line that another locale could not decode
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "progress.jsonl"
        file.touch()
        # -P: as with `inspect eval`, the caller's statistics.py does not stand in for Python's own
        program = ["-P", "-m", "archon_eval.runs.eval_process", str(file), *words[1:]]
        child = ChildProcess([*program, "--display", "plain", "--no-log-realtime"], env=pattern)
        with file.open(encoding="utf-8") as events, closing(child):
            try:
                progress, in_time = follow_progress(child, events, on_progress, seconds=eval.seconds)
            finally:
                child.stop()
            printed = child.read_printed()
    if not in_time:
        total = "?" if progress.total is None else progress.total
        text = f"no end after {eval.seconds:g} seconds, {progress.done} of {total} answered: {join_words(words)}"
        raise ArchonError(hide_secrets(text, words))
    logs = sorted(folder.glob(f"*_{mark}_*.eval"))
    if not logs:
        hint = suggest_task(eval.task) if NO_TASK_MESSAGE in printed else ""
        text = f"{join_words(words)} failed{hint}:\n{HOOKS_BANNER.sub('', printed)}"
        raise ArchonError(hide_secrets(text.strip(), words))
    if len(logs) > 1:
        raise ArchonError(
            f"{eval.task}: {len(logs)} tasks; name one, as in {eval.task}@NAME; logs: {', '.join(map(str, logs))}"
        )
    return logs[0]


def _run_in_shards(eval: Eval, folder: Path, on_progress: EvalProgressCallback) -> Path:
    from archon_eval.runs.sharded_eval import run_sharded

    words = eval.build_command(folder)[2:]
    done = run_sharded(words, shards=eval.shards, on_progress=on_progress, seconds=eval.seconds, dask=eval.dask)
    for note in done.notes:
        show_note(note.removeprefix("note: "))
    if done.status == "cancelled":
        raise KeyboardInterrupt
    return Path(done.log)


def suggest_task(name: str) -> str:
    """A registered task of nearly that name, as the end of a sentence; empty where there is none."""
    from inspect_ai.util import registry_info

    from archon_eval._inspect_compat import registry_find

    return did_you_mean(name, (registry_info(task).name for task in registry_find(lambda info: info.type == "task")))


def follow_progress(
    child: ChildProcess, events: IO[str], on_progress: EvalProgressCallback, *, seconds: float
) -> tuple[EvalProgress, bool]:
    """How far the eval of a child process came, and whether it ended in time."""
    progress, rest, until = EvalProgress(), "", time.monotonic() + seconds
    on_progress(progress)
    while True:
        ended = child.wait(POLL_INTERVAL)
        *lines, rest = (rest + events.read()).split("\n")
        for line in lines:
            progress = progress.apply_event(line)
        if lines:
            on_progress(progress)
        if ended or time.monotonic() > until:
            return progress, ended
