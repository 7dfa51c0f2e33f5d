"""Search files and options: every fault at once with its line, old names, and what may change between two runs."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import archon_eval.search
from archon_eval.cli import main
from archon_eval.errors import SearchError
from archon_eval.search.config import TaskSpec, load_settings

FAULTY = """tasks:
  - name: archon_eval/math
    weigth: 2
  - {name: archon_eval/mt_bench, scale: [1]}
models: [sim/gpt-4o]
algorithm: smack
budget:
  calls: -1
  call: 7
seed: abc
space: {preset: small, generator: 3, samples: 0}
cost_weight: high
"""


def refuse(tmp_path, capsys, text, *options):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert main(["search", str(path), "--dry-run", *options]) == 1
    lines = capsys.readouterr().err.removeprefix("archon: ").splitlines()
    return [re.sub(r" \(legal: [^)]*\)", "", line).replace(str(path), "mine.yaml") for line in lines]


def test_all_faults_of_a_file_at_once_each_with_its_line(tmp_path, capsys):
    said = refuse(tmp_path, capsys, FAULTY)
    assert said == [
        "mine.yaml, line 3: tasks.0: unknown key 'weigth'; did you mean 'weight'?",
        "mine.yaml, line 4: tasks.1: `scale` must be two numbers, e.g. [1, 10], not [1]",
        "mine.yaml, line 6: unknown algorithm 'smack'; did you mean 'smac'?",
        "mine.yaml, line 8: budget: calls=-1: a limit must be above 0",
        "mine.yaml, line 9: budget: unknown key 'call'; did you mean 'calls'?",
        "mine.yaml, line 10: `seed` must be a whole number, not 'abc'",
        "mine.yaml, line 11: space: unknown key 'generator'; did you mean 'generators'?; "
        "space: `samples` must be whole numbers or 1..10, not [0]",
        "mine.yaml, line 12: `cost_weight` must be a number, not 'high'",
    ]


def test_a_value_of_an_option_has_no_line(tmp_path, capsys):
    text = "tasks: archon_eval/math\nmodels: sim/gpt-4o\nalgorithm: random\nbudget: {calls: 3}\nfinalists: 3\n"
    said = refuse(tmp_path, capsys, text, "--algorithm", "smack", "--budget", "calls=0", "--finalists", "0")
    assert said == [
        "mine.yaml: budget: calls=0: a limit must be above 0",
        "mine.yaml: unknown algorithm 'smack'; did you mean 'smac'?",
        "mine.yaml: finalists=0: must be 1 or more",
    ]


def test_contradictions_are_told_together():
    with pytest.raises(SearchError, match=r"^no task: .*; models are named twice: a, a$"):
        load_settings({"models": "a,a"})


def test_a_task_without_a_name():
    with pytest.raises(SearchError, match=r"search: tasks.0: a task needs `name:`, e.g. archon_eval/math; got"):
        load_settings({"tasks": [{"weight": 1}], "models": "a"})
    with pytest.raises(SearchError, match=r"search: tasks: `0` must be a mapping, not 5"):
        load_settings({"tasks": [5], "models": "a"})


PLAIN = "tasks: [{name: archon_eval/math, args: {sample: true, n: 25}}]\nmodels: [sim/gpt-4o, sim/qwen2-72b-instruct]\n"


@pytest.mark.parametrize(
    ("line", "option", "note"),
    [
        ("given_order: true\n", "", "`given_order` is now `skip_ranking`"),
        ("given_order: false\n", "--skip-ranking", "`given_order` is now `skip_ranking`"),
        ("given_order: 'yes'\n", "--skip-ranking", "`given_order` is now `skip_ranking`"),
        ("", "--given-order", "`--given-order` is now `--skip-ranking`"),
        ("skip_ranking: false\n", "--given-order", "`--given-order` is now `--skip-ranking`"),
    ],
)
def test_the_old_name_of_skip_ranking_works_with_a_note(tmp_path, capsys, line, option, note):
    calls = {}
    for name, text, words in (("old", PLAIN + line, [option]), ("new", PLAIN, ["--skip-ranking"]), ("none", PLAIN, [])):
        path = tmp_path / "mine.yaml"
        path.write_text(text + "space: small\n")
        assert main(["search", str(path), "--dry-run", *filter(None, words)]) == 0
        printed = capsys.readouterr()
        calls[name] = printed.out
        assert printed.err == (f"note: {note}; the old name goes with the next release\n" if name == "old" else "")
    assert "\nranking         0      0 " in calls["old"] and calls["old"] == calls["new"] != calls["none"]


def test_a_fault_is_told_under_the_name_that_the_file_has(tmp_path, capsys):
    note, fault = refuse(tmp_path, capsys, PLAIN + "given_order: 'yes'\n")
    assert note.startswith("note: ") and fault == (
        "archon: mine.yaml, line 3: `given_order` must be true or false, not 'yes'"
    )
    [fault] = refuse(tmp_path, capsys, PLAIN + "given_order: false\nskip_ranking: true\n")
    assert "`given_order` is the old name of `skip_ranking`: give `skip_ranking` alone" in fault


def test_a_search_begun_under_the_old_name_goes_on():
    task = {"name": "t", "args": {"sample": True}}
    with pytest.warns(FutureWarning, match="`given_order` is now `skip_ranking`"):
        old = load_settings({"tasks": [task], "models": "a,b", "given_order": True})
    new = load_settings({"tasks": [task], "models": "a,b", "skip_ranking": True})
    assert old == new and old.skip_ranking and new.to_mapping()["given_order"] is True
    assert new.identity == "2fc933ca1c46fe68"


@pytest.mark.parametrize(
    ("old", "name", "new"),
    [
        ("driver", "search", "search"),
        ("outcome", "write", "write_results"),
        ("runners", "local", "local"),
        ("runners", "dask", "dask"),
        ("settings", "load_settings", "load_settings"),
    ],
)
def test_old_modules_say_what_is_new(old, name, new):
    import importlib

    module = importlib.import_module(f"archon_eval.search.{old}")
    with pytest.warns(DeprecationWarning, match=f"archon_eval.search.{old}.{name} is now archon_eval.search.{new}"):
        assert getattr(module, name) is getattr(archon_eval.search, new)
    with pytest.raises(AttributeError, match="nothing"):
        module.nothing  # noqa: B018


def test_the_package_offers_its_public_names_and_no_others():
    assert {name for name in archon_eval.search.__all__ if callable(getattr(archon_eval.search, name))} == set(
        archon_eval.search.__all__
    )
    with pytest.raises(AttributeError, match="nothing"):
        archon_eval.search.nothing  # noqa: B018


def test_imports_between_modules_of_the_search_go_one_way():
    """Imports inside functions count too."""
    folder = Path(archon_eval.search.__file__).parent
    graph: dict[str, set[str]] = {"space": set()}
    for path in folder.glob("*.py"):
        if path.stem != "__init__":
            imported = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
            names = [str(node.module).split(".") for node in imported]
            graph[path.stem] = {name[2] for name in names if name[:2] == ["archon_eval", "search"] and len(name) > 2}
    assert {"space", "config", "smac_components"} <= graph.keys() and graph["loop"]
    for path in (folder / "space").glob("*.py"):
        modules = [
            str(node.module) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)
        ]
        assert not [name for name in modules if re.match(r"archon_eval\.search\.(?!space)", name)]
    list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_a_task_spec_needs_no_file():
    assert TaskSpec("t", scale=(1, 10)).normalize(5.5) == 0.5
