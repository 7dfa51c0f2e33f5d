"""Runs an architecture on one conversation as a dataflow: everything starts as soon as what it needs is there.

    answer = await Engine(architecture, caller).run((Message("user", "What is 2 + 2?"),))

Between layers flows a list of slots, one per candidate, in a fixed order whatever the timing. Generators fill theirs at
once; verifiers and evaluators work on each as it fills; unit tests are written from time zero; critics, rankers and
fusers wait for the whole list. A candidate that passes a filter goes on at once; one that fails waits until it is known
whether any passes, since otherwise all go on.
"""

import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import anyio

from archon_eval.architecture.spec import Architecture
from archon_eval.components import build_layer
from archon_eval.components.base import CandidateGenerator, CandidateScorer, ContextComponent, ListComponent
from archon_eval.components.component import Component
from archon_eval.components.solver_sandboxes import CandidateSandboxes, SandboxSource
from archon_eval.engine.call_context import EngineCallContext, TraceRecorder
from archon_eval.engine.dataflow import CandidateSlot, FilledSlots, FilterGate, LayerFlow, fill_slots
from archon_eval.engine.job_window import Job, JobWindow
from archon_eval.engine.observer import NullObserver, Observer
from archon_eval.engine.overflow import fit_candidates, restore_candidate, restore_state
from archon_eval.engine.plan import plan
from archon_eval.engine.returned_values import require_candidate, require_candidates, require_state, require_values
from archon_eval.engine.sampling import SampleRounds, SamplingRule, VerdictCount, find_sampling
from archon_eval.engine.stages import check_rules, run_stages
from archon_eval.engine.trace import Answer, LayerResult, TraceEvent
from archon_eval.errors import ArchitectureError, ContextOverflowError, ModelError, NoCandidateError
from archon_eval.errors import select_error as select_error
from archon_eval.models.call import Caller, PerQuestionCaller
from archon_eval.types import Candidate, Conversation, State, ToolOffer, flatten_conversation, list_unseen_parts

TOOLS_REFUSED = "cannot be asked with tools"
"""The words by which the refusal of `Engine.check_tools` is known in a log."""


class Engine:
    """An architecture ready to run; build once, run for any number of conversations, also at the same time."""

    def __init__(
        self,
        architecture: Architecture,
        caller: Caller,
        observer: Observer | None = None,
        *,
        stop: tuple[str, ...] = (),
    ) -> None:
        """
        Args:
            architecture: what is run.
            caller: under every model call.
            observer: is told of layers and questions.
            stop: texts of the task's at which every candidate ends, without its leading white space. They are looked
                for in answers and not sent to the models, whose thoughts may have them.

        Raises:
            ArchitectureError: a placeholder without a model, or a custom component that cannot be used.
            SandboxError: a component that runs programs, where none can be run.
        """
        if architecture.placeholders:
            architecture.with_models(())
        self.architecture, self.caller, self._stop = architecture, caller, stop
        self._observer = observer or NullObserver()
        self._last_layer: int | None = None
        self._window = JobWindow()
        self._sandboxes = SandboxSource()
        self._layers = [build_layer(number, layer) for number, layer in enumerate(architecture.layers, 1)]
        self._sampling = find_sampling(self._layers)
        check_rules(architecture, self._layers)
        for number, layer in enumerate(self._layers, 1):
            if len(layer) > 1 and not all(isinstance(component, CandidateGenerator) for component in layer):
                raise ArchitectureError(
                    f"layer {number} has {len(layer)} components, which only a CandidateGenerator may share"
                )
            for component in layer:
                component.check_requirements()
        components = [component for layer in self._layers for component in layer]
        self._in_sandboxes = [component for component in components if component.sandboxes]
        self._candidates = sum(each.candidate_count for each in components if each.type.place == "first")

    def check_tools(self, tools: ToolOffer | None) -> None:
        """Refuse tools that the architecture cannot be asked with, before a call is paid.

        Raises:
            ModelError: a component writes text of its own; names it, and what can stand in its place.
        """
        if tools is None or not tools.may_be_called:
            return
        if problems := list_tool_obstacles(self._layers):
            names = ", ".join(tool.name for tool in tools.definitions)
            raise ModelError(
                f"architecture {self.architecture.name!r} {TOOLS_REFUSED}, and {names} are offered: "
                f"{'; '.join(problems)}. Architectures that choose among whole proposals (best-of-n, a vote) can"
            )

    async def run(
        self, conversation: Conversation, epoch: int = 1, *, last_draw: int = 0, tools: ToolOffer | None = None
    ) -> Answer:
        """The answer to a conversation that has a user turn: a text, or a turn that calls some of the tools.

        Args:
            epoch: whose draws the calls take, from 1.
            last_draw: which draw of the last layer of this epoch it is, from 0: answers with other ones share all calls
                of the layers before. The last layer is the last one that asks a model (`Plan.last_layer`).

        Raises:
            ModelError: a call failed for good (with `on_error: drop`: every candidate was lost), or the architecture
                cannot be asked with tools.
            Limits and cancellation of the host pass through as they are.
        """
        if not any(message.role == "user" for message in conversation):
            raise ModelError("the conversation has no user turn, so there is nothing to answer")
        self.check_tools(tools)
        for component in self._in_sandboxes:
            component.check_surroundings()
        count = sum(component.sandboxes for component in self._in_sandboxes)
        async with self._sandboxes.open(count, alone=self._candidates == 1) as sandboxes:
            return await self._run(conversation, epoch, last_draw=last_draw, tools=tools, sandboxes=sandboxes)

    async def _run(
        self,
        conversation: Conversation,
        epoch: int,
        *,
        last_draw: int,
        tools: ToolOffer | None,
        sandboxes: CandidateSandboxes,
    ) -> Answer:
        started = time.monotonic()
        last_layer = self._find_last_layer() if last_draw else 0
        recorder = TraceRecorder(epoch, last_draw=last_draw, last_layer=last_layer, conversation=conversation)
        caller = self.caller.start_question() if isinstance(self.caller, PerQuestionCaller) else self.caller
        run = _QuestionRun(
            caller,
            self._observer,
            State(conversation, tools=tools),
            recorder=recorder,
            architecture=self.architecture,
            layers=self._layers,
            sampling=self._sampling,
            window=self._window,
            stop=self._stop,
            sandboxes=sandboxes,
        )
        try:
            candidates = await run_stages(
                self.architecture, self._layers, State(conversation), run_layer=run.run_layer, recorder=recorder
            )
        except BaseExceptionGroup as errors:
            error = select_error(errors)
            if isinstance(error, ContextOverflowError):
                error.trail = recorder.build_trace()
            raise error from None
        else:
            recorder.answer = candidates[0]
            if whose := sandboxes.choose(candidates[0].id):
                last = recorder.layers[-1]  # of the stage whose answer stands
                recorder.notes.append(TraceEvent(layer=last.layer, kind=last.kind, what="sandbox", detail=whose))
        finally:
            trail = recorder.build_trace()
            self._observer.record_question(trail)
        return Answer(candidates[0].text, candidates, trail, seconds=time.monotonic() - started)

    def _find_last_layer(self) -> int:
        """The number of the last layer that asks a model; of the last of all where none does."""
        if self._last_layer is None:
            last = plan(self.architecture).last_layer
            self._last_layer = len(self._layers) if last is None else last.number
        return self._last_layer


class _QuestionRun:
    """One question's way through the layers."""

    def __init__(
        self,
        caller: Caller,
        observer: Observer,
        asked: State,
        *,
        recorder: TraceRecorder,
        architecture: Architecture,
        layers: list[list[Component]],
        sampling: Mapping[int, SamplingRule],
        window: JobWindow,
        stop: tuple[str, ...],
        sandboxes: CandidateSandboxes,
    ) -> None:
        self._sandboxes = sandboxes
        self._caller, self._observer, self._stop, self._window = caller, observer, stop, window
        self._asked, self._recorder = asked, recorder
        self._as_text = replace(asked, conversation=flatten_conversation(asked.conversation))
        self._unseen = Counter(list_unseen_parts(asked.conversation))
        self._kinds = [layer[0].spec.kind for layer in layers]
        self._sampling = sampling
        self._verdicts = {rule.filter_layer: VerdictCount() for rule in sampling.values() if rule.filter_layer}
        self._cancellable = any(layer[0].stop_after is not None for layer in layers)
        self._starts = {span.first for span in architecture.spans}
        self._router = 1 if architecture.router is not None else None

    async def run_layer(
        self, number: int, components: list[Component], inflow: LayerFlow, *, outflow: LayerFlow
    ) -> None:
        component = components[0]
        if isinstance(component, CandidateGenerator):
            work = self._run_generators(number, components, inflow, outflow=outflow)
        elif isinstance(component, CandidateScorer):
            work = self._run_scorer(number, component, inflow, outflow=outflow)
        elif isinstance(component, ListComponent):
            work = self._run_list_component(number, component, inflow, outflow=outflow)
        elif isinstance(component, ContextComponent):
            work = self._run_context_component(number, component, inflow, outflow=outflow)
        else:
            raise ArchitectureError(
                f"layer {number}: {component.spec.kind} is no "
                "CandidateGenerator, CandidateScorer, ListComponent or ContextComponent"
            )
        await work

    def _create_context(self, number: int, component: Component, place: int = 1) -> EngineCallContext:
        return EngineCallContext(
            self._caller,
            self._recorder,
            component.spec,
            layer=number,
            place=place,
            observer=self._observer,
            sandboxes=self._sandboxes,
        )

    def _show_state(
        self, component: Component, ctx: EngineCallContext, candidates: tuple[Candidate, ...], values: Mapping[str, Any]
    ) -> State:
        """What a component gets to see: the conversation's turns as they came, or their text."""
        asked = self._asked if component.sends_turns else self._as_text
        if self._unseen and not component.sends_turns and (component.type.needs_model or component.scorer):
            parts = ", ".join(f"{count} {type}" for type, count in self._unseen.items())
            ctx.record_event("unseen", f"{component.spec.kind} gets the text and a placeholder for {parts}")
        return replace(asked, candidates=candidates, values=values)

    @asynccontextmanager
    async def _open_span(self, number: int, component: Component, outflow: LayerFlow) -> AsyncIterator[None]:
        """The layer's span; at its end, what left the layer."""
        kind = component.spec.kind
        started = time.monotonic()
        async with self._observer.open_span(f"layer {number}: {kind}", "archon_layer"):
            outflow.started.set(True)
            result = None
            try:
                yield
                candidates, values = await outflow.get_candidates(), await outflow.get_values()
                if not candidates and number != self._router:
                    raise self._create_empty_error(number, kind)
                result = LayerResult(
                    layer=number,
                    kind=kind,
                    candidates=candidates,
                    values=values,
                    seconds=time.monotonic() - started,
                    remarks=tuple(map(component.describe_candidate, candidates)),
                    lists=component.describe_values(values),
                )
                self._recorder.layers.append(result)
            finally:
                self._observer.record_layer(number, result, self._recorder)

    def _create_empty_error(self, number: int, kind: str) -> NoCandidateError:
        lost = [note.detail for note in self._recorder.notes if note.what == "dropped" and note.layer <= number]
        why = f", every call failed: {'; '.join(lost[:3])}" if lost else ""
        return NoCandidateError(f"layer {number} ({kind}): no candidate left{why}")

    async def _collect(self, number: int, inflow: LayerFlow) -> tuple[tuple[Candidate, ...], Mapping[str, Any]]:
        """What a layer that needs the whole list gets; without a candidate nothing more is paid for."""
        candidates, values = await inflow.get_candidates(), await inflow.get_values()
        if number not in self._starts and not candidates:
            raise self._create_empty_error(number - 1, self._kinds[number - 2])
        return candidates, values

    async def _run_generators(
        self, number: int, components: list[Component], inflow: LayerFlow, *, outflow: LayerFlow
    ) -> None:
        generators = [component for component in components if isinstance(component, CandidateGenerator)]
        slots = [
            [CandidateSlot(cancellable=self._cancellable) for _ in range(generator.candidate_count)]
            for generator in generators
        ]
        lone = max(map(len, slots)) == 1  # all or none, so that the draws of a prompt are asked for at one moment
        joined = [slot for group in slots for slot in group]
        if not components[0].type.adds:
            outflow.put_slots(joined)
        candidates, values = await self._collect(number, inflow)
        if components[0].type.adds:
            outflow.put_slots([*fill_slots(candidates), *joined])
        outflow.put_values(values)

        async def fill_slot(
            generator: CandidateGenerator,
            state: State,
            slot: CandidateSlot,
            *,
            id: str,
            draw: int,
            ctx: EngineCallContext,
        ) -> None:
            async def produce(shown: tuple[Candidate, ...], ctx: EngineCallContext) -> Candidate | None:
                seen = replace(state, candidates=shown)
                return await generator.produce(seen, id, draw, ctx.with_state(seen))

            made, _ = await fit_candidates(generator, candidates, produce, ctx, about=id)
            slot.fill(None if made is None else end_at_stop(require_candidate(made, number, generator), self._stop))

        async def run_generator(place: int, first: int, first_draw: int, drawn: range) -> None:
            generator, mine, ctx = generators[place - 1], slots[place - 1], contexts[place - 1]
            state = states[place - 1]
            name = f"{generator.spec.kind} {place}" + (f", from sample {drawn.start + 1}" if drawn.start else "")
            async with _open_component_span(self._observer, name, len(generators)):

                def create_jobs() -> Iterator[Job]:
                    for n in drawn:
                        slot, id, draw = mine[n], f"{number}.{first + n}", first_draw + n
                        yield partial(
                            slot.run_job, partial(fill_slot, generator, state, slot, id=id, draw=draw, ctx=ctx)
                        )

                if lone:
                    await next(create_jobs())()
                else:
                    await self._window.run_all(create_jobs())

        async with self._open_span(number, components[0], outflow):
            contexts = [self._create_context(number, each, place) for place, each in enumerate(generators, 1)]
            states = [
                self._show_state(each, ctx, candidates, values) for each, ctx in zip(generators, contexts, strict=True)
            ]
            jobs: list[Callable[[range], Coroutine[Any, Any, None]]] = []
            first = 1
            draws: defaultdict[str, int] = defaultdict(int)
            for place, (generator, mine) in enumerate(zip(generators, slots, strict=True), 1):
                models = generator.spec.models or ("",)
                first_draw = max(draws[model] for model in models)  # free for all of them
                jobs.append(partial(run_generator, place, first, first_draw))
                draws.update(dict.fromkeys(models, first_draw + len(mine)))
                first += len(mine)
            rule = self._sampling.get(number)
            rounds = SampleRounds(generators, slots, rule, self._verdicts.get(rule.filter_layer) if rule else None)
            while drawn := await rounds.begin_next():
                await _run_components([partial(job, part) for job, part in zip(jobs, drawn, strict=True) if part])
            if rounds.outcome is not None:
                contexts[0].record_event(*rounds.outcome)

    async def _run_scorer(self, number: int, scorer: CandidateScorer, inflow: LayerFlow, *, outflow: LayerFlow) -> None:
        sources = await inflow.get_slots()
        slots = [CandidateSlot(source, self._cancellable) for source in sources]
        gate = FilterGate(slots, None if scorer.sorts else scorer.stop_after)
        ctx = self._create_context(number, scorer)
        seen = self._show_state(scorer, ctx, (), {})
        if not scorer.sorts:
            outflow.put_slots(slots)

        async def judge_slot(source: CandidateSlot, slot: CandidateSlot) -> None:
            candidate = source.candidate
            if candidate is None:
                return gate.report_verdict(slot, None, False)
            state = replace(seen, values=await inflow.get_values())
            if not scorer.sorts:
                outflow.put_values(state.values)
            made, shown = await fit_candidates(
                scorer,
                (candidate,),
                lambda shown, ctx: scorer.judge(state, shown[0], ctx.with_state(state, shown[0])),
                ctx,
                about=candidate.id,
            )
            judged = restore_candidate(require_candidate(made, number, scorer), shown, (candidate,))
            [judged] = self._end_rewritten((judged,), (candidate,))
            gate.report_verdict(slot, judged, scorer.sorts or scorer.passes(judged))

        verdicts = self._verdicts.get(number)

        async def run_slot(slot: CandidateSlot, work: Job) -> None:
            await slot.run_job(work)
            if verdicts is not None:
                verdicts.report(slot.candidate is not None and scorer.passes(slot.candidate))

        async def create_jobs() -> AsyncIterator[Job]:
            async for place in FilledSlots(sources):
                yield partial(run_slot, slots[place], partial(judge_slot, sources[place], slots[place]))

        await inflow.started.get()
        async with self._open_span(number, scorer, outflow):
            await self._window.run_all(create_jobs())
            judged = tuple(slot.candidate for slot in slots if slot.candidate is not None)
            if not judged:
                raise self._create_empty_error(number - 1, self._kinds[number - 2])
            none_passed = not any(scorer.passes(candidate) for candidate in judged)
            if none_passed and scorer.type.filters and scorer.arrange(judged):
                ctx.record_event("unfiltered", "no candidate passed: all go on")
            if scorer.sorts:
                arranged = require_candidates(scorer.arrange(judged), number, scorer, method="arrange")
                outflow.put(replace(seen, candidates=arranged, values=await inflow.get_values()))

    async def _run_list_component(
        self, number: int, component: ListComponent, inflow: LayerFlow, *, outflow: LayerFlow
    ) -> None:
        candidates, values = await self._collect(number, inflow)
        async with self._open_span(number, component, outflow):
            ctx = self._create_context(number, component)
            state = self._show_state(component, ctx, candidates, values)

            async def work(shown: tuple[Candidate, ...], ctx: EngineCallContext) -> State:
                seen = replace(state, candidates=shown)
                return await component.run(seen, ctx.with_state(seen))

            made, shown = await fit_candidates(component, candidates, work, ctx)
            after = restore_state(component, require_state(made, number, component), shown, candidates)
            outflow.put(replace(after, candidates=self._end_rewritten(after.candidates, candidates)))

    def _end_rewritten(self, after: Sequence[Candidate], before: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """Candidates behind a component, those whose text it wrote ended at the stop texts."""
        texts = {candidate.text for candidate in before} if self._stop else set()
        return tuple(each if each.text in texts else end_at_stop(each, self._stop) for each in after)

    async def _run_context_component(
        self, number: int, component: ContextComponent, inflow: LayerFlow, *, outflow: LayerFlow
    ) -> None:
        async with self._open_span(number, component, outflow):
            ctx = self._create_context(number, component)
            state = self._show_state(component, ctx, (), {})
            prepared = await component.prepare(state.conversation, ctx.with_state(state))
            outflow.put_slots(await inflow.get_slots())
            outflow.put_values({**await inflow.get_values(), **require_values(prepared, number, component)})


def list_tool_obstacles(layers: Sequence[Sequence[Component]]) -> list[str]:
    """Why an architecture of these layers cannot be asked with tools, a sentence per component; none where it can."""
    problems = []
    for number, layer in enumerate(layers, 1):
        for component in layer:
            if why := component.tool_obstacle:
                place = f"layer {number} ({component.spec.kind}): {why}"
                stand_in = component.type.stand_in
                problems.append(f"{place}; a {stand_in} in its place chooses one" if stand_in else place)
    return list(dict.fromkeys(problems))


def _open_component_span(observer: Observer, name: str, components: int) -> AbstractAsyncContextManager[Any]:
    return nullcontext() if components == 1 else observer.open_span(name, "archon_component")


async def _run_components(jobs: Sequence[Job]) -> None:
    """All of a layer's at the same time; a lone one without a task of its own."""
    if len(jobs) == 1:
        return await jobs[0]()
    async with anyio.create_task_group() as group:
        for job in jobs:
            group.start_soon(job)


def end_at_stop(candidate: Candidate, stop: tuple[str, ...]) -> Candidate:
    """The candidate up to the first of the stop sequences, looked for behind its leading white space.

    >>> end_at_stop(Candidate("1.1", "\\n\\n4. Question: next"), ("Question:", "\\n\\n")).text
    '4. '
    """
    if not stop or candidate.turn is not None:  # what calls tools has not come to an answer yet
        return candidate
    text = candidate.text.lstrip()
    ends = [end for sequence in stop if sequence and (end := text.find(sequence)) >= 0]
    return replace(candidate, text=text[: min(ends)], cut=False) if ends else replace(candidate, text=text)
