"""A gate on a judged benchmark: the judge's replies are recorded and replayed too; only another judge is another."""

from pathlib import Path

import pytest

from archon_eval.cli import main

RECORD, REPLAY = "record", "replay"


@pytest.mark.parametrize("task", ["alpaca_eval", "mt_bench"])
def test_a_judged_benchmark_replays_and_another_judge_is_undecided(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("judge.yaml").write_text("layers:\n  - generator: sim/gpt-4-turbo\n", encoding="utf-8")
    Path("moved").mkdir()
    Path("moved", "same.yaml").write_text(Path("judge.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    Path("other.yaml").write_text("layers:\n  - generator: sim/gpt-4o\n", encoding="utf-8")

    def gate(judge: str, policy: str, *more: str, settings: str = "", judge_policy: str = "") -> str:
        role = f"{{model: archon/{judge}, model_args: {{store: calls.db, store_policy: {judge_policy or policy}}}"
        words = ["gate", "--baseline", "base.json", "--task", f"archon_eval/{task}", "-T", "sample=true", *more]
        words += ["-S", "architecture=single", "-S", "models=sim/gpt-4o", "-S", "store=calls.db"]
        words += ["-S", f"store_policy={policy}", "--model-role", f"judge={role}{settings}}}"]
        code = main(words)
        return f"{code} {capsys.readouterr().out}"

    assert gate("judge.yaml", RECORD, "--save-baseline").startswith("0 base.json: ")
    assert gate("judge.yaml", REPLAY).startswith("0 no regression: every score is the same, from recorded calls alone")
    if task != "alpaca_eval":  # the rest is the same code for every judged benchmark
        return
    # where the file lies, and whether stored judgments would be used, is the same judge
    assert gate("moved/same.yaml", REPLAY, "-T", "judge_cache=never").startswith("0 no regression")
    assert "more questions are needed" in gate("judge.yaml", REPLAY, judge_policy=RECORD)  # asked anew: chance is in it
    assert gate("judge.yaml", REPLAY, settings=", temperature: 0.9").startswith("2 cannot decide")
    other = gate("other.yaml", REPLAY, judge_policy=RECORD)
    assert other.startswith("2 cannot decide: the judge changed: judge: architecture ")
