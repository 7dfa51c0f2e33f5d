"""What an architecture did, as readable text in Inspect's transcript: as much of it as the trace level asks for.

    Engine(architecture, caller, TranscriptObserver("full"))

`full`: a span and an event per layer, with a part per component: every prompt, reply and what was read from it. Inspect
commits each event to its buffer alone, so what is known at one moment is one event. `compact`: one event per question.
`calls`: Inspect's own events in a span per component, and the outcome of each layer. But for
`compact`, an event of its own has the candidates for programs (`archon_eval.runs.candidates`).
"""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from itertools import groupby
from typing import Any

from inspect_ai.log import Transcript, transcript
from inspect_ai.util import span

from archon_eval._inspect_compat import add_event, init_transcript
from archon_eval.architecture.component_types import BUILT_IN_COMPONENTS, resolve_component_type
from archon_eval.engine.call_context import TraceRecorder
from archon_eval.engine.trace import LayerResult, Trace, TraceEvent, TraceStep
from archon_eval.models.usage_totals import total_usage
from archon_eval.runs.candidates import CANDIDATES_SOURCE, LoggedCandidates
from archon_eval.types import Conversation, flatten_conversation, render_turn

PREVIEW_CHARS = 60
"""Characters of a candidate in the compact trace."""
MAX_NOTES = 20
_MARKDOWN = re.compile(r"[\\`*\[\]<>|~$]|(?<![^\W_])_|_(?![^\W_])|&(?=[#\w]+;)|^[-+=#]")
"""Characters that mean something in Markdown where they stand; underscores inside a word do not."""


class TranscriptObserver:
    """The engine's observer inside an Inspect sample."""

    def __init__(self, trace: str = "full") -> None:
        self._trace = trace

    def open_span(self, name: str, type: str) -> AbstractAsyncContextManager[Any]:
        if self._trace == "calls" or (self._trace == "full" and type == "archon_layer"):
            return span(name, type=type)
        return nullcontext()

    @asynccontextmanager
    async def open_steps(self, name: str) -> AsyncIterator[Callable[[Any], None]]:
        if self._trace == "compact":
            init_transcript(Transcript())  # in the solver's own task, so that nothing else is lost
            yield lambda event: None
            return
        async with span(name, type="archon_solver"):
            yield add_event if self._trace == "full" else lambda event: None  # with `calls` Inspect has its own

    def record_layer(self, layer: int, result: LayerResult | None, recorder: TraceRecorder) -> None:
        if self._trace == "full":
            if parts := list(render_components(layer, result, recorder.steps, notes=recorder.notes)):
                transcript().info("\n\n".join(parts), source="archon")
        elif self._trace == "calls" and result is not None:
            notes = [note for note in recorder.notes if note.layer == layer]
            transcript().info(
                "\n\n".join([_format_headline(result), *render_outcome(result, True), *_format_notes(notes)]),
                source="archon",
            )

    def record_question(self, trail: Trace) -> None:
        if self._trace == "compact":
            transcript().info(render_summary(trail), source="archon")
        elif (candidates := LoggedCandidates.from_trace(trail)).is_worth_keeping:
            transcript().info(candidates.to_data(), source=CANDIDATES_SOURCE)


def render_components(
    layer: int, result: LayerResult | None, steps: Iterable[TraceStep], *, notes: Iterable[TraceEvent]
) -> Iterator[str]:
    """A layer in Markdown, one text per component that made calls, the last with the layer's outcome and notes."""
    mine = sorted((step for step in steps if step.layer == layer), key=lambda step: step.component)
    parts = [list(group) for _, group in groupby(mine, key=lambda step: step.component)]
    remarks = _format_notes([note for note in notes if note.layer == layer])
    shown: dict[Conversation, str] = {}
    for component in parts:
        last = component is parts[-1]
        yield "\n\n".join(
            [
                f"**Layer {layer}, {_format_place(component[0], len(parts))}{_list_models(component)}: "
                f"{_format_usage(component)}**",
                *_render_calls([step for step in component if not step.nested], shown),
                *(render_outcome(result, any(step.nested for step in mine)) if last and result else ()),
                *(remarks if last else ()),
            ]
        )
    if result is not None and not parts:
        yield "\n\n".join([_format_headline(result), *render_outcome(result, True), *remarks])


def _list_models(steps: Iterable[TraceStep]) -> str:
    return ", ".join(dict.fromkeys(escape_markdown(step.model) for step in steps))


def _format_place(step: TraceStep, components: int) -> str:
    kind = escape_markdown(step.kind)
    return f"{kind} {step.component} of {components}: " if components > 1 else f"{kind}: "


def _render_calls(steps: Sequence[TraceStep], shown: dict[Conversation, str]) -> Iterator[str]:
    """Every call; a prompt with several replies is shown once, also where other components of the layer had it.

    Args:
        shown: the prompts of the components before, with where each stands; those of these steps are put in.
    """
    by_prompt: dict[Conversation, list[TraceStep]] = {}
    for step in steps:
        by_prompt.setdefault(step.messages, []).append(step)
    for messages, asked in by_prompt.items():
        first = asked[0]
        about = f" about {escape_markdown(first.about)}" if first.about and len(asked) == 1 else ""
        prompt = f"Prompt, {escape_markdown(first.purpose)}{about}"
        if where := shown.get(messages):
            yield f"{prompt}: that of {where}"
        else:
            shown[messages] = f"{escape_markdown(first.kind)} {first.component}"
            yield f"{prompt}:"
            flat = flatten_conversation(messages)
            yield from (f"{message.role}\n\n{format_code_block(message.content)}" for message in flat)
        yield from map(_render_reply, asked)


def _render_reply(step: TraceStep) -> str:
    reply = step.reply
    who = escape_markdown(step.purpose)
    if step.about.startswith(f"{step.layer}."):  # the id of a candidate that this layer makes
        candidate = escape_markdown(f"candidate {step.about} by {step.model}")
        who = candidate if _makes_by_one_call(step.kind) else f"{who}, {candidate}"
    if reply is None:
        return f"No reply ({who}): {format_inline_code(step.problem)}"
    words = [who, *([reply.stop_reason] if reply.stop_reason != "stop" else []), *(["reused"] if reply.reused else [])]
    words += ["of an earlier stage"] if step.shared else []
    thoughts = f"Thoughts:\n\n{format_code_block(reply.thoughts)}\n\n" if reply.thoughts else ""
    return f"{thoughts}Reply, {', '.join(words)}:\n\n{format_code_block(render_turn(reply.text, reply.tool_calls))}"


def _makes_by_one_call(kind: str) -> bool:
    """Whether a component is known to make a candidate with one call: it is built in and has at most one prompt."""
    return kind in BUILT_IN_COMPONENTS and len(resolve_component_type(kind, kind).prompts) <= 1


def _format_usage(steps: Sequence[TraceStep]) -> str:
    total = total_usage(step.reply for step in steps)
    return (
        f"{len(steps)} calls, {total.input_tokens} tokens in, {total.output_tokens} out, "
        f"{max((step.reply.seconds for step in steps if step.reply), default=0):.2f} s at most"
    )


def render_outcome(result: LayerResult, texts: bool) -> Iterator[str]:
    """Candidates in order as their component describes them, and its lists; their texts when asked for."""
    for title, entries in result.lists.items():
        items = entries if isinstance(entries, list | tuple) else [entries]
        lines = [f"{n}. {format_inline_code(item)}" for n, item in enumerate(items, 1)]
        yield f"{escape_markdown(title)}:\n" + "\n".join(lines)
    lines = [f"{place}. {escape_markdown(remark)}" for place, remark in enumerate(result.remarks, 1)]
    if not texts:
        yield "Goes on:\n" + "\n".join(lines)
        return
    for line, candidate in zip(lines, result.candidates, strict=True):
        yield f"{line}\n\n{format_code_block(candidate.text)}"
        if candidate.critique is not None:
            yield f"Critique:\n\n{format_code_block(candidate.critique)}"


def render_summary(trail: Trace) -> str:
    """A whole question in Markdown, a line per candidate."""
    parts = []
    for result in trail.layers:
        steps = [step for step in trail.steps if step.layer == result.layer]
        lines = [
            f"{escape_markdown(remark)}: {format_inline_code(candidate.text, PREVIEW_CHARS)}"
            for remark, candidate in zip(result.remarks, result.candidates, strict=True)
        ]
        parts.append("\n".join([_format_headline(result), *([_format_usage(steps)] if steps else []), *lines]))
    failed = [
        f"- {escape_markdown(f'{step.purpose} by {step.model}')}: {format_inline_code(step.problem)}"
        for step in trail.steps
        if step.problem
    ]
    return "\n\n".join([*parts, *failed[:MAX_NOTES], *_format_notes(trail.notes)]) or "no layer was finished"


def _format_headline(result: LayerResult) -> str:
    where = f"Layer {result.layer}, {escape_markdown(result.kind)}"
    return f"**{where}: {len(result.candidates)} candidates, {result.seconds:.2f} s**"


def _format_notes(notes: Sequence[TraceEvent]) -> list[str]:
    shown = [
        f"- {escape_markdown(f'{note.what} ({note.about})' if note.about else note.what)}: "
        f"{format_inline_code(note.detail)}"
        for note in notes[:MAX_NOTES]
    ]
    return [*shown, f"- and {len(notes) - MAX_NOTES} more notes"] if len(notes) > MAX_NOTES else shown


def format_code_block(text: str) -> str:
    """The text as a code block whose fence no run of backticks inside can close, so that nothing in it renders."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"


def format_inline_code(value: object, limit: int = 500) -> str:
    """The beginning of a text, or of a value as text, as one line of code."""
    return "`" + str(value)[:limit].replace("`", "'").replace("\n", " ") + "`"


def escape_markdown(value: object) -> str:
    """A component's own words on one line, in which no Markdown and no HTML holds; plain words stay as they are.

    >>> escape_markdown("candidate 1.1 by a/my_model"), escape_markdown("**now** <b>")
    ('candidate 1.1 by a/my_model', '\\\\*\\\\*now\\\\*\\\\* \\\\<b\\\\>')
    """
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(str(value).splitlines()).strip())
