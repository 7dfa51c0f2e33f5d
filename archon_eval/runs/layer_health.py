"""Whether the layers of a run worked: of each component how many outcomes it was to make, and how many fell back.

    health = RunHealth.from_accounts(accounts)
    health.warnings         # a sentence on each layer that never worked, or mostly did not
    health.sentences        # those, and what share of all replies was cut, refused, empty or dropped

What an outcome is, and whether it worked, is said where it is made (`archon_eval.engine.trace.TraceOutcome`); what it
is called and what the fallback is, by the component's class.

    >>> health = RunHealth((LayerHealth("ranker", 9, (OutcomeCounts(9, {"unread": 9}, model="a/b"),)),))
    >>> print(health.warnings[0])
    Layer 1 (ranker a/b) never worked: none of its 9 rankings could be read (fallback: unranked candidates stay in \
their order, after the ranked ones).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from archon_eval.architecture.component_types import BUILT_IN_COMPONENTS, load_component_class
from archon_eval.engine.trace import EVENT_TYPES, UNREAD
from archon_eval.errors import DataError, quote
from archon_eval.models.usage_totals import parse_count
from archon_eval.runs.account import OutcomeCounts, QuestionAccount

MOSTLY = 0.5
"""Above this share of fallbacks a layer is named though some of its outcomes worked: it is absent more often than not.
Below it, the counts of notes tell."""
RETRIED = "retried"
"""The word of `RunHealth.notes` for attempts at a sample that failed and were repeated (`--retry-on-error`)."""
MAX_NAME_CHARACTERS = 120
"""Characters of a component's or a model's name in a sentence."""


@dataclass(frozen=True, slots=True)
class LayerHealth:
    """One layer over all answers of a run."""

    kind: str
    answers: int
    """Answers in which it was reached."""
    outcomes: tuple[OutcomeCounts, ...] = ()
    """By component and model; empty where the log's version did not count them."""
    unfiltered: int = 0
    """Answers for which no candidate passed it, so that all went on."""


@dataclass(frozen=True, slots=True)
class RunHealth:
    """All layers of a run, and all replies."""

    layers: tuple[LayerHealth, ...] = ()
    replies: int = 0
    """Of all models, re-asks and reused ones included."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """A word of `archon_eval.engine.trace.EVENT_TYPES` that tells of a reply, a dropped call or a fallback, or
    `RETRIED` -> how often."""
    others: Mapping[str, tuple[LayerHealth, ...]] = field(default_factory=dict)
    """Architecture -> its layers, of those that answered in the same log besides the one whose `layers` are above."""
    lost_steps: tuple[str, ...] = ()
    """Of the task's own solver, what did not run (`QuestionAccount.lost_steps`)."""

    @classmethod
    def from_accounts(cls, accounts: Iterable[QuestionAccount]) -> "RunHealth":
        """Of accounts in the order of the log; the architecture of the last one is the run's."""
        by_architecture: dict[str, list[QuestionAccount]] = {}
        for account in accounts:
            by_architecture.setdefault(account.fingerprint, []).append(account)
            last = account.fingerprint
        if not by_architecture:
            return cls()
        names = {key: found[-1].architecture or key for key, found in by_architecture.items()}
        labels = {key: f"{name} {key}" if [*names.values()].count(name) > 1 else name for key, name in names.items()}
        health = {key: cls().merge(*map(_read_account, found)) for key, found in by_architecture.items()}
        every = cls().merge(*health.values())
        others = {labels[key]: found.layers for key, found in health.items() if key != last}
        return replace(every, layers=health[last].layers, others=others)

    def merge(self, *others: "RunHealth") -> "RunHealth":
        """Of more answers of the same architecture."""
        every = (self, *others)
        names = dict.fromkeys(name for health in every for name in health.others)
        return RunHealth(
            layers=_merge_depths([health.layers for health in every]),
            replies=sum(health.replies for health in every),
            notes=dict(sum((Counter(health.notes) for health in every), Counter[str]())),
            others={name: _merge_depths([health.others.get(name, ()) for health in every]) for name in names},
            lost_steps=tuple(dict.fromkeys(step for health in every for step in health.lost_steps)),
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence on what was lost of the task's own solver, and on each layer, or component of a layer, that never
        worked, or mostly did not."""
        lost = _shorten(", ".join(self.lost_steps))
        found = [f"The task's own solver was replaced, and without it went: {lost}."] if lost else []
        found += [text for number, layer in enumerate(self.layers, 1) for text in _describe_layer(number, layer)]
        for name, layers in self.others.items():
            texts = (text for number, layer in enumerate(layers, 1) for text in _describe_layer(number, layer))
            found += [f"Architecture {_shorten(name)}, which answered in the same log: {text}" for text in texts]
        uncounted = self.notes.get("fallback", 0)
        if uncounted and not any(layer.outcomes for layer in self._every_layer):
            found.append(
                f"{_format_count(uncounted, 'outcome')} fell back; in which layer, a log of this age does not say."
            )
        return tuple(found)

    @property
    def dead(self) -> tuple[str, ...]:
        """The components that never worked, each as `verifier openai/x`."""
        return tuple(
            name_component(layer.kind, counts.model)
            for layer in self._every_layer
            for counts in layer.outcomes
            if 0 < counts.count == _count_fallbacks(counts)
        )

    @property
    def _every_layer(self) -> tuple[LayerHealth, ...]:
        return (*self.layers, *(layer for layers in self.others.values() for layer in layers))

    @property
    def sentences(self) -> tuple[str, ...]:
        """The warnings, and a sentence on replies that were cut, refused or empty, and calls that were dropped."""
        replies = self._describe_replies()
        return (*self.warnings, replies) if replies else self.warnings

    def _describe_replies(self) -> str:
        found = [(self.notes[word], EVENT_TYPES[word].of_reply) for word in _REPLY_WORDS if self.notes.get(word)]
        parts = [
            f"{count:,} of {_format_count(self.replies, 'reply')} ({_format_share(count, self.replies)}) "
            f"{_be(count)} {words}"
            for count, words in found
        ]
        if dropped := self.notes.get("dropped", 0):
            parts.append(f"{_format_count(dropped, 'call')} failed for good and {_be(dropped)} dropped")
        if overflowed := self.notes.get("overflow", 0):
            parts.append(
                f"{_format_count(overflowed, 'prompt')} did not fit the model's context window, so that candidates "
                "were left out or shortened"
            )
        text = f"{', '.join(parts)}." if parts else ""
        if retried := self.notes.get(RETRIED, 0):
            attempts = f"{_format_count(retried, 'attempt')} at a sample failed before and {_be(retried)} repeated"
            text = f"{text} {attempts}: what they took is in no cost.".lstrip()
        return text

    def to_metadata(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {
            "layers": [*map(_dump_layer, self.layers)],
            "replies": self.replies,
            "notes": dict(self.notes),
        }
        if self.others:
            plain["others"] = {name: [*map(_dump_layer, layers)] for name, layers in self.others.items()}
        if self.lost_steps:
            plain["lost_steps"] = list(self.lost_steps)
        return plain

    @classmethod
    def from_metadata(cls, plain: Mapping[str, Any]) -> "RunHealth":
        """Reads what `to_metadata` wrote; of an empty mapping nothing is known.

        Raises:
            DataError: it is damaged.
        """
        try:
            return cls(
                layers=tuple(map(_parse_layer, plain.get("layers", ()))),
                replies=parse_count(plain, "replies"),
                notes={str(word): parse_count(plain["notes"], word) for word in plain.get("notes", {})},
                others={
                    str(name): tuple(map(_parse_layer, layers)) for name, layers in plain.get("others", {}).items()
                },
                lost_steps=tuple(map(str, plain.get("lost_steps", ()))),
            )
        except (AttributeError, KeyError, TypeError) as exc:
            raise DataError(f"no account of a run's layers, but {quote(repr(plain))}: {exc}") from exc


_REPLY_WORDS = tuple(word for word, event in EVENT_TYPES.items() if event.of_reply)
_KEPT_NOTES = frozenset({*_REPLY_WORDS, "dropped", "fallback", "overflow"})


def _dump_layer(layer: LayerHealth) -> dict[str, Any]:
    return {
        "kind": layer.kind,
        "answers": layer.answers,
        "outcomes": [counts.to_metadata() for counts in layer.outcomes],
        "unfiltered": layer.unfiltered,
    }


def _parse_layer(plain: Mapping[str, Any]) -> LayerHealth:
    return LayerHealth(
        kind=str(plain["kind"]),
        answers=parse_count(plain, "answers"),
        outcomes=tuple(map(OutcomeCounts.from_metadata, plain["outcomes"])),
        unfiltered=parse_count(plain, "unfiltered"),
    )


def _read_account(account: QuestionAccount) -> RunHealth:
    numbered = account.numbered_layers
    layers = (  # of a cascade, a layer of a stage that was not asked is there without answers
        LayerHealth(layer.kind, 1, layer.outcomes, layer.unfiltered)
        if (layer := numbered.get(number)) is not None
        else LayerHealth("", 0)
        for number in range(1, max(numbered, default=0) + 1)
    )
    notes = {word: count for word, count in account.notes.items() if word in _KEPT_NOTES}
    return RunHealth(tuple(layers), account.usage.calls, notes, lost_steps=account.lost_steps)


def _merge_depths(every: Sequence[Sequence[LayerHealth]]) -> tuple[LayerHealth, ...]:
    """The layers of several healths, each with those of its place."""
    depth = max(map(len, every))
    return tuple(_merge_layers([layers[n] for layers in every if len(layers) > n]) for n in range(depth))


def _merge_layers(layers: Sequence[LayerHealth]) -> LayerHealth:
    """One layer of several healths; by component and model, in the order of their places."""
    counts: Counter[tuple[int, str]] = Counter()
    problems: dict[tuple[int, str], Counter[str]] = {}
    for part in (part for layer in layers for part in layer.outcomes):
        key = (part.component, part.model)
        counts[key] += part.count
        problems.setdefault(key, Counter()).update(part.problems)
    return LayerHealth(
        kind=next((layer.kind for layer in layers if layer.kind), ""),
        answers=sum(layer.answers for layer in layers),
        outcomes=tuple(
            OutcomeCounts(counts[key], dict(problems[key]), component=key[0], model=key[1]) for key in sorted(counts)
        ),
        unfiltered=sum(layer.unfiltered for layer in layers),
    )


def _count_fallbacks(counts: OutcomeCounts) -> int:
    return sum(counts.problems.values())


def _describe_layer(number: int, layer: LayerHealth) -> Iterable[str]:
    """A sentence on each of its components that never worked or mostly did not, and one where it passed nothing."""
    name, consequence = _describe_kind(layer.kind)
    places = len({counts.component for counts in layer.outcomes})
    for counts in layer.outcomes:
        fallbacks = _count_fallbacks(counts)
        if fallbacks <= MOSTLY * counts.count:
            continue
        place = f", component {counts.component}" if places > 1 else ""
        verdict = "never worked" if fallbacks == counts.count else "mostly did not work"
        text = f"Layer {number}{place} ({name_component(layer.kind, counts.model)}) {verdict}"
        yield f"{text}: {_describe_fallbacks(counts, name)}{f' (fallback: {consequence})' if consequence else ''}."
    if layer.unfiltered == layer.answers > 0:
        where = f"Layer {number} ({_describe_models(layer)})"
        many = "the one answer" if layer.answers == 1 else f"all of {layer.answers:,} answers"
        yield f"{where} never passed a candidate: for {many} it rejected every one, so that all went on."


def _describe_models(layer: LayerHealth) -> str:
    return name_component(layer.kind, ", ".join(dict.fromkeys(counts.model for counts in layer.outcomes)))


def _describe_kind(kind: str) -> tuple[str, str]:
    """What a component of this kind makes, and what it does without; a log must not have a user's module imported."""
    if kind not in BUILT_IN_COMPONENTS:
        return "outcome", ""
    component = load_component_class(kind, kind)
    return component.outcome_name, component.fallback


def name_component(kind: str, model: str) -> str:
    """`verifier openai/x`, for a sentence; a kind or a model may have any name."""
    return _shorten(f"{kind.replace('_', ' ')} {model}")


def _shorten(text: str) -> str:
    """In one line, of `MAX_NAME_CHARACTERS`."""
    words = " ".join(text.split())
    return words if len(words) <= MAX_NAME_CHARACTERS else words[: MAX_NAME_CHARACTERS - 1] + "…"


def _describe_fallbacks(counts: OutcomeCounts, name: str) -> str:
    """`none of its 231 verdicts could be read`, `31 of its 40 texts (77.5%) were empty`, or several problems."""
    fallbacks, problems = _count_fallbacks(counts), {word: n for word, n in counts.problems.items() if n}
    several = [f"{number:,} {_describe_problem(word, number)}" for word, number in problems.items()]
    if counts.count == 1:
        return f"its only {name} {_describe_problem(next(iter(problems)), 1)}"
    outcomes = _format_count(counts.count, name)
    if fallbacks < counts.count:
        outcomes = f"{fallbacks:,} of its {outcomes} ({_format_share(fallbacks, counts.count)})"
        if len(problems) == 1:
            return f"{outcomes} {_describe_problem(next(iter(problems)), fallbacks)}"
        return f"{outcomes} did not: {_join_words(several)}"
    if [*problems] == [UNREAD]:
        return f"none of its {outcomes} could be read"
    if len(problems) == 1:
        return f"all of its {outcomes} {_describe_problem(next(iter(problems)), fallbacks)}"
    return f"of its {outcomes} {_join_words(several)}"


def _join_words(parts: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


def _describe_problem(word: str, number: int) -> str:
    if word == UNREAD:
        return "could not be read"
    text = EVENT_TYPES[word].problem if word in EVENT_TYPES else "fell back"
    return text.replace("were ", "was ", 1) if number == 1 else text


def _be(count: int) -> str:
    return "was" if count == 1 else "were"


def _format_count(count: int, name: str) -> str:
    """`1 reply`, `1,155 replies`, `3 lists of tests`."""
    if count == 1:
        return f"1 {name}"
    head, of, rest = name.partition(" of ")
    plural = f"{head[:-1]}ies" if head.endswith("y") else f"{head}s"
    return f"{count:,} {plural}{of}{rest}"


def _format_share(part: int, whole: int) -> str:
    """In percent; never 0% of something, nor all of it where something is left."""
    share = part / whole if whole else 1.0
    if 0 < share < 0.001:
        return "below 0.1%"
    if 0.999 < share < 1:
        return "above 99.9%"
    return f"{100 * share:.3g}%" if share >= 0.1 else f"{100 * share:.2g}%"
