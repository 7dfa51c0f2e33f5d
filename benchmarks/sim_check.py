"""How far the simulated pool agrees with the papers' ablations, as JSON.

    python benchmarks/sim_check.py --questions 400 --seed 0
    python benchmarks/sim_check.py --questions 1500 --no-curves

See `archon_eval.simulation.check`; the figures in docs/simulation.md come from these two commands.
"""

import argparse
import json

from archon_eval.simulation.check import check_agreement

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Rank correlation of the simulated pool with the papers' ablations.")
    parser.add_argument("--questions", type=int, default=200, help="made-up questions per benchmark family")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--curves", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    print(json.dumps(check_agreement(options.questions, options.seed, curves=options.curves), indent=1))
