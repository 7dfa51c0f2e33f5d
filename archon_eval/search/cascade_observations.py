"""What the stages of a cascade did on the dev questions, read from the logs of their evals.

observations = read_observations(result.log, task)
observations["alg-01", 1].score, observations["alg-01", 1].account.stages
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archon_eval.architecture.routing import extract_features
from archon_eval.models.usage_totals import UsageTotals
from archon_eval.runs.account import QuestionAccount
from archon_eval.runs.metrics import find_declaration
from archon_eval.runs.read_log import open_log
from archon_eval.runs.records import build_records, choose_scorer
from archon_eval.search.setting_parts import TaskSpec


@dataclass(frozen=True, slots=True)
class StageObservation:
    """One answer on a dev question."""

    score: float
    account: QuestionAccount
    features: Mapping[str, float]


def read_observations(log: str, task: TaskSpec) -> dict[tuple[str, int], StageObservation]:
    """Question and epoch -> its answer; those without a score are not there.

    Raises:
        DataError: an account that cannot be read.
    """
    opened = open_log(log)
    scorer = choose_scorer(opened.samples or (), task.scorer)
    records = build_records(opened.samples or (), scorer, find_declaration(opened, scorer))
    asked = _read_questions(log)
    return {
        (record.question, record.epoch): StageObservation(
            record.answer.value,
            record.accounts[-1],
            extract_features(*asked.get((record.question, record.epoch), ("", 1))),
        )
        for record in records
        if record.answer is not None and record.accounts
    }


def _read_questions(log: str) -> dict[tuple[str, int], tuple[str, int]]:
    """The turn that each answer is to, as the architecture was asked, and the user's turns until then."""
    from inspect_ai.log import read_eval_log

    samples = read_eval_log(log, exclude_fields={"events", "events_data", "store", "timelines"}).samples or ()
    turns = {
        (str(sample.id), sample.epoch): [message.text for message in sample.messages if message.role == "user"]
        for sample in samples
    }
    return {key: (texts[-1], len(texts)) for key, texts in turns.items() if texts}


def add_layers(account: QuestionAccount, numbers: Sequence[int]) -> UsageTotals:
    """What some layers of an answer took, by their numbers."""
    layers = account.numbered_layers
    return UsageTotals.add_up(layers[number].usage for number in numbers if number in layers)
