"""A sandbox for each candidate that a solver makes, so that none overwrites another's files; the winner's stays.

    async with SandboxSource().open(3) as sandboxes:
        async with sandboxes.enter("1.2"):      # in a task of its own: `sandbox()` is this candidate's here
            await solver(state, generate)
        sandboxes.choose("1.2")                 # from now on `sandbox()` is this one everywhere in the sample

They are of the sample's provider and configuration, with its files and its setup. The others end with the question,
whatever ends it, and so does the sandbox in whose place the winner's comes.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
from inspect_ai.util import LimitExceededError, concurrency

from archon_eval._inspect_compat import (
    EvalSandbox,
    cleanup_sandbox_environments_sample,
    find_sandbox_of_eval,
    init_sandbox_environments_sample,
    read_sandboxenv_file,
    registry_find_sandboxenv,
    registry_unqualified_name,
    resolve_sample_files,
    resolve_sandbox,
    sample_active,
    sandbox_environments_variable,
    sandboxes_with_file_variable,
)
from archon_eval._notes import show_note
from archon_eval.errors import SandboxError

Environments = dict[str, Any]
"""A sandbox: Inspect's environments by their name."""


def require_sandbox(who: str) -> None:
    """Refuse to go on without a sandbox.

    Args:
        who: needs one, for the message.

    Raises:
        SandboxError: there is none here.
    """
    if not _get_environments():
        why = (
            "the task has none: `--sandbox docker` gives it one"
            if sample_active() is not None
            else "only the samples of an `inspect eval` have one, not lm-eval and not Python"
        )
        raise SandboxError(f"{who} has `sandbox: required`, and {why}")


def _get_environments() -> Environments:
    found: Environments | None = sandbox_environments_variable.get(None)
    return {} if found is None else found


@dataclass(frozen=True)
class _Maker:
    """What makes a sandbox like the sample's."""

    type: str
    config: Any
    eval: EvalSandbox
    sample: Any

    @property
    def limit(self) -> int | None:
        """How many at once; None for as many as one likes."""
        if self.eval.limit is not None:
            return self.eval.limit
        most: int | None = registry_find_sandboxenv(self.type).default_concurrency()
        return most

    async def make(self) -> Environments:
        """A sandbox, which is the current task's from now on."""
        sample = self.sample
        files = {
            path: await read_sandboxenv_file(contents)
            for path, contents in resolve_sample_files(sample.files or {}).items()
        }
        setup = None
        if sample.setup:
            setup = await read_sandboxenv_file(sample.setup)
            if not setup.strip().startswith(b"#!"):
                setup = b"#!/usr/bin/env bash\n\n" + setup
        return await init_sandbox_environments_sample(
            sandboxenv_type=registry_find_sandboxenv(self.type),
            task_name=registry_unqualified_name(self.eval.task),
            config=self.config,
            files=files,
            setup=setup,
            metadata={**(sample.metadata or {}), "__sample_id__": sample.id},
        )

    async def clean_up(self, environments: Environments, interrupted: bool) -> None:
        """End a sandbox; one that cannot be ended is named, and costs nobody an answer."""
        if not self.eval.cleans_up:
            return
        try:
            await cleanup_sandbox_environments_sample(
                type=self.type,
                task_name=self.eval.task,
                config=self.config,
                environments=environments,
                interrupted=interrupted,
            )
        except Exception as exc:  # noqa: BLE001 (the answer has been paid for, and Inspect ends what is left)
            show_note(f"a candidate's sandbox ({self.type}) cannot be ended: {type(exc).__name__}: {exc}")


class CandidateSandboxes:
    """Of one question. Without a maker, candidates share what sandbox there is."""

    def __init__(self, maker: _Maker | None = None) -> None:
        self._maker = maker
        self._by_candidate: dict[str, Environments] = {}
        self._replaced: Environments = {}

    @asynccontextmanager
    async def enter(self, id: str, policy: str = "auto") -> AsyncIterator[None]:
        """Inside, in a task of its own, `sandbox()` is the candidate's.

        Args:
            id: of the candidate.
            policy: with `none` it has no sandbox.
        """
        if policy == "none":
            sandbox_environments_variable.set({})
        elif self._maker is not None:
            try:
                self._by_candidate[id] = await self._maker.make()
            except LimitExceededError:
                raise
            except Exception as exc:  # whatever a provider does wrong
                problem = f"{type(exc).__name__}: {exc}"
                raise SandboxError(
                    f"a sandbox ({self._maker.type}) for candidate {id} cannot be made: {problem}"
                ) from exc
        yield

    def choose(self, id: str) -> str:
        """Put the candidate's sandbox in the place of the sample's.

        Returns:
            Whose sandbox the sample has now, in words; empty where no candidate had one of its own.
        """
        if not self._by_candidate:
            return ""
        if id not in self._by_candidate:
            return f"the sample's own, as it was at first: candidate {id} has none"
        current = _get_environments()
        self._replaced = dict(current)
        chosen = self._by_candidate.pop(id)
        current.clear()  # the sample's own mapping, which its scorers read and Inspect cleans up
        current.update(chosen)
        if found := sandboxes_with_file_variable.get(None):
            found.clear()
        return f"that of candidate {id}"

    async def close(self, interrupted: bool) -> None:
        """End all but the chosen one, also while the question is being cancelled."""
        if self._maker is None:
            return
        with anyio.CancelScope(shield=True):
            for environments in [*self._by_candidate.values(), *filter(None, [self._replaced])]:
                await self._maker.clean_up(environments, interrupted)
        self._by_candidate, self._replaced = {}, {}


class SandboxSource:
    """Sandboxes for the questions of one engine."""

    def __init__(self) -> None:
        self._by_eval: dict[str, EvalSandbox | None] = {}

    @asynccontextmanager
    async def open(self, count: int, *, alone: bool = False) -> AsyncIterator[CandidateSandboxes]:
        """The sandboxes of one question.

        Args:
            count: how many candidates will have one of their own.
            alone: whether there is no other candidate, so that the only one may have the sample's.

        Raises:
            SandboxError: the provider has no room for so many at once.
        """
        maker = await self._find_maker() if count and not alone and _get_environments() else None
        if maker is None:
            yield CandidateSandboxes()
            return
        async with AsyncExitStack() as places:
            if (limit := maker.limit) is not None:
                await _take_places(places, maker.type, count, limit)
            sandboxes, interrupted = CandidateSandboxes(maker), False
            try:
                yield sandboxes
            except anyio.get_cancelled_exc_class():
                interrupted = True
                raise
            finally:
                await sandboxes.close(interrupted)

    async def _find_maker(self) -> _Maker | None:
        active = sample_active()
        if active is None:
            return None
        if active.eval_id not in self._by_eval:
            self._by_eval[active.eval_id] = find_sandbox_of_eval(active.eval_id)
        known = self._by_eval[active.eval_id]
        spec = None if known is None else await resolve_sandbox(known.spec, active.sample)
        if known is None or spec is None:
            raise SandboxError(
                "the sample's sandbox cannot be made again for each candidate: Inspect does not say how it was made "
                "(`sandbox: none` runs solvers without one)"
            )
        return _Maker(spec.type, spec.config, known, active.sample)


async def _take_places(places: AsyncExitStack, type: str, count: int, limit: int) -> None:
    """Wait for a question's sandboxes, all at once, as questions that hold a part each would wait for one another.

    The candidates' places are not those of the samples, of which each waiting question holds one: as many again.
    """
    if count > limit:
        raise SandboxError(
            f"{count} candidates need a sandbox of their own at once, and there may be {limit} ({type}): "
            f"give `--max-sandboxes {count}`, or fewer samples, or `sandbox: none`"
        )
    async with concurrency(f"{type} for candidates: turn", 1, f"archon-sandboxes-turn/{type}", visible=False):
        for _ in range(count):
            await places.enter_async_context(concurrency(f"{type} for candidates", limit, f"archon-sandboxes/{type}"))
