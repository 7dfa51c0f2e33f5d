"""Tables of the simulated pool: every architecture of the paper's space on many questions, computed at once.

    table = build("math", questions=1500, seed=0)
    table.right[epoch, question, place]      # of configuration `place` of the space `paper`

The same statistics as `archon_eval.simulation` (its constants and its strengths), over arrays of questions instead of
texts, and as a tree: architectures that begin alike share everything up to where they differ, as with a call store.
"""

import math
import pickle
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from archon_eval.search.space import PRESETS, RANKER_TOP_K, Configuration, compute_features
from archon_eval.simulation import skill_model as m
from archon_eval.simulation.skills import OPEN_ENDED, get_strength, list_models, rank_models

EPOCHS = 12
"""Sets of draws that a search may see: those that trials take, and fresh ones for finalists."""
FURTHER = 24
"""Sets of draws that true performance is the mean of: with few, the best of 9,576 would be the luckiest."""
WRONG = 4
"""Wrong answers there are to a question, as most bundled problems have."""


@dataclass
class Table:
    """What every architecture answers."""

    family: str
    configurations: tuple[Configuration, ...]
    right: Any
    """(epoch, question, configuration), 0 to 255: the probability that the last answer is right (or preferred)."""
    expected: Any
    """(question, configuration): the same, mean over `FURTHER` other sets of draws."""
    calls: Any
    """Calls per question of each configuration."""
    nodes: tuple[tuple[tuple[int, int], ...], ...]
    """Per configuration its groups of calls, (id, calls): equal ids are the same calls."""
    single: Any
    """(epoch, question): the best single model."""

    @cached_property
    def features(self) -> Any:
        """Of every configuration."""
        return compute_features(self.configurations, self.calls.tolist())

    @cached_property
    def truth(self) -> Any:
        """True performance of each: all questions, with draws that no search sees."""
        return self.expected.mean(axis=0, dtype=np.float64)


class World:
    """One family's models and questions; answers are 0 for right, 1.. for wrong ones.

    Worlds with other `draws` have the same questions and models, and other answers.
    """

    def __init__(self, family: str, questions: int, seed: int, *, draws: int = 0) -> None:
        self.rng = np.random.default_rng([seed, len(family)])
        self.family, self.open, self.size = family, family in OPEN_ENDED, EPOCHS * questions
        self.names = rank_models(family)
        self.fusers = sorted(list_models(), key=lambda name: -m.get_fusion_accuracy(name, family))
        spread = m._NORMAL
        ease = np.array([spread.inv_cdf((q + 0.5) / questions) for q in range(questions)], dtype=np.float32)
        self.rng.shuffle(ease)
        own = {n: self._normal(questions) for n in self.names}
        self.leaning = {
            n: np.tile(math.sqrt(m.SHARED_VARIANCE) * ease + math.sqrt(m.MODEL_VARIANCE) * own[n], EPOCHS) for n in own
        }
        self.favourite = {n: np.tile(self._common(self.rng.random(questions)), EPOCHS) for n in own}
        self.taste = {n: np.tile(self.rng.normal(size=(questions, WRONG + 1)), (EPOCHS, 1)) for n in own}
        self.strength = {n: get_strength(n, family) * (math.sqrt(2) if self.open else 1) for n in own}
        self.bonus = {n: m._fit_fuser_bonus(n, family) for n in own}
        self.rng = np.random.default_rng([seed, len(family), draws])

    def _normal(self, *shape: int) -> Any:
        return self.rng.standard_normal(shape, dtype=np.float32)

    def _common(self, chance: Any) -> Any:
        return 1 + np.minimum((-np.log(chance) / math.log(2)).astype(np.int8), WRONG - 1)

    def quality(self, name: str) -> Any:
        return self.strength[name] + self.leaning[name] + math.sqrt(m.SAMPLE_VARIANCE) * self._normal(self.size)

    def answer(self, name: str) -> Any:
        """A model's own answer, or its quality if open-ended."""
        quality = self.quality(name)
        if self.open:
            return quality
        repeats = self.rng.random(self.size) < m.REPEAT_ERROR_RATE
        wrong = np.where(repeats, self.favourite[name], self._common(self.rng.random(self.size)))
        return np.where(quality > 0, 0, wrong).astype(np.int8)

    def looks(self, name: str, answers: Any, evidence: Any) -> Any:
        """How good each candidate looks; answers are (questions, candidates)."""
        noise = self._normal(*answers.shape)
        if self.open:
            clarity = max(0.4, 1 + 0.5 * (get_strength(name, self.family) - get_strength("gpt-4-turbo", self.family)))
            return answers + noise / clarity - self.strength[name] + evidence
        held = self.answer(name)[:, None]
        sign = np.where(answers == held, 0.5, -0.5)
        lasting = np.take_along_axis(self.taste[name], answers.astype(np.int64), 1)
        return m.JUDGE_CLARITY * sign + math.sqrt(0.5) * (lasting + noise) + evidence

    def fuse(self, name: str, answers: Any, evidence: Any, keep: Any = None) -> tuple[Any, Any]:
        """A fused answer, and the probability that it is right (preferred) given the candidates."""
        place = -m.POSITION_PENALTY * np.arange(answers.shape[1], dtype=np.float32)
        if self.open:
            look = self.looks(name, answers, evidence) + self.strength[name] + place
            weights = np.exp(look) if keep is None else np.exp(look) * keep
            base = (weights * answers).sum(1) / weights.sum(1)
            level = (
                m.CANDIDATE_QUALITY_WEIGHT * base
                + (1 - m.CANDIDATE_QUALITY_WEIGHT) * (self.strength[name] + self.leaning[name])
                + self.bonus[name]
            )
            quality = level + math.sqrt(m.SAMPLE_VARIANCE) * self._normal(self.size)
            return quality, _phi(quality)  # the judge's own noise, of variance 1, against the baseline's 0
        weights = np.exp(evidence + place)
        weights = weights if keep is None else weights * keep
        own = self.answer(name)
        totals = np.stack(
            [(weights * (answers == a)).sum(1) + m.OWN_ANSWER_WEIGHT * (own == a) for a in range(WRONG + 1)], 1
        )
        totals[:, 0] *= np.exp(self.bonus[name] + m.LOGITS_PER_PROBIT * self.leaning[name])
        edges = np.cumsum(totals, 1)
        point = self.rng.random(self.size) * edges[:, -1]
        return (point[:, None] > edges).sum(1).clip(0, WRONG).astype(np.int8), totals[:, 0] / edges[:, -1]

    def verified(self, name: str, answers: Any, evidence: Any, tests: bool) -> Any:
        """Which candidates pass the verifier or the unit tests; all where none does."""
        look = self.looks(name, answers, 0 * evidence)
        if tests:
            count = self.rng.integers(5, 11, self.size)[:, None]
            worst = -np.sqrt(2 * np.log(count)) * 0.5 * (1 + 0.25 * self._normal(*answers.shape))
            passed = look + 1 + worst > 0
        else:
            passed = look > 0
        return passed | ~passed.any(1, keepdims=True)


def _phi(x: Any) -> Any:
    return 1 / (1 + np.exp(-1.702 * x))


def build(family: str, questions: int = 1000, seed: int = 0, *, keep: Path | None = None) -> Table:
    """The table of one family, the same for the same arguments; a minute or two, unless it was kept in a folder."""
    path = keep / f"{family}-{questions}-{seed}.pickle" if keep else None
    if path and path.is_file():
        table: Table = pickle.loads(path.read_bytes())
        table.configurations = tuple(PRESETS["paper"].list_configurations(10))  # as this version has them
        return table
    table = _answer_all(family, questions, seed, draws=0)
    total = np.zeros(table.right.shape[1:], dtype=np.float32)
    for draws in range(1, 1 + FURTHER // EPOCHS):
        total += _answer_all(family, questions, seed, draws=draws).right.sum(axis=0, dtype=np.uint32)
    table.expected = total / np.float32(255 * FURTHER)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".part").write_bytes(pickle.dumps(table))
        path.with_suffix(".part").replace(path)
    return table


def _answer_all(family: str, questions: int, seed: int, *, draws: int) -> Table:
    world = World(family, questions, seed, draws=draws)
    space = PRESETS["paper"]
    listed = space.list_configurations(len(world.names))
    places = {(c.generators, c.samples, c.fusers, c.evaluation): n for n, c in enumerate(listed)}
    right = np.zeros((world.size, len(listed)), dtype=np.uint8)
    nodes: list[tuple[tuple[int, int], ...]] = [()] * len(listed)
    first = {(name, s): world.answer(name) for name in world.names[:10] for s in range(5)}
    numbers = {key: n for n, key in enumerate(first)}
    counter = [len(numbers)]
    judge = world.fusers[0]

    def fresh() -> int:
        counter[0] += 1
        return counter[0]

    def walk(root: tuple[int, int], stack: tuple[int, ...], answers: Any, paid: tuple[tuple[int, int], ...]) -> None:
        critique = np.where(world.looks(judge, answers, 0) > 0, m.CRITIQUE_LOG_ODDS, -m.CRITIQUE_LOG_ODDS).astype(
            np.float32
        )
        order = np.argsort(-world.looks(judge, answers, critique), 1)[:, :RANKER_TOP_K]
        top = np.take_along_axis(answers, order, 1)
        evidence = np.take_along_axis(critique, order, 1)
        paid = (*paid, (fresh(), 2))
        made = [world.fuse(name, top, evidence)[0] for name in world.fusers[:8]] if len(stack) < 3 else []
        ids = [fresh() for _ in made]
        if stack:
            for evaluation in space.evaluations:
                keep, extra = None, ()
                # the first fuser of a further layer is the same call as the last fuser of this stack
                last = ids[0] if ids and evaluation == "none" else fresh()
                if evaluation != "none":
                    keep = world.verified(judge, top, evidence, evaluation == "unit_tests")
                    calls = 2 * top.shape[1] if evaluation == "verifier" else 1 + top.shape[1]
                    extra = ((fresh(), calls),)
                _, chance = world.fuse(world.fusers[0], top, evidence, keep)
                place = places[(*root, (*stack, 1), evaluation)]
                right[:, place] = np.rint(255 * chance)
                nodes[place] = (*paid, *extra, (last, 1))
        if made:
            for width in space.fusers:
                walk(root, (*stack, width), np.stack(made[:width], 1), (*paid, *((i, 1) for i in ids[:width])))

    for g, s in sorted({(c.generators, c.samples) for c in listed}):
        keys = [(name, k) for name in world.names[:g] for k in range(s)]
        walk((g, s), (), np.stack([first[key] for key in keys], 1), tuple((numbers[key], 1) for key in keys))
    single = first[(judge, 0)]
    shown = _phi(single) if world.open else (single == 0).astype(np.float64)
    return Table(
        family=family,
        configurations=tuple(listed),
        right=right.reshape(EPOCHS, questions, -1),
        expected=None,
        calls=np.array([sum(n for _, n in node) for node in nodes]),
        nodes=tuple(nodes),
        single=shown.reshape(EPOCHS, questions),
    )
