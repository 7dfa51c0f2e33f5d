"""Measures the report and the gate: `python benchmarks/report.py [--repeats 1000]` prints JSON.

page: a made-up search of 500 trials and two runs of 500 questions; the page's size, the seconds to write it, and, where
Chromium and selenium are installed, the milliseconds until its charts are drawn.
gate: shares of outcomes over simulated right/wrong runs, 20% of the questions differing between run and baseline.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from archon_eval.report.gate import GateThresholds, decide_outcome
from archon_eval.report.html.page import render_page
from archon_eval.report.report_data import ReportData, build_benchmark_report
from archon_eval.report.search_results import Search, TrialSummary
from archon_eval.runs.benchmark_run import BenchmarkQuestion, LayerUsage, Run
from archon_eval.stats.comparison import compare
from archon_eval.stats.metrics import ScoredAnswer


def make_report(trials: int, questions: int) -> ReportData:
    """A search and two runs, of random figures."""
    draw = np.random.default_rng(0)
    tried = []
    for n in range(trials):
        score, expected, calls = draw.beta(7, 3), draw.beta(70, 30), float(draw.integers(1, 60))
        tried.append(
            TrialSummary(
                name=f"g{n}",
                layers="8 generators x 1, 1 fuser",
                performance=score,
                expected=expected,
                deviation=0.02,
                calls=calls,
                cost=calls,
                paid=90,
                reused=10,
                error="",
            )
        )
    summary: dict[str, Any] = {"winner": "g1", "trials": trials, "space": 9576, "settings": {"cost_unit": "calls"}}
    asked = {f"q{n}": BenchmarkQuestion(f"Question {n}. " * 20, "42", "") for n in range(questions)}
    runs = []
    for name in ("first", "second"):
        scored = {question: (ScoredAnswer(float(draw.integers(2))),) for question in asked}
        answers = dict.fromkeys(asked, "An answer of some length. " * 60)
        cost = {"dollars": 0.01, "tokens": 900.0, "calls": 9.0, "seconds": 3.0}
        layers = (
            LayerUsage("generator", ("a", "b"), 2, calls=2, tokens=400, dollars=0.004),
            LayerUsage("fuser", ("a",), 1, calls=1, tokens=500, dollars=0.006),
        )
        runs.append(
            Run(name, "made up", "right", questions=asked, scored=scored, answers=answers, cost=cost, layers=layers)
        )
    search = Search("made up", tuple(tried), summary, best=None, outcome=f"{trials} trials.", runs=())
    return ReportData((build_benchmark_report("made up", runs),), (search,))


def measure_drawing(path: Path) -> float | None:
    """Milliseconds from the page's start until its last chart, in headless Chromium; None where there is none."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        return None
    try:
        from selenium import webdriver
    except ImportError:
        return None
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for word in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        browser.get(path.as_uri())
        while not browser.execute_script("return document.body.dataset.drawn"):
            time.sleep(0.01)
        return float(browser.execute_script("return performance.now()"))
    finally:
        browser.quit()


def simulate_gate(drop: float, questions: int, repeats: int, *, thresholds: GateThresholds) -> dict[str, float]:
    """Shares of outcomes where the true score drops by `drop`."""
    draw, codes = np.random.default_rng(1), []
    p_right, p_differs = 0.7, 0.2  # of the baseline; of the questions, half of them lost and half won without a drop
    p_lost, p_won = (p_differs + drop) / 2 / p_right, (p_differs - drop) / 2 / (1 - p_right)
    for _ in range(repeats):
        before, change = draw.random(questions) < p_right, draw.random(questions)
        now = np.where(before, change >= p_lost, change < p_won)
        runs = [dict(enumerate(map(float, right))) for right in (now, before)]
        codes.append(decide_outcome(compare(*runs, draws=999, confidence=2 * thresholds.confidence - 1), thresholds)[0])
    words = ("green", "alarm", "undecided")
    return {"drop": drop, "questions": questions} | {w: codes.count(c) / repeats for c, w in enumerate(words)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    repeats = parser.parse_args().repeats
    start = time.perf_counter()
    text = render_page(make_report(500, 500))
    took = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        file.write_text(text, encoding="utf-8")
        figures = {
            "bytes": file.stat().st_size,
            "seconds_to_write": round(took, 2),
            "ms_until_drawn": measure_drawing(file),
        }
    gates = [
        simulate_gate(drop, n, repeats, thresholds=GateThresholds()) for drop in (0.0, 0.05) for n in (200, 520, 1000)
    ]
    print(json.dumps({"page": figures, "gate": gates, "repeats": repeats}, indent=2))
