"""Agreement of the simulated pool with published figures that it was not given: the ablations of architectures.

    >>> agreement = check_agreement(questions=2, families=("math",), curves=False)
    >>> agreement["spearman"].keys()    # rank correlations to the published figures
    dict_keys(['math'])

The pool is given single-model figures only (Table 35). Here its eight open models of about 70B (the seven in the table,
and a second sample of the best) run each architecture of Archon v1, Table 2. Curves compare more samples of one model
with more models.
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist, StatisticsError, correlation, fmean
from typing import Any

from archon_eval.architecture.load import load_architecture
from archon_eval.architecture.spec import Architecture
from archon_eval.engine.engine import Engine
from archon_eval.simulation.client import SimCaller
from archon_eval.simulation.prompt_recognition import RIGHT, parse_answer, parse_quality, recognize_prompt
from archon_eval.simulation.questions import QuestionBank, SimulatedQuestion
from archon_eval.simulation.simulator import Simulator
from archon_eval.simulation.skills import (
    FAMILIES,
    OPEN_ENDED,
    get_fusion_accuracy,
    get_generation_accuracy,
    has_fusion_figure,
)
from archon_eval.types import Conversation, Message

OPEN_MODELS = (
    "qwen2-72b-instruct",
    "deepseek-llm-67b",
    "qwen1.5-72b-chat",
    "qwen1.5-110b-chat",
    "wizardlm-2-8x22b",
    "llama-3.1-70b-instruct",
    "llama-3.1-405b-instruct",
)
"""The open models of Table 35 of about 70B or more, the kind that the ablations use."""
COLUMNS = ("mt_bench", "alpaca", "alpaca_raw", "arena_hard", "mixeval_hard", "mixeval", "math", "code_contests")
"""Of Table 2; `alpaca_raw` is AlpacaEval without length control."""
PUBLISHED: Mapping[str, tuple[float, ...]] = {
    "single": (55.0, 44.7, 37.1, 45.6, 58.7, 86.5, 73.5, 27.1),
    "ensemble-fuser": (58.4, 57.5, 51.3, 54.3, 60.5, 87.3, 75.5, 22.0),
    "ensemble-critic-fuser": (60.9, 58.7, 65.8, 58.8, 62.4, 87.4, 77.0, 24.5),
    "ensemble-ranker": (52.5, 54.7, 47.6, 50.5, 58.2, 86.8, 71.5, 23.5),
    "ensemble-verifier": (53.2, 56.2, 50.2, 52.4, 56.5, 85.6, 76.0, 24.9),
    "ensemble-unit-tests": (51.5, 54.4, 49.4, 46.1, 55.2, 86.0, 75.0, 25.1),
    "ensemble-ranker-fuser": (62.5, 60.3, 63.6, 57.2, 60.1, 87.6, 76.0, 23.6),
    "ensemble-verifier-fuser": (60.5, 59.4, 58.7, 59.2, 65.1, 87.5, 78.0, 24.5),
    "ensemble-unit-tests-fuser": (61.4, 58.5, 55.1, 56.4, 62.8, 86.9, 77.0, 26.3),
    "ensemble-critic-verifier-fuser": (61.3, 60.0, 61.0, 59.5, 65.5, 87.8, 78.0, 24.8),
    "ensemble-critic-ranker-fuser": (64.7, 62.6, 72.4, 60.9, 67.0, 88.3, 79.5, 24.1),
}
"""Archon v1, Table 2, by preset name; percent, in the order of COLUMNS."""
CURVE_LAYERS: Mapping[str, tuple[str, ...]] = {
    "samples, best of them": (),
    "samples + ranker": ("ranker",),
    "samples + unit tests": ("unit_test_generator", "unit_test_evaluator"),
    "samples + fuser": ("fuser",),
    "ensemble, best of it": (),
    "ensemble + fuser": ("fuser",),
}
"""Layers after the generators; without any, the share of questions on which at least one candidate is right."""
SAMPLE_COUNTS = (1, 2, 4, 8, 16)
"""Points of a curve: doublings, as the effect of samples is read on a logarithmic axis."""


def check_agreement(
    questions: int = 200,
    seed: int = 0,
    families: Sequence[str] = FAMILIES,
    *,
    curves: bool = True,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """The ablation rows, the sampling and the ensembling curve of each family, and rank correlations to the papers.

    Args:
        questions: made-up questions per family.
        seed: of the simulated world.
        families: which of `FAMILIES`.
        curves: also the curves, which take most of the time.
        on_progress: called with how many architectures are done, of how many.
    """
    curve_layers = CURVE_LAYERS if curves else {}
    total, counts = len(families) * (len(PUBLISHED) + len(SAMPLE_COUNTS) * len(curve_layers)), itertools.count(1)

    def measure(benchmark: _SimulatedBenchmark, architecture: Architecture, best: bool = False) -> float:
        accuracy = asyncio.run(benchmark.measure_accuracy(architecture, best))
        on_progress(next(counts), total)
        return accuracy

    ablations: dict[str, dict[str, float]] = {}
    points: dict[str, dict[str, dict[str, float]]] = {}
    for family in families:
        benchmark = _SimulatedBenchmark(family, questions, seed)
        ablations[family] = {name: measure(benchmark, _build_ablation(name, family)) for name in PUBLISHED}
        points[family] = {name: {} for name in curve_layers}
        for name, n in itertools.product(curve_layers, SAMPLE_COUNTS):
            architecture = load_architecture(_build_curve_point(name, n, family))
            points[family][name][str(n)] = measure(benchmark, architecture, best=not curve_layers[name])
    columns = [column for column in COLUMNS if column.removesuffix("_raw") in families]
    return {
        "questions": questions,
        "seed": seed,
        "spearman": {
            column: _correlate_with_published(column, ablations[column.removesuffix("_raw")]) for column in columns
        },
        "ablations": ablations,
        "curves": points,
    }


class _SimulatedBenchmark:
    """Made-up questions of one family and a pool that knows them."""

    def __init__(self, family: str, questions: int, seed: int) -> None:
        self.family = family
        self.known = QuestionBank([make_question(family, number) for number in range(questions)])
        self.caller = SimCaller(Simulator(self.known, seed))

    async def measure_accuracy(self, architecture: Architecture, best: bool = False) -> float:
        """Percent right, or won against the baseline, by the answer or (`best`) by the best of the last candidates."""
        engine, scores = Engine(architecture, self.caller), []
        for question in self.known.questions:
            conversation = (Message("user", question.turns[0]),)
            answer = await engine.run(conversation)
            counted = answer.candidates if best else answer.candidates[:1]
            scores.append(max(self._score_answer(candidate.text, conversation) for candidate in counted))
        return round(100 * fmean(scores), 2)

    def _score_answer(self, text: str, conversation: Conversation) -> float:
        if self.family in OPEN_ENDED:
            return NormalDist().cdf(parse_quality(text))
        return float(parse_answer(text, recognize_prompt(conversation, self.known)) == RIGHT)


def make_question(family: str, number: int) -> SimulatedQuestion:
    """A made-up question, known to no real model; the pool draws how hard it is."""
    text = f"Question {number} of the simulated family {family}: what is the value that belongs to it?"
    right, wrong = (str(1000 + number),), tuple(str(9 * n + number) for n in range(5000, 5005))
    graded = family not in OPEN_ENDED
    return SimulatedQuestion(
        id=f"{family}/{number}",
        family=family,
        turns=(text,),
        right=right if graded else (),
        wrong=wrong if graded else (),
    )


def _build_ablation(preset: str, family: str) -> Architecture:
    """A preset on the open models: the best generator alone, else all of them and the best fuser in later roles."""
    best = sorted(OPEN_MODELS, key=lambda name: -get_generation_accuracy(name, family))
    if preset == "single":
        return load_architecture(preset, [f"sim/{best[0]}"])
    architecture = load_architecture(preset, [f"sim/{name}" for name in (*best, best[0])])
    first, *later = architecture.layers
    fuser = _choose_fuser(family)
    return replace(
        architecture, layers=(first, *(tuple(replace(spec, model=fuser) for spec in layer) for layer in later))
    )


def _build_curve_point(name: str, count: int, family: str) -> dict[str, Any]:
    """`count` samples of the best model, or the `count` best models (beyond seven, further samples); one more layer."""
    best = [f"sim/{model}" for model in sorted(OPEN_MODELS, key=lambda model: -get_generation_accuracy(model, family))]
    fuser = _choose_fuser(family)
    ensemble = [best[n % len(best)] for n in range(count)]
    first: Any = ensemble if name.startswith("ensemble") else {"model": best[0], "samples": count}
    return {"layers": [{"generator": first}, *({kind: fuser} for kind in CURVE_LAYERS[name])]}


def _choose_fuser(family: str) -> str:
    """The best of the open models whose fusion figure is printed."""
    known = (name for name in OPEN_MODELS if has_fusion_figure(name, family))
    return f"sim/{max(known, key=lambda name: get_fusion_accuracy(name, family))}"


def _correlate_with_published(column: str, simulated: Mapping[str, float]) -> float:
    place = COLUMNS.index(column)
    names = list(PUBLISHED)
    return round(compute_spearman([simulated[name] for name in names], [PUBLISHED[name][place] for name in names]), 3)


def compute_spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Rank correlation of two equally long lists, ties sharing their mean rank; 0 if one is constant.

    >>> compute_spearman([1, 2, 3], [10, 30, 20])
    0.5
    """
    try:
        return correlation(_rank_values(first), _rank_values(second))
    except StatisticsError:  # one is constant
        return 0.0


def _rank_values(values: Sequence[float]) -> list[float]:
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2 for value in values
    ]
