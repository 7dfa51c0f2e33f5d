"""Runs the stages of a cascade one after the other, each with its layers as a dataflow, until an answer stands.

    candidates = await run_stages(architecture, layers, state, run_layer=run.run_layer, recorder=recorder)

An architecture that is no cascade is one stage without a rule. A later stage begins only when the rule of the one
before has decided. What an earlier stage asked is in the trace and is not asked again: an equal call with the same draw
of the same epoch is the same reply.
"""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import anyio

from archon_eval.architecture.spec import Architecture
from archon_eval.architecture.stages import StageSpan
from archon_eval.components.acceptance import ACCEPTANCE_KEY, Acceptance, AcceptRule, find_drawn_layer
from archon_eval.components.component import Component
from archon_eval.components.router import ROUTE_KEY, Route
from archon_eval.engine.call_context import TraceRecorder
from archon_eval.engine.dataflow import LayerFlow
from archon_eval.engine.trace import StageResult, TraceEvent
from archon_eval.errors import ArchitectureError, NoCandidateError, select_error
from archon_eval.types import Candidate, State


class LayerRunner(Protocol):
    """Runs one layer, from one flow to the next."""

    async def __call__(
        self, number: int, components: list[Component], inflow: LayerFlow, *, outflow: LayerFlow
    ) -> None: ...


def check_rules(architecture: Architecture, layers: Sequence[Sequence[Component]]) -> None:
    """Check that the rules of a cascade can decide, and prepare them.

    Raises:
        ArchitectureError: a rule that can measure nothing behind its stage, or that has no threshold yet.
    """
    for span in architecture.spans:
        if span.rule is None:
            continue
        rule = layers[span.rule - 1][0]
        assert isinstance(rule, AcceptRule)
        where = f"architecture {architecture.name!r}, stage {span.stage.name}, accept"
        rule.is_measuring = architecture.measure_only
        if problem := find_rule_problem(rule, layers[span.first - 1 : span.last]):
            raise ArchitectureError(f"{where}: {problem}")
        if rule.needs_threshold and rule.threshold is None and not architecture.measure_only:
            raise ArchitectureError(f"{where}: there is no threshold: write one, or let `archon tune` find it")


def find_rule_problem(rule: Component, components: Sequence[Sequence[Component]]) -> str:
    """Why a rule can measure nothing behind these layers; empty where it can."""
    return rule.check_stage(components) if isinstance(rule, AcceptRule) else ""


async def run_stages(
    architecture: Architecture,
    layers: list[list[Component]],
    start: State,
    *,
    run_layer: LayerRunner,
    recorder: TraceRecorder,
) -> tuple[Candidate, ...]:
    """What leaves the stage whose answer stands.

    Raises:
        BaseExceptionGroup: of what went wrong in the layers.
    """
    runner = _StageRunner(layers, run_layer)
    spans = architecture.spans
    if not architecture.stages:
        return await (await runner.run_span(spans[0], start, None))[0].get_candidates()
    first, only, measures = 0, False, architecture.measure_only
    if architecture.router is not None:
        route = await runner.run_router(start)
        first = next(place for place, span in enumerate(spans) if span.stage.name == route.stage)
        only = bool(architecture.router.get_option("only"))
        detail = f"{route.stage}: {route.why}"
        recorder.notes.append(TraceEvent(1, architecture.router.kind, "routed", detail))
    state = start
    for place in range(first, len(spans)):
        span = spans[place]
        is_last = only or place == len(spans) - 1
        rule = None if span.rule is None or (is_last and not measures) else span.rule
        recorder.sent = None if is_last else {}
        try:
            flow, decided = await runner.run_span(span, state, rule)
        except BaseExceptionGroup as lost:
            _, others = lost.split(NoCandidateError)
            if is_last or span.stage.keep or others is not None:
                raise
            _record_lost_stage(recorder, layers, span, str(select_error(lost)))
            recorder.earlier |= recorder.sent or {}
            state = start
            continue
        candidates = await flow.get_candidates()
        acceptance = None if decided is None else (await decided.get_values()).get(ACCEPTANCE_KEY)
        stands = is_last or (not measures and isinstance(acceptance, Acceptance) and acceptance.accepted)
        _record_stage(recorder, layers, span, rule, stands=stands, acceptance=acceptance, is_measuring=measures)
        if stands:
            return candidates
        recorder.earlier |= recorder.sent or {}
        state = State(start.conversation, candidates, await flow.get_values()) if span.stage.keep else start
    raise AssertionError("the answer of the last stage stands")


def _record_lost_stage(
    recorder: TraceRecorder, layers: Sequence[Sequence[Component]], span: StageSpan, why: str
) -> None:
    """A stage whose calls were all dropped has nothing that could stand: the next one is asked."""
    numbers = (span.first, span.last)
    recorder.stages.append(StageResult(span.stage.name, numbers, False, score=None, threshold=None, detail=why))
    kind = layers[span.last - 1][0].spec.kind
    recorder.notes.append(TraceEvent(span.last, kind, "escalated", f"{span.stage.name}: {why}"))


def _record_stage(
    recorder: TraceRecorder,
    layers: Sequence[Sequence[Component]],
    span: StageSpan,
    rule: int | None,
    *,
    stands: bool,
    acceptance: Acceptance | None,
    is_measuring: bool,
) -> None:
    score, threshold = (acceptance.score, acceptance.threshold) if acceptance else (None, None)
    recorder.stages.append(
        StageResult(
            span.stage.name,
            (span.first, span.last if rule is None else rule),
            stands,
            score=score,
            threshold=threshold,
            detail=acceptance.describe() if acceptance else "",
        )
    )
    if rule is not None and acceptance is not None and not is_measuring:
        kind = layers[rule - 1][0].spec.kind
        word = "accepted" if stands else "escalated"
        recorder.notes.append(TraceEvent(rule, kind, word, f"{span.stage.name}: {acceptance.describe()}"))


class _StageRunner:
    def __init__(self, layers: list[list[Component]], run_layer: LayerRunner) -> None:
        self._layers, self._run_layer = layers, run_layer

    async def run_router(self, start: State) -> Route:
        inflow, outflow = LayerFlow(), LayerFlow()
        inflow.put(start)
        async with anyio.create_task_group() as group:
            group.start_soon(partial(self._run_layer, 1, self._layers[0], inflow, outflow=outflow))
        route = (await outflow.get_values())[ROUTE_KEY]
        assert isinstance(route, Route)
        return route

    async def run_span(self, span: StageSpan, start: State, rule: int | None) -> tuple[LayerFlow, LayerFlow | None]:
        """All layers of a stage at once, as far as each has what it needs.

        Returns:
            What leaves its last layer, and what its rule decides.
        """
        numbers = range(span.first, span.last + 1)
        own = [self._layers[number - 1] for number in numbers]
        flows = [LayerFlow() for _ in range(len(own) + 1)]
        flows[0].put(start)
        decided = None if rule is None else LayerFlow()
        async with anyio.create_task_group() as group:
            for place, number in enumerate(numbers):
                job = partial(self._run_layer, number, own[place], flows[place], outflow=flows[place + 1])
                group.start_soon(job)
            if rule is not None and decided is not None:
                components = self._layers[rule - 1]
                reads_drawn = isinstance(components[0], AcceptRule) and components[0].reads_drawn
                shown = flows[find_drawn_layer(own) + 1] if reads_drawn else flows[-1]
                group.start_soon(partial(self._run_layer, rule, components, shown, outflow=decided))
        return flows[-1], decided
