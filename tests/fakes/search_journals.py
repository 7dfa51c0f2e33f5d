"""Journals of searches, line by line, as `archon search` writes them, for reports on ones that have not finished."""

import json
import os
import socket
from pathlib import Path
from typing import Any

TASK = "archon_eval/math"


class FakeJournal:
    """One search's journal; each method adds a line."""

    def __init__(self, folder: Path, pid: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.path = folder, folder / "search.jsonl"
        self._pid = os.getpid() if pid is None else pid
        self._trials, self._clock = 0, 1_800_000_000.0

    def add(self, kind: str, **values: Any) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"kind": kind, **values}) + "\n")

    def begin(self, host: str = "", **more: Any) -> None:
        """A process goes on with the search."""
        task = {"name": TASK, "key": TASK, "weight": 1.0, "scale": [0.0, 1.0]}
        budget = {"calls": 5000, "dollars": None, "trials": 40, "seconds": None}
        session = {"tasks": [task], "budget": budget, "cost_unit": "calls", "algorithm": "smac", "skip_ranking": False}
        self.add("session", at=self._now(), pid=self._pid, host=host or socket.gethostname(), **session, **more)

    def report(self, stage: str, done: int = 0, total: int | None = None, **more: Any) -> None:
        """A step."""
        line: dict[str, Any] = {"options": 0, "trials": 0, "incumbent": "", "value": None, "deviation": None}
        line |= {"seconds_left": None, "notes": [], **more}
        self.add("progress", at=self._now(), stage=stage, done=done, total=total, **line)

    def result(self, key: str, right: int, *, of: int = 20, name: str = "", **more: Any) -> None:
        """An eval begins and ends, with so many questions right."""
        self.add("start", key=f"{key}@{TASK}", name=name, calls=100, dollars=1.0, whole=True)
        scores = {f"q{n}": {"1": float(n < right)} for n in range(of)}
        values = {"key": f"{key}@{TASK}", "scores": scores, "calls": 2 * of, "reused": of, "tokens": 100 * of}
        self.add("result", result={**values, "dollars": 0.5, "cost": 0.5, **more}, scoring=3)

    def trial(
        self, right: int, name: str, *, value: float | None = None, notes: tuple[str, ...] = (), **more: Any
    ) -> None:
        """A trial, and what is best after it."""
        number, fingerprint = self._trials, f"{self._trials:06x}"
        self._trials += 1
        self.add("ask", number=number, fingerprint=fingerprint, name=name)
        self.result(f"search/{number}/{fingerprint}", right, name=name, **more)
        best = {"trials": self._trials, "options": 61, "incumbent": name, "value": value or right / 20}
        self.report("searching", self._trials, 40, deviation=0.02, seconds_left=90.0, notes=list(notes), **best)

    def _now(self) -> float:
        self._clock += 1
        return self._clock
