"""Follows a search by its journal, for a page that is shown while it runs, and for the report of one that has not
finished.

    follower = SearchFollower(Path("out"))
    follower.update()                    # whether there is anything new
    follower.build_progress().stage      # "searching"

It reads what the search's process has written so far, without the journal's lock.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from archon_eval.errors import DataError, SearchError
from archon_eval.report.search_progress import (
    EvalSummary,
    FollowedProgress,
    Incumbent,
    JournalTask,
    State,
    find_process_state,
    split_key,
)
from archon_eval.runs.model_ranking import RankedModel, RoleScore, rank_role_scores, score_role
from archon_eval.runs.performance import estimate_performance
from archon_eval.runs.read_log import read_architecture_name
from archon_eval.runs.scored_results import ScoredResults, count_asked, score_results
from archon_eval.runs.search_journal import JOURNAL_NAME, JournalReader, find_log, read_result_line

_GUESSED_STAGES = {"report": "reporting", "confirm": "confirming finalists", "search": "searching", "rank": "ranking"}
"""How keys of evals begin -> the stage, for journals that do not say it."""


class SearchFollower:
    """Knows all that a search's journal says so far."""

    def __init__(self, folder: Path, tasks: Sequence[JournalTask] = ()) -> None:
        """
        Args:
            tasks: for a journal of an earlier version, which does not say how tasks count.
        """
        self.folder, self._given_tasks = folder, tuple(tasks)
        self._reader = JournalReader(folder / JOURNAL_NAME)
        self._forget()

    def _forget(self) -> None:
        self._session: dict[str, Any] = {}
        self._last: dict[str, Any] = {}
        """The last step of progress."""
        self._end: dict[str, Any] | None = None
        """How the last process ended, where it said so."""
        self._at: float | None = None
        self._incumbents: dict[int, Incumbent] = {}
        self._notes: dict[str, None] = {}
        self._names: dict[str, str] = {}
        """A trial's number, or the key of evals -> the architecture's name."""
        self._asked: dict[str, dict[str, Any]] = {}
        """A trial's number -> how it was asked for."""
        self._results: dict[str, dict[str, dict[str, Any]]] = {}
        """What evals are of -> task -> the line of its last result."""
        self._begun: dict[tuple[str, str], None] = {}
        self._tasks: dict[str, None] = {}
        self._paid = self._reused = self._lines = 0
        self._dollars: float | None = 0.0
        self._problems: list[str] = []
        self._summaries: dict[str, EvalSummary] = {}
        self._log_names: dict[str, str] = {}
        self._options = 0

    @property
    def was_read(self) -> bool:
        """Whether there is a journal with a line."""
        return self._lines > 0

    @property
    def says_how_it_ends(self) -> bool:
        """Whether its processes write down when they begin and end; those of earlier versions do not."""
        return bool(self._session)

    @property
    def goes_on(self) -> bool:
        """Whether a process began and has not come to its end, as far as the journal says it."""
        return self.says_how_it_ends and self.find_state() != "ended"

    @property
    def labels_by_log(self) -> dict[Path, str]:
        """Each log that is still there -> what it is of."""
        return {
            log.resolve(): self._label(base)
            for base, lines in self._results.items()
            for line in lines.values()
            if (named := str(line["result"].get("log") or ""))
            for log in (self.folder / named, self.folder / "logs" / Path(named).name)  # the folder may be a copy
            if log.is_file()
        }

    def update(self) -> bool:
        """Read what is new; whether anything is."""
        lines = self._reader.read_new()
        if self._reader.restarted:
            self._forget()
        for line in lines:
            try:
                self._take(line)
            except (KeyError, TypeError, ValueError, AttributeError) as exc:
                self._problems.append(f"{self._reader.path}: a line cannot be used: {type(exc).__name__}: {exc}")
        self._lines += len(lines)
        return bool(lines) or self._reader.restarted

    def _take(self, line: Mapping[str, Any]) -> None:
        kind = line.get("kind")
        if line.get("at") is not None:
            self._at = float(line["at"])
        if kind == "session":
            self._session, self._end = dict(line), None
            self._begun.clear()
            self._tasks |= dict.fromkeys(task["key"] for task in line["tasks"])
        elif kind in ("stop", "end"):
            self._end = dict(line)
            self._begun.clear()
        elif kind == "progress":
            self._last = dict(line)
            self._options = line["options"] or self._options
            self._notes |= dict.fromkeys(map(str, line["notes"]))
            self._take_incumbent(line)
        elif kind == "ask":
            self._names[str(line["number"])] = str(line.get("name", ""))
            self._asked[str(line["number"])] = dict(line)
        elif kind == "start":
            base, task = split_key(line["key"], self._tasks)
            self._tasks.setdefault(task)
            self._names[base] = str(line.get("name", ""))
            self._begun[base, task] = None
        elif kind == "result":
            self._take_result(dict(line))

    def _take_incumbent(self, line: Mapping[str, Any]) -> None:
        if line["value"] is None or not line["trials"]:
            return
        value, deviation = float(line["value"]), line["deviation"]
        ends = (None, None) if deviation is None else (value - 1.96 * deviation, value + 1.96 * deviation)
        self._incumbents[line["trials"]] = Incumbent(line["trials"], str(line["incumbent"]), value, *ends)

    def _take_result(self, line: dict[str, Any]) -> None:
        result = line["result"]
        base, task = split_key(result["key"], self._tasks)
        self._begun.pop((base, task), None)
        self._tasks.setdefault(task)
        self._results.setdefault(base, {})[task] = line
        self._summaries.pop(base, None)
        self._paid += result.get("calls", 0)
        self._reused += result.get("reused", 0)
        dollars = result.get("dollars", 0.0)
        self._dollars = None if self._dollars is None or dollars is None else self._dollars + dollars

    def _find_logs(self, base: str) -> list[Path]:
        """Those that are still there."""
        named = [str(line["result"].get("log") or "") for line in self._results.get(base, {}).values()]
        paths = []
        for log in filter(None, named):
            with suppress(DataError):  # an address that cannot be reached
                paths.append(find_log(log, self.folder))
        return [path for path in paths if path.is_file()]

    def _label(self, base: str) -> str:
        """What evals are of, in words."""
        stage, _, rest = base.partition("/")
        own = self._names.get(base, "")
        if stage == "rank":
            role, _, model = rest.rpartition("/")[0].partition("/")
            return f"{model} as fuser" if role == "fuser" else model
        if match := re.search(r"search/(\d+)/", base):
            name = self._names.get(match[1]) or own or self._read_name(base) or f"trial {match[1]}"
            return f"{name}, fresh draws" if stage == "confirm" else name
        name = own or self._read_name(base)
        if stage == "confirm":
            what = rest.partition("/")[0]
            return f"{'best single model' if what == 'single' else what}{name and ': ' + name}, fresh draws"
        if stage == "report":
            return f"{rest.partition('/')[0]}{name and ': ' + name}, held-out"
        return name or base

    def _read_name(self, base: str) -> str:
        """By the header of a log, for journals that do not say it."""
        if base not in self._log_names and (logs := self._find_logs(base)):
            with suppress(DataError):  # a name is not worth an error
                self._log_names[base] = next(filter(None, map(read_architecture_name, logs)), "")
        return self._log_names.get(base, "")

    def _list_tasks(self) -> list[JournalTask]:
        """As the last session says it; or as given; or each as much as another."""
        if listed := self._session.get("tasks"):
            return [JournalTask(t["name"], t["key"], float(t["weight"]), tuple(t["scale"])) for t in listed]
        if len(self._given_tasks) == len(self._tasks):
            return [
                JournalTask(task.name, key, task.weight, task.scale)
                for key, task in zip(self._tasks, self._given_tasks, strict=True)
            ]
        return [JournalTask(key, key) for key in self._tasks]

    def _list_evals(self, stage: str) -> list[EvalSummary]:
        """Those of a stage that are finished on every task, in the order in which they ended."""
        tasks = self._list_tasks()
        keys = [task.key for task in tasks]
        found = [base for base in self._results if base.startswith(f"{stage}/")]
        return [self._summarize(base, tasks) for base in found if all(key in self._results[base] for key in keys)]

    def _summarize(self, base: str, tasks: Sequence[JournalTask]) -> EvalSummary:
        if base in self._summaries:
            return self._summaries[base]
        lines = [self._results[base][task.key] for task in tasks]
        low = high = None
        scored = ScoredResults((), None, "", 0.0, 0.0, None)
        try:
            results = [read_result_line(line, self.folder) for line in lines]
            epochs = max((len(by_epoch) for r in results for by_epoch in r.scores.values()), default=1)
            scored = score_results(tasks, results, [count_asked(result) for result in results], epochs=epochs)
            if scored.performance is not None and (estimate := estimate_performance(scored.parts)):
                low, high = estimate.low, estimate.high
        except SearchError as exc:  # a scale that an earlier version does not say
            scored = replace(scored, error=str(exc))
        except (KeyError, TypeError, DataError) as exc:
            scored = replace(scored, error=f"its result is of another version ({exc})")
        asked = self._asked.get(base.split("/")[1], {}) if base.startswith("search/") else {}
        summary = EvalSummary(
            key=base,
            label=self._label(base),
            scored=scored,
            low=low,
            high=high,
            paid=sum(int(line["result"].get("calls", 0)) for line in lines),
            reused=sum(int(line["result"].get("reused", 0)) for line in lines),
            draws=asked.get("draws"),
            last_draws=asked.get("last_draws", 1),
            is_free=asked.get("free", False),
        )
        return self._summaries.setdefault(base, summary)

    def build_ranking(self) -> tuple[RankedModel, ...]:
        """The ranking table so far."""
        begun = {base: place for place, base in enumerate(self._names)}  # of equals the first asked is first
        roles: dict[str, dict[str, RoleScore]] = {"generator": {}, "fuser": {}}
        for summary in sorted(self._list_evals("rank"), key=lambda each: begun.get(each.key, len(begun))):
            role, _, model = summary.key.removeprefix("rank/").rpartition("/")[0].partition("/")
            if role in roles:
                roles[role][model] = score_role(summary.scored)
        return rank_role_scores(roles["generator"], roles["fuser"])

    def build_incumbents(self) -> tuple[Incumbent, ...]:
        """The best so far after each trial that has a line of progress."""
        return tuple(self._incumbents[number] for number in sorted(self._incumbents))

    def build_progress(self) -> FollowedProgress:
        """Everything as it is now."""
        evals = {stage: self._list_evals(stage) for stage in ("rank", "search", "confirm", "report")}
        failures = [
            (summary.label, summary.scored.error)
            for found in evals.values()
            for summary in found
            if summary.scored.error
        ]
        budget = dict(self._session.get("budget", {}))
        last = self._last if self._session else {}
        free = sum(bool(line.get("free")) for line in self._asked.values())
        limits = [value for value in (budget.get("trials"), max(0, self._options - free)) if value]
        state = self.find_state()
        return FollowedProgress(
            state=state,
            at=self._at,
            why=str((self._end or {}).get("why", "")),
            stage=str(last.get("stage", "")) or self._guess_stage(),
            done=int(last.get("done", 0)),
            total=last.get("total"),
            options=self._options or None,
            max_trials=min(limits, default=None),
            seconds_left=last.get("seconds_left"),
            calls=self._paid,
            reused=self._reused,
            dollars=self._dollars,
            budget=budget,
            trials=tuple(evals["search"]),
            incumbents=self.build_incumbents(),
            finalists=tuple(evals["confirm"]),
            held_out=tuple({found.label: found for found in evals["report"]}.values()),  # further draws hold the first
            under_way=tuple(dict.fromkeys(self._label(base) for base, _ in self._begun)) if state == "running" else (),
            failures=tuple(failures),
            notes=tuple(self._notes),
            ranking=self.build_ranking(),
            cost_unit=str(self._session.get("cost_unit", "calls")),
            problems=tuple(dict.fromkeys([*self._reader.problems, *self._problems])),
        )

    def find_state(self) -> State:
        """Whether its process still runs: as it said at its end, or by its number where it runs on this machine."""
        if not self.was_read:
            return "waiting"
        if self._end is not None:
            return "ended" if self._end["kind"] == "end" else "stopped"
        return find_process_state(self._session)

    def _guess_stage(self) -> str:
        begun = {base.partition("/")[0] for base in self._results}
        return next((text for stage, text in _GUESSED_STAGES.items() if stage in begun), "")
