"""Who fuses and who judges in a search, and how few questions it may have."""

import json

import pytest

from archon_eval.cli import main
from archon_eval.errors import SearchError
from archon_eval.search.config import load_settings
from archon_eval.search.loop import search
from archon_eval.search.prepare import plan_space, prepare_questions
from archon_eval.search.questions import load_questions

MODELS = ("mockllm/a", "mockllm/b", "mockllm/c")
FEW = {"name": "archon_eval/math", "args": {"sample": True, "n": 20}}


def settings(**more):
    given = {"tasks": "archon_eval/math", "models": list(MODELS), "space": "small", **more}
    return load_settings(given)


def list_models(option, *kinds):
    return {spec.model for layer in option.architecture.layers for spec in layer if spec.kind in kinds}


def test_the_best_fuser_judges_unless_a_judge_is_named():
    for more, judge in (({}, "mockllm/b"), ({"judges": "mockllm/z"}, "mockllm/z")):
        options = plan_space(settings(**more), MODELS, ("mockllm/b", "mockllm/a"))
        judges = [list_models(option, "critic", "ranker", "verifier") for option in options]
        assert {judge} in judges and all(found in (set(), {judge}) for found in judges)
        assert set() != set().union(*(list_models(option, "fuser") for option in options)) <= {"mockllm/b", "mockllm/a"}


def test_fusers_need_not_generate_and_are_ranked_as_fusers(tmp_path, fake_run):
    asked = settings(
        tasks=[{"name": "archon_eval/math", "args": {"sample": True}}],
        fusers=["mockllm/c", "mockllm/z"],
        models=list(MODELS[:2]),
        budget={"trials": 3},
        finalists=1,
    )
    result = search(asked, tmp_path, fake_run)
    assert set(result.generators) == set(MODELS[:2]) and set(result.fusers) == {"mockllm/c", "mockllm/z"}
    ranked = [job.key.split("/math")[0] for job in fake_run.jobs if job.key.startswith("rank/fuser")]
    assert len(ranked) == 2 and all(any(name in key for key in ranked) for name in ("c", "z"))


def test_a_search_with_other_roles_is_another_search():
    plain = settings()
    others = [settings(fusers=["mockllm/a"]), settings(judges="mockllm/z"), settings(dev_share=0.3)]
    assert len({plain.identity, *(other.identity for other in others)}) == 4
    assert settings(judges="j/z").identity == settings(space={"preset": "small", "judge": "j/z"}).identity


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"fusers": "a,a"}, "fusers are named twice: a, a"),
        ({"judges": "a,b"}, "judges=a,b: one model judges"),
        ({"judges": "a", "space": {"preset": "small", "judge": "b"}}, "leave one out"),
        ({"dev_share": 1.0}, "dev_share=1.0: must be above 0 and below 1"),
        ({"dev_share": "half"}, "`dev_share` must be a number"),
    ],
)
def test_contradictions(more, problem):
    with pytest.raises(SearchError, match=problem):
        settings(**more)


def test_dollars_need_prices_of_fusers_and_judges_too():
    with pytest.raises(SearchError, match=r"price of .*own/fuser, own/judge"):
        prepare_questions(settings(fusers="own/fuser", judges="own/judge", budget={"dollars": 1}))


def test_few_questions_are_shared_out_as_the_user_says(tmp_path, fake_run):
    with pytest.raises(SearchError, match=r"20 questions leave 4 .* with fewer, --dev-share"):
        prepare_questions(settings(tasks=[FEW]))
    asked = settings(tasks=[FEW], dev_share=0.5, budget={"trials": 2}, finalists=1)
    splits = prepare_questions(asked).splits
    [parts] = splits.values()
    assert len(parts["dev"]) == len(parts["test"]) == 10 and not parts["dev"].keys() & parts["test"].keys()
    assert load_questions(settings(tasks=[FEW]).tasks[0])[2] < parts["dev"].keys(), "the usual dev questions first"
    [note] = [note for note in search(asked, tmp_path, fake_run).notes if note.startswith("dev_share=0.5")]
    assert "10 dev and 10 held-out questions one is worth 10.0 and 10.0 points" in note and "split=test" in note
    with pytest.raises(SearchError, match="leaves 1 for the search and 19 for its report; each needs 2"):
        prepare_questions(settings(tasks=[FEW], dev_share=0.05))


def test_the_options_of_the_command(capsys):
    words = ["search", "--task", "archon_eval/math", "-T", "sample=true", "-T", "n=20", "--models", "sim/pool"]
    words += ["--space", "small", "--fusers", "sim/gpt-4o", "--judges", "sim/gpt-4-turbo", "--dev-share", "0.4"]
    assert main([*words, "--dry-run", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert expected["questions"] == {"trial": 8, "dev": 8, "test": 12} and "dev_share=0.4" in expected["dev_split"]
    assert expected["calls"]["ranking"] == 8 * 12, "one fuser needs no ranking"
