"""What is refused before anything is paid, and what is said about it; the forecast."""

import json

import pytest

from archon_eval.errors import SearchError
from archon_eval.search.config import TaskSpec, load_settings
from archon_eval.search.forecast import forecast
from archon_eval.search.loop import search
from archon_eval.search.prepare import plan_space, prepare_questions
from archon_eval.search.questions import load_questions
from archon_eval.tasks.math import math

TASK = {"name": "archon_eval/math", "args": {"sample": True}}
MODELS = ["sim/gpt-4o", "sim/qwen2-72b-instruct", "sim/llama-3.1-8b-instruct"]


def settings(**more):
    given = {"tasks": [TASK], "models": MODELS, "space": "small", "budget": {"trials": 8}, "finalists": 3, **more}
    return load_settings(given)


def test_another_search_in_the_folder_is_refused(tmp_path, fake_run):
    search(settings(), tmp_path, fake_run)
    with pytest.raises(SearchError, match=r"other settings \(cost_weight, seed\)"):
        search(settings(seed=1, cost_weight=0.1), tmp_path, fake_run)
    more = search(settings(budget={"trials": 10}), tmp_path, fake_run)
    assert sum(job.key.startswith("search/") for job in fake_run.jobs) == len(more.tried) >= 10
    lines = [json.loads(line) for line in (tmp_path / "search.jsonl").read_text().splitlines()]
    assert sum(line["kind"] == "ask" and not line["free"] for line in lines) == 10


def test_files_of_another_origin_are_not_written_over(tmp_path, fake_run):
    (tmp_path / "best.yaml").write_text("mine")
    with pytest.raises(SearchError, match=r"has a best.yaml, and no search of its own: choose another -o"):
        search(settings(), tmp_path, fake_run)
    assert not fake_run.jobs and (tmp_path / "best.yaml").read_text() == "mine"


def test_changed_data_are_refused(tmp_path, fake_run):
    data = tmp_path / "data.jsonl"
    rows = [{"id": n, "problem": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(30)]
    task = {"name": "archon_eval/math", "args": {"data": str(data)}}
    data.write_text("\n".join(map(json.dumps, rows)))
    search(settings(tasks=[task]), tmp_path / "out", fake_run)
    data.write_text("\n".join(map(json.dumps, [*rows[:-1], {**rows[-1], "answer": "7"}])))
    with pytest.raises(SearchError, match="other data"):
        search(settings(tasks=[task]), tmp_path / "out", fake_run)
    data.write_text("\n".join(map(json.dumps, rows[:3])))
    with pytest.raises(SearchError, match="3 questions leave 1"):
        search(settings(tasks=[task]), tmp_path / "few", fake_run)


@pytest.mark.parametrize("seed", [0, 3])
def test_a_search_on_a_part_follows_the_sides_of_the_whole_benchmark(seed):
    part = {"sample": True, "seed": seed, "subject": "Algebra,Geometry,Prealgebra,Precalculus"}
    splits, *_ = prepare_questions(settings(tasks=[{"name": "archon_eval/math", "args": part}]))
    [sides] = splits.values()
    whole = {side: {str(s.id) for s in math(side, sample=True, seed=seed).dataset} for side in ("dev", "test")}
    assert len(sides["dev"]) + len(sides["test"]) == 44
    assert set(sides["dev"]) < whole["dev"] and set(sides["test"]) < whole["test"]
    with pytest.raises(SearchError, match=r"no question has subject='algebra'; did you mean 'Algebra'"):
        prepare_questions(
            settings(tasks=[{"name": "archon_eval/math", "args": {"sample": True, "subject": "algebra"}}])
        )


def test_a_dollar_budget_needs_prices(tmp_path, fake_run):
    with pytest.raises(SearchError, match="price of mockllm/model"):
        search(settings(models=["mockllm/model"], budget={"dollars": 1}), tmp_path, fake_run)
    with pytest.raises(SearchError, match="price of mockllm/model"):
        search(settings(space={"judge": "mockllm/model"}, budget={"dollars": 1}), tmp_path, fake_run)
    assert not fake_run.jobs


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"limits": {"calls": 0.5}}, r"calls at most 0.5 excludes 61 \(they take 1 up\)"),
        ({"models": ["mockllm/model"], "limits": {"dollars": 1}}, "a limit in dollars needs a price of mockllm/model"),
        ({"models": ["mockllm/model"], "cost_unit": "dollars"}, "cost in dollars needs a price of mockllm/model"),
        (
            {"solver_args": {"budget": "question.calls=5"}, "budget": {"calls": 9}},
            "'budget' of each eval: leave one out",
        ),
        ({"solver_args": {"store_polcy": "off"}}, "'store_polcy'; did you mean 'store_policy'?"),
        ({"tasks": [{**TASK, "args": {"smple": True}}]}, "'smple'; did you mean 'sample'?"),
        ({"tasks": ["archon_eval/mth"]}, "no tasks there.*did you mean 'archon_eval/math'?"),
    ],
)
def test_what_cannot_end_well_is_refused_before_anything_is_paid(tmp_path, fake_run, given, says):
    with pytest.raises(SearchError, match=says):
        search(settings(**given), tmp_path / "out", fake_run)
    assert not fake_run.jobs and not (tmp_path / "out").exists()
    with pytest.raises(SearchError, match=says):
        forecast(settings(**given))


def test_parameters_of_a_task_in_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = """from inspect_ai import Task, task
from inspect_ai.dataset import Sample

@task
def some(n=1): return Task(dataset=[Sample("Why?")])

@task
def anything(**more): return Task(dataset=[Sample("Why?")])
"""
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(SearchError, match=r"some has no parameter 'm'.*legal: n"):
        load_questions(TaskSpec("mine.py@some", (("m", 2),)))
    assert load_questions(TaskSpec("mine.py@anything", (("m", 2),)))[0] == {"1": 1}


def test_architectures_that_may_not_fit_a_window_are_counted_and_stay(tmp_path, fake_run):
    (tmp_path / "small.yaml").write_text("prices: [{models: 'sim/*', context: 9000}]")
    given = settings(prices=str(tmp_path / "small.yaml"), budget={"trials": 2})
    options = plan_space(given, given.models, given.models)
    count = sum(bool(option.plan.warnings) for option in options)
    found = forecast(given)
    assert 0 < count < len(options) == found["architectures"] and not fake_run.jobs
    said = f"{count} of {len(options)} architectures may not fit a model's context window; they are tried all the same."
    assert found["context_windows"].startswith(said) and "more than the 9,000 of sim/" in found["context_windows"]
    assert any(note.startswith(said) for note in search(given, tmp_path / "out", fake_run).notes)
    assert forecast(settings())["context_windows"] is None


def test_the_forecast_counts_what_is_run(tmp_path, fake_run):
    one_draw = {"acquisition": "ei", "draws": 3}  # nothing that is paid for is tried besides
    given = settings(skip_ranking=False, budget={"trials": 2}, finalists=10, confirm_epochs=1, **one_draw)
    found = forecast(given)
    search(given, tmp_path, fake_run)
    # a fuser's candidates are those that the generators were ranked by
    shared = {"generator": 1, "fuser": 1}
    ranked = [job.key.split("/")[1] for job in fake_run.jobs if job.key.startswith("rank")]
    assert found["calls"]["ranking"] == 15 * sum(shared[role] for role in ranked)
    assert found["answers_to_score"] == sum(len(job.questions) * job.epochs for job in fake_run.jobs)
    assert found["budget"] is None and found["judge_calls"]["expected"] == 0
    # no more are confirmed than were tried
    assert (
        found["calls"]["confirming"]
        < forecast(settings(budget={"trials": 9}, confirm_epochs=1, **one_draw))["calls"]["confirming"]
    )
    assert "about" in forecast(settings(budget={"calls": 4000}))["budget"]
    with pytest.raises(SearchError, match="budget calls=10 cannot pay for ranking"):
        forecast(settings(budget={"calls": 10}))
    unpriced = forecast(settings(models=["mockllm/model"]))
    assert unpriced["dollars"] is None and "mockllm/model" in unpriced["dollars_unknown"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"tasks": [{**TASK, "scale": 5}]}, "`scale` must be two numbers"),
        ({"tasks": [{**TASK, "scale": ["x", "y"]}]}, "`scale` must be two numbers"),
        ({"tasks": [{**TASK, "args": [1]}]}, "`args` must be a mapping"),
        ({"tasks": [{**TASK, "weight": "much"}]}, "`weight` must be a number"),
        ({"tasks": [TASK, TASK]}, "named twice"),
        ({"models": 5}, "`models` must be a list of names"),
        ({"limits": 5}, "`limits` must be a mapping"),
        ({"cost_weight": float("nan")}, "cost_weight=nan: must be 0 or more"),
        ({"seed": "abc"}, "`seed` must be a whole number"),
        ({"trial_questions": True}, "`trial_questions` must be a whole number"),
        ({"pareto": 1}, "`pareto` must be true or false"),
        ({"solver_args": {"first_epoch": 2}}, "'first_epoch' is what the search decides"),
    ],
)
def test_settings_of_the_wrong_kind(given, says):
    with pytest.raises(SearchError, match=says):
        settings(**given)


def test_what_changes_answers_makes_another_search():
    plain = settings().identity
    assert settings(solver_args={"store": "x", "trace": "full"}, prices="p.yaml").identity == plain
    assert settings(solver_args={"max_tokens": 5}).identity != plain


def test_a_task_is_named_by_a_relative_path(tmp_path):
    with pytest.raises(SearchError, match="relative to the current folder"):
        load_questions(TaskSpec(str(tmp_path / "tasks.py")))


def test_choices_are_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = """from inspect_ai import Task, task
from inspect_ai.dataset import Sample

@task
def pick(): return Task(dataset=[Sample("Which?", choices=["a", "CHOICE"], target="A")])
"""
    digests = set()
    for choice in "bc":
        (tmp_path / f"{choice}.py").write_text(text.replace("CHOICE", choice))
        digests.add(load_questions(TaskSpec(f"{choice}.py@pick"))[1])
    assert len(digests) == 2


def test_one_search_at_a_time_in_a_folder(tmp_path, fake_run):
    from archon_eval.search.journal import Journal

    held = Journal(tmp_path)
    with pytest.raises(SearchError, match="another search is running there"):
        search(settings(), tmp_path, fake_run)
    held.close()
