"""What a simulated model knows, believes and prefers: all the statistics of the pool, and all its assumptions.

    >>> round(SkillModel("gpt-4o", "math").strength, 3)    # 82% of MATH, as a probit
    0.915

A model answers rightly when `strength + question effect + sampling noise > 0`. Strength is the probit of its published
figure. The question effect says how easy this question is for it: one part is shared by all models, one is its own. The
sampling noise belongs to one draw. Effect and noise together have variance 1, so the share of right answers is the
published figure. The same question effect enters when the model judges or fuses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import exp, log, sqrt
from random import Random
from statistics import NormalDist, fmean

from archon_eval.simulation.prompt_recognition import RIGHT
from archon_eval.simulation.questions import SimulatedQuestion
from archon_eval.simulation.seeded_random import draw_normal, draw_uniform
from archon_eval.simulation.skills import OPEN_ENDED, get_fusion_accuracy, get_strength, list_models

SHARED_VARIANCE, MODEL_VARIANCE, SAMPLE_VARIANCE = 0.5, 0.2, 0.3
"""Variance of the difficulty all models share, of a model's own effect on a question, and of a draw. Assumed; sum 1."""
REPEAT_ERROR_RATE = 0.7
"""How often a model in error repeats its own favourite error on that question. Assumed."""
JUDGE_CLARITY = 1.0
"""Distance of right and wrong for a judge who knows the answer, in standard deviations of its noise. Assumed."""
LOGITS_PER_PROBIT = 1.7
"""Log-odds per unit of probit, by which a fuser's question effect counts; the usual factor from probit to logit."""
CRITIQUE_LOG_ODDS = log(0.69 / 0.31)
"""Log-odds by which a critique counts: what one of clarity 1 is worth if its writer knows the answer."""
POSITION_PENALTY = 0.1
"""Log-odds by which each place further back in a prompt counts less."""
OWN_ANSWER_WEIGHT = 0.3
"""What a fuser's own solution weighs against a candidate's 1, so that right from wrong is rare."""
CANDIDATE_QUALITY_WEIGHT = 0.5
"""How much of a fused answer's quality comes from the candidates; the rest is the fuser's own level."""
_FUSED_CANDIDATES = 10
"""Candidates in the papers' ranking stage for fusers (v6 section 3.3)."""
_TRIALS = 2000
"""Simulated questions per model and family: the bonus is then exact to about 1%, in a fraction of a second."""
_BONUS_BOUND = 8.0
"""Log-odds within which the bonus is sought: beyond it, every right candidate wins or loses."""
_BISECTIONS = 30
"""Halvings of that range: down to the eighth decimal."""
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class SkillModel:
    """One model's knowledge of one benchmark family."""

    model: str
    family: str
    seed: int = 0

    @property
    def strength(self) -> float:
        """Probit of its published share of right answers; as a win rate against the baseline, in units of quality."""
        strength = get_strength(self.model, self.family)
        return strength * sqrt(2) if self.family in OPEN_ENDED else strength

    def draw_answer(self, question: SimulatedQuestion, question_effect: float, rng: Random) -> str:
        """`right`, or the wrong answer it holds for right in this draw."""
        if not question.known:
            return ""
        if self.draw_quality(question_effect, rng) > 0:
            return RIGHT
        chance = (
            draw_uniform(self.seed, "favourite", self.model, question.id)
            if rng.random() < REPEAT_ERROR_RATE
            else rng.random()
        )
        return pick_common_error(self.seed, question, chance)

    def draw_quality(self, question_effect: float, rng: Random) -> float:
        """How good its own answer is; above 0 it is right, or, if open-ended, better than the baseline's."""
        return self.strength + question_effect + sqrt(SAMPLE_VARIANCE) * rng.gauss(0, 1)

    def score_answer(self, question: SimulatedQuestion, answer: str, *, own_answer: str, rng: Random) -> float:
        """Log-odds for an answer: informative, with a lasting and a passing error.

        Args:
            question: the question both answer.
            answer: the judged answer, `right` or a normal form; empty if there is none.
            own_answer: what the judge itself holds for right; empty if it has no answer.
            rng: the call's randomness.
        """
        lasting = draw_normal(self.seed, "taste", self.model, question.id, answer) if answer else -1.0
        sign = 0.0 if not own_answer else 0.5 if answer == own_answer else -0.5
        return JUDGE_CLARITY * sign + sqrt(0.5) * lasting + sqrt(0.5) * rng.gauss(0, 1)

    def perceive_quality(self, quality: float, rng: Random) -> float:
        """An open-ended answer's quality as this judge sees it: stronger judges see more clearly."""
        clarity = max(0.4, 1 + 0.5 * (get_strength(self.model, self.family) - get_strength("gpt-4-turbo", self.family)))
        return quality + sqrt(0.5) * rng.gauss(0, 1) / clarity

    def fuse_answers(
        self,
        question: SimulatedQuestion,
        question_effect: float,
        answers: Sequence[str],
        *,
        evidence: Sequence[float],
        rng: Random,
    ) -> str:
        """The answer of a fused response: candidates count by their evidence, right ones more by the fuser's skill."""
        skill = _fit_fuser_bonus(self.model, self.family) + LOGITS_PER_PROBIT * question_effect
        weights = {self.draw_answer(question, question_effect, rng): OWN_ANSWER_WEIGHT}
        for place, (answer, bonus) in enumerate(zip(answers, evidence, strict=True)):
            trust = bonus - POSITION_PENALTY * place + (skill if answer == RIGHT else 0.0)
            weights[answer] = weights.get(answer, 0.0) + exp(trust)
        point = rng.random() * sum(weights.values())
        for answer, weight in weights.items():
            point -= weight
            if point <= 0:
                return answer
        return next(iter(weights))

    def fuse_quality(
        self, question_effect: float, qualities: Sequence[float], *, evidence: Sequence[float], rng: Random
    ) -> float:
        """Quality of a fused open-ended answer: near the candidates that look best, and near the fuser's own level."""
        looks = [
            self.perceive_quality(quality, rng) + bonus for quality, bonus in zip(qualities, evidence, strict=True)
        ]
        own = self.draw_quality(question_effect, rng)
        return (
            CANDIDATE_QUALITY_WEIGHT * _blend_qualities(qualities, looks)
            + (1 - CANDIDATE_QUALITY_WEIGHT) * own
            + _fit_fuser_bonus(self.model, self.family)
        )


def _blend_qualities(qualities: Sequence[float], looks: Sequence[float]) -> float:
    weights = [exp(look - POSITION_PENALTY * place) for place, look in enumerate(looks)]
    return sum(w * q for w, q in zip(weights, qualities, strict=True)) / sum(weights)


def pick_common_error(seed: int, question: SimulatedQuestion, chance: float) -> str:
    """A wrong answer in normal form: the first in popularity half of the time, the next half of the rest, and so on."""
    order = sorted(question.errors, key=lambda form: draw_uniform(seed, "popular", question.id, form))
    return order[min(int(-log(chance) / log(2)), len(order) - 1)] if order else ""


@cache
def _fit_fuser_bonus(model: str, family: str) -> float:
    """The bonus with which the model reaches its published fusion figure on 10 random models' candidates.

    Log-odds for right candidates; for open-ended families, units of quality. Fitted by simulating that stage.
    """
    target, rng = get_fusion_accuracy(model, family), Random(f"{model} {family}")
    trials = [_simulate_fusion(model, family, _NORMAL.inv_cdf((n + 0.5) / _TRIALS), rng=rng) for n in range(_TRIALS)]
    low, high = -_BONUS_BOUND, _BONUS_BOUND
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if family in OPEN_ENDED:
            share = fmean(_NORMAL.cdf(quality + middle) for quality, *_ in trials)
        else:
            boost = exp(middle)
            share = fmean(
                (own + right * boost) / (OWN_ANSWER_WEIGHT + right * boost + wrong) for right, wrong, own in trials
            )
        low, high = (middle, high) if share < target else (low, middle)
    return (low + high) / 2


def _simulate_fusion(model: str, family: str, ease: float, *, rng: Random) -> tuple[float, float, float]:
    """One question of the ranking stage: weights of right and wrong candidates, and of the fuser's answer if right.

    Open-ended: quality before the bonus.
    """
    own = sqrt(SHARED_VARIANCE) * ease + sqrt(MODEL_VARIANCE) * rng.gauss(0, 1)
    fuser = SkillModel(model, family)
    marks = []
    for name in rng.sample(list_models(), _FUSED_CANDIDATES):
        effect = own if name == model else sqrt(SHARED_VARIANCE) * ease + sqrt(MODEL_VARIANCE) * rng.gauss(0, 1)
        marks.append(SkillModel(name, family).draw_quality(effect, rng))
    mine = fuser.draw_quality(own, rng)
    if family in OPEN_ENDED:
        base = _blend_qualities(marks, [fuser.perceive_quality(mark, rng) for mark in marks])
        return CANDIDATE_QUALITY_WEIGHT * base + (1 - CANDIDATE_QUALITY_WEIGHT) * mine, 0.0, 0.0
    right = sum(exp(-POSITION_PENALTY * place) for place, mark in enumerate(marks) if mark > 0)
    wrong = sum(exp(-POSITION_PENALTY * place) for place, mark in enumerate(marks) if mark <= 0)
    return right * exp(LOGITS_PER_PROBIT * own), wrong, OWN_ANSWER_WEIGHT if mine > 0 else 0.0
