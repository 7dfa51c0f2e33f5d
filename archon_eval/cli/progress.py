"""How far a long command is: a bar on a terminal's stderr, nothing elsewhere, lines of JSON on stderr with `--json`.

    with ProgressDisplay("gate", options.json) as progress:
        progress(ProgressUpdate("reading", done=3, total=40, unit="logs"))

An event is one line: event, command, stage, done, total, unit, seconds, seconds_left, and where calls are made also
calls, calls_left, dollars, dollars_left, reused, failed. null: unknown, or for what is left, without a limit. Events
come when the stage changes, once a second at most in between, and at the end; results go to stdout.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from archon_eval.runs.progress import EvalProgress, EvalProgressCallback, Spend

if TYPE_CHECKING:
    from archon_eval.models.budget import CallLimits

EVENT_INTERVAL = 1.0
"""Seconds between two events of one stage."""


@dataclass(frozen=True, slots=True)
class ProgressUpdate:
    """Where a command is."""

    stage: str
    done: int = 0
    total: int | None = None
    """None: not known yet."""
    unit: str = ""
    """What `done` and `total` count."""
    spent: Spend | None = None
    """None where no model is called."""
    seconds_left: float | None = None
    """None: to be estimated from the pace so far."""
    note: str = ""
    """For people only, e.g. the best so far."""


class ProgressDisplay:
    """Shows steps while it is open."""

    def __init__(self, command: str, events: bool = False) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        self._command, self._events = command, events
        self._step, self._event_pending = ProgressUpdate("starting"), False
        self._started_at = self._last_event_at = time.monotonic()
        self._pace = (self._started_at, 0)
        """When the unit changed last, and how much was done by then."""
        is_shown = console.is_terminal and not console.is_dumb_terminal and not events
        self._live = Live(console=console, transient=True, get_renderable=self._render) if is_shown else None

    def __enter__(self) -> "ProgressDisplay":
        if self._live:
            self._live.start(refresh=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.stop()
        elif self._event_pending:
            self._emit_event()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Room for other lines on the terminal."""
        if self._live:
            self._live.stop()
        yield
        if self._live:
            self._live.start(refresh=True)

    def __call__(self, step: ProgressUpdate) -> None:
        """The command is here now."""
        now, before, self._step = time.monotonic(), self._step, step
        if (step.unit, step.total) != (before.unit, before.total) or step.done < before.done:
            self._pace = (now, step.done)
        self._event_pending = self._events
        if self._events and (step.stage != before.stage or now - self._last_event_at >= EVENT_INTERVAL):
            self._emit_event()

    @property
    def _seconds_left(self) -> float | None:
        step, (since, by_then) = self._step, self._pace
        if step.seconds_left is not None or step.total is None or step.done <= by_then:
            return step.seconds_left
        return (time.monotonic() - since) / (step.done - by_then) * max(0, step.total - step.done)

    def _emit_event(self) -> None:
        step, left = self._step, self._seconds_left
        event: dict[str, Any] = {"event": "progress", "command": self._command, "stage": step.stage}
        event |= {"done": step.done, "total": step.total, "unit": step.unit}
        event |= {"seconds": round(time.monotonic() - self._started_at, 1), "seconds_left": left and round(left, 1)}
        if step.spent:
            event |= {k: round(v, 6) if isinstance(v, float) else v for k, v in asdict(step.spent).items()}
        with suppress(OSError):  # a reader who has seen enough changes nothing
            print(json.dumps(event), file=sys.stderr, flush=True)
        self._last_event_at, self._event_pending = time.monotonic(), False

    def _render(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        cut = partial(Text, no_wrap=True, overflow="ellipsis")
        step, left, clock = self._step, self._seconds_left, time.monotonic()
        bar = ProgressBar(step.total or 1, step.done, width=24, pulse=not step.total, animation_time=clock)
        count = f"{step.done:,}/{'?' if step.total is None else format(step.total, ',')} {step.unit}"
        took = f"{_format_duration(clock - self._started_at)}" + (
            "" if left is None else f", {_format_duration(left)} left"
        )
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_row(bar, Text(count if step.unit else ""), Text(took))
        more = [text for text in (step.spent.text if step.spent else "", step.note) if text]
        lines: list[Any] = [cut(step.stage, style="bold"), line, *(cut(text, style="dim") for text in more)]
        return Group(*lines)


def _format_duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class HasLimits(Protocol):
    """An eval, as far as progress needs it."""

    @property
    def limits(self) -> "CallLimits":
        """Of its budget."""
        ...


class EvalSeries:
    """Evals that run one after the other, as one progress over the answers to all their questions.

    What is left is of the budget of the eval under way (`-S budget=...`), as such a budget is each eval's own.
    """

    def __init__(self, progress: ProgressDisplay, count: int, epochs: int = 1) -> None:
        self._progress, self._count = progress, count
        self._unit = "questions" if epochs == 1 else "answers"
        self._started, self._answers_per_eval, self._finished, self._current = 0, 0, EvalProgress(), EvalProgress()

    def start_eval(self, stage: str, eval: "HasLimits") -> EvalProgressCallback:
        """The next eval begins; returns the callback that is to be called with how far it is."""
        self._finished, self._current = self._finished.add(self._current), EvalProgress()
        self._started += 1
        name = f"{stage} ({self._started} of {self._count})" if self._count > 1 else stage
        limits = eval.limits

        def show(progress: EvalProgress) -> None:
            self._current = progress
            together = self._finished.add(progress)
            # evals that are to come have as many answers
            self._answers_per_eval = progress.total or self._answers_per_eval
            left = self._answers_per_eval * (self._count - self._started + 1)
            total = self._finished.done + left if left else None
            self._progress(ProgressUpdate(name, together.done, total, unit=self._unit, spent=self._sum_spend(limits)))

        return show

    def _sum_spend(self, limits: "CallLimits") -> Spend:
        """Of all evals so far; what is left is of the eval under way."""
        together, current = self._finished.add(self._current), self._current
        left = None if limits.calls is None else max(0, limits.calls - current.calls + current.reused)
        dollars_left = None
        if limits.dollars is not None and current.dollars is not None:
            dollars_left = max(0.0, limits.dollars - current.dollars)
        return Spend(
            calls=together.calls - together.reused,
            calls_left=left,
            dollars=together.dollars,
            dollars_left=dollars_left,
            reused=together.reused / max(1, together.calls),
            failed=together.failed,
        )
