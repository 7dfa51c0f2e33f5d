"""The options of `archon search`, and the settings that they and a search file make.

settings = build_settings(options)       # what the command line leaves out is the file's
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archon_eval._deprecated import warn_renamed_option
from archon_eval.cli.eval_options import (
    add_docker_hosts_option,
    add_door_option,
    add_harness_option,
    add_metric_option,
    add_shard_options,
)


def add_search_options(command: argparse.ArgumentParser) -> None:
    """Add all option groups."""
    _add_what(command)
    _add_limits(command)
    _add_algorithm(command)
    _add_goal(command)
    _add_where(command)


def _add_what(command: argparse.ArgumentParser) -> None:
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
    task.add_argument("--space", help="a preset (paper, paper-v1, paper-text, small, high-sample) or a YAML file")
    task.add_argument("--model-role", action="append", default=[], metavar="ROLE=MODEL", help="e.g. a judge")
    add_door_option(task)
    add_docker_hosts_option(task)


def _add_limits(command: argparse.ArgumentParser) -> None:
    limits = command.add_argument_group("limits, per question")
    for name, text in (
        ("calls", "model calls"),
        ("input-tokens", "tokens sent"),
        ("output-tokens", "tokens written"),
        ("dollars", "dollars"),
        ("latency", "calls that wait for each other"),
        ("tflops", "10^12 floating-point operations"),
    ):
        limits.add_argument(f"--max-{name}", type=float, metavar="N", help=f"{text} an architecture may take")
    limits.add_argument(
        "--fit-context", action="store_true", help="leave out architectures of which a prompt may not fit its model"
    )
    budget = command.add_argument_group("budget of the whole search")
    budget.add_argument(
        "--budget", action="append", default=[], metavar="LIMIT=N", help="calls=100000, dollars=50, judge_calls=5000"
    )
    budget.add_argument("--trials", type=int, help="architectures to try (default 100)")
    budget.add_argument("--seconds", type=float, help="no new trial after so long")
    budget.add_argument("--epsilon", type=float, metavar="N", help="stop when the best objective rises by less than so")
    budget.add_argument("--patience", type=int, metavar="N", help="trials in which it must, for --epsilon (default 20)")


def _add_algorithm(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("algorithm")
    group.add_argument("--algorithm", help="smac (default), random, greedy, smac-stock, proposer, or your own")
    group.add_argument("--proposer", metavar="MODEL", help="who proposes, for proposer (default: the best generator)")
    group.add_argument("--initial-points", type=int, metavar="N", help="architectures tried first (default 10)")
    group.add_argument("--initial-design", help="how these are chosen: spread (default) or random")
    group.add_argument("--acquisition", help="what a choice goes by: kg (default), ei, pi or ucb")
    group.add_argument("--draws", type=int, help="sets of draws that trials take (default: as many as pay)")
    group.add_argument("--last-draws", type=int, help="draws of the last layer per trial (default: as many as pay)")
    group.add_argument("--questions", help="which dev questions trials ask: all (default) or informative")
    group.add_argument("--xi", type=float, metavar="N", help="what an improvement must bring, for ei, pi (default 0)")
    group.add_argument("--kappa", type=float, metavar="N", help="deviations above the mean, for ucb (default 2)")


def _add_goal(command: argparse.ArgumentParser) -> None:
    goal = command.add_argument_group("goal")
    goal.add_argument(
        "--cost-weight", "--lambda", type=float, metavar="N", help="performance (0 to 1) a unit of cost must bring"
    )
    goal.add_argument("--cost-unit", help="calls (default), kilotokens, dollars, latency or tflops, per question")
    goal.add_argument("--pareto", action="store_true", help="look for the set of best trade-offs")
    goal.add_argument("--finalists", type=int, help="how many are confirmed on fresh draws (default 10)")
    goal.add_argument("--confirm-epochs", type=int, help="fresh draws per question for finalists (default 2)")
    goal.add_argument("--dev-share", type=float, metavar="N", help="share of questions the search sees (default 0.2)")
    goal.add_argument("--trial-questions", type=int, help="dev questions per trial (default all)")
    goal.add_argument("--seed", type=int, help="of all that is chosen at random (default 0)")


def _add_where(command: argparse.ArgumentParser) -> None:
    where = command.add_argument_group("where")
    where.add_argument("-o", "--output", type=Path, default=Path("search"), help="folder; resumed if it is there")
    where.add_argument(
        "-S", dest="solver_args", action="append", default=[], metavar="NAME=VALUE", help="solver argument"
    )
    where.add_argument(
        "--store",
        metavar="PATH",
        help="the call store, a file or postgresql://user@host/database (default: calls.db in OUTPUT)",
    )
    where.add_argument(
        "--log-dir",
        type=_parse_place,
        metavar="PATH",
        help="where logs go, also s3://bucket/folder and the like (default: logs in OUTPUT)",
    )
    where.add_argument("--prices", help="a price file")
    where.add_argument("--workers", type=int, default=1, help="processes on this machine (default 1)")
    add_shard_options(where)
    where.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="an existing Dask cluster, with which only the store is shared; --workers is then how many at once",
    )
    where.add_argument("--dry-run", action="store_true", help="print size, calls, dollars and time expected, and stop")
    where.add_argument(
        "--call-seconds", type=float, default=5.0, help="what one call takes, for --dry-run (%(default)s)"
    )
    where.add_argument("--json", action="store_true", help="print the summary as JSON and nothing else")


def _parse_place(text: str) -> str:
    """An address as it is; a path from the folder in which the command was typed."""
    from archon_eval.runs.log_folder import is_address

    return text if is_address(text) else str(Path(text).absolute())


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
    budget = data.get("budget") or {}
    if isinstance(budget, Mapping) and not {"calls", "dollars", "trials", "seconds"} & set(budget):
        data["budget"] = {"trials": 100, **budget}
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
    names += " trial_questions seed prices door initial_points initial_design acquisition xi kappa"
    names += " draws last_draws questions proposer"
    data |= {name: value for name in names.split() if (value := getattr(options, name)) is not None}
    if options.given_order:
        warn_renamed_option("--given-order", "--skip-ranking")
    given = {"pareto": options.pareto, "skip_ranking": options.skip_ranking or options.given_order}
    return data | {name: True for name, is_given in given.items() if is_given}


def _collect_nested_options(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The settings of which options give parts."""
    from archon_eval.errors import SearchError

    limits = ("calls", "input_tokens", "output_tokens", "dollars", "latency", "tflops")
    solver_args = parse_pairs(options.solver_args, "-S")
    if options.store and "store" in solver_args:
        raise SearchError(f"--store {options.store} and -S store={solver_args['store']}: leave one out")
    solver_args |= {"store": options.store} if options.store else {}

    def pick_given(names: Mapping[str, str]) -> dict[str, Any]:
        return {name: value for name, option in names.items() if (value := getattr(options, option)) is not None}

    return {
        "limits": pick_given({name: f"max_{name}" for name in limits})
        | ({"context": True} if options.fit_context else {}),
        "budget": parse_pairs(options.budget, "--budget")
        | pick_given({name: name for name in ("trials", "seconds", "epsilon", "patience")}),
        "solver_args": solver_args,
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
