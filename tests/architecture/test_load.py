"""Architecture files: what may be written, and what every mistake in them says."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from archon_eval.architecture.load import load_architecture, parse_text
from archon_eval.architecture.spec import Architecture
from archon_eval.components import build_component
from archon_eval.engine.plan import plan
from archon_eval.errors import ArchitectureError

GOOD = "layers:\n  - generator: a/x\n"


def complaint(source: Any) -> str:
    with pytest.raises(ArchitectureError) as caught:
        load_architecture(source)
    return str(caught.value)


def test_yaml_json_mapping_and_preset_give_the_same(tmp_path: Path) -> None:
    data = {"name": "n", "layers": [{"generator": ["a/x", {"model": "b/y", "samples": 2}]}, {"fuser": "a/x"}]}
    (tmp_path / "n.json").write_text(json.dumps(data))
    (tmp_path / "n.yaml").write_text(
        "name: n\nlayers:\n- generator: [a/x, {model: b/y, samples: 2}]\n- fuser: {model: a/x}\n"
    )
    read = load_architecture(data)
    assert load_architecture(tmp_path / "n.json") == load_architecture(str(tmp_path / "n.yaml")) == read
    assert load_architecture(read) is read
    assert load_architecture("moa-lite", ["a/x"]).models == ("a/x",)


def test_name_comes_from_the_file_when_none_is_given(tmp_path: Path) -> None:
    (tmp_path / "my.v2.yaml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_architecture(tmp_path / "my.v2.yaml").name == "my.v2"


def test_settings_for_all_and_for_one() -> None:
    found = load_architecture(
        {
            "temperature": 0.2,
            "settings": {"top_k": 40},
            "on_error": "drop",
            "prompts": {"fuser": {"fuse": "{instruction} {candidates}"}},
            "layers": [
                {"generator": ["a/x", {"model": "b/y", "temperature": 1}]},
                {"ranker": {"model": "a/x", "top_k": 3, "settings": {"top_k": 9}}},
                {"fuser": {"model": "a/x", "on_error": "fail", "max_tokens": 99}},
            ],
        }
    )
    (first, second), (ranker,), (fuser,) = found.layers
    assert (first.settings.temperature, second.settings.temperature) == (0.2, 1.0)
    assert (first.settings.top_k, ranker.settings.top_k, ranker.get_option("top_k")) == (40, 9, 3)
    assert (first.on_error, fuser.on_error, fuser.settings.max_tokens) == ("drop", "fail", 99)
    assert fuser.get_prompt("fuse", "") == "{instruction} {candidates}" and ranker.prompts == ()


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.yaml", "- generator: a/x", "a mapping with `layers`, not a list"),
        ("a.yaml", "hello", "a mapping with `layers`, not text ('hello')"),
        ("a.yaml", "", "not nothing"),
        ("a.json", "[1]", "a mapping with `layers`, not a list"),
        ("a.yaml", "layers: [", "not readable as YAML"),
        ("a.JSON", "{", "not readable as JSON"),
        ("a.yaml", "name: a\nname: b\n" + GOOD, "key 'name' is written twice"),
        ("a.yaml", "layers:\n  - generator: {model: a/x, samples: 1, samples: 2}", "key 'samples' is written twice"),
        ("a.json", '{"layers": [{"generator": {"model": "a/x", "model": "b/y"}}]}', "key 'model' is written twice"),
        ("a.yaml", "? [a, b]\n: 1\n" + GOOD, "no plain value"),
        ("a.yaml", "description: 2024-99-99\n" + GOOD, "not readable as YAML"),
        ("a.yaml", "name: \x01\n" + GOOD, "not readable as YAML"),
        ("a.yaml", "layers: !!python/object/apply:os.getcwd []", "not readable as YAML"),
        ("a.yaml", "[" * 3000, "not readable as YAML"),
    ],
)
def test_files_that_are_no_architecture(tmp_path: Path, name: str, text: str, says: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    message = complaint(path)
    assert says in message and name in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot read architecture file" in complaint(tmp_path / "none.yaml")
    (tmp_path / "folder.yaml").mkdir()
    assert "cannot read architecture file" in complaint(tmp_path / "folder.yaml")
    (tmp_path / "latin.yaml").write_bytes("# caf\u00e9\n".encode("latin-1") + GOOD.encode())
    assert "is not UTF-8 text (byte 5)" in complaint(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"layers": [{"fusor": "a/x"}]}, ["layer 1", "unknown component 'fusor'", "did you mean 'fuser'"]),
        ({"layers": [{"generator": {"model": "a/x", "sampels": 2}}]}, ["layer 1", "did you mean 'samples'"]),
        ({"layer": [{"generator": "a/x"}]}, ["unknown key 'layer'", "did you mean 'layers'"]),
        ({"layers": [{"generator": "a/x"}], "temprature": 1}, ["did you mean 'temperature'"]),
        ({"layers": [{"generator": {"model": "a/x", "settings": {"maxtokens": 1}}}]}, ["did you mean 'max_tokens'"]),
        ({"layers": [{"generator": {"model": "a/x", "samples": 0}}]}, ["`samples` must be", "at least 1", "not 0"]),
        ({"layers": [{"generator": {"model": "a/x", "samples": True}}]}, ["`samples` must be"]),
        ({"layers": [{"generator": {"model": "a/x", "samples": "3"}}]}, ["`samples` must be", "'3'"]),
        ({"layers": [{"generator": {"samples": 3}}]}, ["layer 1: generator needs `model:`"]),
        ({"layers": [{"generator": ["a/x", "  "]}]}, ["generator 2 of 2 needs `model:`"]),
        ({"layers": [{"generator": []}]}, ["generator has no component"]),
        ({"layers": [{"generator": [7]}]}, ["must be a model or a mapping, not a number"]),
        ({"layers": []}, ["`layers` must be a list"]),
        ({"layers": {"generator": "a/x"}}, ["`layers` must be a list"]),
        ({"layers": ["generator"]}, ["layer 1 must be a mapping of one kind"]),
        ({"layers": [{}]}, ["layer 1 holds nothing"]),
        ({"name": 5, "layers": [{"generator": "a/x"}]}, ["`name` must be text"]),
        ({"temperature": 3, "layers": [{"generator": "a/x"}]}, ["`temperature` must be a number from 0 to 2"]),
        ({"temperature": float("nan"), "layers": [{"generator": "a/x"}]}, ["`temperature` must be"]),
        ({"max_tokens": 0, "layers": [{"generator": "a/x"}]}, ["`max_tokens` must be a whole number of at least 1"]),
        ({"stop": [1], "layers": [{"generator": "a/x"}]}, ["`stop` must be text"]),
        (
            {"max_parse_retries": 11, "layers": [{"generator": "a/x"}]},
            ["`max_parse_retries` must be a whole number from 0 to 10"],
        ),
        ({"on_error": ["drop"], "layers": [{"generator": "a/x"}]}, ["`on_error` must be fail or drop"]),
        ({"layers": [{"generator": "$0"}]}, ["placeholder '$0' must be $1, $2..8 or $all"]),
        ({"layers": [{"generator": "$00"}]}, ["placeholder '$00'"]),
        ({"layers": [{"generator": "$4..2"}]}, ["placeholder '$4..2'"]),
        ({"layers": [{"generator": "$best"}]}, ["placeholder '$best'"]),
        ({"layers": [{"generator": "a/x"}], "prompts": {"fuser": {}}}, ["`prompts` names 'fuser', which no layer has"]),
        ({"layers": [{"generator": "a/x"}], "prompts": {5: {}, "x": {}}}, ["`prompts` names '5'"]),
        ({"layers": [{"generator": "a/x"}], "prompts": {"generator": {"x": "y"}}}, ["generator has no prompt 'x'"]),
    ],
)  # fmt: skip
def test_mistakes_say_where_and_what_is_legal(data: dict[str, Any], says: list[str]) -> None:
    message = complaint(data)
    for words in says:
        assert words in message


@pytest.mark.parametrize(
    ("prompts", "says"),
    [
        ({"fusee": "x"}, "did you mean 'fuse'"),
        ({"fuse": ""}, "must be text"),
        ({"fuse": "Merge {candidates}"}, "must use {instruction}"),
        ({"fuse": "{instruction} {candidates} {critique}"}, "unknown field {critique}"),
    ],
)
def test_wordings_are_checked(prompts: dict[str, str], says: str) -> None:
    assert says in complaint({"layers": [{"generator": "a/x"}, {"fuser": {"model": "a/x", "prompts": prompts}}]})


def test_unknown_preset_offers_the_nearest() -> None:
    assert "did you mean 'moa-lite'" in complaint("moa-light")
    assert "neither a file" in complaint("qqq")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
kinds = st.sampled_from(["generator", "fuser", "critic", "ranker", "verifier", "unit_test_generator", "bogus"])
keys = st.sampled_from(["model", "samples", "top_k", "settings", "prompts", "temperature", "stop", "on_error", "keep"])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.dictionaries(kinds, json_values | st.dictionaries(keys, json_values, max_size=4), max_size=2), max_size=3
    )
)
def test_whatever_is_written_it_is_an_architecture_or_a_clear_error(layers: list[Any]) -> None:
    try:
        assert isinstance(load_architecture({"layers": layers}), Architecture)
    except ArchitectureError as exc:
        assert str(exc)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["x.yaml", "x.json"]))
def test_whatever_the_text_it_is_a_mapping_or_a_clear_error(text: str, where: str) -> None:
    try:
        parse_text(text, where)
    except ArchitectureError as exc:
        assert str(exc).startswith(where)


OWN = "fakes.components:Shortest"


def test_a_component_of_ones_own_by_import_path() -> None:
    found = load_architecture({"layers": [{"generator": ["a/x", "b/x"]}, {"critic": "a/x"}, {OWN: {"keep": 2}}]})
    assert found.layers[2][0].get_option("keep") == 2 and found.layers[2][0].model == ""
    assert load_architecture(found.to_mapping()) == found
    assert plan(found).layers[2].candidates == (2, 2)
    assert build_component(found.layers[2][0], "layer 3").kind.name == "shortest"
    assert "did you mean 'keep'" in complaint({"layers": [{"generator": "a/x"}, {OWN: {"keeep": 2}}]})
    assert "`keep` must be" in complaint({"layers": [{"generator": "a/x"}, {OWN: {"keep": 0}}]})
    assert "rule 2" in complaint({"layers": [{OWN: None}]})


def test_a_component_of_ones_own_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "own_components-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-components\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[archon_eval.components]\nshortest = fakes.components:Shortest\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = load_architecture({"layers": [{"generator": "a/x"}, {"shortest": None}]})
    assert build_component(found.layers[1][0], "layer 2").kind.name == "shortest"
    assert "did you mean 'shortest'" in complaint({"layers": [{"generator": "a/x"}, {"shortset": None}]})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no_such_module:Thing", "cannot import component"),
        ("fakes.components:Thing", "cannot import component"),
        (":Thing", "cannot import component"),
        (".relative:Thing", "cannot import component"),
        ("fakes.components:NoKind", "no class attribute `kind`"),
    ],
)
def test_components_that_cannot_be_used(name: str, says: str) -> None:
    assert says in complaint({"layers": [{"generator": "a/x"}, {name: None}]})


def test_a_class_with_a_kind_that_is_no_component_shows_before_anything_runs() -> None:
    with pytest.raises(ArchitectureError, match=r"layer 2: 'fakes.components:NotAComponent' does not subclass"):
        load_architecture({"layers": [{"generator": "a/x"}, {"fakes.components:NotAComponent": None}]})


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ({"generator": {"model": "a/x", "reasoning_effort": "hgih"}}, "did you mean 'high'"),
        ({"generator": {"model": "a/x", "reasoning_effort": 5}}, "`reasoning_effort` is 5"),
        ({"generator": {"model": "a/x", "stop": ""}}, "none empty"),
    ],
)
def test_settings_that_a_provider_would_refuse_later(layer: dict[str, Any], said: str) -> None:
    with pytest.raises(ArchitectureError, match=re.escape(said)):
        load_architecture({"layers": [layer]})


def test_merge_keys_long_names_and_control_characters(tmp_path: Path) -> None:
    path = tmp_path / "merge.yaml"
    path.write_text(
        "layers:\n  - generator: [&base {model: a/x, samples: 2}, {<<: *base, model: b/x}]\n", encoding="utf-8"
    )
    second = load_architecture(path).layers[0][1]
    assert (second.model, second.get_option("samples")) == ("b/x", 2)
    for name in ("a" * 5000, "nul\0.yaml"):
        with pytest.raises(ArchitectureError, match="no architecture"):
            load_architecture(name)
    with pytest.raises(ArchitectureError, match="control characters"):
        load_architecture({"name": "red\x1b[31m", "layers": [{"generator": "a/x"}]})


def test_a_bare_preset_name_is_the_preset_also_beside_a_file_of_this_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = load_architecture("single")
    (tmp_path / "single").write_text("layers:\n  - generator: my/own\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.warns(FutureWarning, match=r"'single' is the preset; for the file of this name write '\./single'"):
        assert load_architecture("single") == preset
    for file in ("./single", tmp_path / "single", Path("single")):
        assert load_architecture(file).models == ("my/own",)
    (tmp_path / "moa").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_architecture("moa").name == "moa"


def test_the_old_name_of_max_parse_retries_works_with_a_note_and_keeps_the_fingerprint() -> None:
    new = load_architecture(
        {"layers": [{"generator": ["a/x", "a/y"]}, {"ranker": {"model": "a/x", "max_parse_retries": 1}}]}
    )
    with pytest.warns(FutureWarning, match="`reask` is now `max_parse_retries`"):
        old = load_architecture({"layers": [{"generator": ["a/x", "a/y"]}, {"ranker": {"model": "a/x", "reask": 1}}]})
    with pytest.warns(FutureWarning):
        shared = load_architecture({"reask": 1, "layers": [{"generator": "a/x"}]})
    assert old == new and shared.layers[0][0].max_parse_retries == 1
    assert new.fingerprint == "ad8d121a8cfbe0e2", "it was taken when the option had its old name"
    with pytest.raises(ArchitectureError, match="layer 1: generator: `reask` is the old name of `max_parse_retries`"):
        load_architecture({"layers": [{"generator": {"model": "a/x", "reask": 1, "max_parse_retries": 2}}]})


def test_a_message_calls_a_mapping_a_mapping_and_hints_without_a_stray_semicolon() -> None:
    with pytest.raises(ArchitectureError, match=r"`layers` must be a list of at least one layer, not a mapping \("):
        load_architecture({"layers": {"generator": "a/x"}})
    with pytest.raises(ArchitectureError, match=r"nor a preset \(legal: "):
        load_architecture("qqqqqqqq")
    with pytest.raises(ArchitectureError, match=r"must be a model or a mapping, not true/false \('False'\)"):
        load_architecture({"layers": [{"generator": False}]})


MANY = """\
name: many
temprature: 0.3
max_parse_retries: 99
prompts:
  fuser: {fuse: "{instruction}"}
layers:
  - generator:
      - {model: a/x, sampels: 2, temperature: 5}
      - a/y
      - {samples: 0}
  - rankr: a/x
  - fuser:
      model: a/x
      samples: 0
      settings:
        top_q: 1
"""


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_everything_that_is_wrong_is_told_with_its_line(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"many.{form}"
    path.write_text(MANY if form == "yaml" else json.dumps(yaml.safe_load(MANY), indent=1))
    told = complaint(path).splitlines()
    assert all(line.startswith(f"{path}, line ") for line in told)
    said = [re.sub(r"^.*?, line \d+: ", "", line).partition("; did")[0].partition(" (legal")[0] for line in told]
    assert sorted(said) == sorted(
        expected := [
            "unknown key 'temprature'",
            "layer 1: generator 1 of 3: `max_parse_retries` must be a whole number from 0 to 10, not 99",
            "layer 3: fuser: prompt 'fuse' must use {candidates}",
            "layer 1: generator 1 of 3: unknown key 'sampels'",
            "layer 1: generator 1 of 3: `temperature` must be a number from 0 to 2, not 5",
            "layer 1: generator 3 of 3: `samples` must be a whole number of at least 1, not 0",
            "layer 1: generator 3 of 3 needs `model:`, an Inspect model name such as openai/gpt-4o; got ''",
            "layer 2: unknown component 'rankr'",
            "layer 3: fuser: `samples` must be a whole number of at least 1, not 0",
            "layer 3: fuser: `settings`: unknown key 'top_q'",
        ]
    )
    numbers = [int(re.findall(r", line (\d+):", line)[0]) for line in told]
    assert len(told) == 10 and numbers == sorted(numbers)
    if form == "yaml":
        assert numbers == [2, 3, 5, 8, 8, 10, 10, 11, 14, 16] and said == expected


def test_broken_rules_name_the_line_of_their_layer(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("layers:\n  - fuser: a/x\n\n  - generator: a/x\n")
    assert complaint(tmp_path / "mine.yaml").splitlines()[1:] == [
        "  - line 2: layer 1 is fuser: the first layer holds generators (rule 2)",
        "  - line 4: layer 2 is generator: it may stand only in the first layer (rule 2)",
    ]
    assert "line" not in complaint({"layers": [{"fuser": "a/x"}, {"generator": "a/x"}]})


def test_prompts_that_no_layer_has_are_told_with_all_else(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("layers:\n- generator: {model: a/x, sampels: 2}\nprompts:\n  fusr: {x: y}\n  generator: {}\n")
    with pytest.raises(ArchitectureError) as caught:
        load_architecture(file)
    first, second = str(caught.value).splitlines()
    assert "line 2: layer 1: generator: unknown key 'sampels'" in first
    assert "line 4: `prompts` names 'fusr', which no layer has" in second
