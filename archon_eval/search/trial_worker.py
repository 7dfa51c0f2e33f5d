"""Where the search finds the jobs that it submits; they live in `archon_eval.runs`."""

from archon_eval.runs.eval_worker import EvalJob, EvalResult
from archon_eval.runs.worker_process import WorkerProcess

__all__ = ["EvalJob", "EvalResult", "WorkerProcess"]
