"""Old name of `archon_eval.types`, for one release."""

from typing import TYPE_CHECKING

from archon_eval._deprecated import deprecated_getattr

if not TYPE_CHECKING:
    _SAME_NAMES = ("Candidate", "Conversation", "Message", "Role", "State")
    __getattr__ = deprecated_getattr(
        __name__,
        {
            **{name: f"archon_eval.types:{name}" for name in _SAME_NAMES},
            "rendered": "archon_eval.types:render_conversation",
        },
    )
