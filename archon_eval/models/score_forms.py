"""The forms in which servers take texts and give scores: what is sent, and how the answer is read.

    form = SCORE_FORMS["rerank"]
    body = form.build_body([("What is 2 + 2?", "4")], "bge-reranker", label=None)
    scores = form.parse_scores({"results": [{"index": 0, "relevance_score": 0.9}]}, 1, label=None)     # [0.9]

Nothing of a server's answer is trusted: a score is a number at the place of its input, or the answer is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archon_eval.errors import CompletionError, did_you_mean, quote
from archon_eval.models.call import Usage

MAX_TOKENS = 10**12
"""Tokens that a server may report for one request."""


@dataclass(frozen=True, slots=True)
class ScoreForm:
    """One protocol."""

    servers: str
    """Who speaks it."""
    build_body: Callable[..., dict[str, Any]]
    """(inputs, served_model, label) -> the request."""
    parse_scores: Callable[..., list[float | None]]
    """(payload, count, label) -> a score per input, None for none; raises CompletionError."""
    takes_text: bool = False
    """Whether an input is always one text."""
    may_take_text: bool = False
    """Whether an input may be one text, so that two answers can be in it."""
    shares_question: bool = False
    """Whether all inputs of a request have one question."""
    midpoint: float = 0.0
    """Of two answers in one text: the value above which the first is better, where no label is named."""


def parse_token_count(payload: Mapping[str, Any]) -> Usage | None:
    """Tokens that a server says it read; None where it does not say.

    >>> parse_token_count({"usage": {"total_tokens": 12}})
    Usage(input_tokens=12, output_tokens=0)
    """
    usage = payload.get("usage")
    if not isinstance(usage, Mapping):
        return None
    count = next((usage[key] for key in ("prompt_tokens", "total_tokens") if usage.get(key)), None)
    return Usage(count, 0) if type(count) is int and 0 < count <= MAX_TOKENS else None


def _build_rerank(inputs: Sequence[tuple[str, str]], served_model: str, label: str | None) -> dict[str, Any]:
    documents = [answer for _, answer in inputs]
    return _name_model(
        served_model,
        {"query": inputs[0][0], "documents": documents, "top_n": len(documents)},
    )


def _build_tei_rerank(inputs: Sequence[tuple[str, str]], served_model: str, label: str | None) -> dict[str, Any]:
    return {"query": inputs[0][0], "texts": [answer for _, answer in inputs], "raw_scores": True}


def _build_score(inputs: Sequence[tuple[str, str]], served_model: str, label: str | None) -> dict[str, Any]:
    questions, answers = zip(*inputs, strict=True)
    return _name_model(served_model, {"text_1": list(questions), "text_2": list(answers)})


def _build_classify(inputs: Sequence[tuple[str]], served_model: str, label: str | None) -> dict[str, Any]:
    return _name_model(served_model, {"input": [text for (text,) in inputs]})


def _build_predict(inputs: Sequence[tuple[str, ...]], served_model: str, label: str | None) -> dict[str, Any]:
    return {"inputs": [list(texts) for texts in inputs], "raw_scores": label is None}


def _name_model(served_model: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"model": served_model, **body} if served_model else body


def _parse_ranked(payload: Any, count: int, label: str | None) -> list[float | None]:
    """Cohere's, Jina's and vLLM's `{results: [{index, relevance_score}]}`; TEI's `[{index, score}]`."""
    rows = payload.get("results") if isinstance(payload, Mapping) else payload
    if count > 1 and isinstance(rows, list):  # a reranker gives them by score, so their order tells nothing
        for row in rows:
            if isinstance(row, Mapping) and "index" not in row:
                raise CompletionError(f"an entry has no `index`, which says whose score it is: {quote(repr(row))}")
    return _place_rows(rows, count, lambda row: _find_number(row, "relevance_score", "score"))


def _parse_data(payload: Any, count: int, label: str | None) -> list[float | None]:
    """vLLM's `{data: [{index, score}]}`."""
    rows = payload.get("data") if isinstance(payload, Mapping) else None
    return _place_rows(rows, count, lambda row: _find_number(row, "score"))


def _parse_probabilities(payload: Any, count: int, label: str | None) -> list[float | None]:
    """vLLM's `{data: [{index, label, probs}]}`, where a label is a place among the probabilities."""

    def find_probability(row: Mapping[str, Any]) -> float | None:
        probs = row.get("probs")
        if not isinstance(probs, list) or not probs:
            raise CompletionError(f"an entry has no list `probs`: {quote(repr(row))}")
        if label is None:
            if len(probs) > 1:
                raise CompletionError(
                    f"the server gives {len(probs)} probabilities: say with `label` the place of the one that is the "
                    f"score, 0 to {len(probs) - 1}"
                )
            return read_number(probs[0])
        if not label.isdecimal() or int(label) >= len(probs):
            raise CompletionError(
                f"the server gives {len(probs)} probabilities without names: `label` must be a place among them, "
                f"0 to {len(probs) - 1}, not {label!r}"
            )
        return read_number(probs[int(label)])

    rows = payload.get("data") if isinstance(payload, Mapping) else None
    return _place_rows(rows, count, find_probability)


def _parse_predictions(payload: Any, count: int, label: str | None) -> list[float | None]:
    """TEI's `[[{label, score}]]`, an inner list per input; of one input, the inner list alone."""
    rows = payload
    if count == 1 and isinstance(rows, list) and rows and isinstance(rows[0], Mapping):
        rows = [rows]
    if not isinstance(rows, list) or len(rows) != count:
        raise CompletionError(f"not a list of {count} predictions, but {quote(repr(payload))}")
    return [choose_label(row, label) for row in rows]


def choose_label(row: Any, label: str | None) -> float | None:
    """The score among `[{label, score}]`: of the named label, or the only one.

    >>> choose_label([{"label": "GOOD", "score": 0.9}, {"label": "BAD", "score": 0.1}], "GOOD")
    0.9

    Raises:
        CompletionError: several and none is named, none of that name, or another form.
    """
    if not isinstance(row, list) or not row or not all(isinstance(entry, Mapping) for entry in row):
        raise CompletionError(f"not a list of labels with scores, but {quote(repr(row))}")
    by_label = {str(entry.get("label")): entry for entry in row}
    if label is None and len(row) == 1:
        return _find_number(row[0], "score")
    if label is None:
        raise CompletionError(f"say with `label` which label's score counts: {quote(', '.join(by_label))}")
    if label not in by_label:
        raise CompletionError(f"no label {label!r}{did_you_mean(label, list(by_label)[:20])}")
    return _find_number(by_label[label], "score")


def _place_rows(rows: Any, count: int, find_score: Callable[[Mapping[str, Any]], float | None]) -> list[float | None]:
    """Scores at the places that the rows name; a place without a row has none."""
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise CompletionError(f"not a list of results, but {quote(repr(rows))}")
    if len(rows) > count:
        raise CompletionError(f"{len(rows)} results for {count} answers")
    scores: list[float | None] = [None] * count
    seen = set[int]()
    for place, row in enumerate(rows):
        index = row.get("index", place)
        if type(index) is not int or not 0 <= index < count or index in seen:
            raise CompletionError(f"index {quote(repr(index))} is no place among {count} answers, or comes twice")
        seen.add(index)
        scores[index] = find_score(row)
    return scores


def _find_number(row: Mapping[str, Any], *keys: str) -> float | None:
    key = next((key for key in keys if key in row), None)
    if key is None:
        raise CompletionError(f"an entry has no `{keys[0]}`: {quote(repr(row))}")
    return read_number(row[key])


def read_number(value: Any) -> float | None:
    """A JSON number as a float, which may be NaN; None for null.

    Raises:
        CompletionError: something else.
    """
    if value is None:
        return None
    if type(value) not in (int, float):
        raise CompletionError(f"a score is no number, but {quote(repr(value))}")
    try:
        return float(value)
    except OverflowError:
        raise CompletionError("a score is a number beyond all bounds") from None


SCORE_FORMS: Mapping[str, ScoreForm] = {
    "rerank": ScoreForm("Cohere, Jina, vLLM", _build_rerank, _parse_ranked, shares_question=True),
    "tei_rerank": ScoreForm("Text Embeddings Inference", _build_tei_rerank, _parse_ranked, shares_question=True),
    "score": ScoreForm("vLLM", _build_score, _parse_data),
    "classify": ScoreForm(
        "vLLM", _build_classify, _parse_probabilities, takes_text=True, may_take_text=True, midpoint=0.5
    ),
    "predict": ScoreForm("Text Embeddings Inference", _build_predict, _parse_predictions, may_take_text=True),
}
"""The protocols by the word that an architecture file has for them."""


def guess_form(path: str) -> str:
    """The form whose name ends the path of an address; empty for none.

    >>> guess_form("/v1/rerank")
    'rerank'
    """
    last = path.rstrip("/").rpartition("/")[2]
    return last if last in SCORE_FORMS else ""
