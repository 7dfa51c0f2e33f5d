"""The old name of `summary`, for one release: use `archon_eval.search`."""

from archon_eval._deprecated import deprecated_getattr

__getattr__ = deprecated_getattr(__name__, {"write": "archon_eval.search:write_results"})
