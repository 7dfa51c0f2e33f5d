"""What a logged answer took, of any solver and any door: architectures' accounts, and all other calls of models.

for usage in read_answer_usages("logs/2026-11-20_math.eval", log): print(usage.models, usage.unknown)

What the log says, in this order:

- An account counts as it is, reused calls included: of the solver `archon`, of each answer of `--model archon/...`,
  and of each answer of `Archon` in a solver of one's own. Inspect's events of the same calls (`trace=calls`) do not.
- Every other call is Inspect's model event: one request, whatever `num_choices`. An event with an error is a failed
  call: Inspect writes one per attempt, so a call that was answered at the second attempt is one call and one failed.
  A reply from Inspect's own cache counts like any other, as reused calls of an architecture do.
- What happens in Inspect's span of scorers is the judges' and is left out, whichever model or role it was. A scorer
  that the solver itself asks (`inspect_ai.scorer.score`, an agent's attempts) is a part of the solver; one that
  `inspect score` added later is a judge's, though its span hangs on none that the log has.
- Attempts at a sample that failed before (`--retry-on-error`) are in no cost: the log keeps the last attempt's calls.
  `Run.health` says how many there were.
- Inspect's own count of the sample's tokens must not be higher than all of these together. Where it is, somebody called
  a model and left no trace, and what the answer took is unknown.

Events are read only where calls may be outside of the sample's metadata, and a few samples at a time.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import fsum
from typing import Any

from archon_eval.errors import DataError
from archon_eval.models.call import Usage
from archon_eval.models.usage_totals import UsageTotals
from archon_eval.runs.account import (
    ACCOUNT_SOURCE,
    QuestionAccount,
    holds_account,
    parse_accounts,
    read_accounts,
)
from archon_eval.runs.prompts import (
    complete_prompt,
    digest_input,
    digest_later_turns,
    digest_messages,
    join_first_call,
    restore_text,
)

ARCHON_SOLVERS = ("archon", "archon_eval/archon")
"""The solver's names in a log's plan."""
SAMPLES_AT_ONCE = 25
"""Samples whose events are held in memory at a time."""
TOKEN_COSTS = ("tokens", "input_tokens", "output_tokens")
CALL_COSTS = ("calls", *TOKEN_COSTS, "dollars")
"""Of `archon_eval.runs.benchmark_run.COST_NAMES`, those that come from calls."""
ANSWERING_SPANS = frozenset({"archon_layer", "archon_component"})
"""Types of the spans in which an architecture's own calls are, which its account has."""
NO_EVENTS = "the log holds no model events"
GROUND_TRUTH_SCORERS = frozenset({"match", "includes", "pattern", "answer", "choice", "exact", "f1", "math"})
"""Inspect's scorers that ask no model."""


@dataclass(frozen=True, slots=True)
class AnswerUsage:
    """What one answer took."""

    accounts: tuple[QuestionAccount, ...] = ()
    """Of each answer of an architecture in it; empty where none answered."""
    other: Mapping[str, UsageTotals] = field(default_factory=dict)
    """Model -> its calls that are in no account."""
    seconds: float | None = None
    """The accounts' and those of the other calls; without accounts, the working time until the scorers begin."""
    unknown: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name of a cost -> why the log does not say it, besides what `UsageTotals` say of themselves."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """A word of `archon_eval.engine.trace.EVENT_TYPES` that tells of a reply -> how many of `other`'s were so."""
    retried: int = 0
    """Attempts at the sample that failed before, whose calls are not in it."""
    tools: tuple[str, ...] = ()
    """The tools that its first call offered: name, description and parameters, as text."""
    asked: tuple[str, ...] = ()
    """Digests of the input of its first call (`archon_eval.runs.prompts`); empty where the log has no calls."""
    prompt: tuple[str, ...] = ()
    """What was sent for it (`archon_eval.runs.prompts`); empty where the log does not say."""

    @property
    def total(self) -> UsageTotals:
        """All calls together."""
        return UsageTotals.add_up([*(account.usage for account in self.accounts), *self.other.values()])

    @property
    def models(self) -> dict[str, UsageTotals]:
        """Model -> all its calls; without those of an account that does not tell its models apart."""
        parts: dict[str, list[UsageTotals]] = {}
        for models in (*(account.models for account in self.accounts), self.other):
            for model, usage in models.items():
                parts.setdefault(model, []).append(usage)
        return {model: UsageTotals.add_up(several) for model, several in sorted(parts.items())}

    @property
    def has_models(self) -> bool:
        """Whether `models` has all of its calls."""
        return all(account.models or not account.usage.calls for account in self.accounts)

    def find_problems(self) -> dict[str, tuple[str, ...]]:
        """Name of a cost -> what makes it unknown; none for a cost that is known."""
        found = {name: list(reasons) for name, reasons in self.unknown.items()}
        if self.seconds is None:
            found.setdefault("seconds", []).append("no time in the log")
        for model, usage in self.models.items():
            for name, why in _list_unknown(usage, model).items():
                found.setdefault(name, []).append(why)
        for name, why in _list_unknown(self.total, "a model").items():
            found.setdefault(name, [why])
        return {name: tuple(reasons) for name, reasons in found.items()}

    def get_costs(self) -> dict[str, float | None]:
        """A name of `COST_NAMES` -> what the answer took; None where a part of it is unknown."""
        total, unknown = self.total, self.find_problems()
        costs = {name: getattr(total, name) for name in CALL_COSTS} | {"seconds": self.seconds}
        return {name: None if name in unknown else float(value) for name, value in costs.items()}


def read_answer_usages(path: str | os.PathLike[str], log: Any) -> list[AnswerUsage]:
    """What each sample of a log took, in their order.

    Args:
        path: of the log, whose events are read where they are needed.
        log: Inspect's, with its samples, whose events may be left out.

    Raises:
        DataError: an account is damaged, or of a later version; names its question. Or the events cannot be read.
    """
    samples = log.samples or ()
    usages = []
    accounts_say_all = log.plan.steps and all(step.solver in ARCHON_SOLVERS for step in log.plan.steps)
    asking, system = _list_asking_scorers(log), log.plan.config.system_message
    bodies = iter(()) if accounts_say_all else _read_bodies(path, samples, {"messages", "events", "events_data"})
    for sample in samples:
        try:
            if accounts_say_all:
                usage = read_account_usage(sample)
            else:
                body = next(bodies)
                usage = read_answer_usage(
                    sample, body.events, model=str(log.eval.model), asking=asking, attachments=body.attachments
                )
                usage = replace(usage, prompt=_read_prompt(usage, body.messages, system))
        except DataError as exc:
            raise DataError(f"{sample.id}: {exc}") from exc
        usages.append(replace(usage, retried=len(sample.error_retries or ())))
    untold = [place for place, usage in enumerate(usages) if accounts_say_all and not usage.prompt]
    for place, body in zip(untold, _read_bodies(path, [samples[n] for n in untold], {"messages"}), strict=True):
        usages[place] = replace(usages[place], prompt=digest_messages(body.messages))
    return [
        replace(usage, prompt=() if sample.error else usage.prompt)
        for sample, usage in zip(samples, usages, strict=True)
    ]


def _read_prompt(usage: AnswerUsage, messages: Sequence[Any], system: str | None) -> tuple[str, ...]:
    """What was sent for an answer, by the messages that its sample kept and by its first call."""
    if not (entries := digest_messages(messages)):
        return ()
    called = usage.asked or any(account.prompt for account in usage.accounts)
    # `--system-message` is in the input of calls; the solver archon does not send it
    sent = complete_prompt(join_first_call(entries, usage.asked), usage.tools, None if called else system)
    return (*sent, *digest_later_turns(messages))


def _list_asking_scorers(log: Any) -> tuple[str, ...]:
    """The log's scorers that may ask a model, by all that their names tell."""
    names = [str(used.name) for used in log.eval.scorers or ()]
    names += [name for sample in log.samples or () for name in sample.scores or {}]
    own = [name for name in names if name.startswith("archon_eval/")]  # their scores say which model judged
    known = {name.rpartition("/")[2] for name in own} | {*own, *GROUND_TRUTH_SCORERS}
    return tuple(dict.fromkeys(name for name in names if name.removeprefix("inspect_ai/") not in known))


def _read_bodies(path: str | os.PathLike[str], samples: Sequence[Any], needed: set[str]) -> Iterator[Any]:
    """Each sample with the fields that a log is first read without and its long texts, a few at a time."""
    from inspect_ai.log import EvalSample, read_eval_log_samples_by_id

    needless = set(EvalSample.model_fields) - {"id", "epoch", "input", "target", "attachments", *needed}
    for start in range(0, len(samples), SAMPLES_AT_ONCE):
        part = samples[start : start + SAMPLES_AT_ONCE]
        if any(getattr(sample, name) for sample in part for name in needed):  # a log as JSON is always read whole
            yield from part
            continue
        try:
            yield from read_eval_log_samples_by_id(str(path), [(s.id, s.epoch) for s in part], exclude_fields=needless)
        except Exception as exc:  # a damaged log fails in any layer: zip, zstd, zlib, JSON, schema
            raise DataError(f"its samples are not readable: {type(exc).__name__}: {exc}") from exc


def read_account_usage(sample: Any) -> AnswerUsage:
    """What a sample took that the solver `archon` alone answered: what its accounts say.

    Raises:
        DataError: an account is damaged, or of a later version.
    """
    if accounts := read_accounts(sample):
        seconds = fsum(account.usage.seconds for account in accounts)
        return AnswerUsage(accounts, seconds=seconds, prompt=accounts[0].prompt)
    reasons = ("no account of the architecture",)
    return AnswerUsage(seconds=sample.working_time, unknown=dict.fromkeys((*CALL_COSTS, "seconds"), reasons))


def read_answer_usage(
    sample: Any,
    events: Sequence[Any],
    *,
    model: str = "",
    asking: Sequence[str] = (),
    attachments: Mapping[str, str] | None = None,
) -> AnswerUsage:
    """What a sample took that anything answered.

    Args:
        sample: Inspect's.
        events: all events of it; empty where the log has none.
        model: the log's own, which answers; empty where it is not known.
        asking: scorers of the log that may ask a model. Both are read only where there are no events.
        attachments: long texts of the events.

    Raises:
        DataError: an account is damaged, or of a later version.
    """
    if not events:
        return _read_without_events(sample, model, asking)
    calls = sort_calls(events)
    if holds_account(sample.metadata) or not calls.accounts:  # else the user's own value may be there
        for account in parse_accounts(sample.metadata):
            calls.add_account(account)
    other = {model: _total_calls(model, mine) for model, mine in calls.by_model.items()}
    seconds = sample.working_time
    if calls.answered_at is not None and (seconds is None or calls.answered_at <= seconds):
        seconds = calls.answered_at
    if calls.accounts:
        parts = (*(account.usage for account in calls.accounts), *other.values())
        seconds = fsum(usage.seconds for usage in parts)
    hidden = calls.find_hidden_models(sample.model_usage)
    reasons = (f"tokens of {', '.join(hidden)} that belong to no call in the log",)
    return AnswerUsage(
        accounts=tuple(calls.accounts),
        other=other,
        seconds=seconds,
        unknown=dict.fromkeys(CALL_COSTS, reasons) if hidden else {},
        notes=_count_reply_problems(event for mine in calls.by_model.values() for event in mine),
        tools=_describe_tools(calls.first, attachments or {}),
        asked=digest_input(calls.first.input, attachments) if calls.first is not None else (),
    )


def _describe_tools(call: Any, attachments: Mapping[str, str]) -> tuple[str, ...]:
    """The tools that a call offered, each as text."""

    def describe(tool: Any) -> str:
        parameters = {
            name: [restore_text(parameter.description or "", attachments), parameter.type]
            for name, parameter in tool.parameters.properties.items()
        }
        return json.dumps([tool.name, restore_text(tool.description, attachments), parameters])

    return tuple(map(describe, call.tools)) if call is not None else ()


def _count_reply_problems(events: Iterable[Any]) -> dict[str, int]:
    """A word of `archon_eval.engine.trace.EVENT_TYPES` -> how many replies of these model events were so."""
    found = Counter[str]()
    for event in events:
        if event.error or event.pending or not event.output.choices:
            continue
        choice = event.output.choices[0]
        if choice.stop_reason in ("max_tokens", "model_length"):
            found["truncated"] += 1
        if choice.stop_reason == "content_filter":
            found["filtered"] += 1
        if not choice.message.text.strip() and not choice.message.tool_calls:
            found["empty"] += 1
    return dict(found)


def _list_unknown(usage: UsageTotals, model: str) -> dict[str, str]:
    """Name of a cost -> why the totals do not say it."""
    if usage.calls_without_usage:
        return dict.fromkeys((*TOKEN_COSTS, "dollars"), f"no usage reported by {model}")
    return {"dollars": f"no price of {model}"} if usage.dollars is None else {}


def _read_without_events(sample: Any, model: str, asking: Sequence[str]) -> AnswerUsage:
    """By accounts and Inspect's counts alone, which tell neither judges from solvers nor how many calls there were."""
    if accounts := read_accounts(sample):
        seconds, calls = fsum(account.usage.seconds for account in accounts), SortedCalls()
        for account in accounts:
            calls.add_account(account)
        if holds_account(sample.metadata) or not calls.find_hidden_models(sample.model_usage):
            return AnswerUsage(accounts, seconds=seconds)
        reasons = (f"{NO_EVENTS}, so that only the last answer's account is known",)
        return AnswerUsage(accounts, seconds=seconds, unknown=dict.fromkeys((*CALL_COSTS, "seconds"), reasons))
    counts, unknown = sample.model_usage or {}, {"calls": (NO_EVENTS,)}
    if not counts:
        unknown |= dict.fromkeys((*TOKEN_COSTS, "dollars"), (f"{NO_EVENTS}, and no usage",))
    elif suspect := _find_possible_judge(sample, model, asking):
        reasons = (f"{NO_EVENTS}, which would say whether {suspect} answers or judges",)
        unknown |= dict.fromkeys((*TOKEN_COSTS, "dollars"), reasons)
    other = {model: _total_usages(model, [counted]) for model, counted in counts.items()}
    return AnswerUsage(other=other, seconds=sample.working_time, unknown=unknown)


def _find_possible_judge(sample: Any, model: str, asking: Sequence[str]) -> str:
    """What may have judged with tokens that Inspect counted, in words; empty where nothing points to a judge."""
    if sample.role_usage:
        return f"the role {', '.join(sorted(sample.role_usage))}"
    if others := sorted(name for name in sample.model_usage if model and name != model):
        return ", ".join(others)
    judged = [name for name, score in (sample.scores or {}).items() if (score.metadata or {}).get("judgments")]
    if scorers := judged or asking:
        return f"the model that the scorer {', '.join(scorers)} may ask"
    return ""


@dataclass(slots=True)
class JudgingCalls:
    """The calls of a sample's scorers that were answered and sent."""

    calls: list[Any] = field(default_factory=list)
    """Inspect's model events, without those of architectures."""
    accounts: list[QuestionAccount] = field(default_factory=list)
    """Of each reply of an architecture that judged."""


@dataclass(slots=True)
class SortedCalls:
    """A sample's calls, with the judges' apart."""

    judging: JudgingCalls = field(default_factory=JudgingCalls)
    accounts: list[QuestionAccount] = field(default_factory=list)
    by_model: dict[str, list[Any]] = field(default_factory=dict)
    """Model -> its events, also of failed calls."""
    explained: Counter[str] = field(default_factory=Counter)
    """Model -> its tokens that Inspect has counted too, judges' included; "" for an account without models."""
    failing: set[str] = field(default_factory=set)
    """Models with failed calls in an account, whose tokens Inspect may have counted."""
    first: Any = None
    """The event of the first call that was no judge's."""
    answered_at: float | None = None
    """The working time at which the solvers ended or the scorers began; beyond the sample's own where they began
    anew, in `inspect score`."""

    def add_account(self, account: QuestionAccount, *, judges: bool = False, cached: bool = False) -> None:
        """Take up an account, `cached` for one out of Inspect's cache."""
        if not judges:
            self.accounts.append(account)
        elif not cached:
            self.judging.accounts.append(account)
        for model, usage in (account.models or {"": account.usage}).items():
            self.explained[model] += 0 if cached else usage.tokens - (usage.reused.tokens if usage.reused else 0)
            if usage.failed:
                self.failing.add(model)

    def add_call(self, event: Any, *, judges: bool = False) -> None:
        """Take up a model event."""
        if not judges and self.first is None:
            self.first = event
        replied, cached = not (event.error or event.pending), event.cache == "read"
        if replied and holds_account(event.output.metadata):
            for account in parse_accounts(event.output.metadata):
                self.add_account(account, judges=judges, cached=cached)
            return
        if not judges:
            self.by_model.setdefault(event.model, []).append(event)
        elif replied and not cached:
            self.judging.calls.append(event)
        if replied and not cached:
            self.explained[event.model] += _total_usages(event.model, [event.output.usage]).tokens

    def find_hidden_models(self, counts: Mapping[str, Any] | None) -> list[str]:
        """The models of which Inspect has counted more tokens than are explained, where it has so of all together.

        Models that failed in an account are passed over: Inspect may have counted what those calls took.
        """
        counted = {model: _total_usages(model, [usage]).tokens for model, usage in (counts or {}).items()}
        counted = {model: tokens for model, tokens in counted.items() if model not in self.failing}
        if sum(counted.values()) <= sum(n for model, n in self.explained.items() if model not in self.failing):
            return []
        return sorted(model for model, tokens in counted.items() if tokens > self.explained[model])


def find_scoring_spans(events: Sequence[Any]) -> set[str]:
    """Inspect's spans of scorers among all events of a sample, and all spans in them."""
    spans, scoring = set[str](), set[str]()
    for event in events:
        if event.event == "span_begin":
            at_top = event.parent_id is None or event.parent_id not in spans  # `inspect score` adds spans without root
            spans.add(event.id)
            if (at_top and (event.name == "scorers" or event.type == "scorer")) or event.parent_id in scoring:
                scoring.add(event.id)
    return scoring


def sort_calls(events: Sequence[Any]) -> SortedCalls:
    """The calls among all events of a sample."""
    calls, scoring, answering, in_step = SortedCalls(), find_scoring_spans(events), set[str](), False
    solvers = set[str]()
    for event in events:
        if event.event == "span_begin":
            if event.parent_id is None and event.name == "solvers":
                solvers.add(event.id)
            if event.parent_id is None and event.name == "scorers" and calls.answered_at is None:
                calls.answered_at = event.working_start
            if event.type in ANSWERING_SPANS:
                answering.add(event.id)
            if event.parent_id in answering:
                answering.add(event.id)
        elif event.event == "span_end" and event.id in solvers:
            calls.answered_at = event.working_start
        elif event.event == "step" and event.type == "scorer":  # in logs from before Inspect had spans
            in_step = event.action == "begin"
        judges = event.span_id in scoring or in_step
        if event.event == "info" and event.source == ACCOUNT_SOURCE:
            calls.add_account(QuestionAccount.from_metadata(event.data), judges=judges)
        elif event.event == "model" and event.span_id not in answering:
            calls.add_call(event, judges=judges)
    return calls


def _total_calls(model: str, events: Sequence[Any]) -> UsageTotals:
    """Of the model events of one model."""
    replied = [event for event in events if not (event.error or event.pending)]
    return replace(
        _total_usages(model, [event.output.usage for event in replied]),
        calls=len(replied),
        seconds=fsum(event.working_time or event.output.time or 0.0 for event in replied),
        failed=len(events) - len(replied),
    )


def _total_usages(model: str, counts: Sequence[Any]) -> UsageTotals:
    """Tokens and dollars of Inspect's counts for calls of one model; None is a call without one."""
    from archon_eval.models.prices import load_prices
    from archon_eval.models.replies import to_usage

    known = [usage for usage in map(to_usage, counts) if usage is not None]
    total = sum(known, Usage())
    missing = len(counts) - len(known)
    dollars = None if missing else load_prices().compute_cost(model, total) if counts else 0.0
    return UsageTotals(
        input_tokens=total.input_tokens,
        output_tokens=total.output_tokens,
        dollars=dollars,
        calls_without_usage=missing,
    )
