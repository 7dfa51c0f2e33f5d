"""How the generation settings of somebody else's task and those of an architecture go together.

The architecture's own settings win; a setting its file leaves at null (`temperature: null`) is the task's, for the
components that write answers (generator, fuser). Stop sequences of the task always hold: every candidate ends there.

    engine = EngineCache(build_engine("moa-lite", models))(GenerationSettings(temperature=0.0, stop=("Question:",)))
"""

from dataclasses import replace

from archon_eval.architecture.component_types import resolve_component_type
from archon_eval.architecture.spec import SETTING_NAMES, ComponentSpec, GenerationSettings
from archon_eval.engine.engine import Engine

RUN_EPOCH_STRIDE = 1_000_000
"""Further runs of one question in one epoch (choices, repeats) are epochs this far apart, so no draw is used twice."""


class EngineCache:
    """Engines for one architecture under tasks with different settings, each built once."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        """The architecture with its own settings only."""
        self._built: dict[GenerationSettings, Engine] = {}

    def __call__(self, task: GenerationSettings) -> Engine:
        """The engine whose answers are written with the task's settings where the architecture has none."""
        if task not in self._built:
            own = self.engine.architecture
            layers = tuple(tuple(_fill_settings(spec, task) for spec in layer) for layer in own.layers)
            filled = replace(own, layers=layers)
            same = filled == own and not task.stop
            self._built[task] = (
                self.engine if same else Engine(filled, self.engine.caller, self.engine._observer, stop=task.stop)
            )
        return self._built[task]


def _fill_settings(spec: ComponentSpec, task: GenerationSettings) -> ComponentSpec:
    if not resolve_component_type(spec.kind, spec.kind).replaces:
        return spec
    names = [name for name in SETTING_NAMES if name != "stop" and getattr(spec.settings, name) is None]
    return replace(spec, settings=replace(spec.settings, **{name: getattr(task, name) for name in names}))
