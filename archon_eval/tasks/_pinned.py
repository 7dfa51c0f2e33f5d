"""Official benchmark data at a commit that never changes, kept in the Hub's or this package's cache.

rows = load_hub_file("lmarena-ai/arena-hard-auto", ARENA_REVISION, "data/arena-hard-v0.1/question.jsonl")
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from archon_eval.errors import DataError, did_you_mean
from archon_eval.tasks._rows import Row, load_local_rows


@contextmanager
def explain_download_errors(place: str, source: str = "the Hub") -> Iterator[None]:
    """Turn whatever a download raises into a DataError with the ways to run without it."""
    offline = "or run without it: -T sample=true (bundled problems) or -T data=PATH (your own file)"
    try:
        yield
    except DataError:
        raise
    except ImportError as error:
        raise DataError(f"{place}: reading the Hub needs `pip install 'archon-eval[hub]'`; {offline}") from error
    except Exception as error:
        raise DataError(f"{place}: {source} did not give it ({error}); try again, {offline}") from error


def load_hub_rows(repo: str, revision: str, *, config: str | None = None, split: str = "test") -> list[Row]:
    """The rows of a Hub data set at a commit hash; needs `datasets`, and the network the first time."""
    place = f"{repo}@{revision[:7]}" + (f"/{config}" if config else "")
    with explain_download_errors(place):
        from datasets import load_dataset

        table = load_dataset(repo, config, split=split, revision=revision)
    return [Row(f"{place}, row {index}", values) for index, values in enumerate(table)]


def load_hub_file(repo: str, revision: str, path: str) -> list[Row]:
    """The rows of one file of a Hub data set."""
    with explain_download_errors(f"{repo}@{revision[:7]}/{path}"):
        from huggingface_hub import hf_hub_download

        return load_local_rows(hf_hub_download(repo, path, repo_type="dataset", revision=revision))


def load_github_file(repo: str, commit: str, path: str) -> list[Row]:
    """The rows of one file of a GitHub repository, downloaded once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "archon_eval", repo, commit, path)
    if not cache.is_file():
        url = f"https://raw.githubusercontent.com/{repo}/{commit}/{path}"
        with explain_download_errors(f"{repo}@{commit[:7]}/{path}", "GitHub"), urlopen(url, timeout=60) as response:
            content = response.read()
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_name(f"{cache.name}.{os.getpid()}")
        partial.write_bytes(content)
        partial.replace(cache)
    return load_local_rows(cache)


def collect_model_answers(rows: Iterable[Row]) -> dict[str, list[str]]:
    """The answer to each turn by question id, from the rows of a file of model answers.

    Understands FastChat's and Arena-Hard's forms: `question_id` or `uid`, with `choices[0].turns` (texts or `content`),
    `messages` (of the role assistant) or a plain `answer`.

    Raises:
        DataError: a row of another form, or a question answered twice.
    """
    answers: dict[str, list[str]] = {}
    for row in rows:
        key = str(row.require("question_id" if row.get("question_id") is not None else "uid"))
        if key in answers:
            raise DataError(f"{row.location}: question {key!r} is answered twice")
        try:
            if (answer := row.get("answer")) is not None:
                turns = [answer]
            elif (messages := row.get("messages")) is not None:
                turns = [m["content"] for m in messages if m["role"] == "assistant"]
            else:
                turns = row.require("choices")[0]["turns"]
            answers[key] = [_get_turn_text(turn) for turn in turns]
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(f"{row.location}: not a model answer (choices, messages or answer): {error!r}") from error
    return answers


def load_baseline_answers(baseline: str, official: Mapping[str, Callable[[], list[Row]]]) -> dict[str, list[str]]:
    """The answers of a baseline: an official one by name, or a file of model answers.

    Raises:
        DataError: a name that is neither.
    """
    if baseline in official:
        return collect_model_answers(official[baseline]())
    if ".json" not in baseline:
        raise DataError(f"baseline={baseline}: unknown{did_you_mean(baseline, official)}, or a .jsonl file of answers")
    return collect_model_answers(load_local_rows(baseline))


def _get_turn_text(turn: object) -> str:
    if isinstance(turn, dict):
        return _get_turn_text(turn.get("content", turn.get("answer")))
    if not isinstance(turn, str):
        raise TypeError(f"{turn!r} is not text")
    return turn
