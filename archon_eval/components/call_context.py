"""What a component calls models with.

reply = await ctx.generate("reasons", make_user_prompt(text), about=candidate.id)
second = await ctx.generate("review", make_user_prompt(text), model=self.spec.get_option("reviewer"))
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from archon_eval.models.call import Reply
from archon_eval.models.scorer import Scorer
from archon_eval.types import Conversation, ToolOffer

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
