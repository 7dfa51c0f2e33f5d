"""The files of a search: trials.csv, summary.json and best.yaml at its end, and search.jsonl from its beginning.

search = read_search("search")                  # search.trials, search.summary, search.runs
search = read_unfinished_search("search")       # the same of one that has only a journal: search.progress
"""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from archon_eval.architecture.load import load_architecture
from archon_eval.architecture.spec import Architecture
from archon_eval.errors import ArchonError, DataError
from archon_eval.report.search_follower import SearchFollower
from archon_eval.report.search_progress import EvalSummary, FollowedProgress, Incumbent, JournalTask, describe_progress
from archon_eval.runs.benchmark_run import MissingPolicy, Run
from archon_eval.runs.model_ranking import RankedModel, load_ranking
from archon_eval.runs.read_log import read_run
from archon_eval.runs.search_journal import JOURNAL_NAME, find_log


@dataclass(frozen=True, slots=True)
class TrialSummary:
    """One trial."""

    name: str
    layers: str
    """Its architecture in words; empty where only its name is known."""
    performance: float | None
    """On the dev questions, 0 to 1; None for a trial that failed."""
    expected: float | None
    """The surrogate's mean for it; None without one."""
    deviation: float | None
    calls: float
    cost: float
    paid: int
    """Calls paid for."""
    reused: int
    error: str
    low: float | None = None
    """The ends of the 95% interval of its performance; None where they are not known."""
    high: float | None = None
    draws: int | None = None
    """The set of draws that it had; None where an earlier version does not say it."""
    last_draws: int = 1
    """Draws of its last layer."""
    is_free: bool = False
    """Whether other trials had paid for all of its calls, so that it counts as no trial of the budget."""

    @property
    def drawn(self) -> str:
        """Its draws in words: `set 3, last layer x2, free`; empty where they are not known."""
        words = [f"set {self.draws}"] if self.draws is not None else []
        words += [f"last layer x{self.last_draws}"] if self.last_draws > 1 else []
        return ", ".join(words + ["free"] * self.is_free)


@dataclass(frozen=True, slots=True)
class Search:
    """A search, finished or not."""

    folder: str
    trials: tuple[TrialSummary, ...]
    """In the order tried."""
    summary: Mapping[str, Any]
    """The content of summary.json; of a search that has not finished what there is of it."""
    best: Architecture | None
    outcome: str
    """The result in words."""
    runs: tuple[Run, ...]
    """The evals on the held-out questions that are still there; none of a search that has not finished."""
    problems: tuple[str, ...] = ()
    """Held-out evals, or lines of the journal, that cannot be used, and why."""
    ranking: tuple[RankedModel, ...] = ()
    """The models as generators and fusers; empty where they were not ranked."""
    incumbents: tuple[Incumbent, ...] = ()
    """The best so far after each trial; empty where an earlier version wrote the journal."""
    progress: FollowedProgress | None = None
    """Where it is; None where it has finished."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the summary says of layers that never worked; nothing where an earlier version wrote it."""
        return tuple(map(str, self.summary.get("warnings", ())))

    @property
    def commands(self) -> tuple[str, ...]:
        """What evaluates the winner, to be pasted; nothing where the summary has none."""
        return tuple(map(str, self.summary.get("recommendation", {}).get("commands", ())))

    @property
    def cost_unit(self) -> str:
        """What `TrialSummary.cost` counts."""
        return str(self.summary.get("settings", {}).get("cost_unit", "calls"))


def is_search(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a finished search."""
    return (Path(path) / "trials.csv").is_file() and (Path(path) / "summary.json").is_file()


def has_journal(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a search, finished or not."""
    return (Path(path) / JOURNAL_NAME).is_file()


def read_search(
    path: str | os.PathLike[str],
    scorer: str | None = None,
    missing: MissingPolicy = "drop",
    *,
    metric: str | None = None,
) -> Search:
    """Read the folder of a finished search.

    Args:
        scorer, metric: of the evals on the held-out questions; None for those of the search.
        missing: as for `read_run`.

    Raises:
        DataError: a file is missing or not of its form.
    """
    folder = Path(path)
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        with (folder / "trials.csv").open(encoding="utf-8", newline="") as stream:
            trials = tuple(_parse_trial(row) for row in csv.DictReader(stream))
        logs = _find_report_logs(folder / JOURNAL_NAME)
        problems: list[str] = []
        chosen = [log._replace(scorer=scorer or log.scorer, metric=metric or log.metric) for log in logs]
        runs = tuple(_read_runs(chosen, folder, problems, missing=missing))
        follower = SearchFollower(folder, _list_tasks(summary))
        follower.update()
        ranking = load_ranking(summary["ranking"] or ()) if "ranking" in summary else follower.build_ranking()
        if follower.goes_on:
            problems.append(f"{folder}: what the search did since this result: it went on, and has not finished")
        return Search(
            folder=str(path),
            trials=trials,
            summary=summary,
            best=_load_best(folder),
            outcome=_describe_outcome(summary),
            runs=runs,
            problems=tuple(problems),
            ranking=ranking,
            incumbents=follower.build_incumbents(),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as exc:
        if isinstance(exc, ArchonError):
            raise
        raise DataError(f"{folder}: no finished search: {type(exc).__name__}: {exc}") from exc


def _list_tasks(summary: Mapping[str, Any]) -> list[JournalTask]:
    """The tasks of a summary, in their order; their keys are those of the journal."""
    listed = summary.get("settings", {}).get("tasks", ())
    return [JournalTask(t["name"], t["name"], float(t.get("weight", 1)), tuple(t.get("scale", (0, 1)))) for t in listed]


def read_unfinished_search(path: str | os.PathLike[str]) -> Search:
    """What the journal of a search says that has not finished, also while it runs.

    Raises:
        DataError: there is no journal.
    """
    follower = SearchFollower(Path(path))
    follower.update()
    if not has_journal(path):
        raise DataError(f"{path}: no search: there is no {JOURNAL_NAME}")
    return build_unfinished_search(path, follower.build_progress())


def list_eval_names(path: str | os.PathLike[str]) -> dict[Path, str]:
    """Each log of a search's evals -> what it is of: the architecture tried, the model ranked, the control."""
    follower = SearchFollower(Path(path))
    follower.update()
    return follower.labels_by_log


def build_unfinished_search(path: str | os.PathLike[str], progress: FollowedProgress) -> Search:
    """A search as far as its progress says it."""
    summary = {
        "finished": False,
        "state": progress.state,
        "stage": progress.stage,
        "trials": len(progress.trials),
        "free_trials": len(progress.trials) - progress.chosen_trials,
        "space": progress.options,
        "calls_paid": progress.calls,
        "calls_reused": progress.reused,
        "dollars_paid": progress.dollars,
        "notes": list(progress.notes),
        "settings": {"cost_unit": progress.cost_unit},
    }
    return Search(
        folder=str(path),
        trials=tuple(_summarize_eval(trial, progress.cost_unit) for trial in progress.trials),
        summary=summary,
        best=None,
        outcome=describe_progress(progress),
        runs=(),
        problems=progress.problems,
        ranking=progress.ranking,
        incumbents=progress.incumbents,
        progress=progress,
    )


def _summarize_eval(trial: EvalSummary, unit: str) -> TrialSummary:
    scored = trial.scored
    costs = {"calls": scored.calls, "kilotokens": scored.tokens / 1000, "dollars": scored.dollars}
    return TrialSummary(
        name=trial.label,
        layers="",
        performance=scored.performance,
        expected=None,
        deviation=None,
        calls=scored.calls,
        cost=costs.get(unit) or 0.0,
        paid=trial.paid,
        reused=trial.reused,
        error=scored.error,
        low=trial.low,
        high=trial.high,
        draws=trial.draws,
        last_draws=trial.last_draws,
        is_free=trial.is_free,
    )


def _parse_trial(row: Mapping[str, str]) -> TrialSummary:
    def parse_number(name: str) -> float | None:
        return float(row[name]) if row.get(name) else None

    layers = [f"{row['generators']} generator{'' if row['generators'] == '1' else 's'} x {row['samples']}"]
    if row.get("critic_ranker") == "True":
        layers.append("critic and ranker before each fusion")
    layers += [f"{count} fuser{'' if count == '1' else 's'}" for count in row["fusers"].split(".") if count]
    layers += [row["evaluation"].replace("_", " ")] if row.get("evaluation", "none") != "none" else []
    return TrialSummary(
        name=row["architecture"],
        layers=", ".join(layers),
        performance=parse_number("performance"),
        expected=parse_number("surrogate"),
        deviation=parse_number("deviation"),
        calls=parse_number("calls_per_question") or 0.0,
        cost=parse_number("cost") or 0.0,
        paid=int(row["calls_paid"]),
        reused=int(row["calls_reused"]),
        error=row["error"],
        draws=int(row["draws"]) if row.get("draws") else None,
        last_draws=int(row.get("last_draws") or 1),
        is_free=row.get("free") == "True",
    )


def _load_best(folder: Path) -> Architecture | None:
    try:
        return load_architecture(folder / "best.yaml")
    except (ArchonError, OSError):
        return None


_OTHER_NAMES = {"winner": ("candidate",)}
"""What the summary calls a held-out run if it is not shown better than the best single model, by its key's name."""


class _HeldOutLog(NamedTuple):
    name: str
    """Of the held-out run."""
    path: str
    scorer: str | None
    metric: str | None
    """By which the search scored it."""


def _find_report_logs(journal: Path) -> list[_HeldOutLog]:
    """The last log of each held-out run, of the architectures of the summary, on every task of the search."""
    summary = json.loads((journal.parent / "summary.json").read_text(encoding="utf-8"))
    wanted = {name: str(result.get("fingerprint", "")) for name, result in summary.get("held_out", {}).items()}
    logs: dict[tuple[str, str], _HeldOutLog] = {}
    for line in journal.read_text(encoding="utf-8").splitlines() if journal.is_file() else ():
        entry = json.loads(line) if line.endswith("}") else {}
        key = str(entry.get("result", {}).get("key", ""))
        if entry.get("kind") == "result" and key.startswith("report/") and entry["result"].get("log"):
            run, _, task = key.removeprefix("report/").partition("@")
            asked, _, rest = run.partition("/")
            fingerprint = rest.rpartition("/")[2]
            named = [name for name in (asked, *_OTHER_NAMES.get(asked, ())) if name in wanted]
            name = next((name for name in named if wanted[name].startswith(fingerprint)), "")
            if name:
                result = entry["result"]
                scorer, metric = (result.get(key) or None for key in ("scorer", "metric"))
                logs[task, name] = _HeldOutLog(name, result["log"], scorer, metric)
    return [logs[key] for key in sorted(logs)]


def _read_runs(
    logs: Iterable[_HeldOutLog], folder: Path, problems: list[str], *, missing: MissingPolicy
) -> Iterator[Run]:
    for name, path, scorer, metric in logs:
        try:
            log = find_log(path, folder)
            if not log.is_file():
                continue
            run = read_run(log, scorer, missing, metric=metric)
        except DataError as exc:
            problems.append(str(exc))
            continue
        plain = run.name in ("search", "best") or run.name.startswith(name)
        yield replace(run, name=name if plain else f"{name}: {run.name}")


def _describe_outcome(summary: Mapping[str, Any]) -> str:
    words = [str(recommended["sentence"])] if (recommended := summary.get("recommendation")) else []
    free = f" ({summary['free_trials']} of them for nothing)" if summary.get("free_trials") else ""
    words.append(
        f"{summary['trials']} of {summary['space']} architectures tried{free}; the winner is {summary['winner']}."
    )
    if summary.get("verdict"):
        words.append(str(summary["verdict"]))
    for name, against in summary.get("winner_against", {}).items():
        doubt = f" ({against['doubt']})" if against.get("doubt") else ""
        words.append(
            f"Against {name} on held-out questions: {100 * against['value']:+.1f} points, {against['verdict']}{doubt}."
        )
    if summary.get("optimism") is not None:
        dev, optimism = 100 * summary["dev"], 100 * summary["optimism"]
        words.append(
            f"Its dev score was {dev:.1f}%: {optimism:+.1f} points of optimism, so the held-out score is the result."
        )
    return " ".join(words)
