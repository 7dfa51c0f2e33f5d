"""Finds generative variants of an lm-eval task, for the error message when a task needs log-likelihoods.

find_generative_variants("arc_challenge")    # ["arc_challenge_chat"]
"""

import re
from difflib import SequenceMatcher
from pathlib import Path

MAX_VARIANTS = 4


def find_generative_variants(task: str) -> list[str]:
    """Tasks of the same family (folder) in lm-eval's own collection that generate text, the nearest names first."""
    import lm_eval.tasks

    root = Path(lm_eval.tasks.__file__).parent
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.yaml"))}
    names = {match[1]: path for path, text in texts.items() if (match := _search_field(text, "task"))}
    if task not in names:
        return []
    family = root / names[task].relative_to(root).parts[0]
    likeness = {
        name: SequenceMatcher(None, task, name).ratio() for name, path in names.items() if path.is_relative_to(family)
    }
    near = [name for name, ratio in likeness.items() if ratio > 0.6 and _is_generative(names[name])]
    return sorted(near, key=lambda name: (-likeness[name], name))[:MAX_VARIANTS]


def _search_field(text: str, name: str) -> re.Match[str] | None:
    return re.search(rf"^[\"']?{name}[\"']?: *[\"']?([\w./-]+)", text, re.MULTILINE)


def _is_generative(path: Path, depth: int = 0) -> bool:
    """Whether a task's file, or the one it includes, has the output type of generation."""
    if depth > 5 or not path.is_file():
        return False
    text = path.read_text(encoding="utf-8")
    if match := _search_field(text, "output_type"):
        return match[1] == "generate_until"
    included = _search_field(text, "include")
    return included is not None and _is_generative(path.parent / included[1], depth + 1)
