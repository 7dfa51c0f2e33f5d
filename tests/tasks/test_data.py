"""Choice of rows: exact, seeded, independent of order; and what bad files are answered with."""

import builtins
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.dataset import Sample

from archon_eval.errors import DataError
from archon_eval.tasks._data import Selection, build_dataset, make_stable_id, split_samples, subsample
from archon_eval.tasks._pinned import load_hub_rows
from archon_eval.tasks._rows import Row, load_local_rows


def make(n: int) -> list[Sample]:
    return [Sample(input="q", id=f"s{i}") for i in range(n)]


def ids(samples: list[Sample]) -> list[str]:
    return [str(s.id) for s in samples]


@given(st.integers(3, 300), st.integers(0, 9))
def test_split_is_exact_disjoint_and_independent_of_order(n: int, seed: int) -> None:
    samples = make(n)
    dev, test = split_samples(samples, "dev", seed), split_samples(samples, "test", seed)
    assert len(dev) == round(0.2 * n)
    assert sorted(ids(dev) + ids(test)) == sorted(ids(samples))
    shuffled = samples.copy()
    random.Random(n).shuffle(shuffled)
    assert set(ids(split_samples(shuffled, "dev", seed))) == set(ids(dev))


def test_split_keeps_the_given_order_and_depends_on_the_seed() -> None:
    samples = make(100)
    dev = ids(split_samples(samples, "dev"))
    assert dev == sorted(dev, key=lambda i: int(i[1:]))
    assert dev != ids(split_samples(samples, "dev", seed=1))


def test_the_split_is_the_same_for_ever() -> None:
    assert ids(split_samples(make(20), "dev")) == ["s1", "s5", "s6", "s13"]


def test_a_smaller_subsample_is_part_of_a_larger_one() -> None:
    samples = make(50)
    small, large = set(ids(subsample(samples, 10))), set(ids(subsample(samples, 30)))
    assert len(small) == 10 and small < large


def test_the_dev_split_of_a_subsample_is_a_fifth_of_it() -> None:
    whole = [len(build_dataset("d", make(1000), n=200, split=split)) for split in ("dev", "test", "all")]
    assert whole == [40, 160, 200]


def test_a_question_is_on_the_same_side_whatever_n_is() -> None:
    samples = make(77)
    sides = {
        side: [set(ids(build_dataset("d", samples, n=n, split=side))) for n in (10, 40, 77, None)]
        for side in ("dev", "test")
    }
    assert not set.union(*sides["dev"]) & set.union(*sides["test"])
    for side, (small, middle, whole, default) in sides.items():
        assert small < middle < whole == default, side
    assert len(build_dataset("d", samples, n=40)) == 40 and len(build_dataset("d", samples, n=2)) == 2


@pytest.mark.parametrize("n", [0, -1, 11, True, "five", 2.5])
def test_impossible_n(n: Any) -> None:
    with pytest.raises(DataError, match="whole number from 1 to 10"):
        subsample(make(10), n)


def test_bad_splits_say_what_is_legal() -> None:
    with pytest.raises(DataError, match=r"did you mean 'test'\? \(legal: all, dev, test\)"):
        split_samples(make(10), "tset")
    with pytest.raises(DataError, match="split=dev: empty"):
        split_samples(make(2), "dev")


def test_ids_must_be_there_and_unique() -> None:
    with pytest.raises(DataError, match="id 's1' occurs twice"):
        build_dataset("d", [*make(3), Sample(input="q", id="s1")])
    with pytest.raises(DataError, match="no id"):
        build_dataset("d", [Sample(input="q")])
    assert make_stable_id("math", "a", "bc") != make_stable_id("math", "ab", "c")
    assert make_stable_id("math", "x") == make_stable_id("math", "x")


ROWS = [{"problem": "1+1 = ?", "answer": "2"}, {"problem": "é", "answer": "3"}]


@pytest.mark.parametrize("name", ["d.jsonl", "d.jsonl.gz", "d.json", "d.csv"])
def test_every_format_reads_the_same_rows(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name.endswith(".csv"):
        content = "problem,answer\n1+1 = ?,2\né,3\n"
    elif name.endswith(".json"):
        content = json.dumps(ROWS)
    else:
        content = "\n".join(map(json.dumps, ROWS)) + "\n\n"
    raw = content.encode()
    file.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    rows = load_local_rows(file)
    assert [dict(row.values) for row in rows] == ROWS
    assert rows[0].location.startswith(name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.txt", "x", r"unknown kind of file \(legal: .jsonl"),
        ("d.jsonl", '{"a": 1}\n{oops\n', "d.jsonl, line 2: not JSON"),
        ("d.jsonl", '{"a": 1}\n[1]\n', "d.jsonl, line 2: must be an object"),
        ("d.json", '{"a": 1}', "must be a list of objects, not dict"),
        ("d.json", "[{]", "d.json: not JSON: .*line 1"),
        ("d.jsonl", "\n", "no rows"),
        ("d.json", "[" * 100_000, "d.json: not JSON"),
        ("d.jsonl", "[" * 100_000, "d.jsonl, line 1: not JSON"),
        ("d.csv", "a,b\n" + "x" * 200_000 + ",1\n", "cannot be read: field larger"),
        ("d.jsonl.gz", "not gzip", "cannot be read"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        load_local_rows(tmp_path / name)


def test_binary_and_missing_files(tmp_path: Path) -> None:
    spoilt = bytearray(gzip.compress(b'{"a": 1}\n' * 1000))
    spoilt[12:20] = b"\xff" * 8
    (tmp_path / "spoilt.jsonl.gz").write_bytes(spoilt)
    with pytest.raises(DataError, match="cannot be read"):
        load_local_rows(tmp_path / "spoilt.jsonl.gz")
    (tmp_path / "problems.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        load_local_rows(tmp_path / "problems.jsonl")
    with pytest.raises(DataError, match=r"no such file; did you mean 'problems.jsonl'\?"):
        load_local_rows(tmp_path / "problem.jsonl")


def test_a_row_says_where_it_stands_and_what_is_near() -> None:
    row = Row("d.jsonl, line 3", {"problem": "p", "anwser": "4", "level": 5, "blank": " ", "list": []})
    with pytest.raises(
        DataError, match=r"d.jsonl, line 3: no 'answer' \(is 'anwser' meant\?\); the keys here are: pro"
    ):
        row.require_text("answer")
    for key in ("blank", "list"):
        with pytest.raises(DataError, match=f"line 3: '{key}' must be non-blank text"):
            row.require_text(key)
    assert row.require_text("level") == "5"
    with pytest.raises(DataError, match="no 'b'; the keys here are: a, None"):
        Row("line 1", {"a": "1", None: ["too", "many"]}).require_text("b")  # type: ignore[dict-item]


def test_one_source_at_a_time() -> None:
    with pytest.raises(DataError, match=r"sample=true and data=x.jsonl"):
        Selection(sample=True, data="x.jsonl").load_rows("math.jsonl", list)


def test_several_files_are_one_source(tmp_path: Path) -> None:
    for name, rows in (("a.jsonl", ROWS[:1]), ("b.json", ROWS[1:])):
        (tmp_path / name).write_text(json.dumps(rows[0] if name == "a.jsonl" else rows))
    paths = [str(tmp_path / name) for name in ("a.jsonl", "b.json")]
    rows = Selection(data=paths).load_rows("math.jsonl", list)
    assert [dict(row.values) for row in rows] == ROWS


def test_a_default_number_of_questions_is_for_official_rows_alone() -> None:
    assert Selection().limit_official(200).n == 200
    assert Selection(n=5).limit_official(200).n == 5
    assert Selection(sample=True).limit_official(200).n is Selection(data="x.jsonl").limit_official(200).n is None


def test_without_the_hub_library_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "datasets":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DataError, match=r"archon-eval\[hub\].*sample=true.*data=PATH"):
        load_hub_rows("owner/name", "0" * 40)


def test_a_hub_that_fails_names_the_data_set_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError, match=r"owner/name@0000000/cfg: .*no route.*sample=true"):
        load_hub_rows("owner/name", "0" * 40, config="cfg")
