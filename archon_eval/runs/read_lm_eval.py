"""Reads what `lm_eval --log_samples --output_path ...` writes: a run per task, of any model.

run = read_lm_eval_run("results/moa-lite/samples_gsm8k_2026-11-20T10-00-00.123456.jsonl", "strict-match")
run.task, run.scorer, run.metric.name           # "gsm8k (lm-eval)", "exact_match,strict-match", "exact_match"

lm-eval writes `results_DATE.json`, and of each task `samples_TASK_DATE.jsonl` with a line per document and filter. A
run is one of the latter; the figures, the task's settings and the model come from the former. A metric that lm-eval
averages over documents is the run's, as it is; of one where less is better the negative counts, so that more is better
in every comparison. A figure over all documents together (BLEU, perplexity) stands beside the mean of the documents'
values where they have one, and is refused where they have none: no paired test can be made of it.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from archon_eval.errors import DataError, NoValuesError, did_you_mean, quote
from archon_eval.models.conversion import redact
from archon_eval.models.usage_totals import UsageTotals
from archon_eval.runs.benchmark_run import COST_NAMES, BenchmarkQuestion, MissingPolicy, Run
from archon_eval.runs.layer_health import RunHealth
from archon_eval.runs.log_folder import describe_source
from archon_eval.runs.metrics import fit_mean
from archon_eval.runs.score import convert_score
from archon_eval.runs.task_account import ACCOUNTS_KEY, FAILED_KEY, TaskAccount
from archon_eval.stats.metrics import Metric, ScoredAnswer

_DATE = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?"
_RESULTS_NAME = re.compile(rf".+_({_DATE})\.json")
_DATE_IN_PROMPT = re.compile(r"\d{4}-\d\d-\d\d|\d{1,2} [A-Z][a-z]+ \d{4}|[A-Z][a-z]+ \d{1,2}, \d{4}")
_SAMPLES_NAME = re.compile(rf"samples_(.+)_({_DATE})\.jsonl")
HARNESS = "lm-eval"
TASK_ENDING = f" ({HARNESS})"
"""What follows a task's name in `Run.task`: a task of lm-eval is never that of Inspect, whatever the two are called."""
MEAN_AGGREGATIONS = ("mean", "nanmean")
"""What lm-eval calls the mean of the documents' values."""
RUN_ARGUMENTS = frozenset(
    {"num_concurrent", "max_retries", "timeout", "batch_size", "max_batch_size", "device", "verify_certificate"}
)
"""Arguments of lm-eval's models that say how a run is made, not which system it is of."""
NAMING_ARGUMENTS = ("peft", "delta", "pretrained", "model", "path", "engine")
"""Arguments by which lm-eval names a model, in its order."""
_TOLERANCE = 1e-6
"""Relative difference up to which a mean is the one in the results: they have full digits, sums differ by rounding."""
_PROMPT_SETTINGS = (
    *("doc_to_text", "doc_to_choice", "doc_to_target", "description", "gen_prefix", "use_prompt", "process_docs"),
    *("target_delimiter", "fewshot_delimiter", "fewshot_config", "fewshot_split", "num_fewshot"),
)
"""Settings of a task that shape its prompts."""


def is_lm_eval_file(path: Path) -> bool:
    """Whether a file is lm-eval's results or samples, by its name and how it begins."""
    return bool(_SAMPLES_NAME.fullmatch(path.name)) or is_results_file(path)


def is_results_file(path: Path) -> bool:
    """Whether a file is lm-eval's results: other tools name files by date too."""
    return bool(_RESULTS_NAME.fullmatch(path.name)) and _begins_as_results(path)


def find_lm_eval_logs(folder: Path) -> list[Path]:
    """The files with samples in a folder and the folders in it, oldest first; and results that lack some."""
    results = [file for file in folder.rglob("*.json") if is_results_file(file)]
    samples = {file for file in folder.rglob("samples_*.jsonl") if _SAMPLES_NAME.fullmatch(file.name)}
    for file in results:
        try:
            samples.update(list_samples(file))
        except DataError:
            samples.add(file)  # whoever reads it is told why it cannot be read
    return sorted(samples, key=lambda file: (_get_date(file), file))


def list_samples(results: Path) -> list[Path]:
    """The files with samples of a results file, one per task; the file itself too where a task has none."""
    date = _get_date(results)
    tasks = _list_tasks(_read_results(results))
    files = [results.with_name(f"samples_{task}_{date}.jsonl") for task in tasks]
    there = [file for file in files if file.is_file()]
    return there if files and len(there) == len(files) else [*there, results]


def read_lm_eval_run(
    path: str | os.PathLike[str],
    scorer: str | None = None,
    missing: MissingPolicy = "error",
    *,
    metric: str | None = None,
) -> Run:
    """One task of a finished run.

    Args:
        path: the file with its samples, or one with the results of a single task.
        scorer: which of several filters counts, `FILTER` or `METRIC,FILTER`; None for the first.
        missing: what a document without a value of the metric does, as in `read_run`.
        metric: which metric counts; None for the first.

    Raises:
        DataError: files that are missing or damaged, no such filter or metric, one that cannot be compared, values
            missing, or a figure that is not the mean of the values that it should be the mean of. Names the file.
    """
    file = Path(path)
    if _SAMPLES_NAME.fullmatch(file.name) is None:
        file = _find_single_samples(file)
    try:
        return _read_task(file, scorer, missing, metric=metric)
    except DataError as exc:
        raise DataError(f"{file}: {exc}") from exc
    except (AttributeError, TypeError, LookupError, ValueError) as exc:  # files of other tools, or of another version
        raise DataError(f"{file}: not readable as a run of lm-eval: {type(exc).__name__}: {exc}") from exc


@dataclass(frozen=True, slots=True)
class LmEvalSample:
    """What a document was asked with, and what came back."""

    question: str
    prompt: tuple[tuple[str, str], ...]
    """Role and text of each turn; a prompt that is text is a user's turn."""
    replies: tuple[str, ...]
    """All of them, where the task asks several times; none of a choice by likelihood."""


def read_samples(path: str | os.PathLike[str], scorer: str) -> list[LmEvalSample]:
    """The documents of one task of a finished run that text was generated for.

    Args:
        path: as for `read_lm_eval_run`.
        scorer: `METRIC,FILTER`; a document is there once per filter.

    Raises:
        DataError: the file is damaged, or asks for likelihoods of given texts.
    """
    file = Path(path)
    file = file if _SAMPLES_NAME.fullmatch(file.name) else _find_single_samples(file)
    samples = []
    for row in _read_rows(file):
        if row["filter"] != scorer.rpartition(",")[2]:
            continue
        requests = list(_iterate_requests(row))
        if len(requests) != 1 or not isinstance(requests[0][-1], Mapping):
            raise DataError(f"{file}: the task chooses among given texts by likelihood, so that no text was generated")
        prompt = requests[0][0]
        turns = _read_turns(prompt) or [("user", _render_prompt(prompt))]
        listed = row["resps"][0] if len(row["resps"]) == 1 and isinstance(row["resps"][0], list) else row["resps"]
        samples.append(LmEvalSample(_get_id(row), tuple(turns), tuple(map(str, listed))))
    return samples


def _find_single_samples(results: Path) -> Path:
    """The samples of a results file with one task."""
    found = list_samples(results)
    if found == [results]:
        raise DataError(
            f"{results}: no samples beside these results, so that nothing can be compared per document: run lm_eval "
            "with --log_samples"
        )
    if results in found:
        have = {_split_samples_name(file)[0] for file in found if file != results}
        lacking = [task for task in _list_tasks(_read_results(results)) if task not in have]
        raise DataError(f"{results}: no samples of {', '.join(lacking[:3])} beside these results")
    if len(found) > 1:
        raise DataError(f"{results}: {len(found)} tasks; name the samples of one, such as {found[0]}")
    return found[0]


def _read_task(file: Path, scorer: str | None, missing: MissingPolicy, *, metric: str | None) -> Run:
    task, date = _split_samples_name(file)
    results = _find_results(file, task, date)
    rows = _read_rows(file)
    named_metric, chosen_filter = _choose_filter(rows, scorer)
    rows = [row for row in rows if row["filter"] == chosen_filter]
    _refuse_doubles(rows)
    choice = _choose_metric(results, task, rows, wanted=metric or named_metric)
    if choice.problems and missing == "error":
        question, why = next(iter(choice.problems.items()))
        raise DataError(
            f"{len(choice.problems)} of {len(rows)} questions have no score; {question}: {why} "
            "(--missing drop leaves them out, --missing zero counts them as wrong)"
        )
    scored = {question: (ScoredAnswer(value),) for question, value in choice.values.items()}
    if missing == "zero" and choice.problems:
        if choice.unreadable:
            question, why = next(iter(choice.unreadable.items()))
            raise DataError(
                f"{question}: {why}, which --missing zero does not count as wrong (--missing drop leaves it out)"
            )
        if choice.is_negative:
            raise DataError(
                f"{choice.name}: less is better, so that zero is not wrong: --missing drop leaves documents out"
            )
        scored |= {question: (ScoredAnswer(0.0),) for question in choice.problems}
        scored = {question: scored[question] for question in map(_get_id, rows)}
    config, protocol = results["config"], _describe_protocol(results, task, rows)
    account = _read_account(config, task)
    failed = _get_failed(results, task)
    usage = _Usage([row for row in rows if _get_id(row) not in failed], account, config)
    is_chat = protocol["chat template"] != "none"
    asked = _hash(_collect_prompt_settings(results, task)) if is_chat else ""
    return Run(
        name=_name_system(results),
        task=f"{task}{TASK_ENDING}",
        scorer=f"{choice.name},{chosen_filter}",
        questions={_get_id(row): _build_question(row, asked, str(results.get("chat_template") or "")) for row in rows},
        scored=scored,
        metric=choice.fit(scored),
        headline=choice.headline,
        metric_note=choice.note,
        missing=choice.problems,
        answers={_get_id(row): _read_answer(row) for row in rows},
        cost=usage.cost,
        unknown_costs=usage.unknown,
        cost_by_model=usage.by_model,
        usage=account.usage if account else UsageTotals(),
        seconds=_read_seconds(results),
        layers=account.layers if account else (),
        stages=account.stages if account else (),
        notes=account.notes if account else {},
        version=str(results.get("versions", {}).get(task, "")),
        fingerprint=str(config.get("fingerprint") or "") if config.get("model") == "archon" else "",
        setup=_hash_setup(results, task),
        log=describe_source(file),
        health=account.health if account else RunHealth(),
        asked=protocol,
    )


def _get_date(file: Path) -> str:
    match = _RESULTS_NAME.fullmatch(file.name) or re.fullmatch(rf"samples_.+_({_DATE})\.jsonl", file.name)
    return match[1] if match else ""


def _split_samples_name(file: Path) -> tuple[str, str]:
    match = _SAMPLES_NAME.fullmatch(file.name)
    assert match is not None
    return match[1], match[2]


def _begins_as_results(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            return re.match(r'\s*\{\s*"results"\s*:', stream.read(200)) is not None
    except OSError:
        return False


def _read_results(file: Path) -> dict[str, Any]:
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise DataError(f"{file}: not readable as results of lm-eval: {type(exc).__name__}: {exc}") from exc
    if not (
        isinstance(results, dict)
        and all(isinstance(results.get(name), dict) for name in ("results", "configs"))
        and all(isinstance(each, dict) for name in ("results", "configs") for each in results[name].values())
        and isinstance(results.setdefault("config", {}), dict)
    ):
        raise DataError(f"{file}: no results of lm-eval: they have results and configs by task")
    return results


def _list_tasks(results: Mapping[str, Any]) -> list[str]:
    """The tasks with documents of their own; a group's figures come from its tasks."""
    groups = {name for name, tasks in (results.get("group_subtasks") or {}).items() if tasks}
    return [task for task in results["configs"] if task in results["results"] and task not in groups]


def _find_results(file: Path, task: str, date: str) -> dict[str, Any]:
    found = [
        path for path in sorted(file.parent.glob(f"*_{date}.json")) if is_results_file(path)
    ]  # the name begins with `results`, or as the user called it
    if not found:
        raise DataError(f"no results beside these samples: results_{date}.json has the figures and the model")
    results = _read_results(found[0])
    if task not in _list_tasks(results):
        raise DataError(f"the results {found[0].name} have no task {task!r}{did_you_mean(task, _list_tasks(results))}")
    return results


def _read_rows(file: Path) -> list[dict[str, Any]]:
    rows, number = [], 0
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict) or any(name not in row for name in ("doc_id", "arguments", "resps")):
                    raise DataError(f"line {number} is no sample of lm-eval: it has doc_id, arguments and resps")
                rows.append({"filter": "none", "target": "", **row})
    except (OSError, ValueError) as exc:
        if isinstance(exc, DataError):
            raise
        raise DataError(f"not readable as samples of lm-eval: line {number}: {type(exc).__name__}: {exc}") from exc
    if not rows:
        raise DataError("no samples in this file")
    return rows


def _get_id(row: Mapping[str, Any]) -> str:
    return str(row["doc_id"])


def _refuse_doubles(rows: Sequence[Mapping[str, Any]]) -> None:
    seen = set[str]()
    for row in rows:
        if (question := _get_id(row)) in seen:
            raise DataError(
                f"document {question} is there twice: two runs in one file, or --samples named a document twice"
            )
        seen.add(question)


def _choose_filter(rows: Sequence[Mapping[str, Any]], scorer: str | None) -> tuple[str | None, str]:
    """The metric that `METRIC,FILTER` names, if it does, and the filter."""
    filters = list(dict.fromkeys(str(row["filter"]) for row in rows))
    if scorer is None:
        return None, filters[0]
    if scorer in filters:
        return None, scorer
    metric, comma, name = scorer.rpartition(",")
    if comma and name in filters:
        return metric, name
    raise DataError(f"no filter {name!r}{did_you_mean(name, filters)}")


@dataclass(frozen=True)
class _MetricChoice:
    """The metric of a run, and the documents' values of it, more being better."""

    name: str
    """lm-eval's."""
    values: Mapping[str, float]
    problems: Mapping[str, str]
    """Question -> why it has no value."""
    unreadable: Mapping[str, str]
    """Those of them whose value is no number."""
    is_mean: bool = True
    """Whether lm-eval's figure is the mean of the values."""
    is_negative: bool = False
    headline: tuple[str, float] | None = None
    note: str = ""

    @property
    def shown_name(self) -> str:
        return f"negative {self.name}" if self.is_negative else self.name if self.is_mean else f"mean of {self.name}"

    def fit(self, scored: Mapping[str, Sequence[ScoredAnswer]]) -> Metric:
        return fit_mean(self.shown_name, scored)


def _choose_metric(
    results: Mapping[str, Any], task: str, rows: Sequence[Mapping[str, Any]], wanted: str | None
) -> _MetricChoice:
    """The metric asked for, else the first that has values per document."""
    chosen_filter, figures = rows[0]["filter"], results["results"][task]
    ending = f",{chosen_filter}"
    keys = [key for key in figures if key.endswith(ending) and not key.removesuffix(ending).endswith("_stderr")]
    names = [key.removesuffix(ending) for key in keys if key.removesuffix(ending) != "bypass"]
    if not names:
        why = "it was run with --predict_only" if keys else f"none of filter {chosen_filter}"
        raise DataError(f"the results have no metric of {task}: {why}")
    if wanted is not None:
        for name in names:
            if wanted in (name, f"negative {name}", f"mean of {name}"):
                return _read_metric(results, task, rows, name)
        raise DataError(f"filter {chosen_filter}: no metric {wanted!r}{did_you_mean(wanted, names)}")
    reasons: list[str] = []
    for name in names:
        try:
            choice = _read_metric(results, task, rows, name)
        except NoValuesError as exc:
            reasons.append(str(exc))
            continue
        if not reasons:
            return choice
        first = (names[0], float(figures[f"{names[0]}{ending}"]))
        note = " ".join(filter(None, [f"{reasons[0]}; {choice.shown_name} counts here.", choice.note]))
        return replace(choice, headline=choice.headline or first, note=note)
    raise DataError("; ".join(reasons))


def _read_metric(results: Mapping[str, Any], task: str, rows: Sequence[Mapping[str, Any]], name: str) -> _MetricChoice:
    label = f"{name},{rows[0]['filter']}"
    if all(isinstance(row.get(name), list | dict | None) for row in rows):
        raise NoValuesError(
            f"{name} is computed over all documents together and has no value per document, so that two systems "
            "cannot be compared by it"
        )
    values, problems, unreadable = dict[str, float](), dict[str, str](), dict[str, str]()
    for row in rows:
        question = _get_id(row)
        if row.get(name) is None:
            problems[question] = f"no value of {label}"
            continue
        try:
            values[question] = convert_score(row[name], label)
        except DataError as exc:
            problems[question] = unreadable[question] = str(exc)
    logged = results["results"][task].get(label)
    figure = float(logged) if isinstance(logged, int | float) and logged == logged else None  # not nan
    aggregation = _find_aggregation(results, task, name)
    average = sum(values.values()) / len(values) if values else None
    is_same = figure is not None and average is not None and _is_near(average, figure)
    if aggregation in MEAN_AGGREGATIONS and not is_same and figure is not None and not unreadable:
        raise DataError(
            f"{label} is {figure:.10g} in the results, but the mean of the documents' values is "
            f"{'unknown' if average is None else f'{average:.10g}'}: the files are not of one run, or damaged"
        )
    is_mean = aggregation in MEAN_AGGREGATIONS or (aggregation is None and (is_same or figure is None))
    more_is_better = results.get("higher_is_better", {}).get(task, {}).get(name)
    for question, why in _get_failed(results, task).items():
        values.pop(question, None)
        problems[question] = why
    choice = _MetricChoice(name, values, problems, unreadable)
    headline = None if figure is None else (name, figure)
    if is_mean and more_is_better is False:
        note = f"less {name} is better: its negative counts here, so that more is better"
        negated = {question: 0.0 - value for question, value in values.items()}
        return replace(choice, values=negated, is_negative=True, note=note, headline=headline)
    if is_mean:
        note = "" if more_is_better else f"lm-eval does not say whether more {name} is better; it counts as if it were"
        return replace(choice, note=note)
    how = f"by {quote(aggregation, 60)[1:-1]}" if aggregation else "by a way of its own"
    if more_is_better is False:
        raise NoValuesError(
            f"{name} is computed over all documents together ({how}) and less of it is better: whether that holds for "
            "the value of one document is not known, so that two systems cannot be compared by it"
        )
    note = f"lm-eval computes {name} {how}; the mean of its values per document counts here"
    return replace(choice, is_mean=False, headline=headline, note=note)


def _get_failed(results: Mapping[str, Any], task: str) -> dict[str, str]:
    """Question -> why its answer failed, in results that a search wrote: lm-eval scored it as an empty one."""
    failed = results["config"].get(FAILED_KEY)
    found = failed.get(task) if isinstance(failed, Mapping) else None
    return {str(question): str(why) for question, why in found.items()} if isinstance(found, Mapping) else {}


def _find_aggregation(results: Mapping[str, Any], task: str, name: str) -> str | None:
    """What the task's settings call the metric's aggregation; None where they do not say, or have code."""
    for listed in results["configs"][task].get("metric_list") or ():
        if isinstance(listed, dict) and listed.get("metric") == name:
            how = listed.get("aggregation")
            return how if isinstance(how, str) and re.fullmatch(r"[\w+]+", how) else None
    return None


def _is_near(one: float, other: float) -> bool:
    return abs(one - other) <= _TOLERANCE * max(1.0, abs(other))


def _build_question(row: Mapping[str, Any], asked: str, template: str) -> BenchmarkQuestion:
    requests = list(_iterate_requests(row))
    text = _render_prompt(requests[0][0]) if requests else ""
    choices = [words[1] for words in requests if len(words) > 1 and isinstance(words[1], str)]
    if choices:  # the continuations whose likelihoods were asked for
        text = "\n".join([text, *(f"({number}) {choice.strip()}" for number, choice in enumerate(choices))])
    document = [str(row.get(name, "")) for name in ("doc_hash", "target_hash")]
    digest = _hash([asked, *document]) if asked and all(document) else ""
    # which prompts are the same is said by text and `asked`: here only that they are known
    sent = (f"user:{_hash(document)}",)
    is_rendered = bool(digest and template and requests) and _read_turns(requests[0][0]) is None
    rendered = (_hash(template), _hash(_DATE_IN_PROMPT.sub("", text))) if is_rendered else None
    return BenchmarkQuestion(text, str(row["target"]), "", asked=digest, rendered=rendered, prompt=sent)


def _iterate_requests(row: Mapping[str, Any]) -> Iterator[list[Any]]:
    """The arguments of each request for a document, the prompt first."""
    arguments = row["arguments"]
    listed = arguments.values() if isinstance(arguments, dict) else arguments
    for each in listed:
        yield list(each.values()) if isinstance(each, dict) else list(each)


def _read_turns(prompt: Any) -> list[tuple[str, str]] | None:
    """The turns of a chat; None for a prompt that is text."""
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):  # as lm-eval's API models log it
        prompt = prompt[0]
    if isinstance(prompt, str):
        if not prompt.startswith('[{"'):
            return None
        try:
            prompt = json.loads(prompt)
        except ValueError:
            return None
    if isinstance(prompt, list) and all(
        isinstance(turn, dict) and {"role", "content"} <= turn.keys() for turn in prompt
    ):
        return [(str(turn["role"]), str(turn["content"])) for turn in prompt]
    return None


def _render_prompt(prompt: Any) -> str:
    turns = _read_turns(prompt)
    if turns is None:
        return prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)
    return "\n\n".join(f"{role}: {content}" for role, content in turns)


def _read_answer(row: Mapping[str, Any]) -> str:
    """The model's first reply; of a choice by likelihood, the likelihood of each."""
    replies = [each[0] if isinstance(each, list) and each else each for each in row["resps"]]
    if len(replies) == 1 and isinstance(replies[0], str):
        return replies[0]
    return "\n".join(reply if isinstance(reply, str) else json.dumps(reply, ensure_ascii=False) for reply in replies)


def _collect_prompt_settings(results: Mapping[str, Any], task: str) -> dict[str, Any]:
    config = results["configs"][task]
    settings = {name: value for name in _PROMPT_SETTINGS if (value := config.get(name)) not in (None, "")}
    shots = config.get("num_fewshot") or 0
    of_run = {"system": results.get("system_instruction")}
    if shots:
        of_run |= {
            "seed": results["config"].get("fewshot_seed"),
            "multiturn": bool(results.get("fewshot_as_multiturn")),
        }
    return {**settings, **of_run}


def _describe_protocol(results: Mapping[str, Any], task: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """How the documents became prompts, in words, to say why those of two runs differ."""
    config = results["configs"][task]
    first = next(_iterate_requests(rows[0]), [""])[0]
    is_chat = bool(results.get("chat_template")) or _read_turns(first) is not None
    shown = {
        "few-shot examples": str(config.get("num_fewshot") or 0),
        "system instruction": _shorten(results.get("system_instruction")),
        "chat template": "applied" if is_chat else "none",
        "prompt template": _shorten(config.get("doc_to_text")),
        "description": _shorten(config.get("description")),
    }
    return shown


def _shorten(value: Any) -> str:
    return quote(str(value), 80) if value not in (None, "") else "none"


def _read_account(config: Mapping[str, Any], task: str) -> TaskAccount | None:
    """What the answers took, where an architecture of ours gave them and this version wrote it down."""
    plain = config.get(ACCOUNTS_KEY) if config.get("model") == "archon" else None
    if not isinstance(plain, Mapping) or task not in plain:
        return None
    return TaskAccount.from_metadata(plain[task])


class _Usage:
    """What the answers took on average, as far as the results say it."""

    def __init__(
        self, rows: Sequence[Mapping[str, Any]], account: TaskAccount | None, config: Mapping[str, Any]
    ) -> None:
        generated = [sum(len(each) if isinstance(each, list) else 1 for each in row["resps"]) for row in rows]
        self.cost: dict[str, float | None] = dict.fromkeys(COST_NAMES)
        self.by_model: Mapping[str, Mapping[str, float | None]] = {}
        self.unknown: dict[str, str] = {}
        if account is not None and account.answers == sum(generated):
            average, repeats = account.average(), account.answers / len(rows)
            self.cost = {name: None if value is None else repeats * value for name, value in average.cost.items()}
            self.unknown = dict(average.unknown_costs)
            self.by_model = {
                model: {name: None if value is None else repeats * value for name, value in costs.items()}
                for model, costs in average.cost_by_model.items()
            }
        elif account is not None or config.get("model") == "archon":
            known = account.answers if account else 0
            why = (
                f"{sum(generated) - known} of {sum(generated)} answers came from lm-eval's response cache"
                if config.get("use_cache")
                else "the results have no account of the answers: an earlier version made them"
            )
            self.unknown = dict.fromkeys(COST_NAMES, why)
        else:
            self.unknown = dict.fromkeys(COST_NAMES, f"lm-eval does not record it for the model {config.get('model')}")
            if all(isinstance(words[-1], dict) for row in rows for words in _iterate_requests(row)):  # it generates
                self.cost["calls"] = sum(generated) / len(rows)
                del self.unknown["calls"]


def _read_arguments(results: Mapping[str, Any]) -> dict[str, Any]:
    """The model's arguments; text as its pairs."""
    arguments = results["config"].get("model_args") or {}
    if isinstance(arguments, str):
        pairs = (pair.partition("=") for pair in arguments.split(",") if pair)
        return {name.strip(): value.strip() for name, _, value in pairs}
    return dict(arguments) if isinstance(arguments, Mapping) else {}


def _name_system(results: Mapping[str, Any]) -> str:
    """The architecture's name; of another model, lm-eval's name of its kind and the model's own."""
    config = results["config"]
    architecture = config.get("architecture")
    if config.get("model") == "archon" and isinstance(architecture, Mapping):
        return str(architecture.get("name") or config.get("fingerprint"))
    arguments = _read_arguments(results)
    kind = str(config.get("model") or results.get("model_source") or "model")
    named = next((str(arguments[name]) for name in NAMING_ARGUMENTS if arguments.get(name)), "")
    return redact(f"{kind}/{named}" if named else kind)


def _hash_setup(results: Mapping[str, Any], task: str) -> str:
    """12 hex digits over what makes a system besides an architecture: the model's arguments, settings of generation."""
    config, setup = results["config"], dict[str, Any]()
    if config.get("model") != "archon":
        arguments = _read_arguments(results)
        setup["model_args"] = {name: value for name, value in arguments.items() if name not in RUN_ARGUMENTS}
    setup["generation"] = results["configs"][task].get("generation_kwargs")
    setup["repeats"] = results["configs"][task].get("repeats")
    return _hash(setup)


def _read_seconds(results: Mapping[str, Any]) -> float:
    """Of all tasks of the run together; 0 where it does not say."""
    try:
        return float(results.get("total_evaluation_time_seconds") or 0.0)
    except (TypeError, ValueError):
        return 0.0


def _hash(value: Any) -> str:
    """12 hex digits, without the places in memory that lm-eval writes of functions."""
    text = re.sub(r" at 0x[0-9a-f]+>", ">", json.dumps(value, sort_keys=True, default=str))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
