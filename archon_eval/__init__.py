"""Inference-time architectures inside Inspect AI and lm-eval.

from archon_eval import Archon, load_architecture
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from archon_eval.architecture.load import load_architecture
    from archon_eval.architecture.spec import Architecture
    from archon_eval.integrations.python import Archon, PricedAnswer

__version__ = "0.1.0"
__all__ = ["Architecture", "Archon", "PricedAnswer", "__version__", "load_architecture"]

_LAZY_EXPORTS = {
    "Archon": "archon_eval.integrations.python",
    "PricedAnswer": "archon_eval.integrations.python",
    "Architecture": "archon_eval.architecture.spec",
    "load_architecture": "archon_eval.architecture.load",
}


def __getattr__(name: str) -> object:
    """The public names, imported when first used."""
    if name not in _LAZY_EXPORTS:
        raise AttributeError(f"module 'archon_eval' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY_EXPORTS[name]), name)
