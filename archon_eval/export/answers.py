"""Reads the answers of logs question by question, a few at a time, however many logs and questions there are.

    for question in read_questions(open_logs([Path("logs")], scorer=None, problems=[])): print(question.answers)

Inspect's logs in JSON and lm-eval's files are read whole: neither has an index.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from archon_eval.errors import DataError
from archon_eval.export.splits import HELD_OUT, find_side, find_side_of_file
from archon_eval.models.conversion import redact
from archon_eval.models.thoughts import split_thoughts
from archon_eval.runs.answer_usage import ARCHON_SOLVERS, find_scoring_spans, read_answer_usage
from archon_eval.runs.candidates import CANDIDATES_SOURCE, LoggedCandidates
from archon_eval.runs.prompts import restore_text
from archon_eval.runs.read_lm_eval import is_lm_eval_file, read_lm_eval_run, read_samples
from archon_eval.runs.read_log import find_logs
from archon_eval.runs.records import check_scorer, choose_scorer, split_scorer
from archon_eval.runs.score import convert_score

QUESTIONS_AT_ONCE = 25
"""Questions whose answers, with all events, are held in memory at a time."""
Turns = tuple[Mapping[str, str], ...]
"""A conversation, as `role` and `content`."""


@dataclass(frozen=True, slots=True)
class LoggedAnswer:
    """One answer to a question, and what is known of it."""

    log: str
    """The log's name, without the folders of the machine."""
    epoch: int
    prompt: Turns
    """Empty where it was more than text."""
    text: str
    thoughts: str = ""
    problem: str = ""
    """Why the text is no whole answer, a key of `archon_eval.export.rows.PROBLEMS`; empty where it is one."""
    scorer: str = ""
    score: float | None = None
    architecture: str = ""
    """Its name; empty where a model or a solver of somebody else's answered."""
    fingerprint: str = ""
    models: tuple[str, ...] = ()
    """All that were asked for it."""
    candidates: tuple[LoggedCandidates, ...] = ()
    """Of each answer of an architecture in it."""


@dataclass(frozen=True, slots=True)
class LoggedQuestion:
    """A question with its answers in all logs."""

    task: str
    id: str
    side: str
    """`dev`, `test`, or empty where no log says."""
    answers: tuple[LoggedAnswer, ...]


class AnswerLog(Protocol):
    """One finished eval of one task."""

    @property
    def name(self) -> str:
        """Its path from the folder that was given, so that no folder of the machine is told."""
        ...

    @property
    def task(self) -> str:
        """The benchmark."""
        ...

    @property
    def trace(self) -> str:
        """What it was traced with, where an architecture answered; empty where none did."""
        ...

    @property
    def sides(self) -> Mapping[str, str]:
        """Question -> its side, empty for unknown; of all questions."""
        ...

    def read(self, questions: Sequence[str]) -> dict[str, list[LoggedAnswer]]:
        """The answers to those of the questions that it has.

        Raises:
            DataError: it is damaged; names it.
        """
        ...


def open_logs(paths: Sequence[Path], *, scorer: str | None, problems: list[str]) -> list[AnswerLog]:
    """The logs at the paths; what is no use, in a folder, is among the problems.

    Raises:
        DataError: nothing there, or a log that was named cannot be read.
    """
    logs: list[AnswerLog] = []
    seen: set[Path] = set()
    for path in paths:
        for file in find_logs(path):
            if file.resolve() in seen:
                continue
            seen.add(file.resolve())
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            try:
                logs.append(LmEvalLog(file, name, scorer) if is_lm_eval_file(file) else InspectLog(file, name, scorer))
            except DataError as exc:
                if not path.is_dir():
                    raise
                problems.append(str(exc))
    return logs


def collect_sides(logs: Sequence[AnswerLog]) -> dict[tuple[str, str], str]:
    """Task and id -> side, of all questions in the order of the logs; held out is what any log says is."""
    sides: dict[tuple[str, str], str] = {}
    for log in logs:
        for id, side in log.sides.items():
            known = sides.setdefault((log.task, id), side)
            sides[log.task, id] = HELD_OUT if HELD_OUT in (known, side) else known or side
    return sides


def read_questions(logs: Sequence[AnswerLog], sides: Mapping[tuple[str, str], str]) -> Iterator[LoggedQuestion]:
    """The questions with their answers, in the order of `sides`; a few are in memory at a time.

    Raises:
        DataError: a log is damaged; names it.
    """
    by_task: dict[str, list[str]] = {}
    for task, id in sides:
        by_task.setdefault(task, []).append(id)
    for task, ids in by_task.items():
        having = [log for log in logs if log.task == task]
        for start in range(0, len(ids), QUESTIONS_AT_ONCE):
            part = ids[start : start + QUESTIONS_AT_ONCE]
            found = [log.read(part) for log in having]
            for id in part:
                answers = chain.from_iterable(each.get(id, ()) for each in found)
                yield LoggedQuestion(task, id, sides[task, id], tuple(answers))


class InspectLog:
    """A log of Inspect; of its samples only ids and sides are kept."""

    def __init__(self, file: Path, name: str, scorer: str | None) -> None:
        from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries

        try:
            header = read_eval_log(str(file), header_only=True)
            summaries = read_eval_log_sample_summaries(str(file))
        except Exception as exc:  # a damaged log fails in any layer: zip, zstd, zlib, JSON, schema
            raise DataError(f"{file}: not readable as an Inspect log: {type(exc).__name__}: {exc}") from exc
        if header.status != "success":
            raise DataError(f"{file}: the eval did not finish (status {header.status})")
        if not summaries:
            raise DataError(f"{file}: no samples in this log")
        self.name, self.task, self._file = name, str(header.eval.task), file
        self.scorer = choose_scorer(summaries, scorer)
        if scorer:
            try:
                check_scorer([each for each in summaries if not each.error], scorer)
            except DataError as exc:
                raise DataError(f"{file}: {exc}") from exc
        self.sides = {str(each.id): find_side(header.eval, each.metadata) for each in summaries}
        self._places: dict[str, list[tuple[str | int, int]]] = {}
        for each in summaries:
            self._places.setdefault(str(each.id), []).append((each.id, each.epoch))
        steps = header.plan.steps
        self._is_solver = bool(steps) and all(step.solver in ARCHON_SOLVERS for step in steps)
        self._model, self._system = str(header.eval.model), header.plan.config.system_message
        is_model = self._model.startswith("archon/")
        args = steps[0].params if self._is_solver else header.eval.model_args if is_model else None
        self.trace = "" if args is None else str(args.get("trace") or "full")
        self._whole: dict[tuple[str | int, int], Any] = {}

    def read(self, questions: Sequence[str]) -> dict[str, list[LoggedAnswer]]:
        places = [place for id in questions for place in self._places.get(id, ())]
        found: dict[str, list[LoggedAnswer]] = {}
        for sample in self._read_samples(places):
            try:
                found.setdefault(str(sample.id), []).append(self._read_answer(sample))
            except DataError as exc:
                raise DataError(f"{self._file}: {sample.id}: {exc}") from exc
        return found

    def _read_samples(self, places: Sequence[tuple[str | int, int]]) -> list[Any]:
        from inspect_ai.log import read_eval_log, read_eval_log_samples_by_id

        try:
            if self._file.suffix != ".json":
                needless = {"store", "timelines"}
                return read_eval_log_samples_by_id(str(self._file), places, exclude_fields=needless) if places else []
            if not self._whole:
                self._whole = {(each.id, each.epoch): each for each in read_eval_log(str(self._file)).samples or ()}
            return [self._whole[place] for place in places]
        except Exception as exc:  # as above
            raise DataError(f"{self._file}: its samples are not readable: {type(exc).__name__}: {exc}") from exc

    def _read_answer(self, sample: Any) -> LoggedAnswer:
        usage = read_answer_usage(sample, sample.events, model=self._model, attachments=sample.attachments)
        last = usage.accounts[-1] if usage.accounts else None
        turns, thoughts, problem = _read_conversation(sample)
        if turns and self._system and not self._is_solver and turns[0]["role"] != "system":
            turns = ({"role": "system", "content": self._system}, *turns)
        answer = LoggedAnswer(
            log=self.name,
            epoch=sample.epoch,
            prompt=turns[:-1],
            text=turns[-1]["content"] if turns else "",
            thoughts=thoughts,
            problem=problem,
            scorer=self.scorer,
            score=self._read_score(sample),
            architecture=last.architecture if last else "",
            fingerprint=last.fingerprint if last else "",
            models=tuple(map(redact, usage.models)),
            candidates=_read_candidates(sample),
        )
        return replace(answer, thoughts=_find_thoughts(answer) or thoughts)

    def _read_score(self, sample: Any) -> float | None:
        """None where there is none, or none that is a number."""
        name, key = split_scorer(self.scorer, list(sample.scores or ()))
        score = (sample.scores or {}).get(name)
        try:
            return None if score is None else convert_score(score.value, name, key)
        except DataError:
            return None


def _read_conversation(sample: Any) -> tuple[Turns, str, str]:
    """The turns up to the final answer, with the thoughts before that and why it is no whole answer."""
    if sample.error:
        return (), "", "failed"
    output = sample.output
    if not output.choices or not output.completion.strip():
        return (), "", "empty"
    if output.stop_reason == "content_filter":
        return (), "", "refused"
    if output.stop_reason in ("max_tokens", "model_length") or sample.limit:
        return (), "", "cut"
    before = list(sample.messages) or _list_input(sample.input)
    before = before[:-1] if before[-1].role == "assistant" else before
    turns = [_read_turn(message) for message in before]
    answer = output.choices[0].message
    if answer.tool_calls or any(turn is None for turn in turns):
        return (), "", "not text"
    text, thoughts = split_thoughts(output.completion)
    parts = answer.content if isinstance(answer.content, list) else []
    told = "\n\n".join(part.reasoning for part in parts if part.type == "reasoning" and not part.redacted)
    if not text.strip():
        return (), "", "empty"
    kept = tuple(turn for turn in turns if turn is not None)
    return (*kept, {"role": "assistant", "content": text}), told or thoughts, ""


def _list_input(given: Any) -> list[Any]:
    from inspect_ai.model import ChatMessageUser

    return [ChatMessageUser(content=given)] if isinstance(given, str) else list(given)


def _read_turn(message: Any) -> Mapping[str, str] | None:
    """A turn's role and text, without thoughts; None where it is more than text."""
    parts = message.content if isinstance(message.content, list) else []
    if message.role == "tool" or getattr(message, "tool_calls", None):
        return None
    if any(part.type not in ("text", "reasoning") for part in parts):
        return None
    text = split_thoughts(message.text)[0] if message.role == "assistant" else message.text
    return {"role": str(message.role), "content": text}


def _read_candidates(sample: Any) -> tuple[LoggedCandidates, ...]:
    """Of each answer of an architecture, without those that judged."""
    scoring = find_scoring_spans(sample.events)
    return tuple(
        LoggedCandidates.from_data(_restore(event.data, sample.attachments))
        for event in sample.events
        if event.event == "info" and event.source == CANDIDATES_SOURCE and event.span_id not in scoring
    )


def _restore(data: Any, attachments: Mapping[str, str]) -> Any:
    """Data of an event with its long texts, which a log keeps apart."""
    if isinstance(data, str):
        return restore_text(data, attachments)
    if isinstance(data, Mapping):
        return {name: _restore(value, attachments) for name, value in data.items()}
    return [_restore(value, attachments) for value in data] if isinstance(data, list) else data


def _find_thoughts(answer: LoggedAnswer) -> str:
    """What the model thought that wrote the final answer, by the record of the candidates."""
    records = [each for each in answer.candidates if each.answer is not None]
    last = records[-1].candidates[records[-1].answer or 0] if records else None
    return last.thoughts if last is not None and last.text == answer.text else ""


class LmEvalLog:
    """The samples of a task of lm-eval, which are held whole: prompts, first replies and scores; no candidates."""

    def __init__(self, file: Path, name: str, scorer: str | None) -> None:
        run = read_lm_eval_run(file, scorer, "drop")
        self.name, self.task, self.trace = name, run.task, ""
        self._answers: dict[str, LoggedAnswer] = {}
        for sample in read_samples(file, run.scorer):
            several = len(sample.replies) != 1
            text, thoughts = split_thoughts(sample.replies[0]) if sample.replies else ("", "")
            self._answers[sample.question] = LoggedAnswer(
                log=name,
                epoch=1,
                prompt=tuple({"role": role, "content": content} for role, content in sample.prompt),
                text=text,
                thoughts=thoughts,
                problem="shared score" if several else "" if text.strip() else "empty",
                scorer=run.scorer,
                score=run.scored[sample.question][0].value if sample.question in run.scored else None,
                architecture=run.name if run.fingerprint else "",
                fingerprint=run.fingerprint,
                models=tuple(run.cost_by_model) or (run.name,),
            )
        side = find_side_of_file(file)
        self.sides = dict.fromkeys(self._answers, side)

    def read(self, questions: Sequence[str]) -> dict[str, list[LoggedAnswer]]:
        return {id: [self._answers[id]] for id in questions if id in self._answers}
