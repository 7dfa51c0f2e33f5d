"""What all answers to one task of lm-eval took together: lm-eval has no place for accounts per document, so the model
hands it this one per task, which `archon_eval.runs.read_lm_eval` finds in the results.

    >>> account = TaskAccount.from_accounts([QuestionAccount("single", "0f", UsageTotals(calls=3, dollars=None))])
    >>> again = TaskAccount.from_metadata(account.to_metadata())
    >>> again.answers, again.usage.calls, again.average().cost["calls"], again.average().cost["dollars"]
    (1, 3, 3.0, None)
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from archon_eval.architecture.spec import Architecture
from archon_eval.errors import DataError, quote
from archon_eval.models.usage_totals import UsageTotals, parse_count
from archon_eval.runs.account import QuestionAccount
from archon_eval.runs.answer_usage import AnswerUsage
from archon_eval.runs.benchmark_run import COST_NAMES, LayerUsage
from archon_eval.runs.layer_health import RunHealth
from archon_eval.runs.stage_usage import StageUsage, summarize_stages
from archon_eval.runs.usage import AverageUsage, average_usages, summarize_layers

ACCOUNTS_KEY = "accounts"
"""Where the accounts are in the model's information in lm-eval's results, by task."""
FAILED_KEY = "failed"
"""Where a search's results say why answers failed: task -> document -> why."""


@dataclass(frozen=True, slots=True)
class TaskAccount:
    """The answers of one architecture to one task."""

    answers: int
    architecture: str
    """Its name."""
    fingerprint: str
    usage: UsageTotals
    """Its `seconds` are the sum of the times until each answer."""
    models: Mapping[str, UsageTotals] = field(default_factory=dict)
    layers: tuple[LayerUsage, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)
    health: RunHealth = field(default_factory=RunHealth)
    stages: tuple[StageUsage, ...] = ()

    @classmethod
    def from_accounts(
        cls, accounts: Sequence[QuestionAccount], architecture: Architecture | None = None
    ) -> "TaskAccount":
        """Of one account per answer, at least one.

        Args:
            architecture: the one that answered, which names the models of its components.
        """
        models = sorted({model for account in accounts for model in account.models})
        return cls(
            answers=len(accounts),
            architecture=accounts[-1].architecture,
            fingerprint=accounts[-1].fingerprint,
            usage=UsageTotals.add_up(account.usage for account in accounts),
            models={
                model: UsageTotals.add_up(account.models[model] for account in accounts if model in account.models)
                for model in models
            },
            layers=summarize_layers(accounts, architecture),
            notes=dict(sum((Counter(account.notes) for account in accounts), Counter[str]())),
            health=RunHealth.from_accounts(accounts),
            stages=summarize_stages(accounts),
        )

    def average(self) -> AverageUsage:
        """Means per answer."""
        together = QuestionAccount(self.architecture, self.fingerprint, self.usage, self.models)
        total = average_usages([AnswerUsage((together,), seconds=self.usage.seconds)])
        return AverageUsage(
            cost=self._divide(total.cost),
            unknown_costs={name: why for name, why in total.unknown_costs.items() if name in COST_NAMES},
            cost_by_model={model: self._divide(costs) for model, costs in total.cost_by_model.items()},
        )

    def _divide(self, costs: Mapping[str, float | None]) -> dict[str, float | None]:
        return {name: None if value is None else value / self.answers for name, value in costs.items()}

    def to_metadata(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "answers": self.answers,
            "architecture": self.architecture,
            "fingerprint": self.fingerprint,
            **self.usage.to_metadata(),
            "models": {model: usage.to_metadata() for model, usage in self.models.items()},
            "layers": [asdict(layer) for layer in self.layers],
            "notes": dict(self.notes),
            "health": self.health.to_metadata(),
            **({"stages": [stage.to_metadata() for stage in self.stages]} if self.stages else {}),
        }

    @classmethod
    def from_metadata(cls, plain: Mapping[str, Any]) -> "TaskAccount":
        """Reads what `to_metadata` wrote.

        Raises:
            DataError: it is damaged.
        """
        try:
            if (answers := parse_count(plain, "answers")) < 1:
                raise DataError("an account of no answer")
            return cls(
                answers=answers,
                architecture=str(plain["architecture"]),
                fingerprint=str(plain["fingerprint"]),
                usage=UsageTotals.from_metadata(plain),
                models={str(model): UsageTotals.from_metadata(usage) for model, usage in plain["models"].items()},
                layers=tuple(
                    LayerUsage(**{**layer, "components": tuple(map(str, layer["components"]))})
                    for layer in plain["layers"]
                ),
                notes={str(word): parse_count(plain["notes"], word) for word in plain["notes"]},
                health=RunHealth.from_metadata(plain["health"]),
                stages=tuple(map(StageUsage.from_metadata, plain.get("stages", ()))),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise DataError(f"not the account of a task, but {quote(repr(plain))}: {exc}") from exc
