"""Comparison, extraction and pass@k: the shared cases and the definitions."""

import itertools
import json
from math import isclose
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_eval import sandbox
from archon_eval.sandbox import extract_program, match_outputs, pass_at_k
from archon_eval.sandbox.grading import prepend_prelude

DATA = Path(__file__).parents[3] / "shared/data/code_contests"


def lines(name: str) -> list[dict[str, object]]:
    path = DATA / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.skipif(not DATA.exists(), reason=f"NO DATA at {DATA}: the 19 comparison cases are not tested")
def test_comparison_cases() -> None:
    cases = lines("compare_cases.jsonl")
    assert len(cases) == 19
    wrong = [
        case
        for case in cases
        if match_outputs(str(case["actual"]).encode(), str(case["expected_output"]).encode()) is not case["expected"]
    ]
    assert not wrong


POLICIES = {"x06": "print(1)", "x08": "print(1)"}
"""Two blocks: the last one. An unterminated block reaches to the end."""


@pytest.mark.skipif(not DATA.exists(), reason=f"NO DATA at {DATA}: the 7 extraction cases are not tested")
def test_extraction_cases() -> None:
    cases = lines("extraction_cases.jsonl")
    assert len(cases) == 7
    for case in cases:
        expected = POLICIES.get(str(case["id"]), case["expected_code"])
        assert extract_program(str(case["response"])) == expected, case


@pytest.mark.parametrize(
    ("actual", "expected", "match"),
    [
        (b"1\x0b2", b"1 2", True),
        (b"1\x0c2", b"1 2", False),
        (b"\xff", b"\xff", True),
        (b"1_0", b"10", False),
        (b"0x10", b"16", False),
        (b"nan", b"nan", True),
        (b"nan", b"1", False),
        (b"inf", b"1e999", False),
        (b".5 5.", b"0.5 5", True),
        (b"1e-6", b"0", True),
        ("١".encode(), b"1", False),
        (b"", b"", True),
    ],
)
def test_comparison_corners(actual: bytes, expected: bytes, match: bool) -> None:
    assert match_outputs(actual, expected) is match


@pytest.mark.parametrize(
    ("reply", "program"),
    [
        ("a\n```\nx = 1\n```\nb\n```py\ny = '```'\n```\nc", "y = '```'"),
        ("~~~python\nx\n~~~", "x"),
        ("````\n```\nx\n```\n````", "```\nx\n```"),
        ("````markdown\nSo:\n```python\nx\n```\nIt ends.\n````", "x"),
        ("````md\n```\nx\n```\n````\n```text\n42\n```", "x"),
        ("````markdown\nx\n````", "x"),
        ("The program is: ```\nx\n```\nIt ends.", "x"),
        ("It is `x` and ends with ```", "It is `x` and ends with ```"),
        # tags in place of fences
        ("[PYTHON]\nif x:\n    y\n[/PYTHON]\nIt ends.", "if x:\n    y"),
        ('<pre><code class="language-python">\nif x &lt; 1:\n    y\n</code></pre>', "if x < 1:\n    y"),
        ("[PYTHON]\nx\n[/PYTHON]\n```python\ny\n```", "y"),
        ("x = '[PYTHON]'", "x = '[PYTHON]'"),
        # sessions
        ("```python\n>>> def f(x):\n...     return x\n...\n>>> f(1)\n1\n```", "def f(x):\n    return x\n\nf(1)"),
        ("```pycon\n>>> x = 1\n>>> x\n1\n```", "x = 1\nx"),
        ("```python\nx = 1\n>>> x\n```", "x = 1\n>>> x"),
        ("```python\r\nx\r\n```\r\n", "x"),
        ("   \n", None),
        ("```python\n```", None),
        ("```python\n```\n```python\nx", "x"),
        # list items
        ("1. do\n   ```python\n   x\n   ```\n", "x"),
        ("1. do\n   ```python\n   if x:\n       y\n   ```\n2. done", "if x:\n    y"),
        ("- ```python\n  if x:\n\n    y\n  ```", "if x:\n\n  y"),
        ("10) - ```py\n      x\n      ```", "x"),
        ("\t```python\n\tif x:\n\t\ty\n\t```", "if x:\n\ty"),
        ("   ```python\n       return 1\n   ```", "    return 1"),
        ("   ```python\nif x:\n  y\n   ```", "if x:\n  y"),
        ("  ```python\n  s = '''\nleft\n'''\n  x\n  ```", "s = '''\nleft\n'''\nx"),
        # no closing fence, or no opening one
        ("So:\n```python\nif x:\n    y\n", "if x:\n    y"),
        ("```python\nx\n```python\ny\n```", "y"),
        ("```python\nx\n```\n\n```", "x"),
        ("```python\nif x:\n    y```\nThat is it.", "if x:\n    y"),
        ("So: ```python\nx\n```", "x"),
        ("def f():\n    return 1\n```\nIt returns 1.", "def f():\n    return 1"),
        ("    return 1\n```", "    return 1"),
        ("X = 1\n```\nThat is it.", "X = 1"),
        ("```python\nx\n````", "x"),
        ("~~~python\nx\n~~~\n~~~\n42\n~~~", "x"),
        # what comes after the program
        ("```python\nx\n```\n```bash\npython main.py\n```", "x"),
        ("```python\nx\n```\n```text\n42\n```", "x"),
        ("```python\nx\n```\n```\n42\n```", "x"),
        ("```\nx\n```\n```sh\npython main.py\n```", "x"),
        ("```{.python}\nx\n```\n```pycon\n>>> x\n```", "x"),
        ("```Python 3\nx\n```\n```output\n42", "x"),
        ("```bash\nls\n```", "ls"),
        # special tokens
        ("```python\nx\n```<|im_end|>", "x"),
        ("```python\nx\n``` </s>\n", "x"),
        ("```python\nx\n```<|eot_id|><|start_header_id|>user\n```python\ny\n```", "x"),
        ("```python\nx\n<|im_end|>\n<|im_start|>user\nMore", "x"),
        ("```python\nx<|endoftext|>", "x"),
        ("```python\nx```<end_of_turn></s> \n", "x"),
        ("<s>```python\nx\n```", "x"),
        ("x = 1</s>", "x = 1"),
        ("x = '<|im_end|>'", "x = '<|im_end|>'"),
    ],
)
def test_extraction_corners(reply: str, program: str | None) -> None:
    assert extract_program(reply) == program


DRESSINGS = {
    "interactive session": (
        "```python\n>>> def f(x):\n...     return x\n...\n>>> f(1)\n1\n```",
        "def f(x):\n    return x\n\nf(1)",
    ),
    "marks of Code Llama": ("Sure.\n[PYTHON]\nx = 1\n[/PYTHON]\n[TESTS]\nassert x\n[/TESTS]", "x = 1"),
    "HTML": ('So:\n<pre><code class="language-python">x = 1 &lt; 2\n</code></pre>\nDone', "x = 1 < 2"),
    "Markdown around it": ("````markdown\nText\n```python\nx = 1\n```\nmore\n````", "x = 1"),
    "Markdown with as many marks": ("```markdown\nText\n```python\nx = 1\n```\nmore\n```", "x = 1"),
    "a late fence": ("Here is the code: ```\nx = 1\nprint(x)\n```\nDone.", "x = 1\nprint(x)"),
    "code in a line of prose": ("Use ```foo```\n```python\nx = 1\n```", "x = 1"),
    "never closed, then prose": ("```python\nx = 1\n\nThis program prints the number one.\nYes.", "x = 1"),
    "a text in quotes": (
        '```python\n"""\n\nThis program prints the number one.\n"""\nx = 1',
        '"""\n\nThis program prints the number one.\n"""\nx = 1',
    ),
    "closes the prompt's block": (
        "for i in range(3):\n    print(i)\n```\nThis prints.",
        "for i in range(3):\n    print(i)",
    ),
    "closes it after a call": ("print(1)\n```\nThis prints.", "print(1)"),
    "closes it after a tuple": ("a, b = 1, 2\nprint(a)\n```", "a, b = 1, 2\nprint(a)"),
    "prose with an equation": ("The sum, with n = 3, is:\n```\nx = 6\n```", "x = 6"),
}


@pytest.mark.parametrize("dressing", DRESSINGS)
def test_a_program_is_found_in_every_dressing(dressing: str) -> None:
    reply, program = DRESSINGS[dressing]
    assert extract_program(reply) == program


def test_fences_in_a_docstring_are_code() -> None:
    program = "def f():\n    '''\n    ```python\n    f()\n    ```\n    '''\n    return 1"
    assert extract_program(f"```python\n{program}\n```") == program


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_subsets_with_a_pass(numbers: tuple[int, int, int]) -> None:
    n, c, k = numbers
    subsets = list(itertools.combinations(range(n), k))
    assert isclose(pass_at_k(n, c, k), sum(min(s) < c for s in subsets) / len(subsets))


@pytest.mark.parametrize(("n", "c", "k"), [(5, 6, 1), (5, -1, 1), (5, 2, 6), (5, 2, 0)])
def test_pass_at_k_refuses(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"n={n}, c={c}, k={k}"):
        pass_at_k(n, c, k)


def test_pass_at_k_is_exact_for_small_shares() -> None:
    assert pass_at_k(10_000, 1, 1) == 0.0001


def test_hostile_text_is_read_in_linear_time() -> None:
    """What takes quadratic time does not end within a day here."""
    digits = b"1" * 1_000_000
    assert not match_outputs(digits + b"x", b"5")
    assert not match_outputs(digits + b"e", b"5")
    assert extract_program("```python\nx=1\n" * 300_000) is not None
    assert extract_program("~" * 1_000_000 + "`") is not None
    assert extract_program("[PYTHON]" * 100_000) is not None
    assert extract_program("<pre><code>" * 100_000) is not None
    assert extract_program("````md\n" * 100_000 + "x") is not None
    assert extract_program(": ``` " * 100_000 + "\nx") is not None
    assert extract_program(" " * 1_000_000 + "`") is not None
    assert extract_program("- " * 500_000) is not None
    assert extract_program("`` " * 400_000 + "python") is not None
    assert extract_program("x" + "</s>" * 300_000) == "x"
    assert extract_program("```py\n" + "<|a" * 400_000) is not None
    assert extract_program("[PYTHON] [/PYTHON]" * 60_000) is not None
    assert extract_program("\n".join("`" * n + "md" for n in range(1400, 3, -1))) is not None
    assert extract_program("```py\n\n" + "A" + " word" * 300_000 + ";") is not None
    assert extract_program("x" * 1_000_000 + "\n```\n") is None


@pytest.mark.parametrize(
    "program",
    [
        "from __future__ import annotations\nX = 1",
        "# note\n\nfrom __future__ import annotations\nfrom __future__ import division\nX = 1",
        '"""What\nit does."""\nfrom __future__ import annotations\nX = 1',
        "'''It.'''\nfrom __future__ import annotations\nX = 1",
    ],
)
def test_a_prelude_stays_behind_future_imports(program: str) -> None:
    source = prepend_prelude("import math\n", program)
    compile(source, "main.py", "exec", dont_inherit=True)
    assert "import math" in source and "X = 1" in source and source.startswith("from __future__")


def test_a_prelude_leaves_every_other_program_alone() -> None:
    assert prepend_prelude("a = 1", "    return a") == "a = 1\n    return a"
    assert prepend_prelude("", "X = 1\n") == "X = 1\n"
    late = "X = 1\nfrom __future__ import annotations"
    assert prepend_prelude("a = 1", late) == f"a = 1\n{late}"


@pytest.mark.parametrize(
    ("name", "new"),
    [("Limits", "SandboxLimits"), ("Verdict", "ProgramVerdict"), ("outputs_match", "match_outputs")],
)
def test_former_names_work_and_name_the_new_ones(name: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"archon_eval\.sandbox\.{name} is now .*{new}"):
        assert getattr(sandbox, name) is getattr(sandbox, new)
