"""Mistakes of newcomers and hostile logs: messages say what is wrong, and never control the terminal."""

import sys
from pathlib import Path

import pytest
from fakes.logs import write_log

from archon_eval.cli import main
from archon_eval.errors import sanitize_text

HOSTILE = "\x1b[31mred\u202e\x9b2J"


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    subjects = {f"q{n}{HOSTILE}": HOSTILE if n % 2 else "plain" for n in range(8)}
    for place, name in enumerate(("good", f"bad {HOSTILE}")):
        scores = {question: ["C" if (n + place) % 3 else "I"] for n, question in enumerate(subjects)}
        write_log(tmp_path / f"{place}.eval", scores, name=name, subjects=subjects, notes={HOSTILE: 1})
    write_log(tmp_path / "half.eval", {"q1": ["C"], f"q2{HOSTILE}": [None]})
    write_log(tmp_path / "one.eval", {"q1": ["C"]})
    return tmp_path


def run_archon(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Exit code, and everything printed: never a control character, never one that turns the direction."""
    try:
        code = main(words)
    except SystemExit as exc:
        code = int(exc.code or 0)
    captured = capsys.readouterr()
    text = captured.out + captured.err
    assert text == sanitize_text(text)
    return code, text


def test_hostile_names_do_not_control_the_terminal(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run_archon(capsys, "compare", "0.eval", "1.eval")
    assert code == 0 and "bad \ufffd[31mred\ufffd\ufffd2J" in text
    assert run_archon(capsys, "gate", "0.eval", "--baseline", "base.json", "--save-baseline")[0] == 0
    code, text = run_archon(capsys, "gate", "1.eval", "--baseline", "base.json", "--summary", "page.md")
    assert code == 2 and "worse: " in text and "another architecture" in text
    page = Path("page.md").read_text(encoding="utf-8")
    assert page == sanitize_text(page)
    code, text = run_archon(capsys, "report", "0.eval", "1.eval", "half.eval", "--format", "md")
    assert code == 0 and "\ufffd" in text
    assert "q2\ufffd[31mred" in run_archon(capsys, "compare", "half.eval", "0.eval")[1]


def test_mistakes_get_a_message_that_helps(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_archon(capsys, "gate", "0.eval", "--baseline", "base.json", "--save-baseline")
    for words, code, answer in (
        ("compare 0.evl 1.eval", 1, "no such log or folder of logs; did you mean 0.eval?"),
        ("report nowhere", 1, "nowhere: no such log or folder of logs"),
        ("gate 0.evl --baseline base.json", 2, "did you mean 0.eval?"),
        ("gate . --baseline base.json", 2, "4 logs; name one"),
        ("gate 0.eval --baseline base.json -T n=3", 2, "are of a run with --task"),
        ("gate 0.eval --baseline base.json --epochs 3", 2, "are of a run with --task"),
        ("gate --baseline base.json --task archon_eval/math --epochs 0", 2, "must be 1 or more"),
        ("gate --baseline base.json --task archon_eval/math --time-limit 0", 2, "must be above 0"),
        ("gate half.eval --baseline new.json --save-baseline", 2, "a baseline needs every score; 1 have none"),
        ("gate one.eval --baseline base.json", 2, "8 of 8 questions have no score"),
        ("ablate moa-lit --models sim/pool", 1, "did you mean 'moa-lite'?"),
        ("ablate moa-lite", 1, "name yours, strongest first, e.g. --models openai/gpt-4o"),
    ):
        result = run_archon(capsys, *words.split())
        assert result[0] == code and answer in result[1], (words, result)
    assert not Path("new.json").exists()


def test_one_question_is_too_few_and_never_passes_the_gate(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_archon(capsys, "gate", "one.eval", "--baseline", "one.json", "--save-baseline")
    assert run_archon(capsys, "gate", "one.eval", "--baseline", "one.json")[0] == 2
    assert "one question tells nothing about spread" in run_archon(capsys, "compare", "one.eval", "one.eval")[1]


def test_charts_without_their_package_are_an_error_before_anything_runs(
    logs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    Path("two.yaml").write_text("layers:\n  - generator: [sim/gpt-4o, sim/gpt-4o]\n  - ranker: sim/gpt-4o\n")
    ablate = ("ablate", "two.yaml", "--task", "archon_eval/math", "-T", "sample=true", "--png", "x.png")
    for words in (("report", "0.eval"), ("report", "0.eval", "-o", "x.png"), ablate):
        code, text = run_archon(capsys, *words)
        assert code == 1 and "pip install 'archon-eval[report]'" in text
    assert not Path("ablation").exists() and not Path("report.html").exists()
    assert run_archon(capsys, "report", "0.eval", "-o", "x.md")[0] == 0
