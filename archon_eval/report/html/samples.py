"""The questions and answers that the report's page shows of a benchmark.

samples = build_samples(benchmark.systems, "bench1", 100_000)
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from statistics import fmean
from typing import Any

from markupsafe import escape

from archon_eval.report.report_data import SystemResult
from archon_eval.runs.benchmark_run import BenchmarkQuestion, Run

MAX_TEXT_CHARACTERS = 1_500
"""Characters of a question or an answer that are shown."""


def collect_questions(systems: Sequence[SystemResult]) -> dict[str, BenchmarkQuestion]:
    """All questions by id, in the benchmark's order, as the first system that was asked has them."""
    questions: dict[str, BenchmarkQuestion] = {}
    for system in systems:
        for question, asked in system.run.questions.items():
            questions.setdefault(question, asked)
    return questions


def build_samples(systems: Sequence[SystemResult], id: str, max_characters: int) -> list[dict[str, Any]]:
    """Questions with their answers, in the benchmark's order, as many as `max_characters` of HTML hold.

    Questions on which systems differ come first when there is not room for all.
    """
    questions = collect_questions(systems)
    means = [{question: fmean(scores) for question, scores in system.run.scores.items()} for system in systems]
    different_scores = {question: len({mean.get(question) for mean in means}) for question in questions}
    samples = {}
    for question in sorted(questions, key=lambda question: -different_scores[question]):
        sample = _build_sample(systems, question, questions[question]) | {"id": build_sample_id(id, question)}
        max_characters -= _count_html_characters(sample)
        if max_characters < 0:
            break
        samples[question] = sample
    return [samples[question] for question in questions if question in samples]


def build_sample_id(id: str, question: str) -> str:
    """The id of a question's place on the page; question ids themselves may hold anything."""
    return f"{id}-q{sha256(question.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def _build_sample(systems: Sequence[SystemResult], question: str, asked: BenchmarkQuestion) -> dict[str, Any]:
    scores = {s.label: _format_scores(s.run, question) for s in systems if question in s.run.questions}
    texts = [("question", asked.text), ("expected", asked.target)]
    texts += [
        (f"{system.label}, score {scores[system.label]}", system.run.answers.get(question, ""))
        for system in systems
        if system.label in scores
    ]
    return {
        "title": f"{question}: {', '.join(f'{label} {score}' for label, score in scores.items())}",
        "texts": [(head, _cut(text)) for head, text in texts if text],
    }


def _count_html_characters(sample: Mapping[str, Any]) -> int:
    return sum(len(escape(text)) for text in (sample["title"], *(part for pair in sample["texts"] for part in pair)))


def _format_scores(run: Run, question: str) -> str:
    return "/".join(f"{score:.3g}" for score in run.scores.get(question, ())) or "none"


def _cut(text: str) -> str:
    if len(text) <= MAX_TEXT_CHARACTERS:
        return text
    return f"{text[:MAX_TEXT_CHARACTERS]} … ({len(text) - MAX_TEXT_CHARACTERS:,} more characters in the log)"
