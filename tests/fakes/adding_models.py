"""Models that add, `adding/NAME`, for searches whose outcome is known: questions are "What is A + B?".

Alone, `half` is right on every second question and `good` always; both fuse rightly. `plain` is right
on every second question whatever it is asked to do. They rank in the given order, and cannot criticise or verify.
"""

import re
from typing import Any

from inspect_ai.model import ModelAPI, ModelOutput, ModelUsage, modelapi

QUESTION = re.compile(r"What is (\d+) \+ (\d+)\?")
FUSER_PROMPT = "Several independent responses"


def list_questions(count: int) -> list[dict[str, Any]]:
    """Rows of a file for `archon_eval/math`."""
    return [{"id": n, "problem": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(count)]


@modelapi(name="adding")
class AddingModel(ModelAPI):
    async def generate(self, input: Any, tools: Any, tool_choice: Any, config: Any) -> ModelOutput:
        prompt = "\n".join(message.text for message in input)
        first, second = map(int, QUESTION.findall(prompt)[0])
        fuses = prompt.startswith(FUSER_PROMPT)
        right = first % 2 == 0 or self.model_name == "good" or (self.model_name == "half" and fuses)
        text = f"The sum is \\boxed{{{first + second if right else -1}}}."
        if ranked := re.search(r"Rank all (\d+) responses", prompt):
            text = " > ".join(f"[{n}]" for n in range(1, int(ranked[1]) + 1))
        output = ModelOutput.from_content(self.model_name, text)
        output.usage = ModelUsage(input_tokens=30, output_tokens=10, total_tokens=40)
        return output
