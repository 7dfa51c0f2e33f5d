"""Multiple-choice benchmarks of the papers: MMLU, MMLU-Pro and GPQA Diamond (v6, Table 28: unseen tasks).

    inspect eval archon_eval/mmlu_pro --model openai/gpt-4o
    inspect eval archon_eval/gpqa_diamond -T sample=true --model none --solver archon -S architecture=moa-lite ...

Question, options and the form of the reply are in the sample's prompt, so that `--solver` loses none of them; the
samples therefore have no `choices` for a solver to format a second time. A question that a source holds twice in the
same words counts once (MMLU's test set has such rows, some under two subjects); a note says how many there are.
"""

from collections.abc import Callable, Sequence
from random import Random
from string import ascii_uppercase

from inspect_ai import Task, task
from inspect_ai.dataset import Sample

from archon_eval.errors import DataError
from archon_eval.scorers._options import spread_options
from archon_eval.scorers.choices import letter_answer
from archon_eval.tasks._data import Selection, make_stable_id
from archon_eval.tasks._filters import SubjectFilter
from archon_eval.tasks._pinned import load_hub_rows
from archon_eval.tasks._rows import Row

MMLU = ("cais/mmlu", "c30699e8356da336a370243923dbaf21066bb9fe")
MMLU_PRO = ("TIGER-Lab/MMLU-Pro", "527feea0afed1de15a8c115abf7be4c912123315")
GPQA = ("Idavidrein/gpqa", "633f5ee89ab8ad4522a9f850766b73f62147ffdd")
"""Repository and commit on the Hub. GPQA is gated there: accept its terms and set HF_TOKEN."""
HUB_SAMPLE_SIZE = 500
"""Questions drawn from MMLU and MMLU-Pro unless `n` says otherwise (paper v6, section 4.1)."""
PROMPT = """\
{question}

{options}

Exactly one of the options is right. Think it through step by step, then close your reply with a line that holds only \
your choice, in this form: ANSWER: $LETTER (one of {letters})"""


RowReader = Callable[[Row], tuple[str, Sequence[str], int]]
"""A row's question, its options in order, and the place of the right one."""


@task
@spread_options
def mmlu(selection: Selection, where: SubjectFilter) -> Task:
    """MMLU (Hendrycks et al., 2021): four options.

    Args:
        selection: `data` has `question`, `choices` (a list), `answer` (the place from 0, or the letter), optionally
            `subject`; `n` is 500 by default for the official test set, or all that `where` leaves, if they are fewer.
        where: subjects, see `SubjectFilter`.
    """
    rows = selection.load_rows("mmlu.jsonl", lambda: load_hub_rows(*MMLU, config="all"))
    return _build_task("mmlu", rows, _make_row_reader("choices"), selection, where=where, size=HUB_SAMPLE_SIZE)


@task
@spread_options
def mmlu_pro(selection: Selection, where: SubjectFilter) -> Task:
    """MMLU-Pro (Wang et al., 2024): up to ten options. As `mmlu`, with `options` (a list) and `category`."""
    rows = selection.load_rows("mmlu_pro.jsonl", lambda: load_hub_rows(*MMLU_PRO))
    return _build_task("mmlu_pro", rows, _make_row_reader("options"), selection, where=where, size=HUB_SAMPLE_SIZE)


@task
@spread_options
def gpqa_diamond(selection: Selection, where: SubjectFilter) -> Task:
    """GPQA Diamond (Rein et al., 2023): 198 questions, four options in an order fixed by the question.

    Args:
        selection: `data` has the official columns `Question`, `Correct Answer`, `Incorrect Answer 1` to `3`, optionally
            `Subdomain`.
        where: subjects, which are the values of `Subdomain`, see `SubjectFilter`.
    """
    rows = selection.load_rows("gpqa.jsonl", lambda: load_hub_rows(*GPQA, config="gpqa_diamond", split="train"))
    return _build_task("gpqa", rows, _read_gpqa_row, selection, where=where)


def _build_task(
    name: str,
    rows: Sequence[Row],
    read: RowReader,
    selection: Selection,
    *,
    where: SubjectFilter,
    size: int | None = None,
) -> Task:
    """The task with a sample for each row; rows that agree in id and prompt count once, as the first of them."""
    samples: dict[tuple[str, str], Sample] = {}
    for sample in (_build_sample(name, row, read) for row in rows):
        samples.setdefault((str(sample.id), str(sample.input)), sample)
    dropped = {"a question that is there before in the same words": len(rows) - len(samples)}
    return selection.build_task(
        name, list(samples.values()), letter_answer(), where=where, official_size=size, dropped=dropped
    )


def _build_sample(name: str, row: Row, read: RowReader) -> Sample:
    question, options, right = read(row)
    letters = ascii_uppercase[: len(options)]
    listed = "\n".join(f"{letter}) {option}" for letter, option in zip(letters, options, strict=True))
    ids = (row.get(key) for key in ("id", "Record ID", "question_id"))
    subjects = (row.get(key) for key in ("subject", "category", "Subdomain"))
    return Sample(
        input=PROMPT.format(question=question, options=listed, letters=", ".join(letters)),
        target=letters[right],
        id=next((str(id) for id in ids if id is not None), make_stable_id(name, question, *options)),
        metadata={"subject": next(filter(None, subjects), None)},
    )


def _make_row_reader(key: str) -> RowReader:
    def read(row: Row) -> tuple[str, Sequence[str], int]:
        options, answer = row.require(key), row.require("answer")
        if not isinstance(options, list) or not 2 <= len(options) <= 26:
            raise DataError(f"{row.location}: {key!r} must be a list of 2 to 26 options")
        right = ascii_uppercase.find(answer) if isinstance(answer, str) and len(answer) == 1 else answer
        if not isinstance(right, int) or isinstance(right, bool) or not 0 <= right < len(options):
            raise DataError(
                f"{row.location}: 'answer' must be a place from 0 to {len(options) - 1} or a letter to "
                f"{ascii_uppercase[len(options) - 1]}, not {answer!r}"
            )
        return row.require_text("question"), [str(option) for option in options], right

    return read


def _read_gpqa_row(row: Row) -> tuple[str, Sequence[str], int]:
    question, right = row.require_text("Question").strip(), row.require_text("Correct Answer").strip()
    options = [right, *(row.require_text(f"Incorrect Answer {number}").strip() for number in (1, 2, 3))]
    Random(make_stable_id("gpqa", question)).shuffle(options)
    return question, options, options.index(right)
