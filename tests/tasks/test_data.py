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
from inspect_ai import Task
from inspect_ai.dataset import Sample

from archon_eval._notes import ArchonNote
from archon_eval.errors import DataError
from archon_eval.scorers.choices import letter_answer
from archon_eval.tasks._data import (
    SIDE_KEY,
    Selection,
    draw_samples,
    find_dev_ids,
    make_stable_id,
    select_samples,
    split_samples,
    subsample,
)
from archon_eval.tasks._filters import Filter, LevelFilter, SubjectFilter
from archon_eval.tasks._pinned import load_hub_rows
from archon_eval.tasks._rows import Row, load_local_rows


def make(n: int) -> list[Sample]:
    return [Sample(input="q", id=f"s{i}") for i in range(n)]


def build(samples: list[Sample], where: Filter | None = None, seed: int = 0, **options: Any) -> list[Sample]:
    return draw_samples(select_samples("d", samples, where=where, seed=seed), seed=seed, **options)


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
    whole = [len(build(make(1000), n=200, split=split)) for split in ("dev", "test", "all")]
    assert whole == [40, 160, 200]


def test_a_question_is_on_the_same_side_whatever_n_is() -> None:
    samples = make(77)
    sides = {side: [set(ids(build(samples, n=n, split=side))) for n in (10, 40, 77, None)] for side in ("dev", "test")}
    assert not set.union(*sides["dev"]) & set.union(*sides["test"])
    for side, (small, middle, whole, default) in sides.items():
        assert small < middle < whole == default, side
    assert len(build(samples, n=40)) == 40 and len(build(samples, n=2)) == 2


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
        build([*make(3), Sample(input="q", id="s1")])
    with pytest.raises(DataError, match="no id"):
        build([Sample(input="q")])
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


def test_a_default_number_of_questions_is_for_official_rows_alone(recwarn: pytest.WarningsRecorder) -> None:
    def count(selection: Selection, rows: int = 300) -> int:
        return len(selection.build_task("d", make(rows), letter_answer(), official_size=200).dataset)

    assert (count(Selection()), count(Selection(n=5)), count(Selection(), rows=30)) == (200, 5, 30)
    assert count(Selection(sample=True)) == count(Selection(data="x.jsonl")) == 300
    assert not recwarn.list


def test_what_is_left_out_is_said_in_a_note_and_in_the_log() -> None:
    def build(**options: Any) -> Task:
        return Selection().build_task("d", make(8), letter_answer(), **options)

    with pytest.warns(ArchonNote) as notes:
        task = build(dropped={"an image": 2, "no answer": 0}, notes=["Two rows are odd"])
    assert [str(note.message) for note in notes] == ["d: 2 of 10 rows are left out: an image", "d: Two rows are odd"]
    assert task.metadata == {"rows": 10, "dropped": {"an image": 2}, "notes": ["Two rows are odd"]}
    assert build(dropped={"an image": 0}).metadata == {"rows": 8}


def make_mixture(n: int) -> list[Sample]:
    facts = [{"subject": "abc"[i % 3], "level": i % 5} for i in range(n)]
    return [Sample(input="q", id=f"s{i}", metadata=fact) for i, fact in enumerate(facts)]


@given(st.integers(20, 200), st.integers(0, 9), st.data())
def test_a_question_is_on_the_same_side_whatever_the_filter_is(n: int, seed: int, data: st.DataObject) -> None:
    samples = make_mixture(n)
    whole = {side: set(ids(build(samples, split=side, seed=seed))) for side in ("dev", "test")}
    assert len(whole["dev"]) == round(0.2 * n)
    where = SubjectFilter(subject=data.draw(st.sampled_from(["a", "b,c", ["a", "c"]])))
    left = build(samples, where, seed)
    assert {str(s.metadata["subject"]) for s in left if s.metadata} <= set("abc")
    drawn = build(samples, where, seed, n=data.draw(st.integers(1, len(left))))
    for chosen in (left, drawn):
        assert find_dev_ids(chosen) == whole["dev"] & set(ids(chosen)), "as a search splits them, which has no seed"
    assert set(ids(drawn)) <= set(ids(left))


def test_a_draw_of_a_subject_is_as_near_a_fifth_as_its_sides_allow() -> None:
    samples = [Sample(input="q", id=f"s{i}", metadata={SIDE_KEY: "dev" if i < 3 else "test"}) for i in range(30)]
    for n, dev in ((5, 1), (10, 2), (20, 3), (28, 3), (30, 3)):
        drawn = draw_samples(samples, n=n)
        assert (len(drawn), len(find_dev_ids(drawn))) == (n, dev)
    most = [Sample(input="q", id=f"s{i}", metadata={SIDE_KEY: "test" if i < 3 else "dev"}) for i in range(30)]
    assert [len(find_dev_ids(draw_samples(most, n=n))) for n in (10, 20, 30)] == [7, 17, 27]
    with pytest.raises(DataError, match="whole number from 1 to 30"):
        draw_samples(samples, n=31)


def test_values_of_a_filter() -> None:
    samples = make_mixture(30)
    samples.append(Sample(input="q", id="odd", metadata={"subject": "Life, the rest", "level": None}))

    def find(**options: Any) -> list[str]:
        return ids(LevelFilter(**options).select("d", samples))

    assert find(subject="a", level=3) == ["s3", "s18"] == find(subject=["a"], level=[3]) == find(subject="a", level="3")
    assert len(find(level="1, 2")) == 12 == len(find(level=["1", "2"]))
    assert find(subject="Life, the rest") == ["odd"], "a value with a comma in it"
    assert len(find()) == 31


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"subject": "d"}, r"d: no question has subject='d' \(legal: Alpha, Beta\)"),
        ({"subject": "alpha"}, "no question has subject='alpha'; did you mean 'Alpha'"),
        ({"subject": "Alpha,Bets"}, "no question has subject='Bets'; did you mean 'Beta'"),
        ({"subject": []}, r"subject is an empty list \(legal: Alpha, Beta\)"),
        ({"subject": "Alpha", "level": 2}, "no question has subject=Alpha and level=2, though there are some for each"),
    ],
)
def test_a_filter_that_chooses_nothing_says_what_is_legal(options: dict[str, Any], said: str) -> None:
    facts = [{"subject": "Alpha", "level": 1}, {"subject": "Beta", "level": 2}]
    samples = [Sample(input="q", id=str(i), metadata=fact) for i, fact in enumerate(facts)]
    with pytest.raises(DataError, match=said):
        LevelFilter(**options).select("d", samples)
    with pytest.raises(DataError, match=r"d: subject=Alpha: no question says its subject"):
        SubjectFilter(subject="Alpha").select("d", make(3))


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
