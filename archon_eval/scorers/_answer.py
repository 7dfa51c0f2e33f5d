r"""The answer in what a sample's model said: without its thoughts, and whether it was cut. Every scorer reads it here.

>>> from inspect_ai.model import ModelOutput
>>> output = ModelOutput.from_content("m", "<think>Is it A?</think>\n\nANSWER: B")
>>> extract_answer(output.message), output.completion
('ANSWER: B', '<think>Is it A?</think>\n\nANSWER: B')

An architecture's answer has come without thoughts; a plain model's has what its provider left in the text.
"""

from dataclasses import dataclass

from inspect_ai.model import ChatMessageAssistant, ContentReasoning
from inspect_ai.solver import TaskState

from archon_eval.models.call import CUT_REASONS
from archon_eval.models.thoughts import split_thoughts
from archon_eval.runs.account import holds_account


@dataclass(frozen=True, slots=True)
class SampleAnswer:
    """What a sample is scored by."""

    text: str
    """The answer without thoughts; empty where there is none, as of thoughts that never ended."""
    is_cut: bool
    """Whether it ended at a token limit."""


def read_answer(state: TaskState) -> SampleAnswer:
    """The answer of a sample's last output."""
    output = state.output
    if not output.choices:
        return SampleAnswer("", is_cut=False)
    is_cut = output.stop_reason in CUT_REASONS
    if holds_account(state.metadata) or holds_account(output.metadata):
        return SampleAnswer(output.completion, is_cut=is_cut)
    return SampleAnswer(extract_answer(output.message), is_cut=is_cut)


def extract_answer(message: ChatMessageAssistant) -> str:
    """The text of a model's message without the thoughts in it: of one whose thoughts came apart, leading ones only."""
    content = message.content
    apart = not isinstance(content, str) and any(isinstance(part, ContentReasoning) for part in content)
    return split_thoughts(message.text, only_leading=apart)[0]
