"""How the generation settings of somebody else's task, those typed by hand and those of an architecture go together.

The architecture's own settings win, then a flag (`archon_eval.architecture.flags`). A setting that its file leaves at
null (`temperature: null`) is the task's, for the components that write answers (generator, fuser). Stop sequences
always hold: every candidate ends there.

    engines = EngineCache(build_engine("moa-lite", models), typed)
    engine = engines(GenerationSettings(temperature=0.0, max_tokens=None, stop=("Question:",)))
    engines.build_account(engine, await engine.run(conversation))
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

from archon_eval.architecture.component_types import resolve_component_type
from archon_eval.architecture.flags import (
    FLAG_NAMES,
    apply_flags,
    find_flag_problems,
    list_changed_settings,
    list_flags,
    set_settings,
)
from archon_eval.architecture.parse import parse_settings
from archon_eval.architecture.spec import (
    NO_SETTINGS,
    Architecture,
    ComponentSpec,
    GenerationSettings,
    choose_settings,
)
from archon_eval.engine.call_context import RUN_EPOCH_STRIDE
from archon_eval.engine.engine import Engine
from archon_eval.engine.plan import plan
from archon_eval.engine.plan_notes import describe_raised_limits
from archon_eval.engine.trace import Answer
from archon_eval.runs.account import QuestionAccount

__all__ = ["RUN_EPOCH_STRIDE", "EngineCache", "check_settings"]


class EngineCache:
    """Engines for one architecture under tasks with different settings, each built once."""

    def __init__(self, engine: Engine, typed: GenerationSettings = NO_SETTINGS) -> None:
        """
        Args:
            engine: the architecture with its own settings only.
            typed: the settings that a user typed by hand; stop texts come with the task's.
        """
        self.engine, self.typed = engine, typed
        self._built: dict[GenerationSettings, Engine] = {}
        self._described: dict[Engine, list[dict[str, Any]]] = {}
        self._said: set[str] = set()

    @cached_property
    def architecture(self) -> Architecture:
        """The system that answers: with the flags, which make another one of it; but for the seed, as epochs with
        other seeds are of one system."""
        return apply_flags(self.engine.architecture, replace(self.typed, seed=None))

    @property
    def warnings(self) -> list[str]:
        """Sentences on flags that have no effect, or one that may surprise."""
        own, flagged = self.engine.architecture, self.architecture
        problems = find_flag_problems(own, self.typed)
        if flagged != own:  # what the flags change of what was said when the engine was built
            said = (*plan(own).warnings, *describe_raised_limits(own))
            problems += [
                text for text in (*plan(flagged).warnings, *describe_raised_limits(flagged)) if text not in said
            ]
        return problems

    def __call__(self, task: GenerationSettings) -> Engine:
        """The engine whose answers are written with the task's settings where the architecture has none."""
        if task not in self._built:
            own = self.engine.architecture
            layers = tuple(tuple(_fill_settings(spec, task) for spec in layer) for layer in own.layers)
            filled = apply_flags(replace(own, layers=layers), self.typed)
            same = filled == own and not task.stop
            self._built[task] = (
                self.engine if same else Engine(filled, self.engine.caller, self.engine._observer, stop=task.stop)
            )
        return self._built[task]

    def build_account(self, engine: Engine, answer: Answer) -> QuestionAccount:
        """The account of an answer of one of these engines, with the settings that were really used."""
        if engine not in self._described:
            self._described[engine] = list_changed_settings(self.engine.architecture, engine.architecture)
        return QuestionAccount.from_answer(self.architecture, answer, self._described[engine])

    def list_used_settings(self) -> list[dict[str, Any]]:
        """What was really used where it is not what the file says, of all tasks: one entry per component and value."""
        entries: list[dict[str, Any]] = []
        for engine in self._built.values():
            found = list_changed_settings(self.engine.architecture, engine.architecture)
            entries += [entry for entry in found if entry not in entries]
        return entries

    def describe_unused(self, task: GenerationSettings, command: Literal["inspect", "lm_eval"] = "inspect") -> str:
        """A sentence, once, on settings of the task that a component which writes answers does not take; empty where
        there are none.

        Args:
            command: whose flags the sentence names.
        """
        given = {name: value for name, value in list_flags(task).items() if value != getattr(self.typed, name)}
        used = self(task).architecture
        unused: dict[str, set[Any]] = {}
        for name, value in given.items():
            for layer in used.layers:
                for spec in layer:
                    if _writes_answers(spec) and (other := getattr(choose_settings(spec), name)) != value:
                        unused.setdefault(name, set()).add(other)
        if not unused:
            return ""
        task_has = ",".join(f"{name}={given[name]}" for name in unused)
        have = ", ".join(f"{name}={' or '.join(sorted(map(str, values)))}" for name, values in unused.items())
        nulls = ", ".join(f"`{name}: null`" for name in unused)
        flags = " ".join(f"--{name.replace('_', '-')} {given[name]}" for name in unused)
        text = (
            f"{used.name} does not take the task's own {task_has}: its components have {have}. To take the task's, "
            f"write {nulls} in the architecture's file, or give "
            f"{flags if command == 'inspect' else f'--gen_kwargs {task_has}'}"
        )
        if text in self._said:
            return ""
        self._said.add(text)
        return text


def check_settings(values: Mapping[str, Any], where: str) -> GenerationSettings:
    """Settings given by hand or by a task, each legal; what is not given is None.

    Raises:
        ArchitectureError: a value that is not legal; says what is.
    """
    return parse_settings(NO_SETTINGS, {name: values[name] for name in (*FLAG_NAMES, "stop") if name in values}, where)


def _writes_answers(spec: ComponentSpec) -> bool:
    return resolve_component_type(spec.kind, spec.kind).writes_answers


def _fill_settings(spec: ComponentSpec, task: GenerationSettings) -> ComponentSpec:
    if not _writes_answers(spec):
        return spec
    return set_settings(
        spec, {name: value for name, value in list_flags(task).items() if getattr(spec.settings, name) is None}
    )
