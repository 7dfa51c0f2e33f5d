"""The engine's side of a component's calls: sends, re-asks, records, and turns failures into what the user chose.

verdict = await ctx.generate_parsed("verdict", prompt, parse_verdict, fallback="the candidate is kept, unverified")
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import isfinite
from typing import Any, TypeVar

import anyio

from archon_eval._deprecated import RenamedMethod
from archon_eval.architecture.component_types import describe_component
from archon_eval.architecture.prompts import render
from archon_eval.architecture.spec import NO_SETTINGS, ComponentSpec, GenerationSettings, choose_settings
from archon_eval.architecture.system_prompts import add_system_message
from archon_eval.components.prompt_parts import format_candidates
from archon_eval.components.solver_sandboxes import CandidateSandboxes
from archon_eval.engine.observer import NullObserver, Observer
from archon_eval.engine.trace import (
    EVENT_TYPES,
    NO_PROBLEMS,
    UNREAD,
    LayerResult,
    StageResult,
    Trace,
    TraceEvent,
    TraceJudgment,
    TraceOutcome,
    TraceStep,
)
from archon_eval.errors import ArchitectureError, ContextOverflowError, ModelError, ParseError
from archon_eval.models.call import Call, Caller, Reply
from archon_eval.models.context_window import is_overflow
from archon_eval.models.draw import LAST_DRAW_STRIDE, number_last_draw
from archon_eval.models.scorer import Scorer
from archon_eval.types import Candidate, Conversation, Message, State, ToolOffer

T = TypeVar("T")

REASK_PROMPT = """Your reply could not be used: {problem}

Reply again, in exactly the form asked for."""
ATTEMPT_STRIDE = 1_000_000
"""How far the draws of two attempts at one sample are apart: more than a layer has samples."""
RUN_EPOCH_STRIDE = 1_000_000
"""Further runs of one question in one epoch (choices, repeats) are epochs this far apart, so no draw is used twice."""
RUN_SEED_STRIDE, EPOCH_SEED_STRIDE = 1_000, 1_000_000
"""How far the seeds of two runs and of two epochs of a question are apart: more than a layer has samples."""
LAST_DRAW_SEED_STRIDE = 100_000_000
"""How far the seeds of two draws of the last layer are apart: more than a hundred epochs; 20 such draws still have
seeds of 31 bits, which is all that some servers take."""
MAX_QUOTED_CHARS = 8000
"""Characters of an unusable reply that are shown to the model when it is asked again."""


@dataclass(slots=True)
class TraceRecorder:
    """What one question's run has done so far."""

    epoch: int
    """Whose draws all layers take; but see `last_draw`."""
    steps: list[TraceStep] = field(default_factory=list)
    notes: list[TraceEvent] = field(default_factory=list)
    layers: list[LayerResult] = field(default_factory=list)
    outcomes: list[TraceOutcome] = field(default_factory=list)
    last_draw: int = 0
    """Which draw of the last layer it is, from 0."""
    last_layer: int = 0
    """The layer, from 1, from which on further last draws are draws of their own; needed where `last_draw` is not 0."""
    stages: list[StageResult] = field(default_factory=list)
    earlier: dict[Call, Reply] = field(default_factory=dict)
    """Replies to calls of a cascade's earlier stages: an equal call of a later one is the same draw and not sent."""
    sent: dict[Call, Reply] | None = None
    """Gets those of the stage under way; None where no stage can follow."""
    conversation: Conversation = ()
    """What was asked."""
    judgments: list[TraceJudgment] = field(default_factory=list)
    answer: Candidate | None = None

    def find_epoch(self, layer: int) -> int:
        """The epoch of a layer's calls."""
        return number_last_draw(self.epoch, self.last_draw if layer >= self.last_layer else 0)

    def build_trace(self) -> Trace:
        """All of it, in the order of layers."""
        return Trace(
            layers=tuple(sorted(self.layers, key=lambda layer: layer.layer)),
            steps=tuple(sorted(self.steps, key=lambda step: step.layer)),
            notes=tuple(sorted(self.notes, key=lambda note: note.layer)),
            outcomes=tuple(sorted(self.outcomes, key=lambda outcome: (outcome.layer, outcome.component))),
            stages=tuple(self.stages),
            conversation=self.conversation,
            judgments=tuple(sorted(self.judgments, key=lambda judgment: (judgment.layer, judgment.component))),
            answer=self.answer,
        )


class EngineCallContext:
    """The `CallContext` of one component on one question."""

    def __init__(
        self,
        caller: Caller,
        recorder: TraceRecorder,
        spec: ComponentSpec,
        *,
        layer: int,
        place: int,
        raises_overflow: bool = False,
        system: str = "",
        observer: Observer | None = None,
        sandboxes: CandidateSandboxes | None = None,
    ) -> None:
        """
        Args:
            layer: the component's layer, from 1.
            place: its place in the layer, from 1.
            system: added to every call as a system message; empty for none.
            raises_overflow: whether a prompt that does not fit is a ContextOverflowError, whatever `on_error` says.
            observer: shows the steps of solvers.
            sandboxes: of the question's candidates.
        """
        self._observer, self.sandboxes = observer or NullObserver(), sandboxes or CandidateSandboxes()
        self._caller, self._recorder, self._spec = caller, recorder, spec
        self._layer, self._place, self._raises_overflow, self._system = layer, place, raises_overflow, system
        self._parsed: list[tuple[str, int]] = []  # of each `generate_parsed`: what about, and its place in outcomes

    def with_overflow_raised(self) -> "EngineCallContext":
        """The same for work that is done again with less where a prompt does not fit."""
        return self._copy(raises_overflow=True)

    def with_state(self, state: State, candidate: Candidate | None = None) -> "EngineCallContext":
        """The same for work on these candidates, or on the one, which the component's system message may show."""
        if not self._spec.system:
            return self
        critiques = describe_component(self._spec, self._spec.kind).reads_critiques is True
        system = render(
            self._spec.system,
            instruction=state.instruction,
            candidates=format_candidates(state.candidates, critiques),
            count=len(state.candidates),
            candidate=candidate.text if candidate else "",
        )
        return self._copy(system=system)

    def _copy(self, *, raises_overflow: bool | None = None, system: str | None = None) -> "EngineCallContext":
        return EngineCallContext(
            self._caller,
            self._recorder,
            self._spec,
            layer=self._layer,
            place=self._place,
            raises_overflow=self._raises_overflow if raises_overflow is None else raises_overflow,
            system=self._system if system is None else system,
            observer=self._observer,
            sandboxes=self.sandboxes,
        )

    def record_event(self, event: str, detail: str, about: str = "") -> None:
        """Record something a reader must know, and the outcome of which its type speaks.

        One that did not work is the outcome of the last `generate_parsed` (about the same, if one was), not a second.
        """
        self._add_note(event, detail, about)
        worked = EVENT_TYPES[event].worked if event in EVENT_TYPES else None
        if worked is False and self._parsed:
            same = [n for n, (topic, _) in enumerate(self._parsed) if topic == about]
            _, place = self._parsed.pop(same[-1] if same else -1)
            parsed = self._recorder.outcomes[place]
            if not parsed.problems:
                self._recorder.outcomes[place] = replace(parsed, problems={event: parsed.count})
        elif worked is not None:
            self._add_outcome(None, "" if worked else event)

    def record_judgment(self, source: str, values: Mapping[str, float]) -> None:
        """Record which candidates are better than which others."""
        if odd := [value for value in values.values() if not isfinite(value)]:
            where = f"layer {self._layer} ({self._spec.kind})"
            raise ArchitectureError(f"{where}: a judgment by {source} must be finite numbers, not {odd[0]!r}")
        self._recorder.judgments.append(
            TraceJudgment(
                layer=self._layer, kind=self._spec.kind, component=self._place, source=source, values=dict(values)
            )
        )

    def _add_note(self, event: str, detail: str, about: str) -> None:
        self._recorder.notes.append(
            TraceEvent(layer=self._layer, kind=self._spec.kind, what=event, detail=detail, about=about)
        )

    def _add_outcome(
        self, model: str | None, problem: str = "", *, count: int = 1, worked: int = 0, is_text: bool = False
    ) -> None:
        """Outcomes of a call of a model (None: the component's own); without a problem all of them worked."""
        outcome = TraceOutcome(
            layer=self._layer,
            component=self._place,
            model=self._spec.model if model is None else model,
            problems={problem: count - worked} if problem and worked < count else NO_PROBLEMS,
            count=count,
            is_text=is_text,
        )
        self._recorder.outcomes.append(outcome)

    def _add_parsed_outcome(self, model: str | None, problem: str, count: int, *, about: str, worked: int = 0) -> None:
        self._parsed.append((about, len(self._recorder.outcomes)))
        self._add_outcome(model, problem, count=count, worked=worked)

    async def generate(
        self,
        purpose: str,
        messages: Conversation,
        *,
        model: str | None = None,
        draw: int = 0,
        about: str = "",
        tools: ToolOffer | None = None,
    ) -> Reply | None:
        """A free-text reply, or one with tool calls; None when it failed for good and may be dropped."""
        reply, problem = await self._call(purpose, messages, model=model, draw=draw, about=about, tools=tools)
        self._add_outcome(model, problem, is_text=True)
        return reply

    async def call_model(
        self,
        purpose: str,
        messages: Conversation,
        *,
        model: str,
        settings: GenerationSettings,
        draw: int,
        repeat: int,
        about: str,
        tools: ToolOffer | None,
    ) -> Reply:
        """One call of a solver: with settings of its own, and no outcome by itself; a failure is always raised."""
        if settings.seed is not None and repeat:
            settings = replace(settings, seed=_spread_seed(settings.seed, repeat))
        reply, _ = await self._call(
            purpose,
            messages,
            model=model,
            draw=draw,
            about=about,
            tools=tools,
            step=_SolverStep(settings, draw + repeat * ATTEMPT_STRIDE),
        )
        assert reply is not None, "a failure is raised"
        return reply

    def record_result(self, about: str, problem: str = "", detail: str = "") -> None:
        """Record what came of a solver's run."""
        if problem:
            self._add_note(problem, detail, about)
        self._add_outcome(None, problem)

    def open_steps(self, name: str) -> AbstractAsyncContextManager[Callable[[Any], None]]:
        """Where a transcript shows what a solver does."""
        return self._observer.open_steps(name)

    async def _call(
        self,
        purpose: str,
        messages: Conversation,
        *,
        model: str | None,
        draw: int,
        about: str,
        tools: ToolOffer | None = None,
        step: "_SolverStep | None" = None,
        scorer: Scorer | None = None,
    ) -> tuple[Reply | None, str]:
        """A reply, or None when it was dropped; and the word of EVENT_TYPES for what is wrong with it, or nothing."""
        spec = self._spec
        if scorer is not None:  # not drawn: the same score in every epoch
            call = Call(scorer.name, messages, NO_SETTINGS, scorer=scorer)
        else:
            call = self._build_call(self._choose_model(model), messages, draw=draw, tools=tools, step=step)
        model = call.model
        if (earlier := self._recorder.earlier.get(call)) is not None:
            self._record_step(call, purpose, about=about, reply=earlier, nested=step is not None, shared=True)
            return earlier, self._record_reply_problems(earlier, f"{purpose} by {model}", about)
        try:
            reply = await self._caller(call)
        except ModelError as exc:
            self._record_step(call, purpose, about=about, problem=str(exc), nested=step is not None)
            overflowed, failure = is_overflow(str(exc)), f"layer {self._layer} ({spec.kind}), {purpose}: {exc}"
            if overflowed and self._raises_overflow:
                why = str(exc).removeprefix(f"{model}: ")
                raise ContextOverflowError(f"{purpose} by {model}: {why}") from exc
            if spec.on_error == "drop" and not step:
                self._add_note("dropped", str(exc), about)
                return None, "dropped"
            raise (ContextOverflowError if overflowed else ModelError)(failure) from exc
        except anyio.get_cancelled_exc_class():
            self._record_step(call, purpose, about=about, problem="cancelled", nested=step is not None)
            self._add_note("cancelled", f"{purpose} by {model}", about)
            raise
        self._record_step(call, purpose, about=about, reply=reply, nested=step is not None)
        if self._recorder.sent is not None:
            self._recorder.sent.setdefault(call, reply)
        return reply, self._record_reply_problems(reply, f"{purpose} by {model}", about)

    def _build_call(
        self, model: str, messages: Conversation, *, draw: int, tools: ToolOffer | None, step: "_SolverStep | None"
    ) -> Call:
        epoch = self._recorder.find_epoch(self._layer)
        settings = step.settings if step else choose_settings(self._spec, model)
        if settings.seed is not None:  # or a provider that honours seeds gives every sample the same text
            settings = replace(settings, seed=offset_seed(settings.seed, draw, epoch))
        if self._system:
            messages = add_system_message(messages, self._system)
        return Call(model, messages, settings, draw=step.draw if step else draw, epoch=epoch, tools=tools)

    def _choose_model(self, model: str | None) -> str:
        chosen = self._spec.model if model is None else model
        if not chosen or (model is not None and model not in self._spec.models):
            declared = ", ".join(self._spec.models) or "none"
            raise ArchitectureError(
                f"layer {self._layer} ({self._spec.kind}) calls {f'model {model!r}' if model else 'a model'}, which it "
                f"does not declare (declared: {declared}): a further model is an option made with model_option()"
            )
        return chosen

    def _record_step(
        self,
        call: Call,
        purpose: str,
        *,
        about: str,
        reply: Reply | None = None,
        problem: str = "",
        nested: bool = False,
        shared: bool = False,
    ) -> None:
        self._recorder.steps.append(
            TraceStep(
                layer=self._layer,
                kind=self._spec.kind,
                component=self._place,
                model=call.model,
                purpose=purpose,
                about=about,
                draw=call.draw,
                messages=call.messages,
                reply=reply,
                problem=problem,
                nested=nested,
                shared=shared,
            )
        )

    def _record_reply_problems(self, reply: Reply, detail: str, about: str) -> str:
        """Notes on a reply; the word of the first for which it is no whole text, or nothing."""
        for remark in reply.remarks:
            self._add_note("irregular", f"{detail}: {remark}", about)
        found = {}
        has_text = bool(reply.text.strip())
        thought = bool(reply.thoughts.strip()) or (reply.usage is not None and reply.usage.output_tokens > 0)
        if reply.status == "cut" and not has_text and thought:
            found["cut_thoughts"] = f"{detail} ({reply.stop_reason}): give it a larger `max_tokens`"
        elif reply.status == "cut":
            found["truncated"] = f"{detail} ({reply.stop_reason})"
        if reply.status == "filtered":
            found["filtered"] = detail
        if not has_text and not reply.tool_calls and "cut_thoughts" not in found:
            found["empty"] = detail
        if reply.cleaned:
            found["cleaned"] = f"{detail}: {reply.cleaned} characters"
        for event, text in found.items():
            self._add_note(event, text, about)
        return next((event for event in found if EVENT_TYPES[event].worked is False), "")

    async def generate_parsed(
        self,
        purpose: str,
        messages: Conversation,
        parse: Callable[[str], T],
        *,
        fallback: str,
        model: str | None = None,
        draw: int = 0,
        about: str = "",
        outcomes: int = 1,
        scorer: Scorer | None = None,
    ) -> T | None:
        """A parsed reply; after the last re-ask the fallback is recorded and what could be read is returned."""
        prompt, partial, problem = messages, None, "the call failed"
        retries = self._spec.max_parse_retries if scorer is None else 0
        if scorer is not None:
            model = scorer.name
        for attempt in range(retries + 1):
            label = purpose if attempt == 0 else f"{purpose} (asked again)"
            attempt_draw = _number_attempt(draw, attempt)
            reply, _ = await self._call(label, prompt, model=model, draw=attempt_draw, about=about, scorer=scorer)
            if reply is None:
                break
            try:
                value = parse(reply.text)
            except ParseError as exc:
                problem, request = str(exc), exc.request or REASK_PROMPT.format(problem=exc)
                partial = exc.partial if exc.partial is not None else partial
            else:
                self._add_parsed_outcome(model, "", outcomes, about=about)
                return value
            if attempt < retries:
                self._add_note("reask", f"{purpose}: {problem}", about)
                shown = reply.text[:MAX_QUOTED_CHARS].strip() or "(no text)"
                prompt = (*messages, Message("assistant", shown), Message("user", request))
        self._add_note("fallback", f"{purpose}: {problem}; {fallback}", about)
        read = 0 if partial is None else min(outcomes, len(partial)) if outcomes > 1 else 1
        self._add_parsed_outcome(model, "dropped" if reply is None else UNREAD, outcomes, about=about, worked=read)
        return partial

    say = RenamedMethod("generate")
    ask = RenamedMethod("generate_parsed")
    note = RenamedMethod("record_event")


@dataclass(frozen=True, slots=True)
class _SolverStep:
    """What is a solver's own in a call."""

    settings: GenerationSettings
    draw: int
    """Of the call; that of the candidate decides the seed, with the settings' own."""


def _spread_seed(seed: int, repeat: int) -> int:
    """The seed of a call that a solver repeats: 31 bits that nothing else counts up to.

    >>> _spread_seed(7, 1) != _spread_seed(7, 2)
    True
    """
    return int.from_bytes(sha256(f"{seed} {repeat}".encode()).digest()[:4]) >> 1


def offset_seed(seed: int, draw: int, epoch: int) -> int:
    """The seed of one draw: other draws, epochs, last draws and runs have other seeds, or they would be the same text.

    >>> offset_seed(7, draw=0, epoch=1), offset_seed(7, draw=2, epoch=1), offset_seed(7, draw=0, epoch=2)
    (7, 9, 1000007)
    >>> offset_seed(7, draw=0, epoch=number_last_draw(2, 3))
    301000007
    """
    last_draw, rest = divmod(epoch - 1, LAST_DRAW_STRIDE)
    run, before = divmod(rest, RUN_EPOCH_STRIDE)
    return seed + draw + RUN_SEED_STRIDE * run + EPOCH_SEED_STRIDE * before + LAST_DRAW_SEED_STRIDE * last_draw


def _number_attempt(draw: int, attempt: int) -> int:
    """The draw with which an attempt at a sample is asked for.

    Draw 0 counts its attempts from 0, as the call stores of earlier releases have them. Attempts at other draws are a
    stride apart, so that no attempt at one sample is an attempt at another. Equal numbers remain only between a re-ask
    of draw 0 and the first attempt at another draw; their prompts differ, since a re-ask holds the reply it is about,
    and the prompt is part of a stored call's key.
    """
    return draw + attempt * (ATTEMPT_STRIDE if draw else 1)
