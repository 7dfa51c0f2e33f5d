"""What judges that score the answers of a search take: known before, measured since, reserved and kept for the end.

    judging = JudgeCosts(settings, splits)
    judging.estimate_cost(request)          # (160, 0.4): calls and dollars of judging all of its answers
    judging.record(result)                  # what its judges really took, from which the next is estimated

A scorer of this package declares how often it asks its judge; of other scorers one call per answer is taken until an
eval has shown it. A judge that is reminded to give a verdict, or is an architecture, takes more, and shows it too.
"""

from collections.abc import Collection, Mapping
from math import ceil, inf
from typing import Any

from archon_eval.components.token_estimates import TokenAssumptions
from archon_eval.errors import SearchError
from archon_eval.models.call import Usage
from archon_eval.models.prices import load_prices
from archon_eval.runs.answer_usage import GROUND_TRUTH_SCORERS
from archon_eval.runs.eval_worker import EvalResult
from archon_eval.runs.metrics import DECLARED, PACKAGE
from archon_eval.search.config import SearchSettings, TaskSpec
from archon_eval.search.trial import QuestionSplits, TrialRequest

UNKNOWN_CALLS = 1.0
"""Calls of a judge per answer where neither a scorer nor an eval has said how many."""
MIN_CONFIRMED = 3
"""Finalists whose judging is kept free while architectures are tried, besides the best single model's."""
REPORTED = 3
"""Evals on the held-out questions: winner, best single model, best of n."""


def find_declared_calls(task: TaskSpec) -> int | None:
    """Calls of a judge that an answer to a task takes at most, re-asks apart; None where its scorers do not say.

    Raises:
        Exception: whatever loading the task raises.
    """
    if task.harness == "lm-eval":
        return 0
    from inspect_ai.util import registry_info

    from archon_eval._inspect_compat import load_task_spec

    [loaded] = load_task_spec(task.name, dict(task.args))
    counts = [_find_scorer_calls(registry_info(scorer).name) for scorer in loaded.scorer or ()]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _find_scorer_calls(name: str) -> int | None:
    package, _, short = name.rpartition("/")
    if package == PACKAGE:
        return DECLARED[short].judge_calls if short in DECLARED else None
    return 0 if package in ("", "inspect_ai") and short in GROUND_TRUTH_SCORERS else None


class JudgeCosts:
    """How many calls and dollars of judges the answers to each task take."""

    def __init__(
        self, settings: SearchSettings, splits: QuestionSplits, declared: Mapping[str, int | None] | None = None
    ) -> None:
        """
        Args:
            declared: task -> what `find_declared_calls` says; looked up where it is None and judges have a budget.

        Raises:
            SearchError: judges have a budget in dollars, and the price of one is unknown.
        """
        self._settings, self._splits = settings, splits
        self.is_limited = min(settings.budget.judge_calls, settings.budget.judge_dollars) < inf
        """Whether judges have a budget."""
        if declared is None:
            declared = {task.key: find_declared_calls(task) if self.is_limited else None for task in settings.tasks}
        self.declared = declared
        self._measured: dict[str, float] = {}
        self._dollars: dict[str, float] = {}
        self._first_dollars = self._estimate_first_dollars()

    def _estimate_first_dollars(self) -> float:
        """Dollars of one call of the dearest judge that has a role, before any was made."""
        table, assumed = load_prices(self._settings.prices), TokenAssumptions()
        usage = Usage(assumed.wording + assumed.query + 2 * assumed.answer, assumed.reasons)
        names = [_get_model_name(bound) for _, bound in self._settings.model_roles]
        costs = {name: table.compute_cost(name, usage) for name in names if not name.startswith("archon/")}
        unpriced = [name for name, dollars in costs.items() if dollars is None]
        if unpriced and self._settings.budget.judge_dollars < inf:
            raise SearchError(
                f"a budget of judge_dollars needs a price of {', '.join(unpriced)}: name it in a price file (--prices)"
            )
        return max((dollars for dollars in costs.values() if dollars is not None), default=0.0)

    def record(self, result: EvalResult) -> None:
        """Learn from an eval; of several the one that took most per answer counts."""
        answers, task = sum(map(len, result.scores.values())), self._find_task(result)
        if task is None or not answers or result.judge_calls is None:
            return
        calls = result.judge_calls + result.judge_reused
        self._measured[task] = max(self._measured.get(task, 0.0), calls / answers)
        if result.judge_calls and result.judge_dollars is not None:
            per_call = result.judge_dollars / result.judge_calls
            self._dollars[task] = max(self._dollars.get(task, 0.0), per_call)

    def _find_task(self, result: EvalResult) -> str | None:
        return next((task.key for task in self._settings.tasks if result.key.endswith(f"@{task.key}")), None)

    def estimate_calls(self, result: EvalResult) -> float:
        """Judges' calls that the answers of an eval which does not count them are expected to have taken."""
        task = self._find_task(result)
        return sum(map(len, result.scores.values())) * (self.count_per_answer(task) if task else UNKNOWN_CALLS)

    def count_per_answer(self, task: str) -> float:
        """Judges' calls for one scored answer to a task: the most that it declares or an eval has taken."""
        known = [each for each in (self.declared.get(task), self._measured.get(task)) if each is not None]
        return float(max(known, default=UNKNOWN_CALLS))

    def estimate_cost(self, request: TrialRequest, tasks: Collection[str] | None = None) -> tuple[int, float]:
        """Calls and dollars of judging all answers that a request asks for.

        Args:
            tasks: of these alone, instead of all that it asks.
        """
        chosen = self._splits if tasks is None else tasks
        answers = {task: len(request.select_questions(self._splits, task)) for task in chosen}
        return self._sum_cost({task: count * request.answers_per_question for task, count in answers.items()})

    def _sum_cost(self, answers: Mapping[str, float]) -> tuple[int, float]:
        calls = {task: ceil(count * self.count_per_answer(task)) for task, count in answers.items()}
        dollars = sum(count * self._dollars.get(task, self._first_dollars) for task, count in calls.items())
        return sum(calls.values()), dollars

    def estimate_part(self, part: str, times: float = 1.0) -> tuple[int, float]:
        """Calls and dollars of judging one answer, or so many, to every question of a part."""
        return self._sum_cost({task: times * len(parts[part]) for task, parts in self._splits.items()})

    def compute_report_reserve(self) -> tuple[float, float]:
        """What must be left for judging the report; at most half of the budget."""
        budget, report = self._settings.budget, self.estimate_part("test", REPORTED)
        limits = (budget.judge_calls, budget.judge_dollars)
        reserve = [
            0.0 if most == inf else min(float(need), most / 2) for need, most in zip(report, limits, strict=True)
        ]
        return reserve[0], reserve[1]

    def compute_end_reserve(self) -> tuple[float, float]:
        """What a trial must leave for judging finalists and report; of what the report leaves at most half."""
        budget, report = self._settings.budget, self.compute_report_reserve()
        finalists = 1 + min(MIN_CONFIRMED, self._settings.finalists)
        confirm = self.estimate_part("dev", finalists * self._settings.confirm_epochs)
        limits = (budget.judge_calls, budget.judge_dollars)
        reserve = [
            0.0 if most == inf else kept + min(float(need), (most - kept) / 2)
            for kept, need, most in zip(report, confirm, limits, strict=True)
        ]
        return reserve[0], reserve[1]

    def require_budget(self) -> None:
        """Refuse a budget that cannot pay for judging the ranking, one trial, one finalist and the report.

        Raises:
            SearchError: so it is; says what can.
        """
        budget, settings = self._settings.budget, self._settings
        fusers = len(settings.fuser_models)
        ranked = 0 if settings.skip_ranking else len(settings.models) + (fusers if fusers > 1 else 0)
        parts = [self.estimate_part("dev", ranked + 2), self.estimate_part("trial"), self.estimate_part("test", 2)]
        for name, most, needs in (
            ("judge_calls", budget.judge_calls, ceil(sum(calls for calls, _ in parts))),
            ("judge_dollars", budget.judge_dollars, ceil(100 * sum(dollars for _, dollars in parts)) / 100),
        ):
            if needs > most:
                raise SearchError(
                    f"budget {name}={most:g}: judging the ranking, one trial, one finalist with the best single model, "
                    f"and both on the held-out questions takes {needs:g} by estimate: raise it to that at least"
                )


def _get_model_name(bound: Any) -> str:
    """The model of a role, which may have settings: `openai/gpt-4o` or `{model: openai/gpt-4o, temperature: 0}`."""
    return str(bound.get("model", "")) if isinstance(bound, Mapping) else str(bound)


def forecast_judge_calls(
    settings: SearchSettings, splits: QuestionSplits, *, ranked: int, trials: int, finalists: int
) -> dict[str, Any]:
    """Judges' calls of each stage, for a dry run; None where the task's scorers do not say.

    Args:
        ranked: evals that rank models.

    Raises:
        SearchError: a budget of judges that cannot be held, or is too small.
    """
    declared = {task.key: find_declared_calls(task) for task in settings.tasks}
    judging = JudgeCosts(settings, splits, declared)
    judging.require_budget()
    stages = {
        "ranking": judging.estimate_part("dev", ranked),
        "trials": judging.estimate_part("trial", trials),
        "confirming": judging.estimate_part("dev", (finalists + 1) * settings.confirm_epochs),
        "report": judging.estimate_part("test", REPORTED),
    }
    unknown = [task for task, count in declared.items() if count is None]
    if unknown:
        return {
            "expected": None,
            "unknown": f"how often the scorers of {', '.join(unknown)} ask a judge; the first eval shows it",
        }
    calls = {name: count for name, (count, _) in stages.items()}
    return {
        "per_answer": ", ".join(f"{task} {count}" for task, count in declared.items()),
        **calls,
        "expected": sum(calls.values()),
        "budget": None if settings.budget.judge_calls == inf else int(settings.budget.judge_calls),
    }
