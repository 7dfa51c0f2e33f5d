"""What a worker of a cluster must have before it gets evals of a search, and how it is found out there.

with leave_word(store) as word:
    for check in build_checks(settings, executor, digests=digests, store=store, word=word):
        executor.require(check)
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import packages_distributions
from pathlib import Path
from secrets import token_hex
from typing import Any

from archon_eval.architecture.load import load_architecture
from archon_eval.errors import ArchonError, StoreError
from archon_eval.models.store_address import is_server
from archon_eval.runs.dask_cluster import WorkerCheck
from archon_eval.runs.eval_worker import EvalJob
from archon_eval.runs.executors import DaskExecutor
from archon_eval.search.config import SearchSettings, TaskSpec
from archon_eval.search.prepare import check_requirements, list_required
from archon_eval.search.scheduler import is_replay

_FUNCTION = f"{__name__}:list_missing"
_TASK_FIELDS = ("name", "args", "scorer", "metric", "harness")


def build_checks(
    settings: SearchSettings, executor: DaskExecutor, *, digests: Mapping[str, str], store: str, word: str
) -> Iterator[WorkerCheck]:
    """A check for each task; the first also looks for keys, Docker and the store.

    Args:
        digests: task -> the digest of its questions here.
        store: the path or address of the call store.
        word: what `leave_word` left beside it.

    Raises:
        DataError: a file that a task needs cannot be sent.
    """
    models = dict.fromkeys([*settings.models, *settings.fusers, *settings.judges, *settings.space.named_models])
    wide: dict[str, Any] = {
        "models": [model for model in models if model],
        "required": [architecture.to_mapping() for architecture in list_required(settings)],
        "store": store,
        "seen": word,
        "replay": is_replay(settings),
    }
    for task in settings.tasks:
        job = EvalJob("check", None, task, solver_args=settings.solver_args, model_roles=settings.model_roles)
        packed, bundle = executor.pack(job)
        args: dict[str, Any] = {
            **wide,
            "task": {name: getattr(packed.task, name) for name in _TASK_FIELDS},
            "digest": digests[task.key],
            "door": settings.door,
            "solver_args": dict(packed.solver_args),
            "roles": dict(packed.model_roles),
        }
        yield WorkerCheck(_FUNCTION, args, bundle, _list_packages(task))
        wide = dict.fromkeys(wide)


def list_missing(args: Mapping[str, Any]) -> list[str]:
    """What this machine lacks, in words; values of keys are in none of them."""
    return [*_check_store(args), *_check_models(args), *_check_programs(args), *_check_task(args)]


def _check_task(args: Mapping[str, Any]) -> Iterator[str]:
    from archon_eval.search.questions import load_questions

    task = TaskSpec(**{**args["task"], "args": tuple((name, value) for name, value in args["task"]["args"])})
    try:
        loaded = load_questions(task, args["solver_args"], args["door"])
    except ArchonError as exc:
        yield str(exc)
        return
    if loaded.digest != args["digest"]:
        yield f"task {task.name}: its questions or prompts there are not those that they are here"


def _check_models(args: Mapping[str, Any]) -> Iterator[str]:
    """Keys and packages of providers: a model that can be built has them."""
    from inspect_ai.model import get_model

    from archon_eval._inspect_compat import PrerequisiteError, get_error_text

    for name in dict.fromkeys([*(args["models"] or ()), *(args["roles"] or {}).values()]):
        try:
            get_model(name, memoize=False)
        except (ArchonError, PrerequisiteError, ValueError, TypeError, LookupError, OSError, ImportError) as exc:
            yield f"model {name}: {get_error_text(exc)}"


def _check_programs(args: Mapping[str, Any]) -> Iterator[str]:
    try:
        check_requirements(load_architecture(mapping) for mapping in args["required"] or ())
    except ArchonError as exc:
        yield str(exc)


def _check_store(args: Mapping[str, Any]) -> Iterator[str]:
    """A store that is not there for all would have equal calls paid on every machine."""
    from archon_eval.models.open_store import open_store

    if not args["store"]:
        return
    if args["seen"] and not _is_seen(_name_word(Path(args["store"]), args["seen"])):
        yield (
            f"the call store {args['store']} is not there, and equal calls would be paid on each machine: name one "
            "that all machines reach, with --store postgresql://user@host/database"
        )
        return
    try:
        open_store(args["store"], read_only=args["replay"]).close()
    except ArchonError as exc:
        yield str(exc)


def _is_seen(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a folder of another user
        return False


@contextmanager
def leave_word(store: str) -> Iterator[str]:
    """Within the context an empty file is beside a store. By its name a worker sees that its folder is the same.

    Returns:
        What is in the name; empty for a store on a server.

    Raises:
        StoreError: it cannot be made.
    """
    if is_server(store):
        yield ""
        return
    word = token_hex(8)
    path = _name_word(Path(store), word)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as exc:
        raise StoreError(f"the folder of the call store {store} cannot be written: {exc.strerror}") from exc
    try:
        yield word
    finally:
        path.unlink(missing_ok=True)


def _name_word(store: Path, word: str) -> Path:
    return store.parent / f".archon-seen-{word}"


def _list_packages(task: TaskSpec) -> tuple[str, ...]:
    """The distributions that a task comes from."""
    if task.harness == "lm-eval":
        return ("lm-eval",)
    package = task.name.partition("/")[0] if "/" in task.name and ".py" not in task.name else ""
    return tuple(name for name in packages_distributions().get(package, ()) if name != "archon-eval")
