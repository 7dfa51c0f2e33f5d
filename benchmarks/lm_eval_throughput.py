"""Model calls per second of lm-eval's generate_until: architectures against lm-eval's own chat model.

    python benchmarks/lm_eval_throughput.py --concurrent 55

All ask the same loopback server (50 ms to a reply, in a process of its own) with the same number of calls under way.
`A1` is ten generators and a fuser, eleven calls a request; `single` is one call. Prints JSON; `ratio_per_call` is the
calls per second of an architecture over those of local-chat-completions, which does one call a request.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lm_eval.models.openai_completions import LocalChatCompletion

from archon_eval.integrations.command_process import freeze_imports
from archon_eval.integrations.lm_eval_model import ArchonLM

TESTS = Path(__file__).parents[1] / "tests"
TASK = {"until": ["Question:"], "max_gen_toks": 256, "do_sample": False}
NAMES = [f"openai/gpt-4o-{letter}" for letter in "abcdefghijk"]
A1 = {"name": "A1", "layers": [{"generator": NAMES[:10]}, {"fuser": NAMES[10]}]}
SINGLE = {"name": "single", "layers": [{"generator": "openai/gpt-4o"}]}


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--calls", type=int, default=1100, help="model calls per measurement")
    parser.add_argument("--concurrent", type=int, default=55, help="calls under way")
    parser.add_argument("--latency", type=float, default=0.05, help="seconds to each reply")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many counts")
    options = parser.parse_args()
    command = [sys.executable, "-m", "fakes.server", "--latency", str(options.latency), "--no-bodies"]
    with subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        os.environ.update(OPENAI_BASE_URL=url, OPENAI_API_KEY="sk-loopback")
        try:
            print(json.dumps(measure(url, options), indent=2))
        finally:
            server.terminate()


def measure(url: str, options: argparse.Namespace) -> dict[str, Any]:
    """All models in turn, the best of several rounds each."""
    at_once = options.concurrent
    models: dict[str, tuple[Any, int]] = {
        "A1": (ArchonLM(A1, num_concurrent=at_once, max_connections=at_once // len(NAMES)), len(NAMES)),
        "single": (ArchonLM(SINGLE, num_concurrent=at_once), 1),
        "local-chat-completions": (
            LocalChatCompletion(base_url=f"{url}/chat/completions", model="gpt-4o", num_concurrent=at_once), 1
        ),
    }  # fmt: skip
    freeze_imports()  # as the command `lm_eval` does
    best = dict.fromkeys(models, 0.0)
    for round_ in range(options.rounds + 1):
        for name, (model, calls) in models.items():
            count = (options.calls if round_ else at_once) // calls
            rate = calls * count / measure_seconds(model, [f"{round_}/{n}: what is {n} + 1?" for n in range(count)])
            if round_:  # the first only warms up
                best[name] = max(best[name], rate)
    return {
        **vars(options),
        "limit_per_second": round(at_once / options.latency),
        "calls_per_second": {name: round(rate, 1) for name, rate in best.items()},
        "requests_per_second": {name: round(rate / models[name][1], 1) for name, rate in best.items()},
        "ratio_per_call": {
            name: round(rate / best["local-chat-completions"], 2)
            for name, rate in best.items()
            if name in ("A1", "single")
        },
    }


def measure_seconds(model: Any, questions: list[str]) -> float:
    """Seconds until all questions are answered."""
    chats = [model.apply_chat_template([{"role": "user", "content": text}]) for text in questions]
    requests = [SimpleNamespace(args=(chat, dict(TASK)), repeats=1, task_name="t") for chat in chats]
    started = time.perf_counter()
    assert len(model.generate_until(requests, disable_tqdm=True)) == len(questions)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
