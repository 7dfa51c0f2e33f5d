"""The old place of `archon_eval.runs.executors`, for one release: use `archon_eval.search`."""

from archon_eval._deprecated import deprecated_getattr

__getattr__ = deprecated_getattr(
    __name__,
    {
        "dask": "archon_eval.search:dask",
        "local": "archon_eval.search:local",
        "SubmitEval": "archon_eval.runs.executors:SubmitEval",
    },
)
