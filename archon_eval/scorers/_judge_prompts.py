"""Judge prompts: in this project's wording, or from an official file for figures that compare with a leaderboard.

A score's metadata says which prompt was used. The bundled files have the form of the official ones:

    >>> prompts = read_prompts(None, "mt_bench.jsonl", ["pair-v2"])
    >>> [message.role for message in prompts["pair-v2"].render(question="Why?", answer_a="So.", answer_b="No.")]
    ['system', 'user']
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from inspect_ai.model import ChatMessage, ChatMessageSystem, ChatMessageUser

from archon_eval.errors import DataError, did_you_mean

BUILTIN_SOURCE = "archon_eval"
"""The `source` of prompts in this project's own wording."""


@dataclass(frozen=True)
class JudgePrompt:
    """A judge prompt: a system message (may be empty) and a template with `{fields}`."""

    name: str
    system: str
    template: str
    source: str
    """`archon_eval` for this project's wording, else the file or package the prompt was read from."""

    def render(self, **fields: str) -> list[ChatMessage]:
        """The prompt with its fields filled in; braces inside the values stay as they are.

        Raises:
            DataError: the template has a field that the benchmark does not know.
        """

        def fill(match: re.Match[str]) -> str:
            if match[1] not in fields:
                raise DataError(f"{self.source}, prompt {self.name!r}: unknown field{did_you_mean(match[1], fields)}")
            return fields[match[1]]

        user = ChatMessageUser(content=re.sub(r"\{(\w+)\}", fill, self.template))
        return [ChatMessageSystem(content=self.system), user] if self.system else [user]

    def describe(self) -> dict[str, str]:
        """Name, source and a digest of the wording, for the score's metadata."""
        digest = sha256(f"{self.system}\x1f{self.template}".encode()).hexdigest()[:12]
        return {"name": self.name, "source": self.source, "digest": digest}


def read_prompts(path: str | None, bundled: str, needed: Sequence[str]) -> dict[str, JudgePrompt]:
    """Prompts by name from JSON lines with `name`, `system_prompt`, `prompt_template`; bundled ones if path is None.

    Raises:
        DataError: an unreadable file, a record without those keys, or a needed name that is missing.
    """
    text, source = read_prompt_file(path, bundled)
    prompts = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                record = json.loads(line)
                name = record["name"]
                prompts[name] = JudgePrompt(
                    name=name, system=record.get("system_prompt", ""), template=record["prompt_template"], source=source
                )
            except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
                legal = "one object per line with 'name', 'system_prompt' and 'prompt_template'"
                raise DataError(f"{source}, line {number}: {error!r}; a prompt file has {legal}") from error
    if missing := [name for name in needed if name not in prompts]:
        raise DataError(f"{source}: no prompt {', '.join(map(repr, missing))} (there are: {', '.join(prompts)})")
    return prompts


def read_prompt_file(path: str | None, bundled: str) -> tuple[str, str]:
    """Text and source of a prompt file; of the one bundled with the scorers if path is None."""
    if path is None:
        return files("archon_eval").joinpath("scorers", "prompts", bundled).read_text(encoding="utf-8"), BUILTIN_SOURCE
    try:
        return Path(path).expanduser().read_text(encoding="utf-8"), path
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"judge_prompts={path}: cannot be read: {error}") from error
