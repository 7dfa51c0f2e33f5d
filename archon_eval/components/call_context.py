"""What a component calls models with.

reply = await ctx.generate("reasons", make_user_prompt(text), about=candidate.id)
second = await ctx.generate("review", make_user_prompt(text), model=self.spec.get_option("reviewer"))
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from archon_eval.architecture.spec import GenerationSettings
from archon_eval.models.call import Reply
from archon_eval.models.scorer import Scorer
from archon_eval.types import Conversation, ToolOffer

if TYPE_CHECKING:
    from archon_eval.components.solver_sandboxes import CandidateSandboxes

T = TypeVar("T")


class CallContext(Protocol):
    """What the engine gives a component: calls that are counted, recorded and limited.

    A call goes to the component's `model` unless `model` names another, which the component must have declared as an
    option (`model_option`).
    """

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
        """A free-text reply; None when the call failed for good and the component has `on_error: drop`.

        Args:
            purpose: what is asked, for the trace (`generate`, `reasons`).
            model: one of the component's models.
            draw: which sample of this prompt by this model: equal calls with other draws are other samples.
            about: id of the candidate concerned.
            tools: what the reply may call; `state.tools`, by a component that makes candidates of tool calls.

        Raises:
            ArchitectureError: a model that the component has not declared.
        """

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
        """A parsed reply, asked for again up to `max_parse_retries` times when `parse` raises ParseError.

        Then the fallback is recorded and what could be read (`ParseError.partial`) or None is returned.

        Args:
            purpose: what is asked, for the trace (`rank`, `verdict`).
            parse: from the reply's text to a value.
            fallback: in words, what the component does without an answer.
            model: one of the component's models.
            draw: which sample of this prompt by this model, as for `generate`; its re-asks are samples of their own.
            about: id of the candidate concerned.
            outcomes: how many a reply holds, e.g. a critique per candidate, for the account of what worked; of a
                `ParseError.partial`, which then has a length, so many did.
            scorer: a source of scores that is asked in a model's place, once: it would say the same again.

        Raises:
            ArchitectureError: a model that the component has not declared.
        """

    def record_event(self, event: str, detail: str, about: str = "") -> None:
        """Record something a reader must know: `event` is one of `trace.EVENT_TYPES` or a component's own word.

        `fallback` says that the component did not do its work this time; so the account counts it.
        """

    def record_judgment(self, source: str, values: Mapping[str, float]) -> None:
        """Record which candidates are better than which others, for `archon export preferences`.

        What one component says by one source is one judgment of a question, in however many parts it comes.

        Args:
            source: a word of `archon_eval.engine.trace.JUDGMENT_SOURCES`, or a component's own.
            values: id of a candidate -> a number, more being better; without candidates of which nothing was read.

        Raises:
            ArchitectureError: a value that is not finite.
        """


class SolverCallContext(CallContext, Protocol):
    """What the engine gives a component whose candidates come from solvers of Inspect's."""

    sandboxes: "CandidateSandboxes"
    """Of the question that is being answered."""

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
        """One call of a solver: with settings of its own, and no outcome by itself.

        Args:
            purpose: the solver's name, for the trace.
            draw: which candidate asks.
            repeat: how many equal calls it has made before, each of which is another draw.

        Raises:
            ModelError: the call failed for good, whatever `on_error` says.
            ArchitectureError: a model that the component has not declared.
        """

    def record_result(self, about: str, problem: str = "", detail: str = "") -> None:
        """Record what came of a solver's run, the one outcome of all its calls.

        Args:
            about: id of the candidate.
            problem: a word of `trace.EVENT_TYPES`, which is noted with the detail; empty for a whole candidate.
        """

    def open_steps(self, name: str) -> AbstractAsyncContextManager[Callable[[Any], None]]:
        """Where a transcript shows what a solver does, while the context is open, in a task of its own.

        Returns:
            What is given each of Inspect's model events.
        """
