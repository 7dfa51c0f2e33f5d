"""What tells one search from another: a hash of its settings, without those that an earlier version did not have."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from archon_eval.search.setting_parts import ArchitectureLimits, SearchBudget
from archon_eval.search.space import Space

LATER_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "": ("initial_points", "initial_design", "acquisition", "xi", "kappa", "last_draws", "questions", "proposer"),
    "space": ("evaluation_places", "tests", "votes", "inserts", "prompts", "proposers", "roles", "cascades"),
    "limits": ("tflops", "context"),
    "budget": ("epsilon", "patience"),
}
"""Settings that came after the first version, by what holds them. At their defaults a search is as it was before them,
so that its folder can be resumed."""


def drop_later_defaults(plain: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    """Take the later settings that are at their defaults out of a search's settings as plain values.

    Args:
        defaults: of the settings that nothing holds.
    """
    owners: Mapping[str, Any] = {"space": Space(), "limits": ArchitectureLimits(), "budget": SearchBudget()}
    for owner, names in LATER_SETTINGS.items():
        values, before = (plain[owner], asdict(owners[owner])) if owner else (plain, defaults)
        for name in names:
            if values[name] == before[name]:
                del values[name]


def hash_json(plain: Any) -> str:
    """16 hex digits of plain values."""
    return sha256(json.dumps(plain, sort_keys=True, default=repr).encode()).hexdigest()[:16]
