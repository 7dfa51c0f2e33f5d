"""Former place of `archon_eval.simulation.simulator`; works for one release."""

from typing import TYPE_CHECKING

from archon_eval._deprecated import deprecated_getattr

if not TYPE_CHECKING:  # a type checker sees the new names only
    __getattr__ = deprecated_getattr(__name__, {"Simulator": "archon_eval.simulation.simulator:Simulator"})
