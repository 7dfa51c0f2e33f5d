"""Loads the documents of a task of lm-eval before any model is called, and refuses what a search cannot be made of.

>>> load_lm_eval_questions(TaskSpec("hellaswag", harness="lm-eval"))
Traceback (most recent call last):
archon_eval.errors.SearchError: hellaswag: an architecture answers with text and has no log-likelihood of a given one \
(output_type multiple_choice). Use a task that generates text.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from importlib.util import find_spec
from typing import Any

from inspect_ai.dataset import Sample

from archon_eval.errors import DataError, SearchError, did_you_mean
from archon_eval.runs.run_lm_eval import parse_task_options
from archon_eval.search.config import TaskSpec
from archon_eval.search.task_facts import TaskFacts, read_task_facts
from archon_eval.tasks._data import find_dev_ids

CORPUS_METRICS = frozenset(
    {"bleu", "chrf", "chrf++", "ter", "f1", "matthews_corrcoef", "perplexity", "weighted_perplexity", "bits_per_byte"}
)
"""Aggregations of lm-eval over all documents together: no trial can be compared with another by them."""


def load_lm_eval_questions(task: TaskSpec) -> tuple[dict[str, int], str, set[str], TaskFacts]:
    """Answers, digest, dev split and facts of `archon_eval.search.questions.TaskQuestions`, of a task of lm-eval.

    A document's id is its number from 0.

    Raises:
        SearchError: lm-eval is not installed; no such task; one that needs log-likelihoods, images or consent to run
            code; an option, filter or metric that it does not have; or its data cannot be had.
    """
    if find_spec("lm_eval") is None:
        raise SearchError("tasks of lm-eval need it: pip install 'archon-eval[lm-eval]'")
    from archon_eval.integrations.lm_eval_job import load_task
    from archon_eval.integrations.lm_eval_tasks import check_task, explain_no_likelihood

    try:
        options = parse_task_options(task.args, task.name)
        check_task(task.name, options.get("include_path"))
    except DataError as exc:
        raise SearchError(str(exc)) from exc
    if "limit" in options:
        raise SearchError(f"task {task.name}: the search chooses documents itself; leave out `limit`")
    try:
        loaded = load_task(task.name, options.get("include_path"))
        documents = list(loaded.eval_docs)
    except Exception as exc:  # a task's data and code fail in any way
        raise SearchError(f"task {task.name}: {type(exc).__name__}: {exc}") from exc
    if loaded.OUTPUT_TYPE != "generate_until":
        raise SearchError(explain_no_likelihood([task.name], str(loaded.OUTPUT_TYPE)))
    if getattr(loaded, "MULTIMODAL", False):
        raise SearchError(f"task {task.name} has images or audio: components read and write text only")
    if getattr(loaded, "UNSAFE_CODE", False) and not options.get("confirm_run_unsafe_code"):
        raise SearchError(f"task {task.name} runs code of models: allow it with -T confirm_run_unsafe_code=true")
    _check_scoring(task, loaded)
    if not documents:
        raise SearchError(f"task {task.name}: no documents")
    repeats = int(loaded.get_config("repeats") or 1)
    digest = sha256(json.dumps([loaded.dump_config().get("doc_to_text"), loaded.VERSION], default=str).encode())
    for document in documents:
        digest.update(json.dumps(document, sort_keys=True, default=str).encode("utf-8", "surrogatepass"))
    ids = [str(number) for number in range(len(documents))]
    dev = find_dev_ids([Sample(input="", id=id) for id in ids])
    return dict.fromkeys(ids, repeats), digest.hexdigest()[:16], dev, _read_facts(loaded, documents)


def _read_facts(loaded: Any, documents: Sequence[Any]) -> TaskFacts:
    """By the documents' targets; how long prompts are is not read off them, as few-shot examples come on top."""
    try:
        found = [loaded.doc_to_target(document) for document in documents]
    except Exception as exc:  # noqa: BLE001 (a task's code fails in any way)
        return TaskFacts(f"its targets cannot be read ({type(exc).__name__})")
    targets = [str(each) for target in found for each in (target if isinstance(target, list) else [target])]
    return read_task_facts("", [], targets)


def _check_scoring(task: TaskSpec, loaded: Any) -> None:
    """Refuse a filter or a metric that the task does not have, or that trials cannot be compared by."""
    filters = [str(each["name"]) for each in loaded.dump_config().get("filter_list") or [{"name": "none"}]]
    aggregations, better = loaded.aggregation(), loaded.higher_is_better()
    metric, chosen = task.metric, task.scorer
    if chosen and chosen not in filters:
        named, comma, chosen = chosen.rpartition(",")
        metric = metric or (named if comma else None)
        if chosen not in filters:
            raise SearchError(f"task {task.name}: no filter {chosen!r}{did_you_mean(chosen, filters)}")
    if metric and metric not in aggregations:
        raise SearchError(f"task {task.name}: no metric {metric!r}{did_you_mean(metric, aggregations)}")
    usable = {name: how for name, how in aggregations.items() if getattr(how, "__name__", "") not in CORPUS_METRICS}
    usable = {name: how for name, how in usable.items() if name not in CORPUS_METRICS - {"f1"}}
    if aggregations and not usable.keys() & ({metric} if metric else aggregations.keys()):
        names = metric or ", ".join(aggregations)
        other = f"; choose another: {', '.join(usable)}" if usable else ""
        raise SearchError(f"task {task.name}: {names} has no value per document, by which trials are compared{other}")
    first = metric or next(iter(usable), None)
    if first and better.get(first) is False and task.scale == (0.0, 1.0):
        raise SearchError(
            f"task {task.name}: less {first} is better, so that its negative counts: say in a search file which values "
            "count as 0 and 1, e.g. scale: [-1, 0]"
        )
