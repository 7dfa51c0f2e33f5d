"""What the search takes to be shared between architectures, against the calls that the store really pays for."""

from statistics import fmean

import pytest

from archon_eval import Archon
from archon_eval.engine.plan import plan
from archon_eval.models.store import CallStore
from archon_eval.search.config import load_settings
from archon_eval.search.prefix_sharing import CallGrouper, PaidCallTracker
from archon_eval.search.prepare import plan_space
from archon_eval.search.space import Configuration, load_space
from archon_eval.tasks.math import math

MODELS = ("sim/gpt-4o", "sim/claude-3.5-sonnet", "sim/qwen2-72b-instruct")
QUESTION = math(sample=True).dataset[5].input
"""No reply to it is asked for again, and the verifier drops a candidate, so that counts are exact."""
FUSE = "{instruction} Merge: {candidates}"
SPACE = {
    "preset": "small",
    "prompts": {"built-in": {}, "short": {"fuser": {"fuse": FUSE}}},
    "inserts": {
        "none": [],
        "majority": {"place": "before_fusers", "layers": [{"vote": {}}]},
        "again": {"place": "after_generators", "layers": [{"fuser": ["$2", "$2", "$1"]}]},
    },
}


def base(**axes):
    return Configuration(**{"generators": 2, "samples": 2, "fusers": (2, 1), "critic_ranker": False, **axes})


PAIRS = {
    "fusers": (base(), base(fusers=(4, 1))),
    "generators": (base(), base(generators=3)),
    "critics": (base(critic_ranker=True), base(critic_ranker=True, fusers=(2, 2, 1))),
    "verdicts_on_generators": (
        base(fusers=(), evaluation="verifier"),
        base(generators=3, fusers=(), evaluation="verifier"),
    ),
    "verdicts_on_fused": (base(), base(evaluation="verifier")),
    "tests_of_other_candidates": (
        base(fusers=(), evaluation="unit_tests"),
        base(samples=3, fusers=(), evaluation="unit_tests"),
    ),
    "numbers_of_tests": (base(fusers=(), evaluation="unit_tests"), base(fusers=(), evaluation="unit_tests", tests=3)),
    "votes": (base(), base(vote="end", fusers=(2,))),
    "proposers": (base(), base(generators=2, samples=1, proposers=(3, 0, 1))),
    "roles": (base(critic_ranker=True), base(critic_ranker=True, roles=(("critic", "fuser_2"),))),
    "one_generator_by_rank": (base(), base(roles=(("generator", "best_generator"),))),
    "fusers_of_one_model": (base(), base(roles=(("fuser", "generator_3"),))),
    "prompts_of_fusers": (base(), base(prompts=("short", "fuser"))),
    "inserted": (base(insert=("again", "after_generators")), base(insert=("again", "after_generators"), fusers=(4, 1))),
    "temperature": (base(), base(temperature=0.3)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_a_second_architecture_pays_is_what_the_search_expects(name, tmp_path):
    first, second = PAIRS[name]
    space, path = load_space(SPACE), str(tmp_path / "calls.db")
    built = [space.build_architecture(each, MODELS, MODELS) for each in (first, second)]
    paid = []
    for architecture in built:
        Archon(architecture, store=path).generate_sync(QUESTION)
        with CallStore(path) as store:
            paid.append(store.count() - sum(paid))
    tracker = PaidCallTracker([first, second], [fmean(plan(each).calls) for each in built])
    assert tracker.count_unpaid(1)[0] == paid[0]
    tracker.mark_paid(0, 1)
    assert tracker.count_unpaid(1).tolist() == [0, paid[1]]


def test_the_groups_of_every_axis_are_all_calls_of_the_plan():
    data = {
        **SPACE,
        "generators": [1, 3],
        "evaluations": ["none", "verifier", "unit_tests", "executed_tests"],
        "evaluation_places": ["before_last", "after_generators"],
        "votes": ["none", "before_last", "end"],
        "tests": [3, 5],
        "proposers": [[1, 0, 2]],
        "roles": {"critic": ["default", "generator_2"]},
    }
    options = plan_space(load_settings({"tasks": "archon_eval/math", "models": MODELS, "space": data}), MODELS, MODELS)
    assert len(options) > 1000
    grouper = CallGrouper()
    for option in options:
        calls = fmean(option.plan.calls)
        counts = [count for _, count in grouper.group(option.configuration, calls)]
        assert sum(counts) == pytest.approx(calls, abs=0.6), option.configuration.key
        assert min(counts) >= 0
