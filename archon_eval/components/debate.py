"""Debate: agents answer, see one another's answers and answer again (Du et al., 2023; ReConcile, Chen et al., 2024).

    - generator: $1..3
    - debate: $1..3          # a round: agent 2 sees its own answer of the layer before, and those of agents 1 and 3
    - debate: $1..3          # another one
    - vote: {top_k: 1}

A component is an agent, and a layer a round. As the first layer the agents open the debate: they are asked alone.
With `confidence: true` each states how sure it is, which the others are shown and `vote: {weight: confidence}` counts.
"""

from collections.abc import Sequence
from dataclasses import replace

from archon_eval.architecture.component_types import ComponentType, bool_option, define_prompt, int_option
from archon_eval.architecture.prompts import render, unique_tag
from archon_eval.components.base import CandidateGenerator
from archon_eval.components.call_context import CallContext
from archon_eval.components.confidence import CONFIDENCE, get_confidence
from archon_eval.components.parsing.answer_groups import group_answers
from archon_eval.components.parsing.confidence import split_confidence
from archon_eval.components.parsing.final_answer import find_final_answer
from archon_eval.components.prompt_parts import format_candidates
from archon_eval.components.token_estimates import CountRange
from archon_eval.errors import ParseError
from archon_eval.types import Candidate, Conversation, Message, State, render_conversation

DEBATE_PROMPT = """\
Other agents answered the same query, each on its own:

{candidates}

Take their responses as advice and not as the truth: any of them may be wrong, and so may yours. Look for the first \
step at which they differ from yours and find out who is right. Then answer the query again, and follow every \
instruction and format it asks for. Reply with your response only; do not mention the other agents."""

CONFIDENCE_PROMPT = """

Explain how you come to your answer. After it, end your reply with a line of its own that says how sure you are that \
the answer is right, as a number from 0.0 (a guess) to 1.0 (certain), in this form: Confidence: <number>"""


class Debate(CandidateGenerator):
    """One call per agent and round; an agent's place is that of the candidate it carries on."""

    kind = ComponentType(
        "debate",
        place="any",
        alone=False,
        replaces=True,
        carries_on=True,
        options={
            "samples": int_option(1),
            "confidence": bool_option(False),
            "stop_when_agreed": bool_option(False),
        },
        prompts={"debate": define_prompt("candidates", "instruction count")},
        reads_critiques=False,
        writes_tests="",
        reads_tests="",
        stand_in="ranker",
    )

    tool_obstacle = "its agents argue in words, and tool calls cannot be argued about"
    outcome_name = "answer"
    fallback = "the answer counts with the least confidence"

    async def produce(self, state: State, id: str, draw: int, ctx: CallContext) -> Candidate | None:
        own = next((candidate for candidate in state.candidates if _get_place(candidate.id) == _get_place(id)), None)
        others = [candidate for candidate in state.candidates if candidate is not own]
        if own is not None and (not others or await self._is_settled(state.candidates)):
            ctx.record_event("agreed", f"candidate {own.id} goes on as it is", id)
            return replace(own, id=id)
        reply = await ctx.generate("debate", await self._build_prompt(state, own, others), draw=draw, about=id)
        made = self.make_candidate(id, reply)
        if made is None:
            return None
        if others:
            made = self.drop_echo(made, self.spec.get_prompt("debate", DEBATE_PROMPT), "debate", ctx)
        return self._read_confidence(made, ctx) if self.spec.get_option("confidence") else made

    async def _is_settled(self, candidates: Sequence[Candidate]) -> bool:
        """Whether the round may be left out, since all agents give one answer."""
        return bool(self.spec.get_option("stop_when_agreed")) and len(await _group_by_answer(candidates)) == 1

    async def _build_prompt(self, state: State, own: Candidate | None, others: Sequence[Candidate]) -> Conversation:
        """The query, the agent's own answer as its turn, and the others' answers; alone, the query as it came."""
        ending = CONFIDENCE_PROMPT if self.spec.get_option("confidence") else ""
        if not others and not ending:
            return state.conversation
        query = render_conversation(state.conversation[len(state.history) :])
        if not others:
            return (*state.history, Message("user", query + ending))
        shown = await _format_groups(others) if ending else format_candidates(others)
        prompt = self.spec.get_prompt("debate", DEBATE_PROMPT)
        text = render(prompt, candidates=shown, instruction=query, count=len(others)) + ending
        if own is None:  # its call failed and was dropped
            return (*state.history, Message("user", f"{query}\n\n{text}"))
        said = Message("assistant", own.text.strip() or "(no text)")
        return (*state.history, Message("user", query), said, Message("user", text))

    def _read_confidence(self, made: Candidate, ctx: CallContext) -> Candidate:
        try:
            text, confidence = split_confidence(made.text)
        except ParseError as exc:
            ctx.record_event("fallback", f"confidence: {exc}; {self.fallback}", made.id)
            return made
        ctx.record_event("confidence", f"{confidence:g}", made.id)
        return replace(made, text=text, values={**made.values, CONFIDENCE: confidence})

    def count_calls(self, candidates: CountRange) -> CountRange:
        least, most = super().count_calls(candidates)
        if not candidates[1]:  # the opening
            return least, most
        may_stop = self.spec.get_option("stop_when_agreed") or candidates[0] < 2
        return 0 if may_stop else least, most if candidates[1] > 1 else 0


def _get_place(id: str) -> str:
    """The place in its layer of the candidate with this id."""
    return id.rpartition(".")[2]


async def _group_by_answer(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """The candidates by their final answer, in the order of its first; one without an answer is alone."""
    answers, _ = await group_answers([find_final_answer(each.text, is_cut=each.cut) for each in candidates])
    groups: dict[str, list[Candidate]] = {}
    for candidate, answer in zip(candidates, answers, strict=True):
        groups.setdefault(f"answer {answer}" if answer is not None else f"none {candidate.id}", []).append(candidate)
    return list(groups.values())


async def _format_groups(candidates: Sequence[Candidate]) -> str:
    """The candidates as a prompt shows them, those of one answer together, each with its confidence."""
    tag, parts, number = unique_tag("response", [candidate.text for candidate in candidates]), list[str](), 0
    for group in await _group_by_answer(candidates):
        count = len(group)
        parts.append("1 agent answers:" if count == 1 else f"{count} agents come to the same answer:")
        for candidate in group:
            number += 1
            confidence = get_confidence(candidate)
            stated = "" if confidence is None else f' confidence="{confidence:g}"'
            parts.append(f'<{tag} id="[{number}]"{stated}>\n{candidate.text}\n</{tag}>')
    return "\n\n".join(parts)
