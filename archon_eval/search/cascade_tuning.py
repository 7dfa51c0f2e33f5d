"""`archon tune`: fits a cascade's thresholds and router table on the dev fifth, and measures it on the held-out rest.

    tuning = CascadeTuning(settings, load_architecture("cascade", models))
    tuned = tuning.fit()                   # every stage is asked once on the dev questions
    runs = tuning.measure(tuned)           # the tuned cascade and its stages on the others

Each stage is run by itself, with its rule measuring behind it, and all evals share one call store. So a stage that
begins like another, and the tuned cascade after its stages, pay for what nobody paid before.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from archon_eval._files import write_whole
from archon_eval.architecture.routing import choose_row
from archon_eval.architecture.spec import Architecture
from archon_eval.architecture.stages import StageSpan, list_targets
from archon_eval.components import build_component
from archon_eval.components.acceptance import AcceptRule
from archon_eval.engine.plan import Plan, plan
from archon_eval.errors import DataError, SearchError, did_you_mean
from archon_eval.models.prices import load_prices
from archon_eval.models.usage_totals import UsageTotals, sum_dollars
from archon_eval.runs.benchmark_run import Run
from archon_eval.runs.door import Door
from archon_eval.runs.eval_worker import EvalJob, EvalResult, run_job
from archon_eval.runs.read_log import read_run
from archon_eval.search.cascade_fit import FittedCascade, StageRecord, Start, fit_cascade
from archon_eval.search.cascade_observations import StageObservation, add_layers, read_observations
from archon_eval.search.cascade_parts import apply_fit, flatten_stage, measure_stage
from archon_eval.search.questions import choose_dev_share, load_questions
from archon_eval.search.setting_parts import TaskSpec

UNITS = ("calls", "tokens", "dollars")
"""What an answer of the tuned cascade may be limited in."""
HeldOut = Literal["all", "cascade", "none"]
"""What is measured on the held-out questions: the tuned cascade and each stage alone, the cascade alone, or nothing."""
TunedEvalCallback = Callable[[str, int, int], None]
"""Is called with the eval that begins, how many are done, and of how many."""


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """What to tune for."""

    task: TaskSpec
    folder: Path
    limits: Mapping[str, float]
    """A name of UNITS -> most that an answer may take in the mean."""
    budget: Mapping[str, float]
    """`calls` and `dollars`: most that all evals together may pay."""
    epochs: int = 1
    """Answers per dev question."""
    dev_share: float | None = None
    """None for the usual fifth."""
    held_out: HeldOut = "all"
    door: str = "auto"
    solver_args: tuple[tuple[str, Any], ...] = ()
    model_roles: tuple[tuple[str, str], ...] = ()
    prices: str | None = None
    learns_rows: bool = False
    """Whether a table for the router is learnt."""

    def __post_init__(self) -> None:
        for name, values, legal in (("limit", self.limits, UNITS), ("budget", self.budget, ("calls", "dollars"))):
            for unit, value in values.items():
                if unit not in legal:
                    raise SearchError(f"--{name} {unit}: unknown unit{did_you_mean(unit, legal)}")
                if type(value) not in (int, float) or not 0 < value < math.inf:
                    raise SearchError(f"--{name} {unit}={value}: must be a number above 0")
        if not self.limits:
            raise SearchError(
                "tune needs a limit on what an answer may take in the mean, e.g. --limit dollars=0.002 or "
                "--limit calls=8"
            )


@dataclass(frozen=True, slots=True)
class PlannedEval:
    """One eval of the tuning, before it is paid."""

    name: str
    architecture: Architecture
    questions: tuple[str, ...]
    epochs: int
    plan: Plan


@dataclass(frozen=True, slots=True)
class TunedCascade:
    """What came of the dev questions."""

    architecture: Architecture
    fitted: FittedCascade
    alone: Mapping[str, tuple[float, tuple[float, ...]]]
    """Stage -> its score on the dev questions, and what it costs alone."""
    answers: int
    """By which it was fitted."""
    left_out: int
    """Answers without a score of every stage."""


class CascadeTuning:
    """One tuning: all its evals, in this process."""

    def __init__(
        self, settings: TuneSettings, architecture: Architecture, on_eval: TunedEvalCallback = lambda *_: None
    ) -> None:
        """
        Raises:
            SearchError: nothing to tune, a task that cannot be tuned on, or a limit that no stage can keep.
        """
        self.settings, self.architecture, self._on_eval = settings, architecture, on_eval
        self._units = tuple(settings.limits)
        self._prices = load_prices(settings.prices)
        self._calls = 0
        self._dollars: float | None = 0.0
        self._done = 0
        _check_architecture(architecture, settings)
        if settings.task.harness != "inspect":
            raise SearchError(
                "tune reads the account of each answer, which lm-eval has no place for: --harness inspect"
            )
        loaded = load_questions(settings.task, dict(settings.solver_args), settings.door)
        if several := next((question for question, asked in loaded.answers.items() if asked > 1), None):
            raise SearchError(
                f"task {settings.task.name}: question {several!r} asks for several answers, each of which a cascade "
                "decides by itself, and their one score says nothing of either"
            )
        self.door: Door = loaded.door.door
        self.door_sentence = loaded.door.sentence
        dev = loaded.dev
        if settings.dev_share is not None:
            dev = choose_dev_share(loaded.answers, dev, settings.dev_share)
        self.dev = tuple(question for question in loaded.answers if question in dev)
        self.test = tuple(question for question in loaded.answers if question not in dev)
        if not self.dev or not self.test:
            raise SearchError(f"task {settings.task.name}: {len(loaded.answers)} questions cannot be split")
        self._alone = [flatten_stage(architecture, place) for place in range(len(architecture.stages))]
        self._check_limits()

    def list_evals(self) -> list[PlannedEval]:
        """All evals with what each takes at most, the call store apart."""
        evals = [
            self._plan_eval(
                f"dev/{stage.name}", measure_stage(self.architecture, place), self.dev, self.settings.epochs
            )
            for place, stage in enumerate(self.architecture.stages)
        ]
        if self.architecture.router is not None and self.architecture.router.model:
            evals.append(self._plan_eval("dev/router", self._build_routed(), self.dev, self.settings.epochs))
        if self.settings.held_out == "all":
            evals += [self._plan_eval(f"test/{each.name}", each, self.test, 1) for each in self._alone]
        if self.settings.held_out != "none":
            evals.append(self._plan_eval("test/tuned", self.architecture, self.test, 1))
        return evals

    def fit(self) -> TunedCascade:
        """Run every stage on the dev questions and choose.

        Raises:
            ArchonError: an eval that fails, the budget that is spent, or limits that nothing keeps.
        """
        spans, stages = self.architecture.spans, self.architecture.stages
        evals = {each.name: each for each in self.list_evals()}
        observed = [self._observe(evals[f"dev/{stage.name}"]) for stage in stages]
        routed = self._observe(evals["dev/router"]) if "dev/router" in evals else None
        keys = [key for key in observed[0] if all(key in each for each in [*observed, *([routed] if routed else [])])]
        if not keys:
            raise SearchError("no dev question has a score of every stage")
        records = [
            self._build_record(place, span, [each[key] for key in keys])
            for place, (span, each) in enumerate(zip(spans, observed, strict=True))
        ]
        features = [observed[0][key].features for key in keys]
        fitted = fit_cascade(
            records,
            [self.settings.limits[unit] for unit in self._units],
            start=self._find_start(features, [routed[key] for key in keys] if routed is not None else None),
            features=features if self.settings.learns_rows else None,
            targets=list_targets(stages),
        )
        alone = {
            record.name: (float(record.scores.mean()), tuple(map(float, self._sum_alone(place, records).mean(axis=0))))
            for place, record in enumerate(records)
        }
        tuned = apply_fit(self.architecture, fitted, learnt=self.settings.learns_rows)
        asked = len(self.dev) * self.settings.epochs
        result = TunedCascade(tuned, fitted, alone, len(keys), asked - len(keys))
        self._write(result)
        return result

    def measure(self, tuned: TunedCascade) -> dict[str, Run]:
        """The tuned cascade, `tuned`, and each stage alone on the held-out questions, as far as asked.

        Raises:
            ArchonError: an eval that fails, or the budget that is spent.
        """
        runs: dict[str, Run] = {}
        wanted = self._alone if self.settings.held_out == "all" else []
        for architecture in wanted:
            runs[architecture.name] = self._run_held_out(architecture.name, architecture)
        if self.settings.held_out != "none":
            runs["tuned"] = self._run_held_out("tuned", replace(tuned.architecture, name="tuned"))
        return runs

    @property
    def paid(self) -> Mapping[str, float | None]:
        """Calls and dollars so far, those from the call store left out; None where the dollars are unknown."""
        return {"calls": self._calls, "dollars": self._dollars}

    def _find_start(
        self, features: Sequence[Mapping[str, float]], routed: "Sequence[StageObservation] | None"
    ) -> Start | None:
        """Where each answer begins, by the cascade's router as it is; None without one.

        Args:
            routed: of a router that asks a model, what it chose.
        """
        router = self.architecture.router
        if router is None:
            return None
        names, only = [stage.name for stage in self.architecture.stages], bool(router.get_option("only"))
        if routed is not None:
            chosen = [each.account.stages[0].name for each in routed]
            costs = np.array([self._measure_costs(each.account.numbered_layers[1].usage) for each in routed])
            return Start(np.array([names.index(name) for name in chosen]), only, costs)
        rows = [choose_row(router.get_option("rows"), each) for each in features]
        default = str(router.get_option("default"))
        return Start(np.array([names.index(str(row["stage"]) if row else default) for row in rows]), only)

    def _check_limits(self) -> None:
        """Refuse limits that the cheapest stage alone exceeds, as far as that is known before a call."""
        plans = [plan(each, prices=self._prices) for each in self._alone]
        if "calls" in self.settings.limits:
            least = min(each.calls[0] for each in plans)
            if least > self.settings.limits["calls"]:
                raise SearchError(
                    f"--limit calls={self.settings.limits['calls']:g}: no threshold can meet it, as the cheapest stage "
                    f"takes at least {least} calls per question"
                )
        if "dollars" in {*self.settings.limits, *self.settings.budget}:
            unpriced = sorted({model for each in plans for model in each.unpriced})
            if unpriced:
                raise SearchError(f"a limit in dollars needs a price of {', '.join(unpriced)}: give --prices FILE")

    def _plan_eval(self, name: str, architecture: Architecture, questions: Sequence[str], epochs: int) -> PlannedEval:
        return PlannedEval(name, architecture, tuple(questions), epochs, plan(architecture, prices=self._prices))

    def _build_routed(self) -> Architecture:
        """The whole cascade with rules that only measure: what the router chooses, and nothing new is paid but it."""
        return replace(self.architecture, name=f"{self.architecture.name}/router", measure_only=True)

    def _run(self, each: PlannedEval, *, total: int) -> EvalResult:
        self._on_eval(each.name, self._done, total)
        settings = self.settings
        left = {unit: limit - (self.paid[unit] or 0.0) for unit, limit in settings.budget.items()}
        if spent := [unit for unit, rest in left.items() if rest < (1 if unit == "calls" else 1e-12)]:
            raise SearchError(f"the budget of {settings.budget[spent[0]]:g} {spent[0]} is spent before {each.name}")
        job = EvalJob(
            key=each.name,
            architecture=each.architecture.to_mapping(),
            task=settings.task,
            questions=each.questions,
            epochs=each.epochs,
            max_calls=int(left["calls"]) if "calls" in left else None,
            max_dollars=left.get("dollars"),
            solver_args=(("store", str(settings.folder / "calls.db")), *settings.solver_args),
            model_roles=settings.model_roles,
            prices=settings.prices,
            log_dir=str(settings.folder / "logs"),
            door=self.door,
        )
        result = run_job(job)
        self._done += 1
        if result.error:
            raise SearchError(f"{each.name}: {result.error}")
        self._calls += result.calls
        self._dollars = sum_dollars([self._dollars, result.dollars])
        if result.failed and not result.scores:
            question, why = next(iter(result.failed.items()))
            raise SearchError(f"{each.name}: every question failed; {question}: {why}")
        return result

    def _observe(self, each: PlannedEval) -> dict[tuple[str, int], "StageObservation"]:
        total = len(self.list_evals())
        result = self._run(each, total=total)
        try:
            return read_observations(result.log, self.settings.task)
        except DataError as exc:
            raise SearchError(f"{each.name}: {exc}") from exc

    def _run_held_out(self, name: str, architecture: Architecture) -> Run:
        each = self._plan_eval(f"test/{name}", architecture, self.test, 1)
        result = self._run(each, total=len(self.list_evals()))
        task = self.settings.task
        return read_run(result.log, task.scorer, "drop", metric=task.metric)

    def _build_record(self, place: int, span: StageSpan, seen: Sequence["StageObservation"]) -> StageRecord:
        own = span.last - span.first + 1
        depth = len(self._alone[place].layers)
        rule = None if span.rule is None else self._build_rule(span.rule)
        fixed = rule is not None and "threshold" not in rule.kind.options
        stages = self.architecture.stages
        measured = [each.account.stages[-1].score if rule is not None else None for each in seen]
        costs = [self._measure_costs(add_layers(each.account, range(depth - own + 1, depth + 1))) for each in seen]
        rules = [
            self._measure_costs(each.account.stages[-1].rule_usage or UsageTotals())
            if rule is not None
            else [0.0] * len(self._units)
            for each in seen
        ]
        return StageRecord(
            name=span.stage.name,
            scores=np.array([each.score for each in seen]),
            costs=np.array(costs),
            rule_costs=np.array(rules),
            measured=np.array([math.nan if value is None else value for value in measured]),
            has_rule=rule is not None,
            threshold=1.0 if fixed else None,
            droppable=not span.stage.keep and not (place and stages[place - 1].keep),
        )

    def _build_rule(self, number: int) -> AcceptRule:
        rule = build_component(self.architecture.layers[number - 1][0], f"layer {number}")
        assert isinstance(rule, AcceptRule)
        return rule

    def _sum_alone(self, place: int, records: Sequence[StageRecord]) -> Any:
        """What a stage costs alone, with those before it whose candidates it goes on from."""
        costs = records[place].costs
        while place and self.architecture.stages[place - 1].keep:
            place -= 1
            costs = costs + records[place].costs
        return costs

    def _measure_costs(self, usage: UsageTotals) -> list[float]:
        values = {"calls": usage.calls, "tokens": usage.tokens, "dollars": usage.dollars}
        costs = [values[unit] for unit in self._units]
        if None in costs:
            raise SearchError("the dollars of a call are unknown, so no limit in dollars can be kept")
        return [float(cost or 0.0) for cost in costs]

    def _write(self, tuned: TunedCascade) -> None:
        folder, fitted = self.settings.folder, tuned.fitted
        write_whole(folder / "tuned.yaml", tuned.architecture.to_yaml())
        if self.settings.learns_rows:
            table = {"rows": list(fitted.rows), "default": fitted.default, "answers": tuned.answers}
            write_whole(folder / "router.json", json.dumps(table, indent=1) + "\n")
        plain = {
            "architecture": self.architecture.name,
            "fingerprint": tuned.architecture.fingerprint,
            "task": asdict(self.settings.task),
            "limits": dict(self.settings.limits),
            "answers": tuned.answers,
            "left_out": tuned.left_out,
            "thresholds": {name: None if value == math.inf else value for name, value in fitted.thresholds.items()},
            "rows": list(fitted.rows),
            "score": fitted.score,
            "costs": dict(zip(self._units, fitted.costs, strict=True)),
            "shares": dict(fitted.shares),
            "stages": {
                name: {"score": score, "costs": dict(zip(self._units, costs, strict=True))}
                for name, (score, costs) in tuned.alone.items()
            },
            "paid": dict(self.paid),
        }
        write_whole(folder / "tuning.json", json.dumps(plain, indent=1, default=str) + "\n")


def _check_architecture(architecture: Architecture, settings: TuneSettings) -> None:
    if not architecture.stages:
        raise SearchError(f"architecture {architecture.name!r} is no cascade, so there is nothing to tune")
    if architecture.measure_only:
        raise SearchError(f"architecture {architecture.name!r} has `measure_only`: give the cascade itself")
    if architecture.placeholders:
        raise SearchError(
            f"architecture {architecture.name!r} has places for models ({', '.join(architecture.placeholders)}): name "
            "yours with --models, strongest first"
        )
    router = architecture.router
    taken = {"tuned": "the tuned cascade", **({"router": "the eval of the router"} if router and router.model else {})}
    if clash := next((stage.name for stage in architecture.stages if stage.name in taken), None):
        raise SearchError(f"stage {clash!r}: tune calls {taken[clash]} so; give the stage another name")
    if settings.learns_rows and (router is None or router.model):
        what = "asks a model" if router else "is not there"
        raise SearchError(
            f"a table is learnt for a router of features, and this cascade's {what}: write `router: {{}}`"
        )
    tunable = [
        span
        for span in architecture.spans
        if span.rule is not None
        and "threshold" in build_component(architecture.layers[span.rule - 1][0], "accept").kind.options
    ]
    if not tunable and not settings.learns_rows:
        raise SearchError(
            f"architecture {architecture.name!r}: no rule of it has a threshold, and no router's table is to be learnt"
        )
