"""Router: chooses, from the question alone, the stage of a cascade that is asked first.

    router: {model: $1, default: cheap}                                       # a model reads the stages' descriptions
    router: {rows: [{when: {words: {max: 40}}, stage: cheap}], default: strong}   # features that cost nothing
    router: {table: tuned.json, default: cheap}                               # rows that `archon tune` learnt

With `only: true` its choice is the only stage that is asked. Rows come first; a model is asked where none holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from archon_eval.architecture.component_types import (
    ComponentOption,
    ComponentType,
    bool_option,
    define_prompt,
)
from archon_eval.architecture.prompts import render
from archon_eval.architecture.routing import choose_row, describe_row, extract_features
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.components.base import ContextComponent
from archon_eval.components.call_context import CallContext
from archon_eval.components.parsing.choice_of_stage import parse_stage
from archon_eval.components.prompt_parts import make_user_prompt
from archon_eval.components.token_estimates import CountRange, Workload
from archon_eval.models.call import Usage
from archon_eval.types import Conversation, State

ROUTE_KEY = "route"
"""Where a router leaves its choice in `State.values`."""
CHOICE_TOKENS = 40
"""Tokens of a reply that names a stage, for plans."""
ROUTE_PROMPT = """Several systems can answer the query below. Choose the cheapest one that will probably answer it \
right.

<query>
{instruction}
</query>

The systems, the cheapest first:
{stages}

Do not answer the query. Say in one sentence how hard it is, then end your reply with a line that holds only your \
choice, by its name: `Stage: NAME`"""


@dataclass(frozen=True, slots=True)
class Route:
    """What a router chose."""

    stage: str
    why: str


class Router(ContextComponent):
    """At most one call; without a readable choice the default stage is asked."""

    kind = ComponentType(
        "router",
        place="router",
        options={
            "rows": ComponentOption((), "rows of features", lambda value: isinstance(value, list | tuple)),
            "default": ComponentOption("", "a stage's name", lambda value: isinstance(value, str)),
            "only": bool_option(False),
            "stages": ComponentOption({}, "stages by name", lambda value: isinstance(value, Mapping), is_derived=True),
        },
        prompts={"route": define_prompt("instruction stages")},
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
    )
    tool_obstacle = ""
    outcome_name = "choice of a stage"
    fallback = "the default stage is asked"

    @classmethod
    def describe_type(cls, spec: ComponentSpec) -> ComponentType:

        return replace(cls.kind, needs_model=bool(spec.model))

    @property
    def leaves(self) -> str:
        return ROUTE_KEY

    async def prepare(self, conversation: Conversation, ctx: CallContext) -> Mapping[str, Any]:
        return {ROUTE_KEY: await self._choose(conversation, ctx)}

    async def _choose(self, conversation: Conversation, ctx: CallContext) -> Route:
        turns = [message.content for message in conversation if message.role == "user"]
        row = choose_row(self.spec.get_option("rows"), extract_features(turns[-1], len(turns)))
        default, stages = str(self.spec.get_option("default")), dict(self.spec.get_option("stages"))
        if row is not None:
            return Route(str(row["stage"]), describe_row(row))
        if not self.spec.model:
            return Route(default, "no row holds")
        listed = "\n".join(
            f'<stage name="{name}">{" ".join(about.split()) or "no description"}</stage>'
            for name, about in stages.items()
        )
        prompt = render(
            self.spec.get_prompt("route", ROUTE_PROMPT), instruction=State(conversation).instruction, stages=listed
        )
        chosen = await ctx.generate_parsed(
            "route", make_user_prompt(prompt), lambda reply: parse_stage(reply, [*stages]), fallback=self.fallback
        )
        return (
            Route(default, "no choice could be read") if chosen is None else Route(chosen, f"{self.spec.model} chose")
        )

    def count_calls(self, candidates: CountRange) -> CountRange:
        asks = int(bool(self.spec.model))
        return (0 if self.spec.get_option("rows") else asks), asks

    def count_sequential_calls(self, candidates: CountRange) -> int:
        return self.count_calls(candidates)[1]

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        return self._share_calls(work, self.estimate_prompt(work), CHOICE_TOKENS) if self.spec.model else {}
