"""The exception tree is in one file, and its helpers make text safe to print."""

import ast
from pathlib import Path

import archon_eval.errors as errors
from archon_eval.errors import ArchonError, sanitize_text

PACKAGE = Path(errors.__file__).parent


def test_no_other_module_defines_an_exception() -> None:
    known = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert known >= {"ArchonError", "ModelError", "WorkerLostError"}
    others = [
        f"{path.relative_to(PACKAGE)}: {node.name}"
        for path in PACKAGE.rglob("*.py")
        if path.name != "errors.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        for base in node.bases
        if ast.unparse(base) in known or ast.unparse(base).endswith(("Error", "Exception"))
    ]
    assert not others, f"define these in archon_eval/errors.py: {others}"


def test_everything_raised_on_purpose_can_be_caught_at_once() -> None:
    defined = [v for v in vars(errors).values() if isinstance(v, type) and v.__module__ == errors.__name__]
    assert len(defined) > 10 and all(issubclass(error, ArchonError) for error in defined)


def test_text_from_elsewhere_controls_neither_a_terminal_nor_a_ci() -> None:
    assert sanitize_text("a\x1b[31mb\u202ec\n  ::add-mask::x") == "a\ufffd[31mb\ufffdc\n\ufffdadd-mask::x"
