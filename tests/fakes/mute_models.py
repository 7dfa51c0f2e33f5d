"""Models for real evals, `mute/NAME`, that cannot do a part of their work; by what their name begins with.

`good` answers every built-in prompt in the right form; `prose` none of them, and `rare` only those on "What is 0";
`cut` runs into its token limit; `empty` says nothing; `down` fails for good.
"""

from typing import Any

from fakes.replies import helpful
from inspect_ai.model import ModelAPI, ModelOutput, ModelUsage, modelapi

from archon_eval.errors import ModelError


@modelapi(name="mute")
class MuteModel(ModelAPI):
    async def generate(self, input: Any, tools: Any, tool_choice: Any, config: Any) -> ModelOutput:
        prompt, name = input[-1].text, self.model_name
        text = helpful(name, [{"content": prompt}], 0)
        if name.startswith("down"):
            raise ModelError(f"{name} is down")
        if name.startswith("prose") or (name.startswith("rare") and "What is 0" not in "".join(m.text for m in input)):
            text = "Let me think about this some other time."
        output = ModelOutput.from_content(name, "" if name.startswith("empty") else text)
        if name.startswith("cut"):
            output.choices[0].stop_reason = "max_tokens"
        output.usage = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)
        return output
