"""What a shard does: it runs parts of one `inspect eval`, and puts their logs together at the end.

It runs in the main thread of a process of its own (`worker_loop`), which Inspect's command line needs. Each request is
a mapping with the `words` of `inspect eval` and

    {"do": "look", "folder": ...}   load the task and run nothing: its log without samples, and digests of its samples
    {"do": "run", ...}              run some of its questions (`PartRequest`)
    {"do": "merge", ...}            put logs of parts together (`merge_logs.MergeRequest`); after a look

While a part runs, it sends messages with `progress` (an event of `eval_process`) and `budget` (to the ledger). It takes
those of the ledger, and `{"do": "interrupt"}`, which ends it as Ctrl-C does and keeps it from beginning another.
"""

import _thread
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from glob import escape
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

from archon_eval._inspect_compat import (
    INSPECT_COMMAND,
    PrerequisiteError,
    forget_models,
    get_error_text,
    watch_command,
)
from archon_eval._signals import interrupt_on_sigterm
from archon_eval.errors import ArchonError, DataError
from archon_eval.models.shared_budget import begin_part, give_back_leases, link_to_ledger, receive_from_ledger
from archon_eval.runs.eval_process import register_progress_hook
from archon_eval.runs.merge_logs import MergeRequest, merge_logs
from archon_eval.runs.worker_loop import CHANNEL
from archon_eval.sandbox.pool_host import SHARERS_VARIABLE, count_sharers
from archon_eval.sandbox.shared_speeds import SPEEDS_VARIABLE

SHARED_LIMITS = ("max_connections", "max_samples", "max_subprocesses", "max_sandboxes")
"""Arguments of `inspect_ai.eval` that limit what is done at once: of all shards together."""


@dataclass(frozen=True, slots=True)
class PartRequest:
    """Some questions of the eval, to be asked by one shard."""

    folder: str
    """Where its log goes; it is the only one there."""
    ids: tuple[str | int, ...]
    digests: tuple[str, ...]
    """Of the samples, as the look had them."""
    skip: tuple[tuple[str | int, int], ...] = ()
    """Answers to these that are there already: ids and epochs."""
    shard: int = 0
    shards: int = 1
    sharers: int = 1
    """Shards that are on this one's machine, and divide its containers for programs."""
    speeds: str = ""
    """The file in which shards on this one's machine share how slow hosts are; empty where each measures."""
    max_sandboxes: int | None = None
    """At once in this shard, where the command sets no limit."""
    fails_at_once: bool = True
    """Whether the first failed sample ends the part."""


def digest_sample(sample: Any) -> str:
    """What tells whether a sample is the same one when its task is loaded again."""
    content = sample.input if isinstance(sample.input, str) else [m.model_dump(exclude={"id"}) for m in sample.input]
    text = json.dumps([content, sample.choices, sample.target], default=str)
    return sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


@dataclass
class _EvalCommand:
    """`inspect eval` with the user's words, run again and again in this process with options of our own."""

    words: tuple[str, ...] = ()
    overrides: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda options: {}
    on_task: Callable[[Any], None] = lambda options: None
    given: dict[str, Any] = field(default_factory=dict)
    """The options as the words have them."""
    tasks: list[Any] = field(default_factory=list)
    """Inspect's `TaskRunOptions` of the tasks that ran."""

    def __post_init__(self) -> None:
        watch_command(self._change_options, self._see_task, lambda log: None)

    def _change_options(self, options: dict[str, Any]) -> dict[str, Any]:
        self.given = dict(options)
        return {**options, **self.overrides(options)}

    def _see_task(self, options: Any) -> None:
        self.tasks.append(options)
        self.on_task(options)

    def run(self) -> str:
        """Run it; the reason if it failed, else empty."""
        self.tasks = []
        forget_models()  # budgets are known by the order in which they are opened, so each run opens them all
        sys.argv = ["inspect", "eval", *self.words, "--display", "none"]
        try:
            import_module(INSPECT_COMMAND).main()
        except SystemExit as exc:
            return "" if exc.code in (None, 0) else f"exit code {exc.code}"
        except KeyboardInterrupt:
            return "interrupted"
        except Exception as exc:  # noqa: BLE001 (whatever it is, whoever asked must hear of it)
            if not isinstance(exc, PrerequisiteError | ArchonError):
                traceback.print_exc()
            return get_error_text(exc) or type(exc).__name__
        return ""


class _ShardWorker:
    """The one of this process."""

    def __init__(self) -> None:
        self._command = _EvalCommand()
        self._looked: Any = None
        """Inspect's options of the whole task."""
        self._is_busy = self._is_stopped = False
        self._sharers, self._speeds = count_sharers(), os.environ.get(SPEEDS_VARIABLE)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # started in the background, it is ignored
        interrupt_on_sigterm()
        CHANNEL.receive = self._receive
        link_to_ledger(CHANNEL.send)
        register_progress_hook(lambda event: CHANNEL.send({"progress": event}))

    def _receive(self, message: Mapping[str, Any]) -> None:
        if "budget" in message:
            receive_from_ledger(message)
        else:
            assert message["do"] == "interrupt"
            self._is_stopped = True
            if self._is_busy:
                _thread.interrupt_main()

    def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """What comes of a request, with `error` where it failed."""
        details = {name: value for name, value in request.items() if name not in ("do", "words")}
        if self._command.words != tuple(request["words"]):
            self._command.words, self._is_stopped = tuple(request["words"]), False
        self._is_busy = request["do"] == "run"
        try:
            if request["do"] == "look":
                return self._look(Path(details["folder"]))
            if request["do"] == "merge":
                log = merge_logs(self._looked, MergeRequest(**details))
                return {"log": True, "status": log.status, "error": log.error.message if log.error else ""}
            ids, skip = tuple(details["ids"]), tuple((id, epoch) for id, epoch in details["skip"])
            if self._is_stopped:
                return {"error": "interrupted"}
            return self._run(PartRequest(**{**details, "ids": ids, "skip": skip}))
        except Exception as exc:  # noqa: BLE001 (whatever it is, whoever asked must hear of it)
            traceback.print_exc()
            return {"error": f"{type(exc).__name__}: {exc}"}
        except KeyboardInterrupt:
            return {"error": "interrupted"}
        finally:
            self._is_busy = False

    def _look(self, folder: Path) -> Mapping[str, Any]:
        command = self._command
        command.overrides = lambda options: {
            "run_samples": False,
            "log_dir": str(folder),
            "log_format": "eval",
        }
        command.on_task = lambda options: None
        if error := command.run():
            return {"error": error}
        if len(command.tasks) != 1:
            return {"error": f"{len(command.tasks)} evals: a sharded eval has one task and one model; name them"}
        self._looked = command.tasks[0]
        given = command.given
        task, kept = self._looked.task, {name: given.get(name) for name in (*SHARED_LIMITS, "log_dir", "log_format")}
        return {
            "digests": [[sample.id, digest_sample(sample)] for sample in task.dataset],
            "given": kept,
            "refused": _find_refused(self._looked, given),
        }

    def _run(self, request: PartRequest) -> Mapping[str, Any]:
        command = self._command
        expected = dict(zip(request.ids, request.digests, strict=True))
        problems: list[str] = []

        def change(options: Mapping[str, Any]) -> Mapping[str, Any]:
            shared = {
                name: limit // request.shards + (request.shard < limit % request.shards)
                for name in SHARED_LIMITS
                if isinstance(limit := options.get(name), int)
            }
            if request.max_sandboxes is not None:
                shared = {"max_sandboxes": request.max_sandboxes, **shared}
            return {
                **{name: max(1, value) for name, value in shared.items()},
                "log_dir": request.folder,
                "log_format": "eval",
                "log_samples": True,
                "log_realtime": False,
                "score_display": False,
                "log_buffer": 1,  # what is answered survives a kill
                "limit": None,
                "sample_shuffle": None,
                "sample_id": [escape(str(id)) for id in request.ids],
                "fail_on_error": request.fails_at_once,
                "continue_on_fail": None,
            }

        def choose_samples(options: Any) -> None:
            task = options.task
            task.dataset = task.dataset.filter(lambda sample: sample.id in expected)
            found = {sample.id: digest_sample(sample) for sample in task.dataset}
            if changed := [id for id, digest in expected.items() if found.get(id) != digest]:
                problems.append(
                    f"task {task.name} has another sample {changed[0]!r} each time it is loaded, so its questions "
                    "cannot be divided: give it fixed ids and a seed"
                )
                raise DataError(problems[0])  # which Inspect may keep to itself
            if request.skip:
                task.early_stopping = _SkipAnswered(frozenset(request.skip))

        command.overrides, command.on_task = change, choose_samples
        os.environ[SHARERS_VARIABLE] = str(self._sharers * request.sharers)
        os.environ[SPEEDS_VARIABLE] = self._speeds or request.speeds
        begin_part()
        error = command.run()
        give_back_leases()
        return {"error": problems[0] if problems else error}


def _find_refused(looked: Any, given: Mapping[str, Any]) -> str:
    """Why the eval cannot be divided; empty where it can."""
    task = looked.task
    if getattr(task, "sample_source", None) is not None:
        return f"task {task.name} makes its samples while it runs, so there are no questions to divide"
    if task.early_stopping is not None:
        return f"task {task.name} stops early by what was answered so far, which no shard knows"
    if looked.scanner is not None:
        return "--scanner writes results of its own, which are not put together: scan the finished log, `inspect scan`"
    if getattr(looked, "eval_checkpoint", None) is not None:
        return "--checkpoint is not for sharded evals: the same command goes on with what is missing"
    return ""


class _SkipAnswered:
    """Inspect's early stopping, as far as it leaves out samples that were answered before."""

    def __init__(self, answered: frozenset[tuple[str | int, int]]) -> None:
        self._answered = answered

    async def start_task(self, task: Any, samples: Any, epochs: int) -> str:
        return "answered before"

    async def schedule_sample(self, id: str | int, epoch: int) -> Any:
        from inspect_ai.util import EarlyStop

        return EarlyStop(id=id, epoch=epoch) if (id, epoch) in self._answered else None

    async def complete_sample(self, id: str | int, epoch: int, scores: Any) -> None:
        pass

    async def complete_task(self) -> dict[str, Any]:
        return {}


@cache
def _get_worker() -> _ShardWorker:
    return _ShardWorker()


def answer_request(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Answer one request in the main thread of a process that is for nothing else."""
    return _get_worker().answer(request)


def list_missing(args: Mapping[str, Any]) -> list[str]:
    """Why parts of an eval cannot run on this machine, in words.

    Args:
        args: the eval's `words`, and the digests of its samples as the driver has them.
    """
    with tempfile.TemporaryDirectory() as folder:
        look = answer_request({"do": "look", "words": args["words"], "folder": folder})
    if error := look.get("error"):
        return [str(error)]
    found = {id: digest for id, digest in look["digests"]}  # noqa: C416
    changed = [id for id, digest in args["digests"] if found.get(id) != digest]
    return [f"sample {changed[0]!r} of {args['words'][0]} there is not what it is here"] if changed else []
