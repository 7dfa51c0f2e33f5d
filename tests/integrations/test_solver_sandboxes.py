"""Candidates of solvers in sandboxes of their own: none sees another's files, and the winner's is what is scored."""

from pathlib import Path
from typing import Any

import pytest
from fakes.server import FakeServer
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer
from inspect_ai.solver import TaskState
from inspect_ai.util import SandboxEnvironment, sandbox
from inspect_ai.util._sandbox.local import LocalSandboxEnvironment

from archon_eval.solvers.archon import archon

MODEL = "openai/gpt-4o"


def act(model: str, messages: list[dict[str, Any]], nonce: int) -> str:
    if "Rank all" in str(messages[-1]["content"]):
        return "[2] > [1] > [3]"
    return f"{model} draw {nonce // 1000}"


@pytest.fixture
def server(fake_server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    monkeypatch.chdir(tmp_path)
    fake_server.answer = act
    return fake_server


@scorer(metrics=[accuracy()])
def reads_file() -> Scorer:
    """Right where the answer's own text is in the sandbox's file; tells what is in there."""

    async def score(state: TaskState, target: Target) -> Score:
        found = await sandbox().exec(["cat", "answer.txt"])
        listed = (await sandbox().exec(["ls"])).stdout.split()
        return Score(value=state.output.completion in found.stdout, answer=found.stdout, metadata={"files": listed})

    return score


class Counted:
    """What became of the local sandboxes of one eval."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made, self.ended, self.most = 0, 0, 0
        make, end = LocalSandboxEnvironment.sample_init, LocalSandboxEnvironment.sample_cleanup

        async def count_made(*args: Any, **kwargs: Any) -> dict[str, SandboxEnvironment]:
            self.made += 1
            self.most = max(self.most, self.made - self.ended)
            return await make(*args, **kwargs)

        async def count_ended(*args: Any, **kwargs: Any) -> None:
            self.ended += 1
            await end(*args, **kwargs)

        monkeypatch.setattr(LocalSandboxEnvironment, "sample_init", staticmethod(count_made))
        monkeypatch.setattr(LocalSandboxEnvironment, "sample_cleanup", staticmethod(count_ended))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def writing(**options: Any) -> dict[str, Any]:
    return {"model": MODEL, "solver": "fakes.solvers:writing", **options}


def run(*layers: dict[str, Any], provider: Any = "local", questions: int = 1, **options: Any) -> EvalLog:
    samples = [
        Sample("Which?", target="x", id=f"q{n}", files={"given.txt": "given: "}, setup="touch set-up.txt")
        for n in range(questions)
    ]
    task = Task(dataset=samples, scorer=reads_file(), sandbox=provider)
    used = archon(architecture={"name": "own", "layers": list(layers)})
    log: EvalLog = eval(task, solver=used, model="none", display="none", log_dir="logs", log_realtime=False, **options)[
        0
    ]
    return log


def one_sample(log: EvalLog) -> EvalSample:
    assert log.status == "success" and log.samples, log.error
    return log.samples[0]


def read_score(log: EvalLog) -> Score:
    sample = one_sample(log)
    assert sample.scores
    return sample.scores["reads_file"]


RANKED = {"ranker": {"model": "openai/gpt-4-turbo", "top_k": 1}}


def test_the_winners_sandbox_is_what_the_scorer_sees(server: FakeServer, counted: Counted) -> None:
    log = run({"generator": writing(samples=3)}, RANKED)
    score, sample = read_score(log), one_sample(log)
    assert score.value and score.answer == f"given: {sample.output.completion} (['given.txt', 'set-up.txt'])"
    assert score.metadata == {"files": ["answer.txt", "given.txt", "set-up.txt"]}
    assert sample.metadata["archon"]["notes"]["sandbox"] == 1
    assert counted.made == counted.ended == 4


def test_a_lone_candidate_has_the_samples_own(server: FakeServer, counted: Counted) -> None:
    assert read_score(run({"generator": writing()})).value
    assert counted.made == counted.ended == 1


@pytest.mark.parametrize("last", [{"fuser": MODEL}, None])
def test_a_text_that_belongs_to_no_sandbox_leaves_the_samples_own(
    server: FakeServer, counted: Counted, last: dict[str, Any] | None
) -> None:
    layers = [{"generator": [MODEL, writing()]}, *([last] if last else [])]
    score = read_score(log := run(*layers))
    assert not score.answer and score.metadata == {"files": ["given.txt", "set-up.txt"]}
    assert one_sample(log).metadata["archon"]["notes"] == {"sandbox": 1}
    assert counted.made == counted.ended == 2


def test_all_end_where_the_question_fails(server: FakeServer, counted: Counted) -> None:
    failing = {"model": MODEL, "solver": "fakes.solvers:failing"}
    log = run({"generator": [writing(samples=2), failing]})
    assert log.status == "error" and counted.made == counted.ended == 4
    assert log.error and "'fakes.solvers:failing' failed" in log.error.message


def test_all_end_where_a_limit_ends_the_sample(server: FakeServer, counted: Counted) -> None:
    waiting = {"model": MODEL, "solver": "fakes.solvers:endless", "args": {"waits": True}}
    log = run({"generator": [writing(samples=2), waiting]}, time_limit=3)
    sample = one_sample(log)
    assert sample.limit and sample.limit.type == "time" and counted.made == counted.ended > 1


def test_questions_wait_for_one_another_and_never_for_ever(server: FakeServer, counted: Counted) -> None:
    log = run({"generator": writing(samples=2)}, RANKED, questions=4, max_sandboxes=3, max_samples=4)
    assert (
        log.status == "success" and log.samples and all(s.scores["reads_file"].value for s in log.samples if s.scores)
    )
    assert counted.made == counted.ended == 12 and counted.most <= 6


def test_more_than_there_may_be_is_refused_before_a_call(server: FakeServer, counted: Counted) -> None:
    log = run({"generator": writing(samples=3)}, max_sandboxes=2)
    assert log.error and "3 candidates need a sandbox of their own at once" in log.error.message
    assert "--max-sandboxes 3" in log.error.message and not server.requests


def test_a_solver_may_go_without(server: FakeServer, counted: Counted) -> None:
    log = run({"generator": writing(samples=2, sandbox="none")})
    assert log.error and "No sandbox environment has been provided" in log.error.message
    assert counted.made == counted.ended == 1


def test_as_a_model_the_winners_sandbox_is_scored_too(server: FakeServer, counted: Counted, tmp_path: Path) -> None:
    import yaml

    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"layers": [{"generator": writing(samples=2)}, RANKED]}))
    task = Task(
        dataset=[Sample("Which?", target="x", files={"given.txt": "given: "})], scorer=reads_file(), sandbox="local"
    )
    log = eval(task, model="archon/own.yaml", display="none", log_dir="logs", log_realtime=False)[0]
    assert read_score(log).value and counted.made == counted.ended == 3
