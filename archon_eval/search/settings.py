"""The old name of `config`, for one release: use `archon_eval.search`."""

from archon_eval._deprecated import deprecated_getattr

__getattr__ = deprecated_getattr(__name__, {"load_settings": "archon_eval.search:load_settings"})
