"""Moderated debate: an affirmative and a negative side, and a moderator who ends it (Liang et al., 2023).

    - moderated_debate: {model: $1, negative: $2, moderator: $3, rounds: 3}

The affirmative answers first. The negative finds fault with it and answers otherwise. Then the moderator decides for a
side, whose answer is the candidate, or lets the debate go on; in the last round it must decide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from archon_eval.architecture.component_types import ComponentType, define_prompt, int_option, model_option
from archon_eval.architecture.prompts import render, unique_tag
from archon_eval.components.base import CandidateGenerator
from archon_eval.components.call_context import CallContext
from archon_eval.components.parsing.moderation import Decision, parse_moderation
from archon_eval.components.prompt_parts import make_user_prompt
from archon_eval.components.token_estimates import CountRange, Workload
from archon_eval.models.call import Usage
from archon_eval.types import Candidate, State, render_conversation

NEGATIVE_PROMPT = """\
You argue the negative side of a debate about the right answer to a query. Here is what has been said:

{debate}

You hold that the affirmative side is wrong. Find the weakest step of its argument and show why it does not hold. \
Then give your own full answer to the query, following every instruction and format it asks for.

<query>
{instruction}
</query>"""

AFFIRMATIVE_PROMPT = """\
You argue the affirmative side of a debate about the right answer to a query. Here is what has been said:

{debate}

Reply to the negative side's last argument: defend your answer where it holds, and correct it where it does not. Then \
give your full answer to the query, following every instruction and format it asks for.

<query>
{instruction}
</query>"""

MODERATE_PROMPT = """\
You moderate a debate between two sides about the right answer to a query. You do not answer it yourself.

<query>
{instruction}
</query>

{debate}

This is the end of round {round} of {rounds}. Compare the two sides' arguments and say whose last answer is right. \
Think it through, then end your reply with a line that holds only your decision: {form}"""

_FORM = "[Affirmative] or [Negative]"
_OPEN_FORM = f"{_FORM}, or [Continue] where neither side has convinced you yet"


@dataclass(frozen=True, slots=True)
class _Speech:
    """What a side said."""

    side: str
    candidate: Candidate


class ModeratedDebate(CandidateGenerator):
    """Three calls a round, but that of the last affirmative of a side that could not be heard."""

    kind = ComponentType(
        "moderated_debate",
        place="first",
        alone=False,
        replaces=True,
        options={
            "samples": int_option(1),
            "negative": model_option(),
            "moderator": model_option(),
            "rounds": int_option(3, always_shown=True),
        },
        prompts={
            "negative": define_prompt("instruction debate"),
            "affirmative": define_prompt("instruction debate"),
            "moderate": define_prompt("instruction debate", "round rounds form"),
        },
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
    )

    tool_obstacle = "its sides argue in words, and tool calls cannot be argued about"
    outcome_name = "decision"
    fallback = "the debate goes on; after the last round the affirmative's answer stands"

    async def produce(self, state: State, id: str, draw: int, ctx: CallContext) -> Candidate | None:
        opening = await ctx.generate("affirmative", state.conversation, draw=draw, about=id)
        answer = self.make_candidate(id, opening)
        if answer is None:
            return None
        speeches, decision = [_Speech("affirmative", answer)], None
        for number in range(1, self.rounds + 1):
            for side in ("affirmative", "negative"):
                if number > 1 or side == "negative":
                    speeches += await self._argue(side, state, speeches, id=id, draw=draw, ctx=ctx)
            decision = await self._moderate(state, speeches, number, id=id, draw=draw, ctx=ctx)
            if decision in ("affirmative", "negative"):
                break
        side = decision if decision and _find_last(speeches, decision) else "affirmative"  # a side may not be heard
        ctx.record_event("decided", f"for the {side} after {number} of {self.rounds} rounds", id)
        return _find_last(speeches, side) or answer

    @property
    def rounds(self) -> int:
        """Rounds after which the moderator must have decided."""
        return int(self.spec.get_option("rounds"))

    def _get_model(self, role: str) -> str:
        """The model of a side or of the moderator: the affirmative's where none is named."""
        return (self.spec.get_option(role) if role != "affirmative" else None) or self.spec.model

    async def _argue(
        self, side: str, state: State, speeches: Sequence[_Speech], *, id: str, draw: int, ctx: CallContext
    ) -> list[_Speech]:
        """A side's next speech; none where its call was dropped."""
        prompt = render(
            self.spec.get_prompt(side, {"negative": NEGATIVE_PROMPT, "affirmative": AFFIRMATIVE_PROMPT}[side]),
            instruction=render_conversation(state.conversation[len(state.history) :]),
            debate=_format_debate(speeches),
        )
        model = self._get_model(side)
        reply = await ctx.generate(side, make_user_prompt(prompt, state.history), model=model, draw=draw, about=id)
        made = self.make_candidate(id, reply)
        return [] if made is None else [_Speech(side, replace(made, model=model))]

    async def _moderate(
        self, state: State, speeches: Sequence[_Speech], number: int, *, id: str, draw: int, ctx: CallContext
    ) -> Decision | None:
        is_last = number == self.rounds
        legal = ("affirmative", "negative") if is_last else ("affirmative", "negative", "continue")
        prompt = render(
            self.spec.get_prompt("moderate", MODERATE_PROMPT),
            instruction=state.instruction,
            debate=_format_debate(speeches),
            round=number,
            rounds=self.rounds,
            form=_FORM if is_last else _OPEN_FORM,
        )
        return await ctx.generate_parsed(
            "moderate",
            make_user_prompt(prompt),
            lambda reply: parse_moderation(reply, legal),
            fallback=self.fallback,
            model=self._get_model("moderator"),
            draw=draw,
            about=id,
        )

    def count_calls(self, candidates: CountRange) -> CountRange:
        return 3 * self.candidate_count, 3 * self.rounds * self.candidate_count

    def count_parsed_calls(self, candidates: CountRange) -> int:
        return self.rounds * self.candidate_count

    def estimate_tokens(self, work: Workload) -> Mapping[str, Usage]:
        rounds, spoken, usage = work.calls // (3 * self.candidate_count), 0, dict[str, Usage]()
        answer, fixed = work.assumed.answer, work.assumed.wording + work.assumed.query
        for number in range(rounds):
            for role in ("affirmative", "negative", "moderator"):
                prompt = fixed + spoken * answer if number or role != "affirmative" else work.assumed.query
                reply = work.assumed.verdict if role == "moderator" else answer
                model = self._get_model(role)
                usage[model] = usage.get(model, Usage()) + self._cap_reply(prompt, reply)
                spoken += role != "moderator"
        return usage

    def _cap_reply(self, prompt: int, reply: int) -> Usage:
        """The calls of all samples with a prompt and a reply of so many tokens."""
        [used] = self._share_calls(Workload(0, self.candidate_count), prompt, reply).values()
        return used


def _find_last(speeches: Sequence[_Speech], side: str) -> Candidate | None:
    """The last that a side said; None where it was never heard."""
    return next((speech.candidate for speech in reversed(speeches) if speech.side == side), None)


def _format_debate(speeches: Sequence[_Speech]) -> str:
    """The speeches in their order; no speech can pass for another side's, since the tags are unique."""
    texts = [speech.candidate.text for speech in speeches]
    tags = {side: unique_tag(side, texts) for side in ("affirmative", "negative")}
    return "\n\n".join(f"<{tags[s.side]}>\n{s.candidate.text}\n</{tags[s.side]}>" for s in speeches)
