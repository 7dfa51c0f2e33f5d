"""The gate: its statistics by simulation, what makes it undecided, its files, and this project's own recording."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from fakes.logs import write_log

from archon_eval.cli import main
from archon_eval.errors import DataError
from archon_eval.models.usage_totals import UsageTotals
from archon_eval.report import ci_output as ci
from archon_eval.report.baseline import create_baseline, load_baseline, save_baseline
from archon_eval.report.gate import GateThresholds, check_regression, decide_outcome
from archon_eval.report.run_gate import run_gate
from archon_eval.runs.judges import collect_judges, has_live_judgments
from archon_eval.runs.read_log import read_run
from archon_eval.stats.comparison import compare

RECORDINGS = Path(__file__).parents[1] / "recordings"


def lights(drop: float, n: int, repeats: int, limits: GateThresholds, flips: float = 0.2) -> list[int]:
    """Exit codes of gates on simulated right/wrong runs: a share `flips` of questions differs between the two."""
    generator, found = np.random.default_rng(7), []
    for _ in range(repeats):
        before = generator.random(n) < 0.7
        change = generator.random(n)
        lost, won = (flips + drop) / 2, (flips - drop) / 2
        # of the questions that are right, so many are lost that the means differ by `drop`
        now = np.where(before, change >= lost / 0.7, change < won / 0.3)
        first = {i: float(now[i]) for i in range(n)}
        second = {i: float(before[i]) for i in range(n)}
        paired = compare(first, second, draws=999, confidence=2 * limits.confidence - 1)
        found.append(decide_outcome(paired, limits)[0])
    return found


def test_without_a_difference_alarms_come_at_the_stated_rate() -> None:
    found = lights(0.0, 400, 1000, GateThresholds(confidence=0.95))
    # 1,000 repeats at a rate of 5%: 99.9% of counts lie below 72; the discrete test may be a little below its level
    assert 25 <= found.count(1) <= 72


def test_with_few_flips_alarms_stay_below_the_stated_rate() -> None:
    assert lights(0.0, 200, 1000, GateThresholds(confidence=0.95), flips=0.02).count(1) <= 72


def test_a_tolerated_drop_raises_alarms_at_most_at_the_stated_rate() -> None:
    assert lights(0.03, 400, 1000, GateThresholds(margin=3.0)).count(1) <= 72


def test_a_five_point_drop_is_found_with_the_stated_power() -> None:
    # n = (1.645 + 0.8416)^2 * 0.2 / 0.05^2 = 495: the size at which green needs no more questions
    found = lights(0.05, 520, 1000, GateThresholds(power=0.8))
    assert 760 <= found.count(1) <= 880


def test_green_needs_enough_questions() -> None:
    undecided = lights(0.0, 100, 200, GateThresholds())
    assert undecided.count(2) > 150
    assert lights(0.0, 560, 200, GateThresholds()).count(0) > 170


def test_a_proven_gain_needs_no_further_questions() -> None:
    found = compare(dict.fromkeys(range(60), 1.0), {i: float(i % 2) for i in range(60)}, confidence=0.9)
    assert decide_outcome(found, GateThresholds(detect=5))[0] == 0


@pytest.mark.parametrize("n", [2, 5, 20, 58, 60, 80, 95, 100, 200])
def test_a_drop_from_an_always_right_baseline_is_rarely_green(n: int) -> None:
    """Lost questions are the only moves, so with few questions none moves at all: exactly the case that looks safe."""
    green = 0
    for lost, times in Counter(np.random.default_rng(3).binomial(n, 0.05, 1000)).items():
        now = {i: float(i >= lost) for i in range(n)}
        paired = compare(now, dict.fromkeys(range(n), 1.0), draws=999, confidence=0.9)
        green += times * (decide_outcome(paired, GateThresholds())[0] == 0)
    # 0 below 59 questions; above, at most 1 - power = 20%: 99.9% of counts lie below 240
    assert green == 0 if n < 59 else green < 240


def test_equal_scores_of_few_questions_are_green_only_as_a_replay(tmp_path: Path) -> None:
    before = read_run(write_log(tmp_path / "a.eval", right(of=58), reused={"calls": 3}))
    baseline = create_baseline(before)
    assert check_regression(baseline, before).code == 0
    partly = replace(before.usage, reused=UsageTotals(calls=before.calls - 1))
    cases: list[dict[str, Any]] = [{"usage": partly}, {"judged_anew": True}, {"fingerprint": "other"}]
    for chance in cases:
        run = replace(before, **chance)
        outcome = check_regression(baseline, run)
        assert outcome.code == 2 and "1 more questions are needed" in outcome.reasons[0], chance
    lost = read_run(write_log(tmp_path / "b.eval", right(1, of=58), reused={"calls": 3}))
    assert check_regression(baseline, lost).code == 2
    # a default drop of 5 would be half of such a scale, and almost everything green
    like = compare({i: 9.0 - i % 3 for i in range(20)}, {i: 9.0 - (i + 1) % 3 for i in range(20)}, confidence=0.9)
    assert (
        decide_outcome(like, GateThresholds(), 1.0, span=9.0)[0] == 2
        and "which drop must be found" in decide_outcome(like, GateThresholds(), 1.0, span=9.0)[1]
    )
    assert decide_outcome(like, GateThresholds(detect=5), 1.0, span=9.0)[0] == 0
    on_ten = compare(dict.fromkeys(range(20), 9.0), dict.fromkeys(range(20), 9.0), confidence=0.9)
    assert [decide_outcome(on_ten, GateThresholds(detect=1), 1.0, span=span)[0] for span in (1.0, 9.0)] == [0, 2]


def test_few_questions_that_are_all_lost_are_never_green() -> None:
    for n in range(2, 5):
        lost = compare(dict.fromkeys(range(n), 0.0), dict.fromkeys(range(n), 1.0), confidence=0.9)
        assert decide_outcome(lost, GateThresholds())[0] == 2
    lost = compare(dict.fromkeys(range(5), 0.0), dict.fromkeys(range(5), 1.0), confidence=0.9)
    assert decide_outcome(lost, GateThresholds())[0] == 1
    few = {question: float(question > 2) for question in range(200)}
    assert decide_outcome(compare(few, dict.fromkeys(range(200), 1.0), confidence=0.9), GateThresholds())[0] == 2


def test_scores_that_all_moved_alike_have_a_bound_where_the_scale_has_ends() -> None:
    equal = compare(dict.fromkeys(range(60), 1.0), dict.fromkeys(range(60), 1.0), confidence=0.9)
    power = "+0.0 points; a drop of 5 points would have been found with 80% power"
    assert decide_outcome(equal, GateThresholds()) == (0, power)
    lower = compare(dict.fromkeys(range(60), 0.7), dict.fromkeys(range(60), 0.9), confidence=0.9)
    bound = "-20.0 points, 95% certain to be below -14.8 (tolerated: +0.0)"  # -0.2 + 1.2 z^2 / (60 + z^2), z = 1.645
    assert decide_outcome(lower, GateThresholds()) == (1, bound)
    nine = compare(dict.fromkeys(range(60), 8.8), dict.fromkeys(range(60), 9.0), confidence=0.9)
    assert decide_outcome(nine, GateThresholds(), 1.0)[1] == "-0.20 points on every question (tolerated: +0.00)"
    scale = compare(dict.fromkeys(range(60), 7.75), {n: 8.0 + n % 2 / 8 for n in range(60)}, confidence=0.9)
    assert (
        decide_outcome(scale, GateThresholds(), 1.0)[1]
        == "-0.31 points, 95% certain to be below -0.30 (tolerated: +0.00)"
    )


def right(*wrong: int, of: int = 60) -> dict[str, list[str]]:
    return {f"q{n:02}": ["I" if n in wrong else "C"] for n in range(of)}


def test_the_same_scores_pass_and_lost_questions_do_not(tmp_path: Path) -> None:
    before = read_run(write_log(tmp_path / "a.eval", right(1, 2)))
    save_baseline(before, tmp_path / "base" / "line.json")
    baseline = load_baseline(tmp_path / "base" / "line.json")
    same = check_regression(baseline, before)
    assert (same.code, same.lost) == (0, ()) and ("calls", 3.0, 3.0) in same.cost
    worse = check_regression(baseline, read_run(write_log(tmp_path / "b.eval", right(*range(1, 14)))))
    assert worse.code == 1 and [question for question, _ in worse.lost] == [f"q{n:02}" for n in range(3, 14)]
    assert check_regression(baseline, before, GateThresholds(margin=25)).code == 0


def test_a_tolerated_drop_is_green_or_undecided_never_red(tmp_path: Path) -> None:
    baseline = create_baseline(read_run(write_log(tmp_path / "a.eval", right())))
    run = read_run(write_log(tmp_path / "b.eval", right(*range(6))))
    assert check_regression(baseline, run).code == 1
    assert check_regression(baseline, run, GateThresholds(margin=10)).code == 2


def test_what_cannot_be_decided_says_why(tmp_path: Path) -> None:
    judged = write_log(tmp_path / "a.eval", right(), judge="gpt-a")
    save_baseline(read_run(judged), tmp_path / "b.json")
    cases = {
        "the judge changed: judge: gpt-b, in the baseline judge: gpt-a": {"judge": "gpt-b"},
        "another benchmark: other": {"task": "other", "judge": "gpt-a"},
        "60 questions have another prompt": {"text": "Say {id}", "judge": "gpt-a"},
        "the eval did not finish": {"status": "error"},
        "no scorer 'right'": {"scorer": "exact"},
    }
    for message, facts in cases.items():
        log = write_log(tmp_path / "run.eval", right(), **facts)  # type: ignore[arg-type]
        outcome = run_gate(tmp_path / "b.json", log, tmp_path)
        assert outcome.code == 2 and message in ci.format_text(outcome), message
    fewer = write_log(tmp_path / "run.eval", {**right(of=58), "q58": [None]}, judge="gpt-a")
    text = ci.format_text(run_gate(tmp_path / "b.json", fewer, tmp_path))
    assert "2 of 60 questions have no score; q58: the model is gone" in text
    other_wording = write_log(
        tmp_path / "run.eval", right(), judge="gpt-a", facts={"prompt": {"name": "pair", "digest": "d2"}}
    )
    assert "prompt pair: d2" in ci.format_text(run_gate(tmp_path / "b.json", other_wording, tmp_path))
    baseline = replace(load_baseline(tmp_path / "b.json"), version="2")
    assert "another version of the benchmark: 1" in check_regression(baseline, read_run(judged)).reasons[0]


def test_baseline_files_that_are_none(tmp_path: Path) -> None:
    for content in ("", "[]", "{}", '{"format": 9}', '{"format": 1, "questions": {"q": 1}}'):
        (tmp_path / "b.json").write_text(content)
        with pytest.raises(DataError, match=r"b\.json"):
            load_baseline(tmp_path / "b.json")
    with pytest.raises(DataError, match="make one with --save-baseline"):
        load_baseline(tmp_path / "absent.json")
    nan, inf = float("nan"), float("inf")
    drops: list[dict[str, float]] = [{name: value} for name in ("margin", "detect") for value in (-1, nan, inf)]
    for limits in (*drops, {"detect": 0}, {"detect": 1e-200}, {"confidence": 0.4}, {"confidence": nan}, {"power": 1.0}):
        with pytest.raises(DataError, match="legal is"):
            GateThresholds(**limits)


def test_the_command_writes_summary_junit_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "page.md")
    four = {"<b>|q`1": ["C"], "q\x002": ["C"], "q3": ["C"], "q4": ["C"]}
    log = str(write_log(tmp_path / "a.eval", four, reused={"calls": 3}))
    bad = str(write_log(tmp_path / "b.eval", {"<b>|q`1": ["I"], "q\x002": ["C"], "q3": ["C"], "q4": ["C"]}))
    assert main(["gate", log, "--baseline", "base.json", "--save-baseline"]) == 0
    assert main(["gate", log, "--baseline", "base.json", "--junit", "good.xml", "--name", "mine"]) == 0
    assert ElementTree.parse("good.xml").getroot().attrib["failures"] == "0"
    capsys.readouterr()
    assert main(["gate", bad, "--baseline", "base.json", "--junit", "bad.xml", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["outcome"] == "cannot decide"
    assert ElementTree.parse("bad.xml").getroot().find("testcase/error") is not None
    page = Path("page.md").read_text(encoding="utf-8")
    assert "### 🟢 mine: no regression" in page and "### 🟡" in page
    assert "<b>" not in page and "\\<b\\>\\|q\\`1" in page
    assert main(["gate", "--baseline", "base.json"]) == 2
    assert main(["gate", log, "--baseline", "base.json", "--confidence", "7"]) == 2
    assert main(["gate", "absent.eval", "--baseline", "base.json"]) == 2


def test_a_gate_that_breaks_is_undecided_and_no_regression(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*args: object, **options: object) -> None:
        raise ZeroDivisionError("within")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "page.md")
    monkeypatch.setattr("archon_eval.report.run_gate.run_gate", breaks)
    assert main(["gate", "a.eval", "--baseline", "base.json", "--junit", "gate.xml", "--json"]) == 2
    said = capsys.readouterr()
    assert "ZeroDivisionError: within" in said.err
    found = json.loads(said.out)
    assert (found["code"], found["reasons"]) == (2, ["the gate itself failed: ZeroDivisionError: within"])
    assert "🟡 a.eval: cannot decide" in Path("page.md").read_text(encoding="utf-8")
    error = ElementTree.parse("gate.xml").getroot().find("testcase/error")
    assert error is not None and "ZeroDivisionError: within" in error.attrib["message"]


def test_whatever_stops_a_gate_is_in_all_three_outputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    log = str(write_log(tmp_path / "a.eval", right()))
    own = ["--task", "archon_eval/math", "-T", "sample=true", "-T", "n=2", "-S", "models=openai/gpt-4o"]
    base = str(RECORDINGS / "baseline.json")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    cases = {
        "cannot read baseline absent.json": [log, "--baseline", "absent.json"],
        "did you mean 'archon_eval/math'": ["--baseline", base, "--task", "archon_eval/maths"],
        "no end after 20 seconds, 0 of 2 answered": [
            "--baseline",
            base,
            *own,
            "-S",
            "architecture=single",
            "--time-limit",
            "20",
        ],
    }
    for why, words in cases.items():
        assert main(["gate", *words, "--junit", "gate.xml", "--summary", "page.md", "--json"]) == 2
        [reason] = json.loads(capsys.readouterr().out)["reasons"]
        assert why in reason, reason
        error = ElementTree.parse("gate.xml").getroot().find("testcase/error")
        assert error is not None and error.text and error.attrib["message"] == reason
        assert "cannot decide" in Path("page.md").read_text(encoding="utf-8")
        Path("gate.xml").unlink()
        Path("page.md").unlink()
    for words in ([log, "--baseline", base, "--power", "2"], ["--baseline", base]):  # the command itself is wrong
        assert main(["gate", *words, "--junit", "gate.xml", "--summary", "page.md", "--json"]) == 2
        assert capsys.readouterr().out == "" and not Path("gate.xml").exists()


def test_an_output_that_cannot_be_written_is_never_green_and_stops_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good, bad = (
        str(write_log(tmp_path / name, right(*wrong))) for name, wrong in (("a.eval", ()), ("b.eval", range(9)))
    )
    save_baseline(read_run(good), "base.json")
    for log, code in ((good, 2), (bad, 1)):
        words = ["gate", log, "--baseline", "base.json", "--junit", "gate.xml"]
        assert main([*words, "--summary", "base.json/page.md"]) == code
        assert "cannot write base.json" in capsys.readouterr().err
        assert Path("gate.xml").is_file()
        Path("gate.xml").unlink()


def test_a_damaged_log_is_undecided_and_says_so(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.eval", right())
    save_baseline(read_run(log), tmp_path / "base.json")
    whole = log.read_bytes()
    for at in range(60, len(whole), len(whole) // 12):
        log.write_bytes(whole[:at] + bytes(byte ^ 0xA5 for byte in whole[at : at + 40]) + whole[at + 40 :])
        assert run_gate(tmp_path / "base.json", log, tmp_path).code in (0, 2)  # bytes that say nothing may be hit
    log.write_bytes(whole[: len(whole) // 2])
    outcome = run_gate(tmp_path / "base.json", log, tmp_path)
    assert outcome.code == 2 and "not readable as an Inspect log" in outcome.reasons[0]


def test_a_decoder_that_fails_in_its_own_way_is_a_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*given: object, **more: object) -> None:
        raise RuntimeError("cannot decompress")

    monkeypatch.setattr("inspect_ai.log.read_eval_log", fails)
    with pytest.raises(DataError, match=r"a\.eval: not readable as an Inspect log: RuntimeError: cannot decompress"):
        read_run(tmp_path / "a.eval")


def test_options_of_a_scorer_with_several_values_are_part_of_the_judge() -> None:
    one = SimpleNamespace(name="pkg/judge", options={"model": "gpt-a"})
    log = SimpleNamespace(eval=SimpleNamespace(model_roles=None, scorers=[one]))
    assert (
        collect_judges(log, [], "judge/quality") == collect_judges(log, [], "judge") == ('options: {"model": "gpt-a"}',)
    )
    assert collect_judges(log, [], "other/quality") == ()


@pytest.mark.parametrize("given", [None, 3, "a", ["a", 3], {"a": 1}, [{"verdict": "a"}]], ids=repr)
@pytest.mark.parametrize("name", ["judgments", "prompt", "prompts"])
def test_metadata_of_other_packages_scorers_names_no_judge(name: str, given: Any) -> None:
    log = SimpleNamespace(eval=SimpleNamespace(model_roles=None, scorers=[]))
    sample = SimpleNamespace(scores={"theirs": SimpleNamespace(metadata={name: given})})
    assert collect_judges(log, [sample], "theirs") == () and not has_live_judgments(log, [sample], "theirs")


def replay(*more: str) -> list[str]:
    values = (f"architecture={RECORDINGS / 'small.yaml'}", f"store={RECORDINGS / 'calls.db'}", "store_policy=replay")
    words = ["gate", "--baseline", str(RECORDINGS / "baseline.json"), "--task", "archon_eval/math", "-T", "sample=true"]
    return [*words, *(word for value in values for word in ("-S", value)), *more]


def test_this_projects_own_recording_passes_its_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(replay("-T", "n=40", "--log-dir", str(tmp_path)))
    assert code == 0, capsys.readouterr().out + "\nmeant? then run: python tests/recordings/record.py"


def test_the_projects_ci_runs_that_gate_as_a_step_of_its_own() -> None:
    root = RECORDINGS.parents[1]
    assert re.search(r"^make .*\bgate$", (root / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    done = subprocess.run(["make", "-n", "gate"], cwd=root, capture_output=True, text=True, check=True)
    [line] = [one for one in done.stdout.replace("\\\n", " ").splitlines() if " gate " in one]
    for word in ("tests/recordings/baseline.json", "store=tests/recordings/calls.db", "store_policy=replay"):
        assert word in line.split()


def test_a_call_that_is_not_in_the_recording_is_undecided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(replay("-T", "n=41", "--log-dir", str(tmp_path))) == 2
    assert "not in the recording" in capsys.readouterr().out


def test_an_eval_that_cannot_start_is_undecided_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--baseline", str(RECORDINGS / "baseline.json"), "--log-dir", str(tmp_path)]
    assert main(["gate", *where, "--task", "archon_eval/math", "-T", "sample=true", "-S", "architecture=nonsense"]) == 2
    assert "no architecture 'nonsense'" in capsys.readouterr().out


def test_the_pytest_plugin_is_installed_and_gates(tmp_path: Path) -> None:
    good = write_log(tmp_path / "good.eval", right())
    write_log(tmp_path / "bad.eval", right(*range(20)))
    write_log(tmp_path / "other.eval", right(), task="other")
    save_baseline(read_run(good), tmp_path / "base.json")
    (tmp_path / "test_it.py").write_text(
        "def test_good(archon_gate):\n    assert archon_gate('base.json', 'good.eval').code == 0\n"
        "def test_bad(archon_gate):\n    archon_gate('base.json', 'bad.eval', margin=1)\n"
        "def test_other(archon_gate):\n    archon_gate('base.json', 'other.eval', undecided='skip')\n"
        "def test_both(archon_gate):\n    archon_gate('base.json', 'good.eval', task='archon_eval/math')\n"
        "def test_run(archon_gate):\n    archon_gate('base.json', task='archon_eval/math',"
        " task_args={'sample': True, 'n': 2},"
        " solver_args={'architecture': 'single', 'models': ['sim/gpt-4o'], 'store': None})\n"
    )
    words = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ})
    assert "3 failed, 1 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert "legal is a log or a task" in done.stdout and "no scorer 'right'" in done.stdout
    assert "regression: -33.3 points" in done.stdout and "another benchmark" in done.stdout


def test_the_action_runs_the_command(tmp_path: Path) -> None:
    """The action's script as GitHub runs it: in bash, with its inputs in the environment."""
    import yaml

    action = yaml.safe_load((RECORDINGS.parents[1] / "action.yml").read_text(encoding="utf-8"))
    step = action["runs"]["steps"][-1]
    good = write_log(tmp_path / "good log.eval", right())
    save_baseline(read_run(good), tmp_path / "base.json")
    write_log(tmp_path / "bad.eval", right(*range(20)))
    inputs = {name: str(given.get("default", "")) for name, given in action["inputs"].items()}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quoted = "--name 'two  words; $(exit 9) *' --summary \"other page.md\""
    for log, more, code, said in (
        ("good log.eval", quoted, 0, "no regression"),
        ("bad.eval", "", 1, "regression"),
        ("absent.eval", "--json", 2, "no such log"),
        ("", "", 2, "give a finished log, or --task"),
        ("good log.eval", "--name 'open", 2, "No closing quotation"),
    ):
        given = {**inputs, "baseline": "base.json", "log": log, "arguments": more}
        env = {name: given[value.split(".")[1].rstrip(" }")] for name, value in step["env"].items()}
        env |= {**os.environ, "PATH": path, "GITHUB_OUTPUT": "out.txt", "GITHUB_STEP_SUMMARY": "page.md"}
        env["RUNNER_TEMP"] = str(tmp_path)
        done = subprocess.run(
            ["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=env, capture_output=True, check=False
        )
        assert done.returncode == code and said in (done.stdout + done.stderr).decode(), done
    assert (tmp_path / "out.txt").read_text().split() == ["code=0", "code=1", "code=2", "code=2", "code=2"]
    assert "two words; \\$(exit 9) \\*:" in (tmp_path / "other page.md").read_text(encoding="utf-8")
    assert (tmp_path / "archon-gate.xml").is_file() and "🔴" in (tmp_path / "page.md").read_text(encoding="utf-8")
