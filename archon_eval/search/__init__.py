"""Architecture search: the best architecture for a benchmark under a budget, with an honest held-out number.

    from pathlib import Path
    from archon_eval.search import load_settings, local, search, write_results

    settings = load_settings({"tasks": "archon_eval/math", "models": "openai/gpt-4o,openai/gpt-4o-mini"})
    with local(workers=2) as run:
        summary = write_results(search(settings, Path("out"), run, workers=2), Path("out"))

`config` says what is wanted, `space` what is possible, `optimizers` which architecture is tried next, `scheduler` and
`budget` which may begin, `loop` what comes when, `journal` what is known for good, `summary` what came of it. Where
evals run is in `archon_eval.runs.executors`.
"""

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from archon_eval.runs.executors import dask, local
    from archon_eval.search.config import load_settings
    from archon_eval.search.loop import search
    from archon_eval.search.optimizer import ListOptimizer, Optimizer
    from archon_eval.search.proposer import ModelProposer
    from archon_eval.search.space import Configuration, extract_axes
    from archon_eval.search.summary import write_results

__all__ = [
    "Configuration",
    "ListOptimizer",
    "ModelProposer",
    "Optimizer",
    "dask",
    "extract_axes",
    "load_settings",
    "local",
    "search",
    "write_results",
]

_LAZY_EXPORTS = {
    "load_settings": "search.config",
    "dask": "runs.executors",
    "local": "runs.executors",
    "search": "search.loop",
    "ListOptimizer": "search.optimizer",
    "ModelProposer": "search.proposer",
    "Optimizer": "search.optimizer",
    "Configuration": "search.space",
    "extract_axes": "search.space",
    "write_results": "search.summary",
}


def __getattr__(name: str) -> object:
    """The public names, imported when first used: some need seconds."""
    if name not in _LAZY_EXPORTS:
        raise AttributeError(f"module 'archon_eval.search' has no attribute {name!r}")
    return getattr(import_module(f"archon_eval.{_LAZY_EXPORTS[name]}"), name)
