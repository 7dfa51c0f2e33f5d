"""Records what this project's own CI holds a change against.

    python tests/recordings/record.py       # after a change of prompts, parsers or plans that is meant

Writes beside this file: calls.db and baseline.json, a small simulated architecture on bundled problems, which the gate
replays; plans.json, the plan of every preset. Look at the diff of the two JSON files before it is committed.
"""

import json
import sqlite3
import tempfile
from pathlib import Path

from archon_eval.architecture.load import list_presets, load_architecture
from archon_eval.cli import main
from archon_eval.engine.plan import plan
from archon_eval.simulation import pool_names

HERE = Path(__file__).parent
TASK = ["--task", "archon_eval/math", "-T", "sample=true", "-T", "n=40"]


def solver(policy: str) -> list[str]:
    """The solver's arguments, with the call store beside this file."""
    values = (f"architecture={HERE / 'small.yaml'}", f"store={HERE / 'calls.db'}", f"store_policy={policy}")
    return [word for value in values for word in ("-S", value)]


def plan_presets() -> dict[str, str]:
    """Preset -> its plan for the simulated pool, as a line of JSON."""
    plans = {name: plan(load_architecture(name), pool_names()).to_mapping() for name in list_presets()}
    return {name: json.dumps(mapping) for name, mapping in plans.items()}


if __name__ == "__main__":
    lines = (f"{json.dumps(name)}: {line}" for name, line in plan_presets().items())
    (HERE / "plans.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    (HERE / "calls.db").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        where = ["--baseline", str(HERE / "baseline.json"), "--log-dir", folder]
        code = main(["gate", *where, "--save-baseline", *TASK, *solver("record")])
    with sqlite3.connect(HERE / "calls.db") as db:  # one file, without SQLite's companions
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("VACUUM")
    raise SystemExit(code)
