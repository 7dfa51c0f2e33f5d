"""Makes stock lm-eval know `--model archon`; run at every start of Python by archon_eval_lm_eval.pth, so kept tiny.

The wheel puts it beside the package, as `_archon_eval_lm_eval`, so that a start of Python does not import the package.
lm-eval up to 0.4.13 finds its models in a table of its own; later versions read the entry point in pyproject.toml.
The name is added right after lm-eval has filled its table, and the class behind it is imported only when asked for.

PYTEST_DONT_REWRITE: it is there before pytest is, which would warn about it in every run.
"""

import sys

TYPE_CHECKING = False  # typing's own, and its import, would cost every start of Python milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

TARGET_MODULE = "lm_eval.models"


class LMEvalFinder:
    """Waits on `sys.meta_path` for the first import of lm-eval's models, then leaves."""

    def find_spec(self, name: str, path: "Sequence[str] | None" = None, target: object = None) -> "ModuleSpec | None":
        if name != TARGET_MODULE:
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def then_register(module: "ModuleType") -> None:
                execute(module)
                register()

            spec.loader.exec_module = then_register  # type: ignore[method-assign]
        return spec


def register() -> None:
    """Add the name, unless this lm-eval knows it already or keeps its models elsewhere."""
    try:
        from lm_eval.api.registry import model_registry
    except ImportError:
        return
    if "archon" not in model_registry:
        model_registry.register("archon", target="archon_eval.integrations.lm_eval_model:ArchonLM")


sys.meta_path.insert(0, LMEvalFinder())
