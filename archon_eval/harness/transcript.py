"""What an architecture did, as readable text in Inspect's transcript: as much of it as the trace level asks for.

Engine(architecture, caller, TranscriptObserver("full"))

`full`: a span per layer and an event per component, with every prompt, reply and what was read from it. `compact`: one
event per question. `calls`: Inspect's own events in a span per component, and the outcome of each layer.
"""

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import groupby

from inspect_ai.log import transcript
from inspect_ai.util import span

from archon_eval.candidates import Candidate, Conversation
from archon_eval.desk import TraceRecorder
from archon_eval.models.accounting import summed
from archon_eval.trail import LayerResult, TraceEvent, TraceStep, Trace

SHOWN = 60
"""Characters of a candidate in the compact trace."""
NOTES_SHOWN = 20


class TranscriptObserver:
    """The engine's observer inside an Inspect sample."""

    def __init__(self, trace: str = "full") -> None:
        self._trace = trace

    @asynccontextmanager
    async def open_span(self, name: str, type: str) -> AsyncIterator[None]:
        if self._trace == "calls" or (self._trace == "full" and type == "archon_layer"):
            async with span(name, type=type):
                yield
        else:
            yield

    def record_layer(self, layer: int, result: LayerResult | None, record: TraceRecorder) -> None:
        if self._trace == "full":
            for text in component_texts(layer, result, record.steps, record.notes):
                transcript().info(text, source="archon")
        elif self._trace == "calls" and result is not None:
            notes = [note for note in record.notes if note.layer == layer]
            transcript().info(
                "\n\n".join([_headline(result), *outcome(result, True), *_remarks(notes)]), source="archon"
            )

    def record_question(self, trail: Trace) -> None:
        if self._trace == "compact":
            transcript().info(digest(trail), source="archon")


def component_texts(
    layer: int, result: LayerResult | None, steps: Iterable[TraceStep], notes: Iterable[TraceEvent]
) -> Iterator[str]:
    """A layer in Markdown, one text per component that made calls, the last with the layer's outcome and notes."""
    mine = sorted((step for step in steps if step.layer == layer), key=lambda step: step.component)
    parts = [list(group) for _, group in groupby(mine, key=lambda step: step.component)]
    remarks = _remarks([note for note in notes if note.layer == layer])
    for component in parts:
        last = component is parts[-1]
        yield "\n\n".join(
            [
                f"**Layer {layer}, {_place(component[0], len(parts))}{component[0].model}: {_figures(component)}**",
                *_calls(component),
                *(outcome(result, False) if last and result else ()),
                *(remarks if last else ()),
            ]
        )
    if result is not None and not parts:
        yield "\n\n".join([_headline(result), *outcome(result, True), *remarks])


def _place(step: TraceStep, components: int) -> str:
    return f"{step.kind} {step.component} of {components}: " if components > 1 else f"{step.kind}: "


def _calls(steps: Sequence[TraceStep]) -> Iterator[str]:
    """Every call; a prompt with several replies is shown once."""
    by_prompt: dict[Conversation, list[TraceStep]] = {}
    for step in steps:
        by_prompt.setdefault(step.messages, []).append(step)
    for messages, asked in by_prompt.items():
        first = asked[0]
        yield f"Prompt, {first.purpose}{f' about {first.about}' if first.about and len(asked) == 1 else ''}:"
        yield from (f"{message.role}\n\n{block(message.content)}" for message in messages)
        yield from map(_reply, asked)


def _reply(step: TraceStep) -> str:
    reply = step.reply
    who = f"candidate {step.about} by {step.model}" if step.purpose in ("generate", "fuse") else step.purpose
    if reply is None:
        return f"No reply ({who}): {inline(step.problem)}"
    said = [who, *([reply.stop_reason] if reply.stop_reason != "stop" else []), *(["reused"] if reply.reused else [])]
    return f"Reply, {', '.join(said)}:\n\n{block(reply.text)}"


def _figures(steps: Sequence[TraceStep]) -> str:
    total = summed(step.reply for step in steps)
    return (
        f"{len(steps)} calls, {total['input_tokens']} tokens in, {total['output_tokens']} out, "
        f"{max((step.reply.seconds for step in steps if step.reply), default=0):.2f} s at most"
    )


def outcome(result: LayerResult, texts: bool) -> Iterator[str]:
    """Candidates in order with what was said about them, and the tests; their texts when asked for."""
    tests = result.values.get("tests", ())
    if tests and result.kind.startswith("unit_test"):
        yield "Unit tests:\n" + "\n".join(f"{n}. {inline(test)}" for n, test in enumerate(tests, 1))
    said = [f"{place}. {_said(candidate)}" for place, candidate in enumerate(result.candidates, 1)]
    if not texts:
        yield "Goes on:\n" + "\n".join(said)
        return
    for line, candidate in zip(said, result.candidates, strict=True):
        yield f"{line}\n\n{block(candidate.text)}"
        if candidate.critique is not None:
            yield f"Critique:\n\n{block(candidate.critique)}"


def _said(candidate: Candidate) -> str:
    said = [f"candidate {candidate.id} by {candidate.model}"]
    if candidate.critique is not None:
        said.append("critiqued")
    if candidate.verified is not None:
        said.append("verified" if candidate.verified else "not verified")
    if candidate.tests:
        said.append(f"{sum(t is True for t in candidate.tests)} of {len(candidate.tests)} tests passed")
    return ", ".join(said)


def digest(trail: Trace) -> str:
    """A whole question in Markdown, a line per candidate."""
    parts = []
    for result in trail.layers:
        steps = [step for step in trail.steps if step.layer == result.layer]
        lines = [f"{_said(candidate)}: {inline(candidate.text, SHOWN)}" for candidate in result.candidates]
        parts.append("\n".join([_headline(result), *([_figures(steps)] if steps else []), *lines]))
    failed = [f"- {step.purpose} by {step.model}: {inline(step.problem)}" for step in trail.steps if step.problem]
    return "\n\n".join([*parts, *failed[:NOTES_SHOWN], *_remarks(trail.notes)]) or "no layer was finished"


def _headline(result: LayerResult) -> str:
    return f"**Layer {result.layer}, {result.kind}: {len(result.candidates)} candidates, {result.seconds:.2f} s**"


def _remarks(notes: Sequence[TraceEvent]) -> list[str]:
    shown = [
        f"- {note.what}{f' ({note.about})' if note.about else ''}: {inline(note.detail)}"
        for note in notes[:NOTES_SHOWN]
    ]
    return [*shown, f"- and {len(notes) - NOTES_SHOWN} more notes"] if len(notes) > NOTES_SHOWN else shown


def block(text: str) -> str:
    """The text as a code block whose fence no run of backticks inside can close, so that nothing in it renders."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"


def inline(text: str, limit: int = 500) -> str:
    """The text's beginning as one line of code."""
    return "`" + text[:limit].replace("`", "'").replace("\n", " ") + "`"
