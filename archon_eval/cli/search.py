"""`archon search`: the best architecture for a benchmark, under limits and a budget.

$ archon search --task archon_eval/math -T sample=true --models sim/pool --space small --trials 20 -o out
"""

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

from archon_eval._deprecated import warn_renamed_option
from archon_eval._notes import show_note
from archon_eval.cli.commands import add_command
from archon_eval.cli.eval_options import add_door_option, add_harness_option, add_metric_option
from archon_eval.cli.progress import ProgressDisplay as Bar
from archon_eval.cli.progress import ProgressUpdate
from archon_eval.cli.search_output import print_forecast, print_summary


def add(commands: Any) -> None:
    """Add the command."""
    command = add_command(commands, "search", "find the best architecture for a benchmark under a budget", run=run)
    task = command.add_argument_group("what")
    task.add_argument("file", nargs="?", type=Path, help="a YAML file with any of these settings; options win over it")
    task.add_argument("--task", action="append", help="benchmark as Inspect or lm-eval finds it; repeat for several")
    add_harness_option(task)
    task.add_argument("-T", dest="task_args", action="append", default=[], metavar="NAME=VALUE", help="task parameter")
    task.add_argument("--scorer", metavar="NAME", help="which score counts, NAME or NAME/KEY (default: the first)")
    add_metric_option(task)
    task.add_argument("--models", help="separated by commas; sim/pool for the simulated ones")
    task.add_argument("--fusers", help="the models that may fuse (default: all); with --skip-ranking, best fuser first")
    task.add_argument("--judges", metavar="MODEL", help="judges candidates in architectures (default: the best fuser)")
    task.add_argument("--skip-ranking", action="store_true", help="the models are given best first: do not rank them")
    task.add_argument("--given-order", action="store_true", help="the old name of --skip-ranking")
    task.add_argument("--space", help="a preset (paper, paper-v1, small, high-sample) or a YAML file")
    task.add_argument("--algorithm", help="smac (default), random, greedy or smac-stock")
    task.add_argument("--model-role", action="append", default=[], metavar="ROLE=MODEL", help="e.g. a judge")
    add_door_option(task)
    limits = command.add_argument_group("limits, per question")
    for name, text in (
        ("calls", "model calls"),
        ("input-tokens", "tokens sent"),
        ("output-tokens", "tokens written"),
        ("dollars", "dollars"),
        ("latency", "calls that wait for each other"),
    ):
        limits.add_argument(f"--max-{name}", type=float, metavar="N", help=f"{text} an architecture may take")
    budget = command.add_argument_group("budget of the whole search")
    budget.add_argument("--budget", action="append", default=[], metavar="LIMIT=N", help="calls=100000 or dollars=50")
    budget.add_argument("--trials", type=int, help="architectures to try (default 100)")
    budget.add_argument("--seconds", type=float, help="no new trial after so long")
    goal = command.add_argument_group("goal")
    goal.add_argument(
        "--cost-weight", "--lambda", type=float, metavar="N", help="performance (0 to 1) a unit of cost must bring"
    )
    goal.add_argument("--cost-unit", help="calls (default), kilotokens or dollars, per question")
    goal.add_argument("--pareto", action="store_true", help="look for the set of best trade-offs")
    goal.add_argument("--finalists", type=int, help="how many are confirmed on fresh draws (default 10)")
    goal.add_argument("--confirm-epochs", type=int, help="fresh draws per question for finalists (default 2)")
    goal.add_argument("--dev-share", type=float, metavar="N", help="share of questions the search sees (default 0.2)")
    goal.add_argument("--trial-questions", type=int, help="dev questions per trial (default all)")
    goal.add_argument("--seed", type=int, help="of all that is chosen at random (default 0)")
    where = command.add_argument_group("where")
    where.add_argument("-o", "--output", type=Path, default=Path("search"), help="folder; resumed if it is there")
    where.add_argument(
        "-S", dest="solver_args", action="append", default=[], metavar="NAME=VALUE", help="solver argument"
    )
    where.add_argument("--prices", help="a price file")
    where.add_argument("--workers", type=int, default=1, help="processes on this machine (default 1)")
    where.add_argument("--dask", metavar="ADDRESS", help="an existing Dask cluster; --workers is then how many at once")
    where.add_argument("--dry-run", action="store_true", help="print size, calls, dollars and time expected, and stop")
    where.add_argument(
        "--call-seconds", type=float, default=5.0, help="what one call takes, for --dry-run (%(default)s)"
    )
    where.add_argument("--json", action="store_true", help="print the summary as JSON and nothing else")


def run(options: argparse.Namespace) -> int:
    """Run the search and print what came of it."""
    from archon_eval.search.journal import find_start

    start = find_start(options.output)
    if start is None or start == Path.cwd():
        return _run_here(options)
    if not start.is_dir():
        show_note(f"{options.output} was begun in {start}, which is gone: relative paths are taken from {Path.cwd()}")
        return _run_here(options)
    show_note(f"{options.output} was begun in {start}: relative paths of tasks, data and stores are taken from there")
    options.output = options.output.resolve()
    options.file = options.file and options.file.resolve()
    with chdir(start):
        return _run_here(options, start)


def _run_here(options: argparse.Namespace, start: Path | None = None) -> int:
    """Run the search.

    Args:
        start: the working directory, where it is not the user's.
    """
    from rich.console import Console

    from archon_eval.search import dask, local, search, write_results
    from archon_eval.search.eval_command import build_eval_command

    settings = build_settings(options)
    if options.dry_run:
        from archon_eval.search.forecast import forecast

        expected = forecast(settings, options.call_seconds, options.workers)
        print(json.dumps(expected, indent=1)) if options.json else print_forecast(expected)
        return 0
    _silence_smac()
    console = Console(stderr=options.json)
    folder = options.output.absolute()
    try:
        with dask(options.dask) if options.dask else local(options.workers) as runs, Bar("search", options.json) as bar:
            result = search(
                settings, folder, runs, workers=options.workers, on_progress=lambda step: bar(convert_progress(step))
            )
    except KeyboardInterrupt:
        print("archon: stopped; the same command goes on where it was", file=sys.stderr)
        raise
    commands = [
        build_eval_command(settings, task, options.output, door=result.doors[task.key].door, start=start)
        for task in settings.tasks
    ]
    summary = write_results(result, folder, commands=commands)
    if options.json:
        print(json.dumps(summary, indent=1))
    else:
        print_summary(summary, console)
    return 0


def _silence_smac() -> None:
    """SMAC3 logs and warns of what is normal here, in the middle of the progress bar."""
    warnings.filterwarnings("ignore", module="smac.*")
    logging.getLogger("smac").setLevel(logging.CRITICAL)


def build_settings(options: argparse.Namespace) -> Any:
    """The settings of a command line; what it leaves out is the file's."""
    from archon_eval.errors import SearchError
    from archon_eval.search.config import load_settings

    data, lines = ({}, {}) if options.file is None else _read_search_file(options.file)
    given = options.task_args or options.scorer or options.metric or options.harness != "inspect"
    if given and not options.task:
        raise SearchError(
            "-T, --scorer, --metric and --harness are for the tasks that --task names; in a search file, give a task "
            "`args:`, `scorer:`, `metric:` and `harness:`"
        )
    chosen = _collect_options(options)
    _drop_overridden_old_names(data, chosen)
    data |= chosen
    # the file's line says nothing of an option's value
    lines = {path: line for path, line in lines.items() if path[0] not in chosen}
    for key, more in _collect_nested_options(options).items():
        _merge_setting(data, key, more)
        lines |= {(key, name): 0 for name in more}
    if not data.get("budget"):
        data["budget"] = {"trials": 100}
    return load_settings(data, str(options.file or "search"), lines=lines)


def _read_search_file(path: Path) -> tuple[dict[str, Any], dict[tuple[str | int, ...], int]]:
    """What the file says, and in which lines."""
    from archon_eval.architecture.file_lines import find_lines
    from archon_eval.architecture.load import parse_text
    from archon_eval.errors import ArchitectureError, SearchError

    try:
        text = path.read_text(encoding="utf-8")
        data = dict(parse_text(text, str(path), "a search is a mapping with `tasks` and `models`"))
    except (OSError, UnicodeDecodeError, ArchitectureError) as exc:
        raise SearchError(f"search file {path}: {exc}") from exc
    return data, find_lines(text)


def _collect_options(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that options give as a whole."""
    from archon_eval.runs.run_lm_eval import parse_lm_eval_pairs

    data: dict[str, Any] = {}
    if options.task:
        chosen = {name: value for name in ("scorer", "metric") if (value := getattr(options, name)) is not None}
        is_lm_eval = options.harness == "lm-eval"
        args = dict(parse_lm_eval_pairs(options.task_args)) if is_lm_eval else parse_pairs(options.task_args, "-T")
        chosen |= {"harness": options.harness} if is_lm_eval else {}
        data["tasks"] = [{"name": name, "args": args, **chosen} for name in options.task]
    names = "models fusers judges space algorithm cost_weight cost_unit finalists confirm_epochs dev_share"
    names += " trial_questions seed prices door"
    data |= {name: value for name in names.split() if (value := getattr(options, name)) is not None}
    if options.given_order:
        warn_renamed_option("--given-order", "--skip-ranking")
    given = {"pareto": options.pareto, "skip_ranking": options.skip_ranking or options.given_order}
    return data | {name: True for name, is_given in given.items() if is_given}


def _collect_nested_options(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The settings of which options give parts."""
    limits = ("calls", "input_tokens", "output_tokens", "dollars", "latency")

    def pick_given(names: Mapping[str, str]) -> dict[str, Any]:
        return {name: value for name, option in names.items() if (value := getattr(options, option)) is not None}

    return {
        "limits": pick_given({name: f"max_{name}" for name in limits}),
        "budget": parse_pairs(options.budget, "--budget") | pick_given({"trials": "trials", "seconds": "seconds"}),
        "solver_args": parse_pairs(options.solver_args, "-S"),
        "model_roles": parse_pairs(options.model_role, "--model-role"),
    }


def _drop_overridden_old_names(data: dict[str, Any], chosen: Mapping[str, Any]) -> None:
    """Take from the file's settings what an option says instead, where the file has it under an old name."""
    from archon_eval.search.config import RENAMED_SETTINGS

    for old, new in RENAMED_SETTINGS.items():
        if old in data and new in chosen:
            warn_renamed_option(old, new)
            del data[old]


def _merge_setting(data: dict[str, Any], key: str, more: Mapping[str, Any]) -> None:
    if more and isinstance(data.get(key) or {}, Mapping):  # what is none is refused with all that the file says
        data[key] = {**(data.get(key) or {}), **more}


def parse_pairs(items: Sequence[str], option: str) -> dict[str, Any]:
    """`NAME=VALUE` as a mapping; values as YAML reads them."""
    from archon_eval.errors import SearchError
    from archon_eval.runs.command_words import parse_value

    pairs = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise SearchError(f"{option} {item}: must be NAME=VALUE")
        pairs[name] = parse_value(value, f"{option} {item}")
    return pairs


def convert_progress(progress: Any) -> ProgressUpdate:
    """The search's own account of where it is, as every command shows it; the best so far is a note."""
    note = ""
    if progress.value is not None:
        spread = f" ± {196 * progress.deviation:.1f}" if progress.deviation is not None else ""
        note = f"best of {progress.options} so far: {progress.incumbent} {100 * progress.value:.1f}{spread}%"
    note = "\n".join(filter(None, [note, progress.note]))
    unit = "trials" if progress.stage == "searching" else "evals" if progress.total else ""
    return ProgressUpdate(
        progress.stage,
        progress.done,
        progress.total,
        unit=unit,
        spent=progress.spent,
        seconds_left=progress.seconds_left,
        note=note,
    )
