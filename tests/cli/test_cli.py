"""The console script: its output on stdout and stderr, and its exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from archon_eval import __version__
from archon_eval.architecture.load import list_presets, load_architecture
from archon_eval.cli import main
from archon_eval.cli.tables import PIPE_WIDTH

OLD = {
    "name": "old",
    "layers": [[{"type": "generator", "model": "gpt-4o", "model_type": "OpenAI_API", "samples": 2, "top_k": 1}]],
}

Captured = pytest.CaptureFixture[str]


def run_archon(*arguments: str, code: int = 0) -> None:
    assert main(arguments) == code


def run_shell(command: str, **env: str) -> subprocess.CompletedProcess[str]:
    python = f'"{sys.executable}" -c "import sys; from archon_eval.cli import main; sys.exit(main())"'
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.replace("archon ", python + " ")],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        check=False,
    )


def test_version(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0 and capsys.readouterr().out == f"archon {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["show"], ["plann", "moa"], ["show", "moa", "--json", "--yaml"]])
def test_a_wrong_command_is_usage_and_code_2(arguments: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    out, err = capsys.readouterr()
    assert caught.value.code == 2 and not out and err.startswith("usage: archon")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("plan moa-lite --modles sim/pool", "archon plan: error: unknown option --modles; did you mean '--models'?"),
        ("search --task archon_eval/math --modles=sim/pool", "unknown option --modles; did you mean '--models'?"),
        (
            "gate --baseline b.json --epoch-s 2",
            "archon gate: error: unknown option --epoch-s; did you mean '--epochs'?",
        ),
        ("store stats --jsn", "archon store stats: error: unknown option --jsn"),
        ("--verson presets", "archon: error: unknown option --verson; did you mean '--version'?"),
        ("plann moa", "argument COMMAND: unknown choice 'plann'; did you mean 'plan'?"),
        ("report logs --missing eror", "argument --missing: unknown choice 'eror'; did you mean 'error'?"),
        ("plan moa-lite more", "archon plan: error: unrecognized arguments: more"),
    ],
)
def test_a_misspelt_option_gets_the_nearest_legal_one(words: str, problem: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    out, err = capsys.readouterr()
    assert caught.value.code == 2 and not out and problem in err


@pytest.mark.parametrize("command", ["show", "plan"])
def test_errors_are_one_line_on_stderr_and_code_1(command: str, capsys: Captured) -> None:
    run_archon(command, "moa-light", code=1)
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1
    assert err.startswith("archon: no architecture 'moa-light'") and "did you mean 'moa-lite'" in err


@pytest.mark.parametrize("words", ["plan moa-lite", "search --task archon_eval/math -T sample=true --dry-run"])
def test_an_unknown_simulated_model_is_an_error_before_anything_runs(words: str, capsys: Captured) -> None:
    run_archon(*words.split(), "--models", "sim/gpt4o,sim/gpt-4o", code=1)
    assert "no simulated model 'sim/gpt4o'; did you mean 'gpt-4o'" in capsys.readouterr().err


def test_the_help_of_a_command_says_what_it_does(capsys: Captured) -> None:
    for words, text in (
        (["import"], "Convert a config of the original Archon project."),  # a name keeps its capital
        (["store", "verify"], "Whether all of it is whole."),
        (["sandbox"], "The sandbox that runs programs."),
    ):
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        assert text in capsys.readouterr().out


def test_presets_lists_all_with_their_calls(capsys: Captured) -> None:
    run_archon("presets")
    out = capsys.readouterr().out
    rows = dict(line.split()[:2] for line in out.splitlines() if re.match("  \\S", line))
    assert set(rows) == set(list_presets()) and rows["moa"] == "19" and rows["sample-unit-tests"] == "201"
    assert "\nADAS's seed agents\n" in out and "Mixture-of-Agents (ICLR 2025)" in out
    assert max(map(len, out.splitlines())) <= PIPE_WIDTH
    run_archon("presets", "--json")
    presets = json.loads(capsys.readouterr().out)
    assert {preset["name"]: preset["calls"] for preset in presets}["moa-lite"] == [7, 7]


def test_show_in_every_form(capsys: Captured, tmp_path: Path) -> None:
    run_archon("show", "sample-unit-tests")
    shown = capsys.readouterr().out
    for words in ("8053a1115663eb31", "Source: Archon v6", "samples: 100", 'keep: "passing"'):
        assert words in shown
    run_archon("show", "moa-lite", "--yaml", "--models", "a/x,b/y")
    (tmp_path / "mine.yaml").write_text(capsys.readouterr().out)
    assert load_architecture(tmp_path / "mine.yaml") == load_architecture("moa-lite", ["a/x", "b/y"])
    run_archon("show", "moa-lite", "--json")
    assert json.loads(capsys.readouterr().out)["fingerprint"] == load_architecture("moa-lite").fingerprint
    run_archon("show", "moa-lite", "--mermaid")
    assert capsys.readouterr().out.startswith("flowchart TD\n")


def test_plan_shows_known_and_unknown_prices(capsys: Captured, tmp_path: Path) -> None:
    run_archon("plan", "ensemble-verifier-fuser")
    shown = capsys.readouterr().out
    assert (
        "unknown" in shown
        and "Price unknown: $1, $2" in shown
        and "name models with --models" in shown
        and "Note: layer 2 (verifier)" in shown
    )
    run_archon("plan", "ensemble-verifier-fuser", "--models", "sim/pool")
    shown = capsys.readouterr().out
    assert "unknown" not in shown and "sim/gpt-4o" in shown
    run_archon("plan", "single", "--models", "x/y", "--json")
    assert json.loads(capsys.readouterr().out)["dollars"] is None
    prices = tmp_path / "prices.yaml"
    prices.write_text("prices: [{models: x/y, input: 1, output: 2}]")
    run_archon("plan", "single", "--models", "x/y", "--json", "--prices", str(prices))
    assert json.loads(capsys.readouterr().out)["dollars"] == [pytest.approx(0.001)] * 2


def test_validate_checks_all_files_and_prints_each_problem(capsys: Captured, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("layers:\n  - fuser: a/x\n")
    impostor = tmp_path / "impostor.yaml"
    impostor.write_text("layers:\n  - generator: a/x\n  - fakes.components:NotAComponent:\n")
    run_archon("validate", "moa", str(bad), str(impostor), "single", code=1)
    out, err = capsys.readouterr()
    assert [line.split(":")[0] for line in out.splitlines()] == ["moa", "single"]
    assert "layer 1 is fuser" in err and "does not subclass" in err
    run_archon("validate", "moa", "single")


def test_import_keeps_notes_apart_from_the_file(capsys: Captured, tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.yaml"
    old.write_text(json.dumps(OLD))
    run_archon("import", str(old))
    out, err = capsys.readouterr()
    assert "note: layer 1: generator: `top_k` had no effect" in err and "note" not in out
    run_archon("import", str(old), "-o", str(new))
    assert not capsys.readouterr().out and new.read_text() == out
    assert load_architecture(new).models == ("openai/gpt-4o",)
    run_archon("import", str(old), "-o", str(old / "new.yaml"), code=1)
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "not a list"),
        ('{"name": "a", "name": "b"}', "written twice"),
        ("{", "not readable as JSON"),
        ('{"layers": [[{"type": "fuser", "model": "m", "model_type": "OpenAI_API"}]]}', "rule 2"),
    ],
)
def test_import_of_a_file_that_is_no_config(text: str, says: str, capsys: Captured, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)
    run_archon("import", str(path), code=1)
    out, err = capsys.readouterr()
    assert not out and says in err and "Traceback" not in err


def test_sim_check_reports_correlations(capsys: Captured) -> None:
    run_archon("sim-check", "--questions", "5", "--families", "math", "--json")
    assert -1 <= json.loads(capsys.readouterr().out)["spearman"]["math"] <= 1
    run_archon("sim-check", "--families", "maths", code=1)
    assert "did you mean 'math'" in capsys.readouterr().err
    run_archon("sim-check", "--questions", "0", code=1)


def test_a_closed_pipe_is_no_error() -> None:
    done = run_shell("archon presets --json | head -n 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[\n", "")


def test_piped_output_is_plain_whatever_the_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: café\nlayers: [{generator: {model: ä/x, samples: 3}}]\n", encoding="utf-8")
    for command in (f"show {path}", f"plan {path}", f"show {path} --mermaid"):
        done = run_shell(f"archon {command}", PYTHONIOENCODING="ascii", TERM="xterm-256color")
        assert done.returncode == 0 and done.stdout and "\x1b" not in done.stdout, done.stderr


def test_show_and_plan_do_not_load_inspect() -> None:
    code = (
        "import sys; from archon_eval.cli import main\n"
        "for words in ('presets', 'show moa', 'plan moa --models sim/pool', 'validate moa'): main(words.split())\n"
        "print([name for name in ('inspect_ai', 'openai', 'docker', 'math_verify') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_sandbox_doctor_says_what_to_type(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("docker")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    run_archon("sandbox", "doctor", code=1)
    out, _ = capsys.readouterr()
    assert "MISSING" in out and "-> " in out
    run_archon("sandbox", "build", code=1)
    assert "archon: no Docker daemon answers at unix:///nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("sigint", [signal.default_int_handler, signal.SIG_IGN], ids=["foreground", "background"])
def test_sigterm_ends_a_command_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch, sigint: Any) -> None:
    ended = []

    def wait(options: object) -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            ended.append("children are ended, logs are written")
        return 0

    monkeypatch.setattr("archon_eval.cli.architectures._list_presets", wait)
    before = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, signal.SIG_DFL), signal.signal(signal.SIGINT, sigint)
    try:
        run_archon("presets", code=130)
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)
    assert ended


POOL = """
import multiprocessing
from archon_eval._signals import interrupt_on_sigterm

if __name__ == "__main__":
    interrupt_on_sigterm()
    for _ in range(40):  # some end a worker that has hardly begun
        with multiprocessing.get_context("fork").Pool(4) as pool:
            assert sum(pool.map(abs, range(8))) == 28
    print("ended")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_sigterm_ends_the_workers_of_a_pool_in_silence(tmp_path: Path) -> None:
    """A pool ends its workers with it: lm-eval has one for each metric whose error it bootstraps."""
    (tmp_path / "pool.py").write_text(POOL, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "pool.py"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=300
    )
    assert (done.stdout, done.stderr) == ("ended\n", "")
