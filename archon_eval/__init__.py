"""Inference-time architectures inside Inspect AI and lm-eval.

from archon_eval import Archon, load_architecture
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from archon_eval.api import Archon, PricedAnswer
    from archon_eval.architecture import Architecture
    from archon_eval.loading import load_architecture

__version__ = "0.1.0"
__all__ = ["Architecture", "Archon", "PricedAnswer", "__version__", "load_architecture"]

_LAZY_EXPORTS = {
    "Archon": "archon_eval.api",
    "PricedAnswer": "archon_eval.api",
    "Architecture": "archon_eval.architecture",
    "load_architecture": "archon_eval.loading",
}


def __getattr__(name: str) -> object:
    """The public names, imported when first used."""
    if name not in _LAZY_EXPORTS:
        raise AttributeError(f"module 'archon_eval' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY_EXPORTS[name]), name)
