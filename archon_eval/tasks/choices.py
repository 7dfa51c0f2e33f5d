"""Multiple-choice benchmarks of the papers: MMLU, MMLU-Pro and GPQA Diamond (v6, Table 28: unseen tasks).

    inspect eval archon_eval/mmlu_pro --model openai/gpt-4o
    inspect eval archon_eval/gpqa_diamond -T sample=true --model none --solver archon -S architecture=moa-lite ...

Question, options and the form of the reply are in the sample's prompt, so that `--solver` loses none of them; the
samples therefore have no `choices` for a solver to format a second time. A question that a source holds twice, to the
letter, counts once (MMLU's test set has such rows, some under two subjects).
"""

from collections.abc import Callable, Sequence
from random import Random
from string import ascii_uppercase

from inspect_ai import Task, task
from inspect_ai.dataset import Sample

from archon_eval.errors import DataError
from archon_eval.scorers.choices import letter_answer
from archon_eval.tasks._data import Row, build_task, load_hub_rows, load_rows, make_stable_id

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


@task
def mmlu(
    split: str = "all", sample: bool = False, data: str | None = None, n: int | None = None, seed: int = 0
) -> Task:
    """MMLU (Hendrycks et al., 2021): four options; 500 questions of the test set by default.

    Args:
        split: `dev` (a fifth, for searching), `test` (the rest, for reporting) or `all`.
        sample: use the questions bundled with the package; no network.
        data: a local file with `question`, `choices` (a list), `answer` (the place from 0, or the letter).
        n: how many questions to draw before the split.
        seed: changes the draw and the split.

    Raises:
        DataError: a source that cannot be read or is not as described, an unknown split, an impossible `n`.
    """
    rows = load_rows(sample=sample, data=data, bundled="mmlu.jsonl", hub=lambda: load_hub_rows(*MMLU, config="all"))
    return _build_choice_task("mmlu", rows, _make_row_reader("choices"), split, _resolve_n(n, sample, data), seed)


@task
def mmlu_pro(
    split: str = "all", sample: bool = False, data: str | None = None, n: int | None = None, seed: int = 0
) -> Task:
    """MMLU-Pro (Wang et al., 2024): up to ten options; 500 questions of the test set by default. As `mmlu`, the list
    of options under `options`."""
    rows = load_rows(sample=sample, data=data, bundled="mmlu_pro.jsonl", hub=lambda: load_hub_rows(*MMLU_PRO))
    return _build_choice_task("mmlu_pro", rows, _make_row_reader("options"), split, _resolve_n(n, sample, data), seed)


@task
def gpqa_diamond(
    split: str = "all", sample: bool = False, data: str | None = None, n: int | None = None, seed: int = 0
) -> Task:
    """GPQA Diamond (Rein et al., 2023): 198 questions, four options in an order fixed by the question. As `mmlu`, with
    the official columns `Question`, `Correct Answer`, `Incorrect Answer 1` to `3`."""
    hub = lambda: load_hub_rows(*GPQA, config="gpqa_diamond", split="train")  # noqa: E731
    rows = load_rows(sample=sample, data=data, bundled="gpqa.jsonl", hub=hub)
    return _build_choice_task("gpqa", rows, _read_gpqa_row, split, n, seed)


RowReader = Callable[[Row], tuple[str, Sequence[str], int]]
"""A row's question, its options in order, and the place of the right one."""


def _resolve_n(n: int | None, sample: bool, data: str | None) -> int | None:
    return HUB_SAMPLE_SIZE if n is None and not sample and not data else n


def _build_choice_task(name: str, rows: Sequence[Row], read: RowReader, split: str, n: int | None, seed: int) -> Task:
    found = [_build_sample(name, row, *read(row)) for row in rows]
    samples = list({(sample.id, str(sample.input)): sample for sample in found}.values())
    return build_task(name, samples, letter_answer(), split=split, n=n, seed=seed)


def _build_sample(name: str, row: Row, question: str, options: Sequence[str], right: int) -> Sample:
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
