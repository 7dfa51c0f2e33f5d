"""Requests for architectures that are not in the space's list: single models, rankings, best of n."""

from collections.abc import Mapping
from typing import Any

from archon_eval.architecture.load import load_architecture
from archon_eval.architecture.spec import Architecture
from archon_eval.engine.plan import plan
from archon_eval.models.prices import load_prices
from archon_eval.search.config import SearchSettings
from archon_eval.search.trial import TrialRequest


def build_request(
    settings: SearchSettings,
    key: str,
    architecture: Architecture,
    *,
    part: str,
    epochs: int = 1,
    first_epoch: int = 1,
    last_draws: int = 1,
    shared_calls: float = 0,
) -> TrialRequest:
    """A request with the architecture's fingerprint in its key: a name may stand for another when a search goes on."""
    return TrialRequest(
        key=f"{key}/{architecture.fingerprint[:8]}",
        architecture=architecture,
        plan=plan(architecture, prices=load_prices(settings.prices)),
        part=part,
        epochs=epochs,
        first_epoch=first_epoch,
        last_draws=last_draws,
        shared_calls=shared_calls,
    )


def make_confirm_key(name: str, epochs: int, last_draws: int) -> str:
    """Of a finalist's request: what was confirmed with one draw of the last layer is none with more."""
    return f"confirm/{name}/{epochs}" + (f"x{last_draws}" if last_draws > 1 else "")


def build_from_layers(name: str, *layers: Mapping[str, Any]) -> Architecture:
    """An architecture from its layers."""
    return load_architecture({"name": name, "layers": list(layers)})


def build_single_model(model: str) -> Architecture:
    """One call of one model."""
    return build_from_layers(model, {"generator": model})
