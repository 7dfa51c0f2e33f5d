"""Inference-time architectures inside Inspect AI and lm-eval.

    from archon_eval import Archon, load_architecture

Where things happen:

- a file becomes an architecture: `architecture/load.py`, `architecture/rules.py`
- a flag typed by hand meets a file: `architecture/flags.py`; a task's own setting: `integrations/task_settings.py`
- an architecture answers: `engine/engine.py`; its parts: `components/`
- a provider's reply gets its meaning: `models/replies.py`
- a reply becomes an answer, verdict or ranking: `components/parsing/`
- a call is stored, shared and replayed, for models and judges: `models/client.py`
- a budget is held: `models/budget.py` for the calls of an eval, `search/budget.py` for the evals of a search
- a question's calls and costs are written down: `runs/account.py`; what an answer took is read: `runs/answer_usage.py`
- a score becomes a number: `runs/score.py`; a log is read: `runs/read_log.py`; an eval is run: `runs/run_eval.py`
- the same for lm-eval: `runs/read_lm_eval.py`, `runs/run_lm_eval.py`, and of a search `integrations/lm_eval_job.py`
- a point of the space becomes an architecture: `search/space/layout.py`; calls are shared: `search/prefix_sharing.py`
- the next architecture is chosen: `search/smac_optimizer.py`; by a user's own class: `search/user_optimizers.py`
- two systems are compared: `stats/comparison.py`
- systems and benchmarks become one table: `report/benchmark_table.py`
- a search is followed while it runs: `report/search_follower.py` reads its journal, `report/watch.py` shows it
- everything private of Inspect, lm-eval and openai is imported: `_inspect_compat.py`
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
