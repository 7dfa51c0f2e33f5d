"""`archon eval`: an Inspect eval in several processes, with one log.

$ archon eval archon_eval/math -T sample=true --model sim/gpt-4o --shards 4
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from archon_eval.cli.commands import add_command
from archon_eval.cli.eval_options import add_dask_option, add_docker_hosts_option, add_shard_options
from archon_eval.cli.progress import EvalSeries, ProgressDisplay
from archon_eval.errors import DataError, sanitize_text

if TYPE_CHECKING:
    from archon_eval.models.budget import CallLimits

LM_EVAL_OPTIONS = ("--tasks", "--model_args", "--harness", "--num_fewshot")
"""What only lm-eval's command takes."""


def add(commands: Any) -> None:
    """Add the command."""
    command = add_command(commands, "eval", "an Inspect eval in several processes, with one log", run=_run)
    command.usage = (
        "archon eval TASK [--shards N] [--dask ADDRESS] [--docker-hosts HOSTS] [--json] [any option of `inspect eval`]"
    )
    command.epilog = "Everything else goes to `inspect eval`: see `inspect eval --help`."
    add_shard_options(command)
    add_dask_option(command)
    add_docker_hosts_option(command)
    command.add_argument("--json", action="store_true", help="what came of it, as JSON")
    command.allow_abbrev, command.keeps_other_words = False, True


class _Words:
    """What progress needs to know of an eval given as words."""

    def __init__(self, words: Sequence[str]) -> None:
        from archon_eval.runs.run_eval import Eval

        args = tuple(value for option, value in pairwise(words) if option in ("-S", "-M"))
        self.limits: CallLimits = Eval("eval", solver_args=args).limits


def _run(options: argparse.Namespace) -> int:
    from archon_eval.report.formatting import dump_json
    from archon_eval.runs.sharded_eval import run_sharded

    words: list[str] = options.words
    if not words or words[0].startswith("-"):
        raise DataError("name the task first: archon eval archon_eval/math --shards 2 ...")
    if option := next((word for word in words if word.partition("=")[0] in LM_EVAL_OPTIONS), None):
        raise DataError(
            f"{option}: archon eval runs tasks of Inspect; one of lm-eval runs in one process, `lm_eval --model archon`"
        )
    if "--detach" in words:
        raise DataError("--detach: archon eval stays until its log is whole; send it to the background of your shell")
    with ProgressDisplay("eval", options.json) as progress:
        on_progress = EvalSeries(progress, 1, epochs=2).start_eval(words[0], _Words(words))
        done = run_sharded(words, shards=options.shards, on_progress=on_progress, dask=options.dask)
    for note in done.notes:
        print(sanitize_text(note), file=sys.stderr)
    figures = _read_figures(done.log)
    if options.json:
        print(dump_json({"log": done.log, "status": done.status, "error": done.error, "results": figures}))
    else:
        error = f": {done.error}" if done.error else ""
        print(sanitize_text(f"{done.log}: {done.status}{error}"))
        for name, value in figures.items():
            print(sanitize_text(f"{name}: {value:.4g}"))
    return {"success": 0, "cancelled": 130}.get(done.status, 1)


def _read_figures(log: str) -> Mapping[str, float]:
    """Scorer, reducer and metric -> value."""
    from inspect_ai.log import read_eval_log

    results = read_eval_log(log, header_only=True).results
    return {
        "/".join(part for part in (score.name, score.reducer, name) if part): metric.value
        for score in (results.scores if results else ())
        for name, metric in score.metrics.items()
    }
