"""Answers depend on the built-in prompts and parsers, and fingerprints on answers: who changes one of them so that the
same reply may be read otherwise must raise PROMPTS_VERSION."""

import ast
import hashlib
from pathlib import Path

import pytest

from archon_eval.architecture import prompts
from archon_eval.architecture.spec import PROMPTS_VERSION
from archon_eval.components import (
    accept_judge,
    critic,
    debate,
    diversifier,
    fuser,
    guided_generator,
    model_ranker,
    moderated_debate,
    pairwise,
    parsing,
    programmer,
    prompt_parts,
    ranker,
    refine,
    reward,
    router,
    unit_tests,
    verifier,
)
from archon_eval.engine.call_context import REASK_PROMPT
from archon_eval.sandbox import extraction

PARSING = Path(parsing.__file__).parent
PINNED_CODE = {
    "_math_worker": "1ae2c670e33a",
    "answer_groups": "8a5e1c9543df",
    "choice_of_stage": "1006aa50d0dd",
    "confidence": "203c4698de72",
    "critiques": "067030fb7974",
    "extraction": "929d5dc905b6",
    "feedback": "287553949c1f",
    "final_answer": "8b2c971ab38f",
    "io_tests": "43cf2c4f854e",
    "math_equality": "5f02fba01404",
    "math_sets": "0947a90a0030",
    "math_spelling": "dea86031b278",
    "math_units": "0380bf918ccb",
    "missing_parts": "86648a6ab92f",
    "model_names": "ec22c665dea9",
    "moderation": "0a3334c8fcff",
    "preference": "35959abddf10",
    "prompt_parts": "7f1421e92e05",
    "prompts": "0a135eb25a5e",
    "ranking": "8a83dd0b89e7",
    "score": "0d877b1683a2",
    "structured": "7f098b1de69e",
    "test_results": "eb3c10da0a10",
    "unit_tests": "75d718a64040",
    "verdict": "4d2a4ca4e8fd",
}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def dump_code(source: str) -> str:
    """The code without comments, docstrings and layout, the same under every version of Python."""

    def dump(node: object) -> object:
        if isinstance(node, list):
            statements = [item for item in node if not is_text(item)]
            return [dump(item) for item in statements]
        if isinstance(node, ast.AST):
            fields = [(name, dump(value)) for name, value in ast.iter_fields(node) if name not in ("ctx", "kind")]
            return type(node).__name__, [(name, value) for name, value in fields if value not in (None, [])]
        return repr(node)

    def is_text(node: object) -> bool:
        return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)

    return repr(dump(ast.parse(source)))


def test_prompts_are_those_of_the_stated_version() -> None:
    texts = (
        critic.CRITIQUE_PROMPT,
        fuser.FUSE_PROMPT,
        fuser.LENGTH_PROMPT,
        ranker.RANK_PROMPT,
        verifier.REASONS_PROMPT,
        verifier.VERDICT_PROMPT,
        unit_tests.TESTS_PROMPT,
        unit_tests.EVALUATE_PROMPT,
        unit_tests.IO_TESTS_PROMPT,
        REASK_PROMPT,
    )
    assert (PROMPTS_VERSION, digest("\0".join(texts))) == (2, "1d01e7d5faf4"), (
        "raise PROMPTS_VERSION and pin the new hash"
    )


def test_prompts_of_the_systems_are_those_of_the_stated_version() -> None:
    modules = (debate, moderated_debate, refine, guided_generator, diversifier, programmer, model_ranker)
    texts = [text for module in modules for name, text in sorted(vars(module).items()) if name.endswith("_PROMPT")]
    assert len(texts) == 15
    assert (PROMPTS_VERSION, digest("\0".join(texts))) == (2, "1933724bdac2"), (
        "raise PROMPTS_VERSION and pin the new hash"
    )


def test_prompts_of_components_beyond_the_papers_are_pinned_too() -> None:
    texts = (reward.SCORE_PROMPT, reward.INPUT_PROMPT, pairwise.COMPARE_PROMPT, pairwise.INPUT_PROMPT)
    assert digest("\0".join(texts)) == "e37d293553b2", (
        "raise the `version` of the component's kind and pin the new hash"
    )


def test_every_prompt_is_among_them() -> None:
    modules = (critic, fuser, ranker, verifier, unit_tests)
    assert sum(name.endswith("_PROMPT") for module in modules for name in vars(module)) == 9


def test_code_that_writes_prompts_and_reads_replies_is_that_of_the_stated_version() -> None:
    own = [PARSING / "_math_worker.py", Path(prompts.__file__), Path(prompt_parts.__file__), Path(extraction.__file__)]
    files = [*PARSING.glob("[!_]*.py"), *own]
    found = {file.stem: digest(dump_code(file.read_text(encoding="utf-8"))) for file in files}
    changed = {name for name in found.keys() | PINNED_CODE if found.get(name) != PINNED_CODE.get(name)}
    assert (PROMPTS_VERSION, changed) == (2, set()), (
        f"raise PROMPTS_VERSION, or a vote's `version`, if replies are read otherwise; pin {found}"
    )


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ('X = 1  # why\n\n\ndef f(a):\n    """Another docstring."""\n    return (\n        a + "xy"\n    )', True),
        ('X = 2\ndef f(a):\n    return a + "xy"', False),
        ('X = 1\ndef f(a):\n    return a + "x"', False),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(other: str, same: bool) -> None:
    code = 'X = 1\n"""What X is."""\ndef f(a):\n    """A docstring."""\n    return a + "x" "y"'
    assert (dump_code(code) == dump_code(other)) is same


def test_prompts_of_cascades_are_those_of_the_stated_version() -> None:
    texts = (accept_judge.RATE_PROMPT, router.ROUTE_PROMPT)
    assert (PROMPTS_VERSION, digest("\0".join(texts))) == (2, "5606c45c64a3"), "raise the `version` of their components"
