"""Old name of `archon_eval.architecture.component_types`, for one release."""

from typing import TYPE_CHECKING

from archon_eval._deprecated import deprecated_getattr

if not TYPE_CHECKING:
    _RENAMED = {
        "Kind": "ComponentType",
        "Option": "ComponentOption",
        "Prompt": "PromptFields",
        "choice": "choice_option",
        "find_kind": "resolve_component_type",
        "flag": "bool_option",
        "maybe": "optional_word",
        "whole": "int_option",
    }
    __getattr__ = deprecated_getattr(
        __name__, {old: f"archon_eval.architecture.component_types:{new}" for old, new in _RENAMED.items()}
    )
