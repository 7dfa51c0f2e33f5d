"""What `archon_eval.runs.performance` has for trials: reports need it too, and may not import the search."""

from archon_eval.runs.performance import TaskAnswers, compare_performance, compute_performance, estimate_performance

__all__ = ["TaskAnswers", "compare_performance", "compute_performance", "estimate_performance"]
