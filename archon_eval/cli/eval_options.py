"""The options of commands that run evals and read scores."""

import argparse
import os
from math import inf
from pathlib import Path
from typing import Any


def add_eval_options(command: argparse.ArgumentParser, folder: Path = Path("logs")) -> None:
    """The options that say what an eval runs."""
    command.add_argument("--task", help="benchmark as Inspect finds it, or lm-eval with --harness lm-eval")
    add_harness_option(command)
    for letter, what in (("T", "task"), ("S", "solver")):
        text = f"{what} parameter; repeat for several"
        command.add_argument(f"-{letter}", dest=f"{what}_args", action="append", default=[], metavar="N=V", help=text)
    command.add_argument("--model-role", action="append", default=[], metavar="ROLE=MODEL", help="e.g. a judge")
    add_door_option(command, "auto")
    command.add_argument("--epochs", type=_parse_count, default=1, help="answers per question (%(default)s)")
    command.add_argument("--time-limit", type=_parse_seconds, default=inf, metavar="SECONDS", help="of an eval (none)")
    command.add_argument("--log-dir", type=Path, default=folder, help="where logs go (%(default)s)")
    add_docker_hosts_option(command)
    add_shard_options(command)
    add_dask_option(command)


def add_shard_options(command: Any) -> None:
    """The options that say in how many processes an eval runs."""
    command.add_argument(
        "--shards",
        type=_parse_count,
        default=1,
        metavar="N",
        help="processes that share an eval's questions (%(default)s)",
    )


def add_dask_option(command: Any) -> None:
    """The option that has shards run on a cluster."""
    command.add_argument("--dask", metavar="ADDRESS", help="an existing Dask cluster, for the shards")


def add_harness_option(command: Any) -> None:
    """The option that says whose task it is."""
    command.add_argument(
        "--harness", choices=("inspect", "lm-eval"), default="inspect", help="whose task it is (%(default)s)"
    )


def build_eval(options: argparse.Namespace) -> Any:
    """The `archon_eval.runs.run_eval.Eval`, or the `LmEval`, that the options of `add_eval_options` ask for."""
    from archon_eval.runs.run_eval import Eval
    from archon_eval.runs.run_lm_eval import LmEval

    kind = LmEval if options.harness == "lm-eval" else Eval
    return kind(
        task=options.task,
        task_args=tuple(options.task_args),
        solver_args=tuple(options.solver_args),
        roles=tuple(options.model_role),
        epochs=options.epochs,
        seconds=options.time_limit,
        door=options.door,
        shards=options.shards,
        dask=options.dask,
    )


def add_door_option(command: Any, default: str | None = None) -> None:
    """The option that says how the architecture answers a task."""
    command.add_argument(
        "--door",
        choices=("auto", "solver", "model"),
        default=default,
        help="the architecture in place of the task's own solver, or as the model that this asks (default: auto, the "
        "model wherever the solver would lose something)",
    )


def add_docker_hosts_option(command: Any) -> None:
    """The option that says where programs run; `set_docker_hosts` hands it on."""
    command.add_argument(
        "--docker-hosts",
        metavar="A,B|FILE",
        help="Docker daemons that run programs (unix://, tcp://, ssh://, local), separated by commas, or a file with "
        "one per line (default: ARCHON_DOCKER_HOSTS, then DOCKER_HOST)",
    )


def set_docker_hosts(options: argparse.Namespace) -> None:
    """Put the hosts into the environment, from where this process and the evals it starts take them.

    Raises:
        SandboxError: they have an unknown form.
    """
    if (text := getattr(options, "docker_hosts", None)) is not None:
        from archon_eval.sandbox.hosts import HOSTS_VARIABLE, parse_docker_hosts

        parse_docker_hosts(text, "--docker-hosts")
        path = Path(text)
        os.environ[HOSTS_VARIABLE] = str(path.resolve()) if "://" not in text and path.is_file() else text


def _parse_count(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return value


def _parse_seconds(text: str) -> float:
    if not (value := float(text)) > 0:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0")
    return value


def add_scoring_options(command: argparse.ArgumentParser, missing: str = "error") -> None:
    """The options that say which scores count."""
    command.add_argument("--scorer", metavar="NAME", help="which score counts, NAME or NAME/KEY (default: the first)")
    add_metric_option(command)
    command.add_argument(
        "--missing",
        choices=("error", "drop", "zero"),
        default=missing,
        help="questions without a score: an error, left out, or wrong, which a score that is no number never is: "
        "there it stays an error (%(default)s)",
    )


def add_metric_option(command: Any, default: str = "the benchmark's own") -> None:
    """The option that says by which figure systems are reported and compared."""
    command.add_argument(
        "--metric", metavar="NAME", help=f"which figure counts, such as win_rate or mean (default: {default})"
    )


def add_prompts_option(command: Any) -> None:
    """The option that lets runs with other prompts be compared on purpose."""
    command.add_argument(
        "--ignore-prompts",
        action="store_true",
        help="compare although the questions were asked with other system messages, templates, examples or tools",
    )
