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
from archon_eval.search.controls import count_controls
from archon_eval.search.task_facts import TaskFacts
from archon_eval.search.trial import QuestionSplits, TrialRequest, count_questions

UNKNOWN_CALLS = 1.0
"""Calls of a judge per answer where neither a scorer nor an eval has said how many."""
MIN_CONFIRMED = 3
"""Finalists whose judging is kept free while architectures are tried, besides the best single model's."""


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
        self,
        settings: SearchSettings,
        splits: QuestionSplits,
        declared: Mapping[str, int | None] | None = None,
        *,
        facts: Mapping[str, TaskFacts] = {},
    ) -> None:
        """
        Args:
            facts: of each task, by which the winner's controls are chosen.
            declared: task -> what `find_declared_calls` says; looked up where it is None and judges have a budget.

        Raises:
            SearchError: judges have a budget in dollars, and the price of one is unknown.
        """
        self._settings, self._splits = settings, splits
        self._reported = 2 + count_controls(facts)
        """Evals on the held-out questions at most: winner, best single model, and their controls."""
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
        """What must be left for judging the report, whole: none of its evals is left out."""
        budget, (calls, dollars) = self._settings.budget, self.estimate_part("test", self._reported)
        return (calls if budget.judge_calls < inf else 0), (dollars if budget.judge_dollars < inf else 0)

    def compute_end_reserve(self) -> tuple[float, float]:
        """What a trial must leave for judging report and finalists: one of these, and more by half of what the report
        leaves."""
        budget, report = self._settings.budget, self.compute_report_reserve()
        limits = (budget.judge_calls, budget.judge_dollars)
        reserve = [
            0.0 if most == inf else kept + min(need, max(least, (most - kept) / 2))
            for kept, need, least, most in zip(
                report, self._estimate_confirming(MIN_CONFIRMED), self._estimate_confirming(1), limits, strict=True
            )
        ]
        return reserve[0], reserve[1]

    def require_budget(self) -> None:
        """Refuse a budget that cannot pay for judging the ranking and one trial, and keep the end free of them.

        Raises:
            SearchError: so it is; says what can.
        """
        budget, settings = self._settings.budget, self._settings
        fusers = len(settings.fuser_models)
        ranked = 0 if settings.skip_ranking else len(settings.models) + (fusers if fusers > 1 else 0)
        first, trial = self.estimate_part("dev", ranked), self.estimate_part("trial", settings.initial_last_draws)
        few, confirm = self._estimate_confirming(1), self._estimate_confirming(MIN_CONFIRMED)
        report = self.estimate_part("test", self._reported)
        before = first[0] + trial[0], first[1] + trial[1]
        calls, dollars = (  # `before` fits besides `compute_end_reserve` from here on
            before[n] + min(confirm[n], max(few[n], before[n])) + report[n] for n in range(len(before))
        )
        for name, most, needs in (
            ("judge_calls", budget.judge_calls, ceil(calls)),
            ("judge_dollars", budget.judge_dollars, ceil(100 * dollars) / 100),
        ):
            if needs > most:
                raise SearchError(
                    f"budget {name}={most:g}: judging the ranking and one trial, with what is kept free for finalists "
                    f"and the report, takes {needs:g} by estimate: raise it to that at least"
                )

    def _estimate_confirming(self, finalists: int) -> tuple[int, float]:
        """Calls and dollars of judging so many finalists, and the best single model."""
        settings, evals = self._settings, 1 + min(finalists, self._settings.finalists)
        return self.estimate_part("dev", evals * settings.confirm_epochs * settings.confirm_last_draws)


def _get_model_name(bound: Any) -> str:
    """The model of a role, which may have settings: `openai/gpt-4o` or `{model: openai/gpt-4o, temperature: 0}`."""
    return str(bound.get("model", "")) if isinstance(bound, Mapping) else str(bound)


def forecast_judge_calls(
    settings: SearchSettings, splits: QuestionSplits, facts: Mapping[str, TaskFacts], *, answers: Mapping[str, int]
) -> dict[str, Any]:
    """Judges' calls of each stage, for a dry run; None where the task's scorers do not say.

    Args:
        facts: of each task, by which the winner's controls are chosen.
        answers: stage -> answers to score, as `forecast_stages` expects them.

    Raises:
        SearchError: a budget of judges that cannot be held, or is too small.
    """
    declared = {task.key: find_declared_calls(task) for task in settings.tasks}
    judging = JudgeCosts(settings, splits, declared, facts=facts)
    judging.require_budget()
    parts = {"ranking": "dev", "trials": "trial", "confirming": "dev", "report": "test"}
    expected = {
        stage: judging.estimate_part(part, answers[stage] / count_questions(splits, part))
        for stage, part in parts.items()
    }
    unknown = [task for task, count in declared.items() if count is None]
    if unknown:
        return {
            "expected": None,
            "unknown": f"how often the scorers of {', '.join(unknown)} ask a judge; the first eval shows it",
        }
    calls = {name: count for name, (count, _) in expected.items()}
    return {
        "per_answer": ", ".join(f"{task} {count}" for task, count in declared.items()),
        **calls,
        "expected": sum(calls.values()),
        "budget": None if settings.budget.judge_calls == inf else int(settings.budget.judge_calls),
    }
