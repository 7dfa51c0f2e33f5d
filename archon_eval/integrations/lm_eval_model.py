"""`lm_eval --model archon --model_args architecture=moa-lite,models=openai/gpt-4o+openai/gpt-4o-mini --tasks gsm8k`

An architecture as a model of lm-eval, for tasks that generate text. The other arguments: `num_concurrent` (questions
at once), `max_connections` (calls at once per model), `max_retries`, `timeout`, the Inspect solver's options, and
`model`, a label for the output folder.
"""

import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from inspect import signature
from typing import Any, ClassVar

import anyio
from lm_eval.api.model import LM
from lm_eval.utils import simple_parse_args_string
from tqdm import tqdm  # type: ignore[import-untyped]

from archon_eval._inspect_compat import find_typed_gen_kwargs
from archon_eval.architecture.flags import apply_flags, list_flags
from archon_eval.architecture.spec import GenerationSettings
from archon_eval.engine.engine import select_error
from archon_eval.engine.trace import Trace
from archon_eval.errors import ArchitectureError, ModelError, did_you_mean
from archon_eval.integrations.build import build_engine
from archon_eval.integrations.command_process import (
    end_lm_eval_plainly,
    freeze_imports_in_command,
    interrupt_on_sigterm_in_command,
    print_notes_plainly_in_command,
)
from archon_eval.integrations.lm_eval_tasks import explain_no_likelihood
from archon_eval.integrations.standalone import ConnectionLimits, StandaloneRunner
from archon_eval.integrations.task_settings import RUN_EPOCH_STRIDE, check_settings
from archon_eval.models.usage_totals import UsageTotals, total_usage
from archon_eval.runs.account import QuestionAccount
from archon_eval.runs.task_account import ACCOUNTS_KEY, TaskAccount
from archon_eval.types import Conversation, Message

STOP_NAMES = ("until", "stop")
LENGTH_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""What lm-eval's tasks call the limit on the reply; the first that is given counts."""
SETTING_NAMES = (
    *("temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty"),
    *("reasoning_effort", "reasoning_tokens"),
)
CACHE_MARK = "archon_eval"
"""Key under which a response cache names the architecture it belongs to."""
log = logging.getLogger(__name__)


class ChatJSON(str):
    """A chat as JSON: text for lm-eval, which hashes, logs and pickles it; turns for us."""

    __slots__ = ()


class ArchonLM(LM):  # type: ignore[misc]
    """An architecture as lm-eval's model."""

    tokenizer_name = "archon"
    on_requests: ClassVar[Callable[[int], None]] = staticmethod(lambda count: None)
    """Called with how many requests there are, before the first is answered."""
    on_answer: ClassVar[Callable[[UsageTotals], None]] = staticmethod(lambda usage: None)
    """Called with what each answer took."""

    @end_lm_eval_plainly()
    def __init__(
        self,
        architecture: str | Mapping[str, Any] | None = None,
        models: str | Sequence[str] | None = None,
        *,
        model: str | None = None,
        num_concurrent: int = 32,
        max_connections: int | None = None,
        max_retries: int | None = 10,
        timeout: int | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
        **options: Any,
    ) -> None:
        """
        Args:
            architecture: a preset's name, a file, or (in JSON model_args) the mapping itself.
            models: fill the placeholders, strongest first: `a+b` on the command line, or a JSON list; so do the
                options `fusers` and `judges`.
            model: a label; lm-eval names the output folder after it.
            num_concurrent: questions answered at once.
            max_connections: calls under way per model; by default as many as questions.
            batch_size, max_batch_size, device: accepted, without effect.
            options: the Inspect solver's other options.

        Raises:
            ArchitectureError: no such architecture, a model that cannot be used, an option unknown or with an illegal
                value.
        """
        super().__init__()
        legal = (*signature(ArchonLM).parameters, *signature(build_engine).parameters)
        for name in options:
            if name not in legal:
                raise ArchitectureError(f"--model_args: unknown argument {name!r}{did_you_mean(name, legal)}")
        if architecture is None:
            raise ArchitectureError(
                "--model_args: which architecture? Give architecture=NAME (`archon presets`) or a file"
            )
        if not isinstance(num_concurrent, int) or num_concurrent < 1:
            raise ArchitectureError(f"--model_args: num_concurrent must be at least 1, not {num_concurrent!r}")
        names, options["fusers"], options["judges"] = (
            value.replace("+", ",") if isinstance(value, str) else value
            for value in (models, options.get("fusers"), options.get("judges"))
        )
        print_notes_plainly_in_command()
        limits = ConnectionLimits(num_concurrent if max_connections is None else max_connections, max_retries, timeout)
        self._runner = StandaloneRunner(architecture, names, limits, **options)
        freeze_imports_in_command()
        interrupt_on_sigterm_in_command()
        self._num_concurrent = num_concurrent
        self.last_draw = 0
        """Of the answers to come: which draw of the last layer they are, from 0."""
        self._model_usage: dict[str, UsageTotals] = {}
        self._paid = UsageTotals()
        self._notes: Counter[str] = Counter()
        self._accounts: dict[str, list[QuestionAccount]] = {}
        """By task."""

    @end_lm_eval_plainly()
    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """An answer per request, in order; each goes to the response cache as soon as it is there.

        Raises:
            ModelError: a call failed for good; the answers so far are in the cache, if there is one.
        """
        self._refuse_repeats_in_cache(requests)
        self._take_flags()
        names = {name for request in requests for name in request.args[1]}
        if unused := sorted(names - {"do_sample", *STOP_NAMES, *SETTING_NAMES, *LENGTH_NAMES}):
            log.warning("generation settings without effect on model archon: %s", ", ".join(unused))
        for task in dict.fromkeys(self._read_task(request) for request in requests if len(request.args) == 2):
            if ignored := self._runner.engines.describe_unused(task, "lm_eval"):
                log.warning("%s", ignored)
        answers: list[str] = [""] * len(requests)
        type(self).on_requests(len(requests))
        with tqdm(total=len(requests), desc=f"archon {self._runner.architecture.name}", disable=disable_tqdm) as bar:

            async def answer_one(place: int, epoch: int) -> None:
                answers[place] = await self._answer(requests[place], epoch)
                self.cache_hook.add_partial("generate_until", requests[place].args, answers[place])
                bar.update()

            self._runner.run_sync(self._answer_all, answer_one, list(enumerate(_assign_epochs(requests))))
        return answers

    def _read_task(self, request: Any) -> GenerationSettings:
        """The settings of a request: its task's, and over them what was typed (a `do_sample: false` of the task among
        them would say otherwise)."""
        return replace(parse_gen_kwargs(request.args[1]), **list_flags(self._runner.engines.typed))

    def _take_flags(self) -> None:
        """Hold what was typed as `--gen_kwargs`, and say what of it has no effect.

        Raises:
            ArchitectureError: a value that is not legal.
        """
        given = find_typed_gen_kwargs()
        kwargs = simple_parse_args_string(given) if isinstance(given, str) else given or {}
        typed = parse_gen_kwargs(kwargs)
        if typed == self._runner.engines.typed:
            return
        self._runner.take_flags(check_settings(typed.dump_non_none(), "--gen_kwargs"))
        for problem in self._runner.engines.warnings:
            log.warning("%s", problem)

    async def _answer_all(
        self, answer_one: Callable[[int, int], Awaitable[None]], jobs: Sequence[tuple[int, int]]
    ) -> None:
        waiting = iter(jobs)

        async def take_jobs() -> None:
            for place, epoch in waiting:
                await answer_one(place, epoch)

        try:
            async with anyio.create_task_group() as group:
                for _ in range(min(self._num_concurrent, len(jobs))):
                    group.start_soon(take_jobs)
        except BaseExceptionGroup as errors:
            raise select_error(errors) from None

    async def _answer(self, request: Any, epoch: int) -> str:
        if len(request.args) > 2:
            raise ModelError(f"task {request.task_name} has images or audio: components read and write text only")
        task = self._read_task(request)
        answer = await self._runner.answer(to_conversation(request.args[0]), epoch, task, last_draw=self.last_draw)
        self._count(answer.trail)
        engines = self._runner.engines
        account = engines.build_account(engines(task), answer)
        self._accounts.setdefault(str(request.task_name), []).append(account)
        type(self).on_answer(account.usage)
        return answer.text

    def _count(self, trail: Trace) -> None:
        self._notes.update(trail.counts)
        answered = [(step.model, step.reply) for step in trail.own_steps if step.reply is not None]
        for model in {model for model, _ in answered}:
            used = total_usage(reply for asked, reply in answered if asked == model)
            self._model_usage[model] = UsageTotals.add_up([self._model_usage.get(model, UsageTotals()), used])
        paid = total_usage(reply for _, reply in answered if not reply.reused)
        self._paid = UsageTotals.add_up([self._paid, paid])

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> ChatJSON:
        """The turns as they are; the models' providers know their templates."""
        return ChatJSON(json.dumps(chat_history, ensure_ascii=False))

    @end_lm_eval_plainly()
    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Not possible: raises NotImplementedError, naming variants of the task that are."""
        raise NotImplementedError(_explain_no_likelihood(requests))

    @end_lm_eval_plainly()
    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """Not possible: raises NotImplementedError."""
        raise NotImplementedError(_explain_no_likelihood(requests))

    @end_lm_eval_plainly()
    def set_cache_hook(self, cache_hook: Any) -> None:
        """Take lm-eval's response cache, if its answers are this architecture's, under these `--gen_kwargs`.

        Raises:
            ModelError: it holds answers of another, or of other code of its components; its keys do not tell them
                apart.
        """
        super().set_cache_hook(cache_hook)
        store = cache_hook.dbdict
        if store is None:
            return
        self._take_flags()  # lm-eval's keys do not tell a typed setting from the same one of a task
        engines = self._runner.engines
        cache_key = apply_flags(engines.engine.architecture, engines.typed).fingerprint
        owner = store.get(CACHE_MARK, None if len(store) else cache_key)
        if owner != cache_key:
            whose = f"architecture {owner}" if owner else "another model"
            raise ModelError(
                f"the response cache {store.filename} holds answers of {whose}, and this is architecture {cache_key}: "
                "give --use_cache another path, or delete the file"
            )
        store[CACHE_MARK] = cache_key

    def _refuse_repeats_in_cache(self, requests: list[Any]) -> None:
        if self.cache_hook.dbdict is None:
            return
        for request in requests:
            if request.repeats > 1 and not request.args[1].get("do_sample", False):
                raise ModelError(
                    f"task {request.task_name} asks each question {request.repeats} times, and --use_cache would "
                    "replay one answer for all of them: leave it out for this task"
                )

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval writes with the results: the architecture; calls, tokens, dollars and notes of all requests.

        `accounts` has what each task's answers took, by layer too; those that came from a response cache are not in it.
        """
        total = UsageTotals.add_up(self._model_usage.values())
        return {
            "architecture": self._runner.architecture.to_mapping(),
            "fingerprint": self._runner.engines.architecture.fingerprint,
            **({"settings": settings} if (settings := self._runner.engines.list_used_settings()) else {}),
            "calls": total.calls,
            "calls_without_usage": total.calls_without_usage,
            "models": {model: _dump_usage(used) for model, used in sorted(self._model_usage.items())},
            "dollars": self._paid.dollars,
            "notes": dict(sorted(self._notes.items())),
            ACCOUNTS_KEY: {
                task: TaskAccount.from_accounts(accounts, self._runner.architecture).to_metadata()
                for task, accounts in self._accounts.items()
            },
        }


def parse_gen_kwargs(gen_kwargs: Mapping[str, Any]) -> GenerationSettings:
    """A task's `generation_kwargs` (and --gen_kwargs) as settings.

    >>> parse_gen_kwargs({"until": ["Q:"], "do_sample": False, "max_gen_toks": 256}).stop
    ('Q:',)
    """
    stops = [gen_kwargs.get(name) or () for name in STOP_NAMES]
    values = {name: gen_kwargs[name] for name in SETTING_NAMES if gen_kwargs.get(name) is not None}
    if gen_kwargs.get("do_sample") is False:
        values["temperature"] = 0.0
    length = next((gen_kwargs[name] for name in LENGTH_NAMES if gen_kwargs.get(name) is not None), None)
    with suppress(TypeError, ValueError):  # what is no number is refused where it was typed
        length = None if length is None else int(length)
    return GenerationSettings(
        **{"temperature": None, **values},
        max_tokens=length,
        stop=tuple(text for stop in stops for text in ((stop,) if isinstance(stop, str) else stop)),
    )


def to_conversation(context: str) -> Conversation:
    """A rendered chat as its turns; plain text as one user turn."""
    if not isinstance(context, ChatJSON):
        return (Message("user", context),)
    return tuple(Message(turn["role"], turn["content"]) for turn in json.loads(context))


def _assign_epochs(requests: Iterable[Any]) -> list[int]:
    """The epoch of each request: 1, and that of a further run for each repeat of the same request."""
    seen: Counter[int] = Counter()
    epochs = []
    for request in requests:
        epochs.append(1 + RUN_EPOCH_STRIDE * seen[id(request)])
        seen[id(request)] += 1
    return epochs


def _dump_usage(used: UsageTotals) -> dict[str, int]:
    """A model's counts; the tokens are without those of `calls_without_usage`."""
    names = ("calls", "input_tokens", "output_tokens", "calls_without_usage")
    return {name: getattr(used, name) for name in names} | {"reused": used.reused_calls}


def _explain_no_likelihood(requests: Sequence[Any]) -> str:
    return explain_no_likelihood(list(dict.fromkeys(str(request.task_name) for request in requests)))
