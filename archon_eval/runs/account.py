"""The account of one question: what an architecture called and what that took. The solver and the model provider write
it into Inspect's metadata, everything else reads it from there through `read_accounts`.

    >>> account = QuestionAccount(architecture="single", fingerprint="0f", usage=UsageTotals(calls=3, dollars=None))
    >>> metadata = {}
    >>> record_turn(metadata, account)
    >>> [turn.usage.calls for turn in parse_accounts(metadata)]
    [3]
    >>> print(parse_accounts(metadata)[0].usage.dollars)
    None

A question of several turns (MT-Bench) has one account per turn: the last one in full, the others under its
`earlier_turns`.
"""

from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from archon_eval.architecture.spec import Architecture
from archon_eval.engine.trace import Answer, LayerResult, StageResult, Trace, TraceOutcome, TraceStep
from archon_eval.errors import DataError, quote
from archon_eval.models.draw import split_epoch
from archon_eval.models.usage_totals import UsageTotals, parse_count, total_usage

ACCOUNT_KEY = "archon"
"""Where an account is in the metadata of a sample, of a model's output and of a score."""
ACCOUNT_SOURCE = "archon_account"
"""The source of an info event in a sample's transcript whose data are an account: of `Archon` in a solver."""
ACCOUNT_VERSION = 1
"""Of the account's form. Logs older than this number have none written down, and the same form."""
_EARLIER_TURNS = "earlier_turns"


@dataclass(frozen=True, slots=True)
class ComponentAccount:
    """What one component of a layer took."""

    model: str
    usage: UsageTotals


@dataclass(frozen=True, slots=True)
class OutcomeCounts:
    """What one component of a layer was to make, by the model that was asked (`archon_eval.engine.trace.TraceOutcome`).

    Of a component whose replies are parsed these are no texts: a verifier's verdicts, not the reasons before them.
    """

    count: int
    problems: Mapping[str, int] = field(default_factory=dict)
    """Why some did not come about -> how many: `unread` or a word of `archon_eval.engine.trace.EVENT_TYPES`."""
    component: int = 1
    """Its place in the layer, from 1."""
    model: str = ""
    """Empty where no model was asked."""

    def to_metadata(self) -> dict[str, Any]:
        """Plain values for JSON; what is as usual is left out."""
        plain: dict[str, Any] = {"model": self.model, "count": self.count}
        plain |= {"component": self.component} if self.component > 1 else {}
        return plain | ({"problems": dict(self.problems)} if self.problems else {})

    @classmethod
    def from_metadata(cls, plain: Mapping[str, Any]) -> "OutcomeCounts":
        """Reads what `to_metadata` wrote.

        Raises:
            DataError: a count that is no whole number from 0, or more problems than outcomes.
        """
        problems = {str(word): parse_count(plain["problems"], word) for word in plain.get("problems", {})}
        counts = cls(
            count=parse_count(plain, "count"),
            problems=problems,
            component=parse_count(plain, "component", 1),
            model=str(plain.get("model", "")),
        )
        if sum(problems.values()) > counts.count:
            raise DataError(f"{sum(problems.values())} of {counts.count} outcomes cannot have problems")
        return counts


@dataclass(frozen=True, slots=True)
class LayerAccount:
    """What one layer took."""

    kind: str
    candidates: int
    """How many left the layer."""
    usage: UsageTotals
    """Its `seconds` are the time until the layer was done."""
    components: tuple[ComponentAccount, ...] = ()
    """In their order; empty for a layer with one component."""
    outcomes: tuple[OutcomeCounts, ...] = ()
    """By component and model, in their order; empty in logs of versions that did not count them."""
    unfiltered: int = 0
    """1 where no candidate passed a filter, so that all went on."""
    number: int = 0
    """Its number in the architecture, from 1; 0 where it is its place in `QuestionAccount.layers`, as it is wherever no
    stage of a cascade was passed over."""


@dataclass(frozen=True, slots=True)
class StageAccount:
    """What became of one stage of a cascade that was asked."""

    name: str
    stands: bool
    """Whether its answer is the answer."""
    usage: UsageTotals
    """Of its layers and its rule; `seconds` are those of its calls added up."""
    score: float | None = None
    """What its rule measured; None without a rule, or where it could not."""
    threshold: float | None = None
    detail: str = ""
    """Why, in words."""
    rule_usage: UsageTotals | None = None
    """The part of `usage` that its rule took; None without a rule."""

    def to_metadata(self) -> dict[str, Any]:
        """Plain values for JSON; what is unknown is left out."""
        plain: dict[str, Any] = {"name": self.name, "stands": self.stands, **self.usage.to_metadata()}
        plain |= {name: value for name in ("score", "threshold") if (value := getattr(self, name)) is not None}
        plain |= {"detail": self.detail} if self.detail else {}
        return plain | ({"rule": self.rule_usage.to_metadata()} if self.rule_usage else {})

    @classmethod
    def from_metadata(cls, plain: Mapping[str, Any]) -> "StageAccount":
        """Reads what `to_metadata` wrote."""
        score, threshold = (None if plain.get(name) is None else float(plain[name]) for name in ("score", "threshold"))
        return cls(
            name=str(plain["name"]),
            stands=bool(plain["stands"]),
            usage=UsageTotals.from_metadata(plain),
            score=score,
            threshold=threshold,
            detail=str(plain.get("detail", "")),
            rule_usage=UsageTotals.from_metadata(plain["rule"]) if "rule" in plain else None,
        )


@dataclass(frozen=True, slots=True)
class AnswerDraws:
    """Which draws an answer is made of, where several answers share the layers before the last."""

    epoch: int
    """Whose draws the layers before the last took, from 1."""
    last_draw: int
    """Which draw of the last layer that asks a model it is, from 0."""

    @classmethod
    def from_epoch(cls, epoch: int, epoch_offset: int, last_draws: int) -> "AnswerDraws":
        """Those of an epoch (from 1) of an eval with these options of the solver `archon`.

        >>> AnswerDraws.from_epoch(6, epoch_offset=10, last_draws=4)
        AnswerDraws(epoch=12, last_draw=1)
        """
        place, last_draw = split_epoch(epoch, last_draws)
        return cls(epoch_offset + 1 + place, last_draw)


@dataclass(frozen=True, slots=True)
class QuestionAccount:
    """What an architecture's answer to one turn of one question took.

    The times of question and layers are by the clock or, where a reply was reused, by the record
    (`Trace.sum_recorded_seconds`); those of models and components are sums over calls, many of which run at once.
    """

    architecture: str
    """Its name."""
    fingerprint: str
    usage: UsageTotals
    """Its `seconds` are the time until the answer."""
    models: Mapping[str, UsageTotals] = field(default_factory=dict)
    """By Inspect's name of the model."""
    layers: tuple[LayerAccount, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)
    """A word of `archon_eval.engine.trace.EVENT_TYPES` -> how often."""
    lost_steps: tuple[str, ...] = ()
    """Of the task's own solver, which the solver `archon` replaced: what did not run; empty where nothing was lost."""
    prompt: tuple[str, ...] = ()
    """Of a sample's first turn through the solver `archon`: `archon_eval.runs.prompts.digest_messages`; else empty."""
    settings: tuple[Mapping[str, Any], ...] = ()
    """What was really used where it is not what the architecture's file says (flags, the task's settings), of each
    such component: `layer`, `component` (its place), `model` and `settings`."""
    draws: AnswerDraws | None = None
    """Which draws it took; None where the eval draws every layer once per epoch."""
    stages: tuple[StageAccount, ...] = ()
    """Of a cascade, those that were asked, in their order."""
    version: int = ACCOUNT_VERSION

    @classmethod
    def from_answer(
        cls, architecture: Architecture, answer: Answer, settings: Sequence[Mapping[str, Any]] = ()
    ) -> "QuestionAccount":
        """The account of an engine's answer; `settings` as in the field of that name."""
        trace = answer.trail
        by_model: dict[str, list[TraceStep]] = {}
        by_layer: dict[int, list[TraceStep]] = {}
        for step in trace.own_steps:
            by_model.setdefault(step.model, []).append(step)
            by_layer.setdefault(step.layer, []).append(step)
        seconds = trace.sum_recorded_seconds() if trace.reuses else answer.seconds
        return cls(
            architecture=architecture.name,
            fingerprint=architecture.fingerprint,
            usage=replace(_total_steps(trace.own_steps), seconds=round(seconds, 3)),
            models={model: _total_steps(steps) for model, steps in sorted(by_model.items())},
            layers=tuple(
                _build_layer(layer, by_layer.get(layer.layer, []), trace, place=place)
                for place, layer in enumerate(trace.layers, 1)
            ),
            notes=trace.counts,
            settings=tuple(settings),
            stages=tuple(
                _build_stage(stage, by_layer, has_rule=_has_rule(architecture, stage)) for stage in trace.stages
            ),
        )

    @property
    def numbered_layers(self) -> dict[int, LayerAccount]:
        """The layers by their number in the architecture; of a cascade, those of stages that were not asked are not
        there."""
        return {layer.number or place: layer for place, layer in enumerate(self.layers, 1)}

    @property
    def is_replay(self) -> bool:
        """Whether calls were made and the call store answered all of them."""
        return 0 < self.usage.calls == self.usage.reused_calls

    def to_metadata(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "version": self.version,
            "architecture": self.architecture,
            "fingerprint": self.fingerprint,
            **self.usage.to_metadata(),
            "models": {model: usage.to_metadata() for model, usage in self.models.items()},
            "notes": dict(self.notes),
            "layers": [_dump_layer(layer) for layer in self.layers],
            **({"lost_steps": list(self.lost_steps)} if self.lost_steps else {}),
            **({"prompt": list(self.prompt)} if self.prompt else {}),
            **({"settings": [dict(part) for part in self.settings]} if self.settings else {}),
            **({"draws": asdict(self.draws)} if self.draws else {}),
            **({"stages": [stage.to_metadata() for stage in self.stages]} if self.stages else {}),
        }

    @classmethod
    def from_metadata(cls, plain: Mapping[str, Any]) -> "QuestionAccount":
        """Reads what `to_metadata` wrote, in this version or an earlier one.

        Raises:
            DataError: the account is damaged, or of a later version.
        """
        version = plain.get("version", 1) if isinstance(plain, Mapping) else None
        if type(version) is int and version > ACCOUNT_VERSION:
            raise DataError(
                f"a question's account has version {version}, and this archon-eval reads up to {ACCOUNT_VERSION}: "
                "update it to read this log"
            )
        try:
            return cls(
                architecture=str(plain.get("architecture", "")),
                fingerprint=str(plain.get("fingerprint", "")),
                usage=UsageTotals.from_metadata(plain),
                models={str(k): UsageTotals.from_metadata(v) for k, v in plain.get("models", {}).items()},
                layers=tuple(map(_parse_layer, plain.get("layers", ()))),
                notes={str(word): parse_count(plain["notes"], word) for word in plain.get("notes", {})},
                lost_steps=tuple(map(str, plain.get("lost_steps", ()))),
                prompt=tuple(map(str, plain.get("prompt", ()))),
                settings=tuple(dict(part) for part in plain.get("settings", ())),
                draws=_parse_draws(plain["draws"]) if "draws" in plain else None,
                stages=tuple(map(StageAccount.from_metadata, plain.get("stages", ()))),
                version=parse_count(plain, "version", 1),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise DataError(f"not the account of a question, but {quote(repr(plain))}: {exc}") from exc


def refuse_foreign_account(metadata: Mapping[str, Any]) -> None:
    """Refuse a sample's metadata in which the account's place is taken: before a call is paid that goes into it.

    Raises:
        DataError: the user's own value is there.
    """
    if metadata.get(ACCOUNT_KEY) is None:
        return
    try:
        if holds_account(metadata):
            parse_accounts(metadata)
            return
        why = f"got {quote(repr(metadata[ACCOUNT_KEY]))}"
    except DataError as exc:
        why = str(exc)
    raise DataError(
        f"the sample's metadata has a key {ACCOUNT_KEY!r}, which is where the account of its answer goes: {why}; "
        "give the key another name"
    )


def record_turn(metadata: MutableMapping[str, Any], account: QuestionAccount) -> None:
    """Put a turn's account into a sample's metadata; the accounts of earlier turns stay in it."""
    before = metadata.get(ACCOUNT_KEY)
    metadata[ACCOUNT_KEY] = account.to_metadata()
    if isinstance(before, Mapping):
        last_turn = {key: value for key, value in before.items() if key != _EARLIER_TURNS}
        metadata[ACCOUNT_KEY][_EARLIER_TURNS] = [*before.get(_EARLIER_TURNS, ()), last_turn]


def build_output_metadata(accounts: Sequence[QuestionAccount]) -> dict[str, Any]:
    """The metadata of a model's output with one account per choice."""
    plain = [account.to_metadata() for account in accounts]
    return {ACCOUNT_KEY: plain[0] if len(plain) == 1 else plain}


def copy_account_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The account's entry of a sample's metadata, for a score's; empty where no architecture answered."""
    return {ACCOUNT_KEY: metadata[ACCOUNT_KEY]} if ACCOUNT_KEY in metadata else {}


def read_accounts(sample: Any) -> tuple[QuestionAccount, ...]:
    """The accounts in a logged sample's metadata, or else in its last output's, one per turn or choice.

    With `--model archon/...` these are the last answer's; `archon_eval.runs.answer_usage` has those of all answers.

    Raises:
        DataError: an account is damaged, or of a later version.
    """
    if holds_account(sample.output.metadata) and not holds_account(sample.metadata):  # but maybe the user's value
        return parse_accounts(sample.output.metadata)
    return parse_accounts(sample.metadata) or parse_accounts(sample.output.metadata)


def parse_accounts(metadata: Mapping[str, Any] | None) -> tuple[QuestionAccount, ...]:
    """The accounts in the metadata of a sample, an output or a score.

    Raises:
        DataError: an account is damaged, or of a later version.
    """
    plain = (metadata or {}).get(ACCOUNT_KEY)
    if plain is None:
        return ()
    turns = _list(plain) if not isinstance(plain, Mapping) else (*_list(plain.get(_EARLIER_TURNS, ())), plain)
    return tuple(map(QuestionAccount.from_metadata, turns))


def holds_account(metadata: Mapping[str, Any] | None) -> bool:
    """Whether an account is in its place in the metadata of a sample or an output, damaged or not."""
    plain = (metadata or {}).get(ACCOUNT_KEY)
    first = plain[0] if isinstance(plain, Sequence) and plain else plain
    return isinstance(first, Mapping) and "fingerprint" in first


def _list(plain: Any) -> Sequence[Any]:
    """Several accounts, which metadata has as a list."""
    if isinstance(plain, list | tuple):
        return plain
    raise DataError(f"metadata {ACCOUNT_KEY!r}: not the account of a question, but {quote(repr(plain))}")


def _parse_draws(plain: Mapping[str, Any]) -> AnswerDraws:
    return AnswerDraws(parse_count(plain, "epoch"), parse_count(plain, "last_draw"))


def _total_steps(steps: Sequence[TraceStep]) -> UsageTotals:
    return total_usage(step.reply for step in steps)


def _has_rule(architecture: Architecture, stage: StageResult) -> bool:
    return any(span.rule == stage.layers[1] for span in architecture.spans)


def _build_stage(stage: StageResult, by_layer: Mapping[int, Sequence[TraceStep]], *, has_rule: bool) -> StageAccount:
    first, last = stage.layers
    steps = [step for number in range(first, last + 1) for step in by_layer.get(number, ())]
    return StageAccount(
        name=stage.name,
        stands=stage.stands,
        usage=_total_steps(steps),
        score=stage.score,
        threshold=stage.threshold,
        detail=stage.detail,
        rule_usage=_total_steps(by_layer.get(last, ())) if has_rule else None,
    )


def _build_layer(layer: LayerResult, steps: Sequence[TraceStep], trace: Trace, *, place: int) -> LayerAccount:
    by_component: dict[tuple[int, str], list[TraceStep]] = {}
    for step in steps:
        by_component.setdefault((step.component, step.model), []).append(step)
    parts = [ComponentAccount(model, _total_steps(mine)) for (_, model), mine in sorted(by_component.items())]
    seconds = trace.sum_recorded_seconds(layer.layer) if trace.reuses else layer.seconds
    return LayerAccount(
        kind=layer.kind,
        candidates=len(layer.candidates),
        usage=replace(_total_steps(steps), seconds=round(seconds, 3)),
        components=tuple(parts) if len(parts) > 1 else (),
        outcomes=_count_outcomes([outcome for outcome in trace.outcomes if outcome.layer == layer.layer]),
        unfiltered=sum(note.layer == layer.layer and note.what == "unfiltered" for note in trace.notes),
        number=0 if layer.layer == place else layer.layer,
    )


def _count_outcomes(outcomes: Sequence[TraceOutcome]) -> tuple[OutcomeCounts, ...]:
    """Texts count only where their component has nothing else to show."""
    parsing = {outcome.component for outcome in outcomes if not outcome.is_text}
    counts: dict[tuple[int, str], int] = {}
    problems: dict[tuple[int, str], Counter[str]] = {}
    for outcome in outcomes:
        if not outcome.is_text or outcome.component not in parsing:
            key = (outcome.component, outcome.model)
            counts[key] = counts.get(key, 0) + outcome.count
            problems.setdefault(key, Counter()).update(outcome.problems)
    return tuple(
        OutcomeCounts(count, dict(sorted(problems[key].items())), component=key[0], model=key[1])
        for key, count in sorted(counts.items())
    )


def _dump_layer(layer: LayerAccount) -> dict[str, Any]:
    plain = {**layer.usage.to_metadata(), "kind": layer.kind, "candidates": layer.candidates}
    parts = [{"model": part.model, **part.usage.to_metadata()} for part in layer.components]
    plain |= {"components": parts} if parts else {}
    plain |= {"outcomes": [counts.to_metadata() for counts in layer.outcomes]} if layer.outcomes else {}
    plain |= {"number": layer.number} if layer.number else {}
    return plain | ({"unfiltered": layer.unfiltered} if layer.unfiltered else {})


def _parse_layer(plain: Mapping[str, Any]) -> LayerAccount:
    parts = plain.get("components", ())
    return LayerAccount(
        kind=str(plain["kind"]),
        candidates=parse_count(plain, "candidates"),
        usage=UsageTotals.from_metadata(plain),
        components=tuple(ComponentAccount(str(part["model"]), UsageTotals.from_metadata(part)) for part in parts),
        outcomes=tuple(map(OutcomeCounts.from_metadata, plain.get("outcomes", ()))),
        unfiltered=parse_count(plain, "unfiltered"),
        number=parse_count(plain, "number"),
    )
