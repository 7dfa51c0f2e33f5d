"""How long it takes to compute each benchmark's figures from stored judgments, as JSON.

    python benchmarks/scoring.py --data ../shared/data

Times are seconds of wall clock, the best of `--repeats`; reading the files is not counted. The first length-controlled
rate of a process also imports `alpaca-eval`.
"""

import argparse
import gzip
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archon_eval.scorers import alpaca_eval, arena_hard, mixeval
from archon_eval.scorers._judge import JudgeReply
from archon_eval.stats.length_control import JudgedPair, compute_lc_win_rate


def main() -> None:
    """Print one JSON object: benchmark -> seconds and what was scored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"no stored judgments in {options.data}")
    result: dict[str, Any] = {"python": platform.python_version(), "repeats": options.repeats}
    result |= alpaca(options.data / "alpaca_eval", options.repeats)
    result |= arena(options.data / "arena_hard", options.repeats)
    result |= mix(options.data / "mixeval" / "judged", options.repeats)
    print(json.dumps(result, indent=2))


def alpaca(data: Path, repeats: int) -> dict[str, Any]:
    """Raw and length-controlled win rate of 805 preferences."""
    rows = [
        JudgedPair(index=r["index"], preference=r["preference"], baseline_length=r["len_1"], length=r["len_2"])
        for r in lines(data / "annotations" / "claude-2.jsonl.gz")
    ]
    preferences = [row.preference for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        calibration = Path(folder, "df_gamed.csv")
        calibration.write_bytes(gzip.decompress((data / "df_gamed_RECONSTRUCTED.csv.gz").read_bytes()))
        first = seconds(lambda: compute_lc_win_rate(rows, calibration), 1)
        later = seconds(lambda: compute_lc_win_rate(rows, calibration), repeats)
    raw = seconds(lambda: alpaca_eval.compute_win_rates(preferences), repeats)
    return {"alpaca_eval": {"rows": len(rows), "raw": raw, "lc_with_import": first, "lc": later}}


def arena(data: Path, repeats: int) -> dict[str, Any]:
    """Win rate with the bootstrap over questions and the one over rows."""
    battles = [r for r in lines(data / "battles_vs_gpt-4-0314.jsonl.gz") if r["model_b"] == "gpt-3.5-turbo-0125"]
    results = [{"model_a": 0.0, "model_b": 1.0}.get(r["winner"], 0.5) for r in battles]
    questions = [r["question_id"] for r in battles]
    took = seconds(lambda: arena_hard.compute_win_rate(results, questions), repeats)
    return {"arena_hard": {"rows": len(results), "win_rate_and_intervals": took}}


def mix(data: Path, repeats: int) -> dict[str, Any]:
    """Overall and sub-benchmark scores of 2000 free-form and 2000 multiple-choice questions, replies parsed again."""
    free_form, multiple_choice = (lines(data / f"mixeval__48df1fea__{p}.jsonl.gz") for p in ("freeform", "multichoice"))

    def score() -> None:
        first = [(r["benchmark_name"], mixeval.parse_score(JudgeReply(r["judge_response"]))) for r in free_form]
        second = [(r["benchmark_name"], float(ord(r["judge_option"]) - 65 in r["target"])) for r in multiple_choice]
        mixeval.compute_accuracies(first, second)

    return {"mixeval": {"rows": len(free_form) + len(multiple_choice), "parse_and_score": seconds(score, repeats)}}


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """The least time of several runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return round(min(times), 5)


def lines(path: Path) -> list[dict[str, Any]]:
    """The records of a gzipped JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


if __name__ == "__main__":
    main()
