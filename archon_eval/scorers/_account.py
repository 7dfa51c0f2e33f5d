"""The architecture's account of a question, for the score's metadata: calls, tokens, what fell back or was dropped."""

from typing import Any

from inspect_ai.solver import TaskState

from archon_eval.runs.account import copy_account_metadata


def get_account_metadata(state: TaskState) -> dict[str, Any]:
    """`{"archon": ...}` when an architecture answered the sample, else nothing."""
    return copy_account_metadata(state.metadata)
