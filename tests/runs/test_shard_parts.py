"""Which answers a shard is given, and which commands go on with each other's."""

from pathlib import Path

import fsspec
import pytest

from archon_eval.errors import DataError
from archon_eval.runs.dask_shards import pack_words
from archon_eval.runs.merge_logs import deliver
from archon_eval.runs.shard_parts import LARGE_PART, PartPlan, identify_command


def test_parts_get_smaller_and_hold_each_question_once() -> None:
    plan, sizes, asked = PartPlan(range(1000), 1, ()), [], []
    plan.divide_among(3)
    while part := plan.take():
        sizes.append(len(part.ids))
        asked += part.ids
    assert asked == list(range(1000)) and sizes[0] == LARGE_PART
    assert sizes[:-1] == sorted(sizes[:-1], reverse=True) and sizes[-2] == 10


def test_a_few_questions_are_divided_evenly() -> None:
    plan = PartPlan("abcdefgh", 1, ())
    plan.divide_among(2)
    assert [part.ids for part in iter(plan.take, None)] == [tuple("abcd"), tuple("efgh")]


def test_only_missing_answers_are_asked_and_those_of_a_lost_part_first() -> None:
    plan = PartPlan(["a", "b", "c", "d"], 2, {("a", 1), ("a", 2), ("b", 1)})
    plan.divide_among(2)
    part = plan.take()
    assert part == (("b", "c"), (("b", 1),))
    plan.put_back(part, {("c", 2)})
    again = plan.take()
    assert again == (("b", "c"), (("b", 1), ("c", 2))) and plan.take() == (("d",), ())


@pytest.mark.parametrize(
    ("words", "is_same"),
    [
        ("t.py -S budget=eval.calls=9 --limit 3", True),
        ("t.py --max-connections=4 -S budget=eval.calls=5 --limit 3", True),
        ("t.py --log-dir elsewhere -S budget=eval.calls=5 --limit 3", True),
        ("t.py -S budget=eval.calls=5 --limit 4", False),
        ("t.py@one -S budget=eval.calls=5 --limit 3", False),
    ],
)
def test_a_command_goes_on_with_another_that_asks_the_same(
    words: str, is_same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.py").write_text("1")
    first = identify_command(["t.py", "-S", "budget=eval.calls=5", "--limit", "3"])
    assert (identify_command(words.split()) == first) is is_same
    (tmp_path / "t.py").write_text("2")
    assert identify_command(["t.py", "-S", "budget=eval.calls=5", "--limit", "3"]) != first


def test_files_that_words_name_go_to_workers_and_logs_stay(tmp_path: Path) -> None:
    for folder in ("tasks", "logs", "solvers"):
        (tmp_path / folder).mkdir()
    for name in ("tasks/t.py", "tasks/data.txt", "a.yaml", "logs/old.json", "solvers/s.py"):
        (tmp_path / name).write_text("name: a\nlayers: [{generator: sim/gpt-4o}]\n" if name == "a.yaml" else "x")
    words = ["tasks/t.py@one", "--log-dir", "logs", "-S", "architecture=a.yaml", "--solver", "solvers/s.py@mine"]
    packed, bundle = pack_words(words, tmp_path)
    assert packed == words
    assert bundle.files.keys() == {"tasks/t.py", "tasks/data.txt", "a.yaml", "solvers/s.py"}


def test_a_log_is_written_to_an_address_whole(tmp_path: Path) -> None:
    (tmp_path / "whole.eval").write_bytes(b"a log")
    deliver(tmp_path / "whole.eval", "memory://logs-of-shards/whole.eval")
    with fsspec.open("memory://logs-of-shards/whole.eval") as file:
        assert file.read() == b"a log"
    deliver(tmp_path / "whole.eval", str(tmp_path / "new" / "whole.eval"))
    assert [*(tmp_path / "new").iterdir()] == [tmp_path / "new" / "whole.eval"]
    (tmp_path / "taken").touch()
    with pytest.raises(DataError, match=r"cannot write the log .*taken"):
        deliver(tmp_path / "whole.eval", str(tmp_path / "taken" / "whole.eval"))
