"""Where a search is, in values: what `SearchFollower` makes of a journal, and what pages show."""

import os
import re
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from archon_eval.report.formatting import format_percent_interval
from archon_eval.runs.model_ranking import RankedModel
from archon_eval.runs.scored_results import ScoredResults

State = Literal["waiting", "running", "stopped", "unknown", "ended"]
"""`waiting`: nothing is there yet; `unknown`: nothing says whether its process still runs."""
_KEY = re.compile(r"(.+?/(?:[0-9a-f]{6}|[0-9a-f]{8}|\d+(?:x\d+)?))@(.+)", re.DOTALL)
"""An eval's key: what was asked for, and the task."""


@dataclass(frozen=True, slots=True)
class JournalTask:
    """A task of the search, as far as its figures need it."""

    name: str
    key: str
    weight: float = 1.0
    scale: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class EvalSummary:
    """All evals of one architecture in one stage, one per task."""

    key: str
    """`search/7/0a1b2c`, without the task."""
    label: str
    """What it is, in words: the configuration's name, the model, the control."""
    scored: ScoredResults
    low: float | None
    """The ends of the 95% interval of its performance."""
    high: float | None
    paid: int
    reused: int
    draws: int | None = None
    """The set of draws of a trial; None where its journal does not say it."""
    last_draws: int = 1
    """Draws of its last layer."""
    is_free: bool = False
    """Whether other trials had paid for all of its calls, so that it counts as no trial of the budget."""


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The best architecture after so many trials, as the surrogate saw it, or by its score without one."""

    trials: int
    name: str
    value: float
    low: float | None
    """The ends of 95%; None without a surrogate."""
    high: float | None


@dataclass(frozen=True, slots=True)
class FollowedProgress:
    """Where a search is."""

    state: State
    at: float | None = None
    """When its journal was last written, in seconds since 1970; None where nothing says it."""
    why: str = ""
    """Why it stopped."""
    stage: str = ""
    done: int = 0
    total: int | None = None
    options: int | None = None
    """Architectures of the space."""
    max_trials: float | None = None
    seconds_left: float | None = None
    """To the end of the trials, at the pace so far."""
    calls: int = 0
    """Paid."""
    reused: int = 0
    dollars: float | None = None
    budget: Mapping[str, float | None] = field(default_factory=dict)
    """Most calls, dollars, trials and seconds; None for no limit, empty where nothing says it."""
    trials: tuple[EvalSummary, ...] = ()
    """In the order in which they ended."""
    incumbents: tuple[Incumbent, ...] = ()
    finalists: tuple[EvalSummary, ...] = ()
    """Finalists that were confirmed so far, and the best single model with the same draws."""
    held_out: tuple[EvalSummary, ...] = ()
    under_way: tuple[str, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()
    """What failed, and why."""
    notes: tuple[str, ...] = ()
    ranking: tuple[RankedModel, ...] = ()
    cost_unit: str = "calls"
    problems: tuple[str, ...] = ()

    @property
    def chosen_trials(self) -> int:
        """Trials that count in the budget's number."""
        return sum(not trial.is_free for trial in self.trials)


def describe_progress(progress: FollowedProgress) -> str:
    """Where a search is, in sentences."""
    when = f" at {format_time(progress.at)}" if progress.at is not None else ""
    stage = progress.stage or "starting"
    many = f" ({progress.done} of {progress.total})" if progress.total else ""
    sentences = {
        "waiting": "Nothing is there yet.",
        "running": f"The search runs: {stage}{many}.",
        "stopped": f"The search stopped{when}, {stage}{many}{f': {progress.why}' if progress.why else ''}. "
        "The same command goes on where it was.",
        "unknown": f"The search has not finished: {stage}{many}. Whether it still runs is unknown"
        f"{f'; it last wrote{when}' if when else ''}.",
        "ended": "All stages are through; its files are about to be written, or the same command writes them.",
    }
    words = [sentences[progress.state]]
    if progress.incumbents:
        best = progress.incumbents[-1]
        value = format_percent_interval(best.value, best.low, best.high)
        by = "as the surrogate sees it, with its 95% interval" if best.low is not None else "by its dev score"
        words.append(f"Best of {best.trials} trials so far: {best.name}, {value} {by}.")
    elif scored := [trial for trial in progress.trials if trial.scored.performance is not None]:
        top = max(scored, key=lambda trial: trial.scored.performance or 0.0)
        value = format_percent_interval(top.scored.performance, top.low, top.high)
        words.append(f"Highest dev score of {len(scored)} trials so far: {top.label}, {value}.")
    return " ".join(words)


def format_time(seconds: float) -> str:
    """A moment on this machine's clock: `2026-12-01 14:05:09 UTC`."""
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(seconds)).strip()


def split_key(key: str, tasks: Mapping[str, object] = {}) -> tuple[str, str]:
    """What an eval is of, and its task.

    >>> split_key("rank/generator/x/claude@2024/0a1b2c3d@mine.py@sums")
    ('rank/generator/x/claude@2024/0a1b2c3d', 'mine.py@sums')
    """
    for task in tasks:
        if key.endswith(f"@{task}"):
            return key.removesuffix(f"@{task}"), task
    match = _KEY.fullmatch(key)
    base, task = match.groups() if match else key.partition("@")[::2]
    return base, task


def find_process_state(session: Mapping[str, Any]) -> State:
    """Whether the process of a session runs, where it is one of this machine."""
    if os.name != "posix" or session.get("host") != socket.gethostname():
        return "unknown"
    return "running" if _is_alive(int(session["pid"])) else "stopped"


def _is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError, OverflowError, ValueError):
        try:
            os.kill(pid, 0)
        except PermissionError:  # of another user
            return True
        return not _is_zombie(pid)
    return False


def _is_zombie(pid: int) -> bool:
    """Whether it has ended and its parent has not asked for it yet, where the system says so."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] == ["Z"]
