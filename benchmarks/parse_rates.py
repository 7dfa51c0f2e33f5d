"""How often replies can be read: `python benchmarks/parse_rates.py [--model NAME] [--questions 2]` prints JSON.

Every component that calls a model answers bundled questions with its own prompt. Per component:

- `asked`: how often a reply in a form was asked for; of these, `read_at_once`, `after_reask` and `fallback`, which may
  still use a part of the reply;
- `outcomes`, `unread`: verdicts, critiques or tests by the account of the questions, and those that could not be read;
- `cut`: replies that ended at the token limit, of all `calls`;
- `reasons`: the commonest reasons why a reply could not be read;
- `holds_prompt`, of a fuser: texts that repeat a sentence of the prompt, not of the question or a candidate.

Without --model the small model of `examples/llama_server.py` answers, or the simulated pool where it is not installed.
"""

import argparse
import asyncio
import json
import os
import re
import sys
from collections import Counter
from importlib import resources
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

from archon_eval import Archon, PricedAnswer
from archon_eval.engine.trace import Answer, TraceStep
from archon_eval.runs.account import QuestionAccount

SMALL_MODEL = "openai-api/llama/SmolLM2-135M-Instruct"
LAYERS = [
    {"generator": {"model": "$1", "samples": 3}},
    {"unit_test_generator": {"model": "$1", "max_tests": 5}},
    {"unit_test_evaluator": {"model": "$1", "keep": "all"}},
    {"critic": "$1"},
    {"ranker": {"model": "$1", "top_k": 3}},
    {"verifier": "$1"},
    {"fuser": "$1"},
]
"""Those that filter come last, so that the others have three candidates to read."""
LONG_SENTENCE = 25
"""Characters from which a sentence of a prompt is no chance match."""


def start_small_model() -> tuple[Any, str]:
    """A server with the small model, to be kept, and the model's name; the simulated pool where it is not installed."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
    import llama_server

    try:
        server = llama_server.start_server(llama_server.find_small_model(), context=4096)
    except (ImportError, PackageNotFoundError):
        return None, "sim/pool"
    os.environ |= {"LLAMA_BASE_URL": f"{server.listening_address}/v1", "LLAMA_API_KEY": "none"}
    return server, SMALL_MODEL


def load_questions(sample: str, count: int) -> list[str]:
    """The first questions of a bundled file."""
    text = (resources.files("archon_eval.samples") / f"{sample}.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()[:count]]
    return [row.get("question") or row.get("problem") or row["prompt"] for row in rows]


async def answer_all(archon: Archon, questions: list[str], at_once: int) -> list[PricedAnswer]:
    """The answers to all questions."""
    free = asyncio.Semaphore(at_once)

    async def answer(question: str) -> PricedAnswer:
        async with free:
            return await archon.generate(question)

    return await asyncio.gather(*map(answer, questions))


def measure_layer(archon: Archon, answers: list[PricedAnswer], layer: int) -> dict[str, Any]:
    """The figures of one layer over all answers."""
    figures: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for answer in answers:
        trail = answer.trail
        steps = [step for step in trail.steps if step.layer == layer]
        notes = [note for note in trail.notes if note.layer == layer]
        again = {(note.about, note.detail.partition(":")[0]) for note in notes if note.what == "reask"}
        fell = {(note.about, note.detail.partition(":")[0]) for note in notes if note.what == "fallback"}
        asked = sum(outcome.layer == layer and not outcome.is_text for outcome in trail.outcomes)
        figures.update(
            asked=asked,
            read_at_once=asked - len(again | fell),
            after_reask=len(again - fell),
            fallback=len(fell),
            calls=len(steps),
            cut=sum(step.reply is not None and step.reply.stop_reason == "max_tokens" for step in steps),
            holds_prompt=sum(map(holds_prompt, steps)) if steps and steps[0].kind == "fuser" else 0,
        )
        reasons.update(shorten_reason(note.detail) for note in notes if note.what in ("reask", "fallback"))
        account = QuestionAccount.from_answer(
            archon.architecture, Answer(answer.text, answer.candidates, trail, answer.seconds)
        )
        for counts in account.layers[layer - 1].outcomes:
            figures.update(outcomes=counts.count, unread=counts.problems.get("unread", 0))
    return {**figures, "reasons": dict(reasons.most_common(3))}


def holds_prompt(step: TraceStep) -> bool:
    """Whether a reply repeats a sentence of its prompt that neither the question nor a candidate has."""
    prompt, text = step.messages[-1].content, step.reply.text if step.reply else ""
    frame = re.sub(r"<(\w+)[^>]*>\n.*?\n</\1>", "\n", prompt, flags=re.DOTALL)
    sentences = (sentence.strip() for sentence in re.split(r"(?<=[.:?!])\s+|\n", frame))
    return any(len(sentence) >= LONG_SENTENCE and sentence in text for sentence in sentences)


def shorten_reason(detail: str) -> str:
    """A reason without what is particular to one reply: quotations and numbers."""
    reason = re.split(r" in ['\"]|; ", detail)[0]
    return re.sub(r"\d+", "N", re.sub(r"'[^']*'|\"[^\"]*\"", "...", reason))[:100]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help=f"Inspect's name, or sim/pool (default: {SMALL_MODEL}, else sim/pool)")
    parser.add_argument("--questions", type=int, default=2, help="how many (%(default)s)")
    parser.add_argument("--sample", default="gsm8k", help="of which bundled file: gsm8k, math, easy (%(default)s)")
    parser.add_argument("--max-tokens", type=int, default=160, help="of a reply (%(default)s)")
    parser.add_argument("--retries", type=int, default=2, help="how often to ask again, at least 1 (%(default)s)")
    parser.add_argument("--at-once", type=int, default=2, help="questions at the same time (%(default)s)")
    given = parser.parse_args()
    server, model = (None, given.model) if given.model else start_small_model()
    settings = {"max_tokens": given.max_tokens, "max_parse_retries": max(1, given.retries)}
    archon = Archon({"name": "all-components", **settings, "layers": LAYERS}, models=model)
    questions = load_questions(given.sample, given.questions)
    answers = asyncio.run(answer_all(archon, questions, given.at_once))
    components = {
        next(iter(layer)): measure_layer(archon, answers, place)
        for place, layer in enumerate(LAYERS, 1)
        if "generator" not in layer
    }
    found = {"model": model, "sample": given.sample, "questions": len(questions), **settings, "components": components}
    print(json.dumps(found, indent=2), flush=True)
    if server is not None:
        os._exit(0)  # the server's threads are in the middle of something


if __name__ == "__main__":
    main()
