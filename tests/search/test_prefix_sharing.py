"""What earlier trials have paid for."""

from dataclasses import replace

import pytest

from archon_eval.engine.plan import plan
from archon_eval.search.config import load_settings
from archon_eval.search.prefix_sharing import PaidCallTracker, group_calls
from archon_eval.search.space import Configuration, load_space

BASE = Configuration(2, 3, (4, 2, 1))


def shared(*configurations, calls=50.0):
    found = PaidCallTracker(configurations, [calls] * len(configurations))
    found.mark_paid(0, 1)
    return found.count_unpaid(1).tolist()


def test_what_begins_alike_is_shared_up_to_where_it_differs():
    # 6 candidates, 2 + 4 for the first fusion layer, 2 + 2 for the next, 2 + 1 for the last; the rest is evaluation
    whole = 6 + 2 + 4 + 2 + 2 + 2 + 1
    assert shared(BASE, BASE, calls=whole) == [0, 0]
    assert (
        shared(BASE, replace(BASE, fusers=(4, 4, 1)), calls=whole + 2)[1] == 2 + 2 + 1
    )  # two fusers more, and the end
    assert shared(BASE, replace(BASE, evaluation="verifier"), calls=whole)[1] == 1
    assert shared(BASE, replace(BASE, samples=2), calls=whole - 2)[1] == whole - 6
    assert shared(BASE, replace(BASE, temperature=0.2), calls=whole)[1] == whole


def test_other_draws_share_nothing():
    found = PaidCallTracker([BASE], [19.0])
    found.mark_paid(0, 1)
    assert found.count_unpaid(1)[0] == 0 and found.count_unpaid(2)[0] == 19


@pytest.mark.parametrize("preset", ["small", "high-sample"])
def test_the_groups_are_all_calls_of_the_plan(preset):
    space = load_space(preset)
    for one in space.list_configurations(8):
        calls = plan(space.build_architecture(one, list("abcdefgh"), list("hgfedcba"))).calls[1]
        assert sum(count for _, count in group_calls(one, calls)) == calls


def test_the_end_takes_a_fifth_of_the_budget_and_says_so(tmp_path, fake_run):
    from archon_eval.search.loop import search

    task = {"name": "archon_eval/math", "args": {"sample": True}}
    models = ["sim/gpt-4o", "sim/qwen2-72b-instruct", "sim/llama-3.1-8b-instruct"]
    given = {"tasks": [task], "models": models, "space": "small"}
    found = search(load_settings({**given, "budget": {"calls": 6000}}), tmp_path / "a", fake_run)
    confirmed = [job for job in fake_run.jobs if job.key.startswith("confirm/search")]
    took = sum(fake_run.result(job).calls for job in confirmed)
    assert 1 <= len(confirmed) < len(found.finalists) < 10 and took <= 6000 / 2
    [note] = [note for note in found.notes if "a fifth of the budget" in note]
    number, _, words = note.partition(" ")  # the single model may be one of them
    assert int(number) - len(confirmed) in (0, 1) and words.startswith("of 10 finalists")
    fake_run.jobs = []
    found = search(load_settings({**given, "budget": {"trials": 12}}), tmp_path / "b", fake_run)
    assert sum(job.key.startswith("confirm/search") for job in fake_run.jobs) == 10
    assert not found.notes
