"""Logs and search folders for reports, with hostile text wherever a model or a log can put text."""

import csv
import json
from pathlib import Path

from fakes.logs import write_log

HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
    "<svg onload=window.hacked=3></svg> \" ' ` & $x ${x} {{x}} <!-- \u2028 ]]> \\u003c javascript:window.hacked=4"
)
NAMES = ("<b onclick='window.hacked=5'>cheap</b>", 'dear " {x} $y & "', "middle")


def write_logs(folder: Path, names: tuple[str, str, str], text: str) -> Path:
    """Three systems on 40 questions; `text` is in every question, answer, and part, and one id and event."""
    for place, (name, right, calls) in enumerate(zip(names, (20, 30, 25), (2, 30, 9), strict=True)):
        scores = {f"q{n}{text if n == 3 else ''}": ["C" if n < right else "I"] for n in range(40)}
        subjects = {question: text if n % 2 else "plain" for n, question in enumerate(scores)}
        template = text.replace("{", "{{").replace("}", "}}")
        write_log(
            folder / f"{place}.eval",
            scores,
            name=name,
            subjects=subjects,
            text="{id} " + template,
            answer=f"{template} from {place}",
            calls=calls,
            notes={"fallback": place, text: 1},
        )
    return folder


def write_search(folder: Path, trials: int) -> Path:
    """A search's folder as `archon search` leaves it, without logs."""
    folder.mkdir()
    names = (
        "trial,fingerprint,architecture,generators,samples,fusers,critic_ranker,evaluation,temperature,pool,performance"
    )
    names += ",surrogate,deviation,questions,calls_per_question,cost,calls_paid,calls_reused,error,log"
    with (folder / "trials.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(names.split(","))
        for n in range(trials):
            score = "" if n == 5 else 0.5 + (n * 7919 % 997) / 2500
            seen = "" if n == 5 else 0.69
            shape = [2, 1, "4.1", "True", "verifier", 0.7, ""]
            figures = [score, seen, 0.02, 100, 10 + n % 40, 10 + n % 40, 50, 10, HOSTILE if n == 5 else "", "x.eval"]
            table.writerow([n, f"{n:016x}", f"g2x1-{n}", *shape, *figures])
    result = {"architecture": "best", "value": 0.7, "low": 0.6, "high": 0.8, "questions": 80, "calls_per_question": 9.0}
    summary = {
        "winner": HOSTILE,
        "fingerprint": "0" * 16,
        "verdict": "",
        "held_out": {"winner": result, "single": {**result, "value": 0.6, "low": 0.5, "high": 0.7}},
        "winner_against": {"single": {"value": 0.1, "low": 0.02, "high": 0.18, "p": 0.01, "verdict": "better"}},
        "dev": 0.9,
        "dev_fresh_draws": 0.8,
        "optimism": 0.2,
        "space": 9576,
        "trials": trials,
        "notes": [HOSTILE],
        "settings": {"cost_unit": "calls"},
    }
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    (folder / "best.yaml").write_text("layers:\n  - generator: sim/gpt-4o\n  - fuser: sim/gpt-4o\n", encoding="utf-8")
    return folder
