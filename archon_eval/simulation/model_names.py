"""Which models a user named: a list, text with commas, and `sim/pool` for all simulated ones.

>>> parse_model_names("openai/gpt-4o, openai/gpt-4o-mini")
('openai/gpt-4o', 'openai/gpt-4o-mini')
"""

from collections.abc import Sequence

from archon_eval.errors import ArchitectureError
from archon_eval.simulation import pool_names
from archon_eval.simulation.skills import find_model

SIM_POOL = "sim/pool"


def parse_model_names(models: str | Sequence[str] | None, option: str = "models") -> tuple[str, ...]:
    """The models in order of strength.

    Args:
        option: whose value it is, for the error.

    Raises:
        ArchitectureError: no list of names.
        SimulationError: no such simulated model. Names of other providers are checked when a model is built.
    """
    if models is None:
        return ()
    items = models.split(",") if isinstance(models, str) else list(models)
    if not all(isinstance(item, str) and item.strip() for item in items):
        raise ArchitectureError(f"{option} must be names such as openai/gpt-4o, separated by commas; got {models!r}")
    names: list[str] = []
    for item in items:
        name = item.strip()
        if name == SIM_POOL:
            names += pool_names()
        else:
            if name.startswith("sim/"):
                find_model(name)
            names.append(name)
    return tuple(names)
