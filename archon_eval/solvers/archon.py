"""`inspect eval TASK --solver archon -S architecture=moa-lite -S models=openai/gpt-4o,openai/gpt-4o-mini`

The architecture answers the conversation of each sample; further user turns in `metadata["turns"]` (MT-Bench) are asked
one after the other. Multiple-choice samples are formatted and marked by Inspect's own `multiple_choice()`. The account
of each question is in `sample.metadata["archon"]` and, with this package's scorers, in the score's metadata.
"""

from collections.abc import Mapping
from dataclasses import replace
from inspect import signature
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    GenerateConfig,
    ModelOutput,
    model_roles,
)
from inspect_ai.solver import Generate, Solver, TaskState, multiple_choice, solver

from archon_eval._deprecated import warn_renamed_option
from archon_eval._inspect_compat import active_generate_config, make_prerequisite_error
from archon_eval._notes import show_note
from archon_eval.architecture.spec import Architecture, GenerationSettings
from archon_eval.engine.engine import Engine
from archon_eval.engine.windows import describe_judge
from archon_eval.errors import ArchonError, ModelError, did_you_mean, raise_plainly
from archon_eval.integrations.build import build_engine, check_whole_number, note_unshared_draws
from archon_eval.integrations.command_process import freeze_imports_in_command
from archon_eval.integrations.inspect_flags import TypedFlags, find_ignored_flags, refuse_flags
from archon_eval.integrations.inspect_model import get_stop_reason
from archon_eval.integrations.replaced_solver import ReplacedSolver
from archon_eval.integrations.task_settings import EngineCache
from archon_eval.models.client import ModelClient
from archon_eval.models.conversion import read_settings, to_conversation
from archon_eval.models.judge_client import share_cache_with_judges
from archon_eval.runs.account import AnswerDraws, holds_account, record_turn, refuse_foreign_account
from archon_eval.runs.prompts import digest_messages, is_text

DOOR = "solver archon"
"""How messages name it."""


@solver
def archon(
    architecture: str | dict[str, Any] | None = None,
    models: str | list[str] | None = None,
    *,
    cot: bool = False,
    multiple_correct: bool = False,
    fusers: str | list[str] | None = None,
    judges: str | list[str] | None = None,
    store: str | None = None,
    store_policy: str | None = None,
    budget: dict[str, Any] | str | None = None,
    prices: str | None = None,
    trace: str = "full",
    epoch_offset: int = 0,
    last_draws: int = 1,
    replace_solver: bool = False,
    **unknown: Any,
) -> Solver:
    """Answer each sample with an architecture.

    Args:
        architecture: a preset's name (`archon presets`), a YAML or JSON file, or the mapping itself.
        models: fill the architecture's placeholders, strongest first; `sim/pool` for the simulated ones.
        fusers: fill the places of components that fuse, best fuser first, instead of `models`.
        judges: fill those of components that judge candidates or write tests, instead of `models`.
        cot: for samples with choices, ask for reasoning before the letter (as Inspect's `multiple_choice`).
        multiple_correct: for samples with choices, let several be right.
        store: path or address of a call store, so that nothing is paid twice; ARCHON_STORE where it is not given.
        store_policy: `off`, `reuse` (the default with a store), `record` or `replay`.
        budget: hard limits, e.g. `{question: {calls: 50}, eval: {dollars: 20}}`, or as text
            `question.calls=50 eval.dollars=20`; of calls, input_tokens, output_tokens and dollars. `question` holds for
            each answer, so for each turn of a question of several turns.
        prices: a price file, before the package's table.
        trace: `full` (an event per layer), `compact` (one per question) or `calls` (Inspect's own per call).
        epoch_offset: added to the eval's epochs when draws are chosen, for draws that no earlier eval was judged by;
            `first_epoch`, one more, is its deprecated name.
        last_draws: how many epochs in a row share all calls before the last layer that asks a model, and draw only this
            one anew; a call store is needed for that.
        replace_solver: answer in place of a task's own solver although its prompts, tools or agent are lost with it;
            without it such a task is refused. Accounts then name what was lost.
    """
    if "first_epoch" in unknown:
        epoch_offset = _convert_first_epoch(unknown.pop("first_epoch"), epoch_offset)
    check_whole_number(DOOR, "epoch_offset", epoch_offset, minimum=0)
    check_whole_number(DOOR, "last_draws", last_draws, minimum=1)
    if unknown:
        legal = [name for name in signature(archon).parameters if name != "unknown"]
        raise make_prerequisite_error(
            f"solver archon: unknown option {min(unknown)!r}{did_you_mean(min(unknown), legal)}"
        )
    if architecture is None:
        raise make_prerequisite_error(
            "solver archon: which architecture? -S architecture=NAME (see `archon presets`) or a file"
        )
    if isinstance(architecture, Architecture):  # the log would hold its name only, and a retry run something else
        raise make_prerequisite_error("solver archon: give the architecture as a file, a name or its `to_mapping()`")
    replaced = ReplacedSolver(
        {
            **{"architecture": architecture, "models": models, "fusers": fusers, "judges": judges},
            **{"store": store, "store_policy": store_policy, "budget": budget, "prices": prices},
            **{"trace": trace if trace != "full" else None},
            **{"epoch_offset": epoch_offset or None, "last_draws": last_draws if last_draws > 1 else None},
            **{"cot": cot or None, "multiple_correct": multiple_correct or None},
        },
        is_allowed=replace_solver,
    )
    replaced.check_eval_being_built()
    engine = build_engine(
        architecture,
        models,
        fusers=fusers,
        judges=judges,
        store=store,
        store_policy=store_policy,
        budget=budget,
        prices=prices,
        trace=trace,
    )
    note_unshared_draws(DOOR, engine.caller, last_draws)
    freeze_imports_in_command()

    by_flags: dict[GenerationSettings, EngineCache] = {}
    typed_flags = TypedFlags()

    def find_engines() -> EngineCache:
        typed = typed_flags.read()
        flags = read_settings(typed)
        if flags not in by_flags:
            by_flags[flags] = _take_flags(engine, typed)
        return by_flags[flags]

    async def answer(state: TaskState, *_: Any, **__: Any) -> TaskState:
        if state.tools:
            name = architecture if isinstance(architecture, str) else "FILE.yaml"
            raise ModelError(
                "the sample has tools, and in place of the task's own agent nothing would run them: "
                f"`inspect eval TASK --model archon/{name}`, with -M for -S, lets the task's agent ask the architecture"
            )
        refuse_foreign_account(state.metadata)
        is_first, lost = not holds_account(state.metadata), replaced.find_lost_steps()
        prompt = digest_messages(state.messages) if is_first and is_text(state.messages) else ()
        engines, task = find_engines(), read_settings(active_generate_config())
        if unused := engines.describe_unused(task):
            show_note(unused)
        used = engines(task)
        draws = AnswerDraws.from_epoch(state.epoch, epoch_offset, last_draws)
        try:
            result = await used.run(to_conversation(state.messages), draws.epoch, last_draw=draws.last_draw)
        except ArchonError as exc:
            raise_plainly(exc)
        message = ChatMessageAssistant(
            content=result.text, model=f"archon/{engine.architecture.name}", source="generate"
        )
        state.messages.append(message)
        # no usage on this output: the inner calls have reported theirs
        state.output = ModelOutput(
            model=f"archon/{engine.architecture.name}",
            choices=[ChatCompletionChoice(message=message, stop_reason=get_stop_reason(result))],
        )
        account = engines.build_account(used, result)
        told = draws if last_draws > 1 else None
        record_turn(state.metadata, replace(account, lost_steps=lost, prompt=prompt, draws=told))
        return state

    choose = multiple_choice(cot=cot, multiple_correct=multiple_correct)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        replaced.find_lost_steps()  # refuses before anything is paid
        if not by_flags:  # the roles and the flags are known only now, and nothing is paid yet
            _warn_of_judges(engine)
        find_engines()
        share_cache_with_judges(engine.caller, epoch_offset, last_draws)
        state = await (choose(state, answer) if state.choices else answer(state))
        for turn in find_further_turns(state.metadata, state.input):
            state.messages.append(ChatMessageUser(content=turn))
            state = await answer(state)
        return state

    return solve


def _take_flags(engine: Engine, typed: GenerateConfig) -> EngineCache:
    """The engines that hold the flags; says which flags have no effect."""
    refuse_flags(typed, "solver archon")
    engines = EngineCache(engine, read_settings(typed))
    if problems := (*engines.warnings, *find_ignored_flags(typed, door="solver")):
        show_note(f"solver archon, {engine.architecture.name}: {'; '.join(problems)}")
    return engines


def _warn_of_judges(engine: Engine) -> None:
    """Say once of a judge that it may not be able to read the answers."""
    bound, caller = model_roles().get("judge"), engine.caller
    judges = bound if isinstance(bound, list) else [bound] if bound is not None else []
    if isinstance(caller, ModelClient) and caller.policy != "replay":
        for judge in judges:
            if warning := describe_judge(engine.architecture, str(judge), caller.prices):
                show_note(warning)


def _convert_first_epoch(first_epoch: Any, epoch_offset: int) -> int:
    """The offset that the old option `first_epoch`, which counts from 1, means."""
    if epoch_offset:
        raise make_prerequisite_error("solver archon: first_epoch is the old name of epoch_offset: give that alone")
    check_whole_number(DOOR, "first_epoch", first_epoch, minimum=1)
    warn_renamed_option(f"first_epoch={first_epoch}", f"epoch_offset={first_epoch - 1}")
    return int(first_epoch) - 1


def find_further_turns(metadata: Mapping[str, Any], asked: str | list[ChatMessage]) -> list[str]:
    """The user turns after the first of a conversation that the task asks turn by turn (MT-Bench); usually none."""
    turns = metadata.get("turns")
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        return []
    first = asked if isinstance(asked, str) else next((m.text for m in reversed(asked) if m.role == "user"), None)
    return turns[1:] if turns[:1] == [first] else []
