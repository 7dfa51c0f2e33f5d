"""What the presets' plans say stays as it was recorded (`tests/recordings/record.py`)."""

import json
import sys
from pathlib import Path

import pytest

RECORDINGS = Path(__file__).parents[1] / "recordings"


def test_plans_of_all_presets_are_as_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(RECORDINGS), *sys.path])
    from record import plan_presets

    recorded = json.loads((RECORDINGS / "plans.json").read_text(encoding="utf-8"))
    assert {name: json.loads(line) for name, line in plan_presets().items()} == recorded
