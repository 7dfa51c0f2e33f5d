"""PairRM, the network of LLM-Blender that compares two answers, as a function for `pairwise`.

    - pairwise: {function: "archon_eval.models.pairrm:compare_answers", batch: true, top_k: 3}

It needs the package `llm-blender`, which loads the network from the Hugging Face hub when it is first asked.
"""

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from archon_eval.errors import ModelError

PAIRRM = "llm-blender/PairRM"


class _PairRM:
    """A function that knows what it needs."""

    def check_requirements(self) -> None:
        """Raises ModelError where `llm-blender` is not installed."""
        if find_spec("llm_blender") is None:
            raise ModelError(f"{PAIRRM} needs the package llm-blender: pip install llm-blender")

    def __call__(self, inputs: Sequence[tuple[str, str, str]]) -> list[float]:
        """How much better the first answer is than the second, in logits; below 0 where the second is better.

        Args:
            inputs: (question, first answer, second answer) each.
        """
        questions, firsts, seconds = (list(texts) for texts in zip(*inputs, strict=True))
        logits = self._blender.compare(questions, firsts, seconds, return_logits=True)
        return [float(logit) for logit in logits]

    @cached_property
    def _blender(self) -> Any:
        self.check_requirements()
        import llm_blender

        blender = llm_blender.Blender()
        blender.loadranker(PAIRRM)
        return blender


compare_answers = _PairRM()
