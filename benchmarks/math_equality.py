r"""CPU time of one mathematical comparison, beside math-verify used as it comes, as JSON.

    python benchmarks/math_equality.py --data ../shared/data

Each pair is a reply and an expected answer: 454 labelled ones where the data is there, else the bundled problems with
their answers and distractors. Both ways run in this process, one after the other, each in a process of its own with
nothing remembered before; the time is CPU time, the median of `--repeats` rounds, without imports. `baseline` finds and
compares answers with math-verify's defaults, as the scorer did before it had rules of its own.
"""

import argparse
import asyncio
import gzip
import json
import logging
import multiprocessing
import statistics
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from archon_eval.components.parsing import _math_worker, final_answer, math_equality, math_spelling
from archon_eval.scorers.math import compare_answers

Pair = tuple[str, str]


def main() -> None:
    """Print one JSON object: milliseconds of CPU per pair of either way, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    pairs = load_pairs(options.data / "math")
    rounds: dict[str, list[float]] = {"baseline": [], "ours": []}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for _ in range(options.repeats):
            rounds["baseline"].append(pool.apply(measure_baseline, (pairs,)))
            rounds["ours"].append(pool.apply(measure_ours, (pairs,)))
    result: dict[str, Any] = {way: round(statistics.median(times), 3) for way, times in rounds.items()}
    ratio = round(statistics.median(rounds["ours"]) / statistics.median(rounds["baseline"]), 2)
    print(json.dumps({"pairs": len(pairs), "cpu_ms_per_pair": result, "ratio": ratio}, indent=2))


def load_pairs(data: Path) -> list[Pair]:
    """Replies with expected answers."""
    if data.is_dir():
        tricky = (data / "tricky_pairs.jsonl").read_text(encoding="utf-8").splitlines()
        labelled = gzip.decompress((data / "qwen_responses_labeled.jsonl.gz").read_bytes()).decode().splitlines()
        return [(row["response"], row["gold"]) for row in map(json.loads, [*tricky, *labelled])]
    problems = files("archon_eval").joinpath("samples", "math.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in problems]
    return [(f"\\boxed{{{text}}}", row["answer"]) for row in rows for text in [row["answer"], *row["distractors"]]]


def measure_baseline(pairs: list[Pair]) -> float:
    """Milliseconds of CPU per pair of math-verify's own search and comparison."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    config = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]

    def compare(reply: str, gold: str) -> None:
        box = final_answer.extract_last_box(reply)
        if box is not None and box == gold:
            return
        expected = parse(f"$\\boxed{{{gold}}}$", [LatexExtractionConfig()], parsing_timeout=None)
        found = parse(f"$\\boxed{{{box}}}$" if box else reply[-2_000:], config, parsing_timeout=None)
        verify(expected, found, allow_set_relation_comp=True, timeout_seconds=None)

    return measure(compare, pairs)


def measure_ours(pairs: list[Pair]) -> float:
    """Milliseconds of CPU per pair of the scorer, its worker's share in this process."""

    def ask(request: str) -> Any:
        wanted = json.loads(request)
        if "text" in wanted:
            return {"answer": _math_worker.extract(wanted["text"])}
        return {"correct": _math_worker.compare(wanted["table"])}

    math_equality._ask_worker = ask  # type: ignore[assignment]
    loop = asyncio.new_event_loop()

    def compare(reply: str, gold: str) -> None:
        math_spelling.read_answer.cache_clear()
        loop.run_until_complete(compare_answers(reply, gold))

    return measure(compare, pairs)


def measure(compare: Callable[[str, str], None], pairs: list[Pair]) -> float:
    """Milliseconds of CPU per pair, after one comparison that imports everything."""
    logging.disable()  # math-verify warns that it sets no alarm
    compare(r"\boxed{\sqrt{8}+x}", r"2\sqrt{2}+x")
    compare("It is $2$ or 3", "5")
    start = time.process_time()
    for reply, gold in pairs:
        compare(reply, gold)
    return 1_000 * (time.process_time() - start) / len(pairs)


if __name__ == "__main__":
    main()
