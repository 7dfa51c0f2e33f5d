"""Official benchmark files, at a commit that never changes, kept in the Hub's or this package's cache.

Benchmarks that are no tables on the Hub (questions beside model answers, files in a Git repository) come file by file:

    rows = load_hub_file("lmarena-ai/arena-hard-auto", ARENA_REVISION, "data/arena-hard-v0.1/question.jsonl")
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.request import urlopen

from archon_eval.errors import DataError
from archon_eval.tasks._data import Row, load_local_rows


def load_hub_file(repo: str, revision: str, path: str) -> list[Row]:
    """The rows of one file of a Hub data set. DataError says how to do without the Hub."""
    try:
        from huggingface_hub import hf_hub_download

        return read_rows(hf_hub_download(repo, path, repo_type="dataset", revision=revision))
    except ImportError as error:
        raise DataError(f"{repo}: reading the Hub needs `pip install 'archon-eval[hub]'`; {_OFFLINE_HINT}") from error
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{repo}@{revision[:7]}/{path}: the Hub did not give it ({error}); {_OFFLINE_HINT}") from error


def load_github_file(repo: str, commit: str, path: str) -> list[Row]:
    """The rows of one file of a GitHub repository, downloaded once. DataError says how to do without."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "archon_eval", repo, commit, path)
    if not cache.is_file():
        try:
            with urlopen(f"https://raw.githubusercontent.com/{repo}/{commit}/{path}", timeout=60) as response:
                content = response.read()
        except OSError as error:
            place = f"{repo}@{commit[:7]}/{path}"
            raise DataError(f"{place}: GitHub did not give it ({error}); {_OFFLINE_HINT}") from error
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_name(f"{cache.name}.{os.getpid()}")
        partial.write_bytes(content)
        partial.replace(cache)
    return read_rows(cache)


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a local file; a JSON object of records (MixEval's form) becomes rows with their key as `id`."""
    file = Path(path).expanduser()
    if (
        file.suffix == ".json"
        and file.is_file()
        and (text := file.read_text(encoding="utf-8")).lstrip().startswith("{")
    ):
        try:
            records = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"{file.name}, line {error.lineno}: not JSON: {error.msg}") from error
        if not all(isinstance(record, dict) for record in records.values()):
            raise DataError(f"{file.name}: must be an object of records, each with keys")
        return [Row(f"{file.name}, record {key!r}", {"id": key, **record}) for key, record in records.items()]
    return load_local_rows(file)


def collect_model_answers(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Question id -> the answer to each turn, from a file of model answers.

    Understands FastChat's and Arena-Hard's forms: `question_id` or `uid`, with `choices[0].turns` (texts or `content`),
    `messages` (of the role assistant) or a plain `answer`.

    Raises:
        DataError: a row of another form, or a question answered twice.
    """
    found: dict[str, list[str]] = {}
    for row in rows:
        key = str(row.require("question_id" if row.get("question_id") is not None else "uid"))
        if key in found:
            raise DataError(f"{row.location}: question {key!r} is answered twice")
        try:
            if (answer := row.get("answer")) is not None:
                turns = [answer]
            elif (messages := row.get("messages")) is not None:
                turns = [m["content"] for m in messages if m["role"] == "assistant"]
            else:
                turns = row.require("choices")[0]["turns"]
            found[key] = [_get_turn_text(turn) for turn in turns]
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(f"{row.location}: not a model answer (choices, messages or answer): {error!r}") from error
    return found


def _get_turn_text(turn: object) -> str:
    if isinstance(turn, dict):
        return _get_turn_text(turn.get("content", turn.get("answer")))
    if not isinstance(turn, str):
        raise TypeError(f"{turn!r} is not text")
    return turn


_OFFLINE_HINT = "or run without it: -T sample=true (bundled questions), or your own copies of the files"
