"""The old name of `loop`, for one release: use `archon_eval.search`."""

from archon_eval._deprecated import deprecated_getattr

__getattr__ = deprecated_getattr(__name__, {"search": "archon_eval.search:search"})
