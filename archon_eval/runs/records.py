"""What a finished eval says of each answer, typed: its score as a number or why there is none, and its account.

records = build_records(log.samples, choose_scorer(log.samples))
records[0].score, records[0].usage.calls
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archon_eval.errors import DataError, did_you_mean
from archon_eval.models.usage_totals import UsageTotals
from archon_eval.runs.account import QuestionAccount, read_accounts
from archon_eval.runs.metrics import UNKNOWN_SCORER, Declaration
from archon_eval.runs.score import convert_score, select_value
from archon_eval.stats.metrics import ScoredAnswer

UNREAD_STATUSES: Mapping[str, str] = {
    "unreadable": "the scorer could read no answer, which is wrong",
    "empty": "the reply is empty, which is wrong",
    "too long": "the answer is too long to compare, which is wrong",
    "timeout": "comparing the answer took too long, which is wrong",
    "crashed": "comparing the answer failed twice, which is wrong",
    "no choice": "the judge found no choice in the reply, which is wrong",
    "beyond the options": "the judge read a letter that no option has, which is wrong",
}
"""A `status` in a score's metadata of this package's scorers, by which no answer was read -> its meaning."""


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """One answer: a question in one epoch."""

    question: str
    """The sample's id."""
    epoch: int
    """From 1."""
    answer: ScoredAnswer | None
    """Its score on the scorer's own scale, with what the metric reads besides; None where there is none."""
    problem: str
    """Why there is no score; empty where there is one."""
    unreadable: bool
    """Whether that is because the scorer's value is no number: which is never zero."""
    status: str
    """Why no answer could be read from the reply, a key of UNREAD_STATUSES; empty where one could."""
    failed: bool
    """Whether the sample ended in an error, so that its accounts may lack calls."""
    accounts: tuple[QuestionAccount, ...]
    """One per turn; empty where no architecture answered."""

    @property
    def score(self) -> float | None:
        """On the scorer's own scale; None where there is none."""
        return None if self.answer is None else self.answer.value

    @property
    def usage(self) -> UsageTotals:
        """What all turns took together."""
        return UsageTotals.add_up(account.usage for account in self.accounts)


def choose_scorer(samples: Sequence[Any], scorer: str | None = None) -> str:
    """The scorer that counts: the one asked for, else the first that scored; empty where nothing was scored.

    A registered name, such as `archon_eval/arena_hard`, is that of the scores without the package.
    """
    names = _list_scorers(samples)
    if scorer and scorer not in names and scorer.partition("/")[0] not in names:
        package, _, short = scorer.partition("/")
        return short if package and short.partition("/")[0] in names else scorer
    return scorer or next(iter(names), "")


def check_scorer(samples: Sequence[Any], scorer: str) -> None:
    """Refuse a scorer, `NAME` or `NAME/KEY`, that none of the answers was scored by.

    Raises:
        DataError: no such scorer, or it gives several values and none of the given key.
    """
    names = _list_scorers(samples)
    name, key = split_scorer(scorer, names)
    for sample in samples:
        if sample.error:
            continue
        if name not in names:
            hint = f"no scorer {name!r}{did_you_mean(name, names)}" if name else f"{sample.id}: nothing was scored"
            raise DataError(hint)
        score = (sample.scores or {}).get(name)
        if score is not None and key and not isinstance(score.value, Mapping):
            raise DataError(f"scorer {name} gives one value and no key: --scorer {name}, not {scorer}")
        if score is not None:
            select_value(score.value, name, key)


def split_scorer(scorer: str, names: Sequence[str]) -> tuple[str, str]:
    """`NAME/KEY` in its two parts; a scorer whose own name has a slash stays whole."""
    if scorer in names:
        return scorer, ""
    name, _, key = scorer.partition("/")
    return name, key


def build_records(
    samples: Sequence[Any], scorer: str, declaration: Declaration = UNKNOWN_SCORER
) -> tuple[AnswerRecord, ...]:
    """A record per logged sample, in their order.

    Args:
        declaration: the scorer's, see `archon_eval.runs.metrics`.

    Raises:
        DataError: an account that cannot be read, or a score without what its metric reads; names its question.
    """
    name, key = split_scorer(scorer, _list_scorers(samples))
    return tuple(_build_record(sample, name, key, declaration=declaration) for sample in samples)


def _build_record(sample: Any, name: str, key: str, *, declaration: Declaration) -> AnswerRecord:
    answer, problem, unreadable = None, "", False
    score = (sample.scores or {}).get(name)
    if sample.error:
        problem = str(sample.error.message) or "the sample failed"
    elif score is None:
        problem = f"no score by {name}" if name else "nothing was scored"
    else:
        try:
            value = convert_score(score.value, name, key)
        except DataError as exc:
            problem, unreadable = str(exc), True
    try:
        accounts = read_accounts(sample)
        if score is not None and not problem:
            answer = declaration.read_answer(value, score.metadata or {}, sample.metadata)
    except DataError as exc:
        raise DataError(f"{sample.id}: {exc}") from exc
    return AnswerRecord(
        question=str(sample.id),
        epoch=sample.epoch,
        answer=answer,
        problem=problem,
        unreadable=unreadable,
        status=_find_unread_status(score) if declaration is not UNKNOWN_SCORER else "",
        failed=bool(sample.error),
        accounts=accounts,
    )


def _find_unread_status(score: Any) -> str:
    status = (score.metadata or {}).get("status") if score is not None else None
    return status if isinstance(status, str) and status in UNREAD_STATUSES else ""


def _list_scorers(samples: Sequence[Any]) -> list[str]:
    return list(dict.fromkeys(name for sample in samples for name in sample.scores or {}))
