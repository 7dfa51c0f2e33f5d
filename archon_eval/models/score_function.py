"""Scores from Python: a function of the user's own, or a text-classification pipeline of Hugging Face.

scorer = ScoreFunction("my_rewards:score")        # def score(question: str, answer: str) -> float
scorer = ScorePipeline("OpenAssistant/reward-model-deberta-v3-large-v2")
"""

import inspect
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import anyio
import anyio.to_thread
from inspect_ai.util import LimitExceededError

from archon_eval.architecture.component_code import digest_function_code
from archon_eval.architecture.component_types import load_function
from archon_eval.errors import ArchonError, CompletionError, ModelError, quote
from archon_eval.models.call import Call, Usage
from archon_eval.models.conversion import redact
from archon_eval.models.score_forms import choose_label
from archon_eval.models.scorer import BatchScores, ScoreInput, Scorer

MAX_BATCH = 32
"""Answers that a pipeline, or a function with `batch: true`, is given at once."""


class ScoreFunction(Scorer):
    """The scores of a function, sync or async, of one input or of a list of them.

    A sync one runs in a thread of its own, once at a time. One of a batch gets a list with a tuple per input. One with
    a method `check_requirements` is asked by it, before anything is paid for, whether it can work.
    """

    def __init__(
        self, path: str, *, batch: bool = False, dollars: float | None = None, takes_text: bool = False, where: str = ""
    ) -> None:
        """
        Args:
            path: `module:function`.
            where: what an error begins with.

        Raises:
            ArchitectureError: it cannot be imported, or called.
        """
        super().__init__(f"function/{path}", dollars=dollars, takes_text=takes_text)
        self.path, self.batch = path, batch
        self.max_batch = MAX_BATCH if batch else 1
        self._function: Callable[..., Any] = load_function(path, where or path)
        self._lock = anyio.Lock()

    def describe(self) -> str:
        return f"to the function {self.path}" + (f", up to {self.max_batch} at once" if self.batch else "")

    def get_call_identity(self, call: Call) -> tuple[str, str]:
        return self.name, digest_function_code(self.path)

    def check_requirements(self) -> None:
        check = getattr(self._function, "check_requirements", None)
        if check is not None:
            check()

    async def score_batch(self, inputs: Sequence[ScoreInput]) -> BatchScores:
        arguments: ScoreInput | tuple[list[ScoreInput]] = (list(inputs),) if self.batch else inputs[0]
        try:
            values = await self._call(arguments)
        except (LimitExceededError, ArchonError):
            raise
        except Exception as exc:  # noqa: BLE001 (whatever a function of a user's own does wrong)
            raise ModelError(f"{self.name} failed: {redact(f'{type(exc).__name__}: {exc}')}") from None
        return BatchScores([self._read(value) for value in (self._list(values) if self.batch else [values])], Usage())

    async def _call(self, arguments: tuple[Any, ...]) -> Any:
        if inspect.iscoroutinefunction(self._function) or inspect.iscoroutinefunction(
            getattr(self._function, "__call__", None)  # noqa: B004 (an object with an async __call__)
        ):
            return await self._function(*arguments)
        async with self._lock:
            value = await anyio.to_thread.run_sync(self._function, *arguments)
        return await value if inspect.isawaitable(value) else value

    def _list(self, values: Any) -> list[Any]:
        try:
            return list(values)
        except TypeError:
            raise ModelError(
                f"{self.name} must return a list of scores (batch: true), not {quote(repr(values), 100)}"
            ) from None

    def _read(self, value: Any) -> float | None:
        """A number of any library's, or None."""
        if value is None:
            return None
        try:
            if isinstance(value, str | bytes):
                raise TypeError
            return float(value)
        except (TypeError, ValueError, OverflowError):
            raise ModelError(f"{self.name} must return a number, not {quote(repr(value), 100)}") from None


class ScorePipeline(Scorer):
    """The scores of a text-classification pipeline, which runs in this process and is loaded when it is first asked."""

    max_batch = MAX_BATCH

    def __init__(
        self, model: str, *, label: str | None = None, dollars: float | None = None, takes_text: bool = False
    ) -> None:
        super().__init__(f"pipeline/{model}", dollars=dollars, takes_text=takes_text)
        self.model, self.label = model, label
        self._pipeline: Any = None
        self._lock = anyio.Lock()

    def describe(self) -> str:
        return f"to {self.model} in this process (transformers), up to {self.max_batch} at once"

    def get_call_identity(self, call: Call) -> tuple[str, str]:
        return self.name, "" if self.label is None else f"label {self.label}"

    def check_requirements(self) -> None:
        if find_spec("transformers") is None:
            raise ModelError(f"{self.name} needs transformers and torch: pip install 'archon-eval[rewards]'")

    async def score_batch(self, inputs: Sequence[ScoreInput]) -> BatchScores:
        self.check_requirements()
        async with self._lock:
            try:
                rows = await anyio.to_thread.run_sync(self._classify, inputs)
            except ArchonError:
                raise
            except Exception as exc:  # noqa: BLE001 (a model that cannot be loaded, memory that is used up)
                raise ModelError(f"{self.name} failed: {redact(f'{type(exc).__name__}: {exc}')}") from None
        try:
            return BatchScores([choose_label(row, self.label) for row in rows], Usage())
        except CompletionError as exc:
            raise ModelError(f"{self.name}: {exc}") from None

    def _classify(self, inputs: Sequence[ScoreInput]) -> list[Any]:
        """Every label with its score, per input: raw where one label is all, so that high rewards stay apart."""
        if self._pipeline is None:
            from transformers import pipeline

            self._pipeline = pipeline("text-classification", model=self.model)
        texts = [input[0] if len(input) == 1 else {"text": input[0], "text_pair": input[1]} for input in inputs]
        raw = {} if self.label is not None else {"function_to_apply": "none"}
        rows = self._pipeline(texts, top_k=None, batch_size=len(texts), **raw)
        return [[rows[place]] if isinstance(rows[place], dict) else rows[place] for place in range(len(texts))]
