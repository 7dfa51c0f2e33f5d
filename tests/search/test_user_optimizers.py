"""Optimizers of a user's own, the one of the documentation among them."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from archon_eval.errors import SearchError
from archon_eval.search import ListOptimizer, load_settings, search
from archon_eval.search.optimizers import build_optimizer
from archon_eval.search.space import load_space

PAGE = Path(__file__).parents[2] / "docs" / "optimizers.md"
LISTED = load_space({"preset": "small", "fusers": [2, 4, 6]}).list_configurations(8)
OWN = """
from archon_eval.search import ListOptimizer

class Last(ListOptimizer):
    def __init__(self, configurations, calls, penalty, seed):
        super().__init__(configurations, penalty, seed)
        self.calls = calls

    def _choose(self, free):
        return int(free.nonzero()[0][-1])

class NoOptimizer:
    def __init__(self, **given): pass

class Broken(Last):
    def __init__(self, **given): raise ValueError("no licence")
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A folder on the path with a package that offers `last`, as pip installs it."""
    (tmp_path / "own_search.py").write_text(OWN)
    info = tmp_path / "own_search-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own_search\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[archon_eval.optimizers]\nlast = own_search:Last\ngone = not_there:Last\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("own_search", None)
    sys.modules.pop("tpe_search", None)


def build(name, seed=0):
    return build_optimizer(name, LISTED, [5.0] * len(LISTED), penalty=np.zeros(len(LISTED)), seed=seed)


@pytest.mark.parametrize("name", ["last", "own_search:Last"])
def test_an_optimizer_by_entry_point_or_import_path(module, name):
    optimizer = build(name)
    assert isinstance(optimizer, ListOptimizer) and optimizer.calls == [5.0] * len(LISTED)
    assert optimizer.ask({}) == len(LISTED) - 1
    optimizer.tell(len(LISTED) - 1, 0.5)
    assert optimizer.ask({len(LISTED) - 2: 1}) == len(LISTED) - 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lats", r"unknown algorithm 'lats'; did you mean 'last'\?.* Installed besides: gone, last\."),
        ("gone", "gone cannot be imported: ModuleNotFoundError"),
        ("own_search:Nothing", "cannot be imported: AttributeError"),
        ("own_search:NoOptimizer", "made NoOptimizer, which is no archon_eval.search.Optimizer"),
        ("own_search:Broken", "cannot be built: ValueError: no licence"),
    ],
)
def test_what_cannot_be_used_is_named(module, name, said):
    with pytest.raises(SearchError, match=said):
        build(name)


def test_settings_know_which_are_installed(module):
    given = {"tasks": "t", "models": "a"}
    assert load_settings({**given, "algorithm": "last"}).algorithm == "last"
    with pytest.raises(SearchError, match=r"'lost'; did you mean 'last'.* Installed besides: gone, last"):
        load_settings({**given, "algorithm": "lost"})


def test_a_search_with_an_optimizer_of_ones_own(module, tmp_path, fake_run):
    task = {"name": "archon_eval/math", "args": {"sample": True}}
    models = ["sim/gpt-4o", "sim/qwen2-72b-instruct"]
    settings = load_settings(
        {"tasks": [task], "models": models, "space": "small", "algorithm": "last", "budget": {"trials": 3}}
    )
    result = search(settings, tmp_path / "out", fake_run)
    tried = [option.configuration for option, _ in result.tried]
    assert tried == [option.configuration for option in result.options[-1:-4:-1]]


def test_the_optimizer_of_the_documentation(module):
    """Optuna's TPE does better than chance, resumes, and repeats nothing."""
    pytest.importorskip("optuna")
    [text] = re.findall(r'^```python title="tpe_search.py"\n(.*?)^```$', PAGE.read_text("utf-8"), re.M | re.S)
    (module / "tpe_search.py").write_text(text)
    true = np.array([0.5 + 0.04 * c.generators - 0.05 * c.critic_ranker + 0.01 * sum(c.fusers) for c in LISTED])

    def run(optimizer, trials):
        for _ in range(trials):
            place = optimizer.ask({})
            optimizer.tell(place, float(true[place]))
        return list(optimizer.outcomes)

    asked = run(build("tpe_search:TpeSearch"), 30)
    assert len(set(asked)) == 30
    assert true[asked[15:]].mean() > true.mean() + 0.5 * true.std()
    resumed = build("tpe_search:TpeSearch")
    for place in asked[:25]:
        resumed.tell(place, float(true[place]))
    assert run(resumed, 5) == asked
