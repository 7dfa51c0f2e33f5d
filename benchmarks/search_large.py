"""What a search of a large space takes: seconds per ask and memory, 500 trials of over 100,000 architectures.

    python benchmarks/search_large.py                 # prints JSON; the papers' space in the same run as the baseline
    python benchmarks/search_large.py --trials 100

Scores come from a smooth function with noise; no model is called. `seconds_per_ask` is all that the optimizer does for
a trial: choosing it, learning its score, and finding what is paid for. Each space runs in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

from archon_eval.search.config import load_settings
from archon_eval.search.optimizers import build_optimizer
from archon_eval.search.prepare import PlannedSpace
from archon_eval.search.space import compute_features
from archon_eval.simulation.skills import list_models

SPACES: dict[str, Any] = {
    "paper": "paper",
    "large": {"preset": "paper-text", "critic_ranker": [True, False], "temperatures": [0.3, 0.7, 1.0]},
}


def measure(name: str, trials: int) -> dict[str, Any]:
    """One search on one space, in this process."""
    models = [f"sim/{model}" for model in list_models()][:10]
    settings = load_settings({"tasks": "archon_eval/math", "models": models, "space": SPACES[name]})
    start = time.perf_counter()
    space = PlannedSpace.build(settings, models, models, turns=1.0)
    planned = time.perf_counter() - start
    configurations = [option.configuration for option in space.options]
    rows = compute_features(configurations, space.calls)
    draw = np.random.default_rng(0)
    truth = 0.6 + 0.02 * np.tanh(rows @ draw.normal(size=rows.shape[1]) / 3)
    start = time.perf_counter()
    optimizer = build_optimizer(
        "smac", configurations, space.calls, penalty=np.zeros(len(rows)), last_calls=space.last_calls
    )
    built = time.perf_counter() - start
    took = []
    for _ in range(trials):
        start = time.perf_counter()
        asked = optimizer.suggest({})
        assert asked is not None
        told = [(asked.number, asked.last_draws)]
        told += [(number, 1) for number in optimizer.list_paid(asked.draws)][:3]
        for number, times in told:
            score = float(truth[number] + 0.02 * draw.normal())
            variance = 0.015**2 if times > 1 else None
            optimizer.tell(number, score, asked.draws, last_draws=times, last_draw_variance=variance)
        optimizer.estimate()
        took.append(time.perf_counter() - start)
    return {
        "architectures": len(rows),
        "trials": trials,
        "seconds_to_plan": round(planned, 1),
        "seconds_to_build": round(built, 1),
        "seconds_per_ask": round(float(np.mean(took)), 3),
        "seconds_per_ask_of_the_last_50": round(float(np.mean(took[-50:])), 3),
        "longest_ask": round(max(took), 2),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--space", choices=list(SPACES), help="only this one, in this process")
    options = parser.parse_args()
    if options.space:
        print(json.dumps(measure(options.space, options.trials)))
        return
    found = {}
    for name in SPACES:
        command = [sys.executable, __file__, "--space", name, "--trials", str(options.trials)]
        found[name] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    ratio = found["large"]["seconds_per_ask"] / found["paper"]["seconds_per_ask"]
    print(json.dumps({**found, "seconds_per_ask_ratio": round(ratio, 1)}, indent=1))


if __name__ == "__main__":
    main()
