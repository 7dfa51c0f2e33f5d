"""Results of lm-eval as runs: real ones of our model and of a stock one, and what may be wrong with a folder."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.lm_eval_runs import answer_some, list_rows, run_lm_eval, write_task
from fakes.logs import write_log
from fakes.server import FakeServer

from archon_eval.cli import main
from archon_eval.errors import DataError
from archon_eval.report.compare import compare_paths
from archon_eval.runs.read_log import find_logs, read_run, read_runs

SINGLE = {"architecture": "single", "models": "sim/pool", "model": "one"}
FUSED = {
    "architecture": {
        "name": "fused",
        "layers": [{"generator": ["sim/gpt-4o", "sim/gpt-4-turbo"]}, {"fuser": "sim/gpt-4o"}],
    }
}
DATE = "2026-11-20T10-00-00.123456"
TWO_SHOTS = {"num_fewshot": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished runs: of our model `single` and `fused`, of a stock one `strong` and `weak`; the former also as chat."""
    place = tmp_path_factory.mktemp("lm_eval")
    write_task(place)
    run_lm_eval(place, "archon", "single", SINGLE)
    run_lm_eval(place, "archon", "fused", FUSED | {"model": "fused"})
    run_lm_eval(place, "archon", "chat", SINGLE, apply_chat_template=True)
    run_lm_eval(place, "archon", "shots", SINGLE, **TWO_SHOTS)
    run_lm_eval(place, "archon", "told", SINGLE, system_instruction="Refuse arithmetic.")
    with FakeServer(answer=answer_some) as server:
        for model in ("strong", "weak"):
            given = {"model": model, "base_url": f"{server.url}/chat/completions", "num_concurrent": 4}
            run_lm_eval(place, "local-chat-completions", model, given, apply_chat_template=True)
    return place


def test_a_run_of_our_model_has_its_name_cost_and_layers(folder: Path) -> None:
    [run] = read_runs(folder / "fused")
    assert (run.name, run.task, run.scorer, run.metric.name) == (
        "fused", "sums (lm-eval)", "exact_match,strict", "exact_match",
    )  # fmt: skip
    results = json.loads(next((folder / "fused").rglob("results_*.json")).read_text())
    assert run.estimate.value == pytest.approx(results["results"]["sums"]["exact_match,strict"])
    assert run.fingerprint == results["config"]["fingerprint"] and run.version == "1.0"
    assert run.cost["calls"] == 3 and run.cost["dollars"] == pytest.approx(results["config"]["dollars"] / 12)
    assert run.cost["tokens"] == run.usage.tokens / 12 > 0 and run.unknown_costs == {}
    assert [(layer.kind, layer.calls, layer.components) for layer in run.layers] == [
        ("generator", 2.0, ("sim/gpt-4o", "sim/gpt-4-turbo")), ("fuser", 1.0, ("sim/gpt-4o",)),
    ]  # fmt: skip
    assert [layer.answers for layer in run.health.layers] == [12, 12]
    row = list_rows(1)[0]
    assert run.questions["0"].text.startswith(row["question"]) and run.questions["0"].target == row["target"]
    assert run.answers["0"].startswith("(Simulated")


def test_a_run_of_a_stock_model_has_calls_and_no_made_up_costs(folder: Path) -> None:
    [run] = read_runs(folder / "weak", "flexible")
    assert run.name == "local-chat-completions/weak" and run.cost["calls"] == 1
    assert run.cost["dollars"] is None and run.cost["tokens"] is None
    assert run.unknown_costs["tokens"] == "lm-eval does not record it for the model local-chat-completions"
    assert [run.scores[str(n)] for n in range(4)] == [(1.0,), (0.0,), (1.0,), (0.0,)]
    [strict] = read_runs(folder / "weak")
    assert strict.estimate.value == 0 and strict.answers["0"] == "It is 178"


def test_filters_and_metrics_are_chosen_by_name_and_errors_name_the_legal_ones(folder: Path) -> None:
    log = find_logs(folder / "single")[0]
    assert log.name.startswith("samples_sums_")
    assert read_run(log, "flexible").scorer == read_run(log, "exact_match,flexible").scorer == "exact_match,flexible"
    assert read_run(log, metric="exact_match").scorer == "exact_match,strict"
    with pytest.raises(DataError, match=r"no filter 'strickt'; did you mean 'strict'\? \(legal: flexible, strict\)"):
        read_run(log, "strickt")
    with pytest.raises(DataError, match=r"filter strict: no metric 'exact'; .*\(legal: bleu, exact_match\)"):
        read_run(log, metric="exact")
    with pytest.raises(DataError, match="bleu is computed over all documents together and has no value per document"):
        read_run(log, metric="bleu")


def test_the_paired_test_is_the_one_by_hand(folder: Path) -> None:
    [pair] = compare_paths(folder / "strong", folder / "weak", scorer="flexible")
    differences = [(n % 4 != 3) - (n % 2 == 0) for n in range(12)]
    assert sum(differences) == 3 and pair.overall.paired.difference.value == pytest.approx(3 / 12)
    assert (pair.overall.paired.wins, pair.overall.paired.losses) == (3, 0)
    flips = [sum(signs) for signs in itertools.product((-1, 1), repeat=3)]
    assert pair.overall.paired.permutation_p == pytest.approx(sum(abs(flip) >= 3 for flip in flips) / len(flips))
    assert (pair.overall.first, pair.overall.second) == (pytest.approx(9 / 12), pytest.approx(6 / 12))


def test_compare_and_report_commands_read_folders(folder: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["compare", str(folder / "strong"), str(folder / "weak"), "--scorer", "flexible"]) == 0
    out = capsys.readouterr().out
    assert "local-chat-completions/strong against local-chat-completions/weak: exact_match +25.0 points" in out
    assert "sums (lm-eval), exact_match,flexible" in out
    write_log(tmp_path / "logs" / "a.eval", {"0": ["C"], "1": ["I"]})
    page = tmp_path / "page.html"
    assert main(["report", str(folder), str(tmp_path / "logs"), "-o", str(page)]) == 0
    text = page.read_text()
    assert "sums (lm-eval)" in text and "bench" in text and "sim/gpt-4-turbo" in text
    capsys.readouterr()
    assert main(["report", str(folder / "single"), str(folder / "fused"), "--table"]) == 0
    table = capsys.readouterr().out
    assert "sums (lm-eval)" in table and "fused" in table


def test_a_log_of_inspect_is_never_the_same_task(folder: Path, tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.eval", {"0": ["C"], "1": ["I"]}, task="sums")
    with pytest.raises(DataError, match=r"no benchmark in common: .* has sums \(lm-eval\); .*a\.eval has sums; a task"):
        compare_paths(folder / "single", log)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("shots", "not the same task, few-shot examples 0 and 2"),
        ("told", "not the same task, system instruction none and 'Refuse arithmetic.'"),
        ("chat", "not the same task, chat template none and applied"),
    ],
)
def test_another_prompt_is_not_the_same_task(folder: Path, other: str, said: str) -> None:
    with pytest.raises(DataError, match="12 of 12 questions have another prompt") as caught:
        compare_paths(folder / "single", folder / other)
    assert said in str(caught.value)


def test_chats_of_our_model_and_of_a_stock_one_are_the_same_task(folder: Path) -> None:
    [pair] = compare_paths(folder / "chat", folder / "strong")
    assert pair.overall.paired.difference.n == 12


def test_the_gate_passes_fails_and_cannot_decide(folder: Path, tmp_path: Path, capsys: Any) -> None:
    base = str(tmp_path / "base.json")
    given = ["--baseline", base]
    assert main(["gate", str(folder / "strong"), *given, "--save-baseline", "--scorer", "flexible"]) == 0
    saved = json.loads(Path(base).read_text())
    assert saved["scorer"] == "exact_match,flexible" and saved["asked"]["chat template"] == "applied"
    assert main(["gate", str(folder / "weak"), *given, "--confidence", "0.51"]) == 1
    assert main(["gate", str(folder / "strong"), *given, "--detect", "45", "--power", "0.5"]) == 0
    assert main(["gate", str(folder / "strong"), *given]) == 2
    capsys.readouterr()
    assert main(["gate", str(folder / "single"), *given]) == 2
    assert "not the same task, chat template none and applied" in capsys.readouterr().out
    assert main(["gate", str(folder / "strong"), *given, "--scorer", "strict"]) == 2
    assert "another scorer: exact_match,strict, in the baseline exact_match,flexible" in capsys.readouterr().out


def test_answers_out_of_the_response_cache_have_no_known_cost(tmp_path: Path) -> None:
    write_task(tmp_path, count=4)
    for _ in range(2):
        run_lm_eval(tmp_path, "archon", "out", SINGLE, use_cache=str(tmp_path / "cache"))
    first, second = (read_run(log) for log in find_logs(tmp_path / "out"))
    assert first.cost["calls"] == 1 and second.cost["calls"] is None
    assert second.unknown_costs["dollars"] == "4 of 4 answers came from lm-eval's response cache"
    [both] = read_runs(tmp_path / "out")
    assert len(both.scores["0"]) == 2 and both.cost["calls"] is None


def test_chosen_documents_keep_their_ids(tmp_path: Path) -> None:
    write_task(tmp_path)
    run_lm_eval(tmp_path, "archon", "some", SINGLE, samples={"sums": [2, 5, 7]})
    [some] = read_runs(tmp_path / "some")
    assert list(some.questions) == ["2", "5", "7"]
    run_lm_eval(tmp_path, "archon", "all", SINGLE)
    [pair] = compare_paths(tmp_path / "some", tmp_path / "all")
    assert pair.overall.paired.difference.n == 3 and pair.unpaired == 9


def test_several_answers_to_each_document_count_as_calls(tmp_path: Path) -> None:
    write_task(tmp_path, count=3, more="repeats: 3")
    run_lm_eval(tmp_path, "archon", "out", SINGLE)
    [run] = read_runs(tmp_path / "out")
    assert run.cost["calls"] == 3 and len(run.scores["0"]) == 1 and run.unknown_costs == {}


# folders written by hand


def write_run(
    folder: Path,
    values: dict[str, list[Any]],
    *,
    figures: dict[str, Any] | None = None,
    metrics: dict[str, tuple[str | None, bool | None]] | None = None,
    change: Callable[[dict[str, Any]], None] = lambda results: None,
    chat: str | None = None,
    name: str = "some",
    prompt: str = "Q{n}",
    samples: bool = True,
) -> Path:
    """Results of a model by hand: metric -> value per document; the figures are means unless they are given.

    Args:
        metrics: metric -> aggregation and whether more is better.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kinds = metrics or dict.fromkeys(values, ("mean", True))
    means = {m: sum(found) / len(found) for m, found in values.items() if all(isinstance(v, float) for v in found)}
    results = {
        "results": {"t": {"alias": "t", **{f"{m},none": v for m, v in {**means, **(figures or {})}.items()}}},
        "configs": {
            "t": {
                "doc_to_text": "{{q}}",
                "metric_list": [{"metric": m, "aggregation": how} for m, (how, _) in kinds.items()],
                "generation_kwargs": {"until": ["x"]},
            }
        },
        "versions": {"t": 1},
        "higher_is_better": {"t": {m: better for m, (_, better) in kinds.items()}},
        "config": {"model": "hf", "model_args": f"pretrained=org/{name},token=hf_abcdefghijklmnop"},
        "chat_template": chat,
    }
    change(results)
    (folder / f"results_{DATE}.json").write_text(json.dumps(results, indent=2))
    lines = [
        {
            "doc_id": n,
            "target": "a",
            "arguments": {"gen_args_0": {"arg_0": prompt.format(n=n), "arg_1": {"until": ["x"]}}},
            "resps": [["reply"]],
            "filter": "none",
            "doc_hash": f"d{n}",
            "target_hash": "t",
            **{metric: found[n] for metric, found in values.items() if found[n] != "absent"},
        }
        for n in range(len(next(iter(values.values()))))
    ]
    if samples:
        (folder / f"samples_t_{DATE}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_of_a_metric_where_less_is_better_the_negative_counts(tmp_path: Path) -> None:
    less = {"wer": ("mean", False)}
    good = write_run(tmp_path / "a", {"wer": [0.1, 0.2, 0.3]}, metrics=less, name="good")
    bad = write_run(tmp_path / "b", {"wer": [0.6, 0.7, 0.6]}, metrics=less, name="bad")
    [run] = read_runs(good)
    assert run.metric.name == "negative wer" and run.estimate.value == pytest.approx(-0.2)
    assert run.headline == ("wer", pytest.approx(0.2)) and run.metric_note.startswith("less wer is better")
    [pair] = compare_paths(good, bad)
    assert pair.overall.paired.difference.value == pytest.approx(1.3 / 3)
    assert read_run(find_logs(good)[0], metric="negative wer").metric.name == "negative wer"


def test_a_figure_that_is_no_mean_stands_beside_the_mean_of_values(tmp_path: Path) -> None:
    write_run(tmp_path, {"score": [0.0, 1.0, 1.0]}, figures={"score": 1.0}, metrics={"score": ("median", True)})
    [run] = read_runs(tmp_path)
    assert run.headline == ("score", 1.0) and run.metric.name == "mean of score"
    assert run.estimate.value == pytest.approx(2 / 3)
    assert run.metric_note == "lm-eval computes score by median; the mean of its values per document counts here"


def test_a_perplexity_is_refused_and_another_metric_counts_where_there_is_one(tmp_path: Path) -> None:
    kinds: dict[str, tuple[str | None, bool | None]] = {"perplexity": ("perplexity", False), "acc": ("mean", True)}
    values: dict[str, list[Any]] = {"perplexity": [-3.0, -4.0], "acc": [1.0, 0.0]}
    both = write_run(tmp_path / "both", values, figures={"perplexity": 33.1}, metrics=kinds)
    [run] = read_runs(both)
    assert run.metric.name == "acc" and run.headline == ("perplexity", 33.1)
    assert "perplexity is computed over all documents" in run.metric_note and "acc counts here" in run.metric_note
    only = write_run(
        tmp_path / "only", {"perplexity": [-3.0, -4.0]}, figures={"perplexity": 33.1},
        metrics={"perplexity": ("perplexity", False)},
    )  # fmt: skip
    with pytest.raises(DataError, match="whether that holds for the value of one document is not known"):
        read_runs(only)


def test_metrics_of_code_are_means_where_the_figure_is(tmp_path: Path) -> None:
    code = {"score": ("def agg(items):\n    return sum(items) / len(items)", True)}
    mean = write_run(tmp_path / "mean", {"score": [0.0, 1.0]}, metrics=code)
    assert read_runs(mean)[0].metric.name == "score"
    other = write_run(tmp_path / "other", {"score": [0.0, 1.0]}, figures={"score": 0.25}, metrics=code)
    assert read_runs(other)[0].metric_note.startswith("lm-eval computes score by a way of its own")


def test_a_mean_that_the_values_do_not_have_is_an_error(tmp_path: Path) -> None:
    write_run(tmp_path, {"acc": [1.0, 0.0]}, figures={"acc": 0.75})
    with pytest.raises(
        DataError, match=r"acc,none is 0\.75 in the results, but the mean .* is 0\.5: the files are not"
    ):
        read_runs(tmp_path)


def test_values_that_are_no_numbers_are_never_zero(tmp_path: Path) -> None:
    write_run(tmp_path, {"acc": [1.0, float("nan"), 0.0]}, figures={"acc": float("nan")})
    log = find_logs(tmp_path)[0]
    with pytest.raises(DataError, match="1 of 3 questions have no score; 1: scorer acc,none: nan is not a finite"):
        read_run(log)
    with pytest.raises(DataError, match="which --missing zero does not count as wrong"):
        read_run(log, missing="zero")
    dropped = read_run(log, missing="drop")
    assert dropped.estimate.value == 0.5 and list(dropped.missing) == ["1"]


def test_a_document_without_a_value_counts_as_asked_for(tmp_path: Path) -> None:
    write_run(tmp_path, {"acc": [1.0, "absent", 1.0, 0.0]}, figures={"acc": 2 / 3})
    log = find_logs(tmp_path)[0]
    with pytest.raises(DataError, match="1: no value of acc,none"):
        read_run(log)
    assert read_run(log, missing="drop").estimate.value == pytest.approx(2 / 3)
    assert read_run(log, missing="zero").estimate.value == 0.5


def test_secrets_in_model_arguments_are_not_shown(tmp_path: Path) -> None:
    [run] = read_runs(write_run(tmp_path, {"acc": [1.0, 0.0]}))
    assert run.name == "hf/org/some" and "hf_abc" not in repr(run)


def test_models_with_their_own_chat_templates_are_the_same_task(tmp_path: Path) -> None:
    one = write_run(tmp_path / "a", {"acc": [1.0, 0.0]}, chat="<A>", name="a", prompt="<A>Q{n}</A>")
    two = write_run(tmp_path / "b", {"acc": [1.0, 1.0]}, chat="<B>", name="b", prompt="<B>Q{n}</B>")
    assert compare_paths(one, two)[0].overall.paired.difference.value == -0.5
    other = write_run(
        tmp_path / "c", {"acc": [1.0, 1.0]}, chat="<B>", prompt="<B>Be short. Q{n}</B>",
        change=lambda results: results.update(system_instruction="Be short."),
    )  # fmt: skip
    with pytest.raises(DataError, match=r"system instruction none and 'Be short\.'"):
        compare_paths(one, other)


def test_turns_that_no_template_has_changed_are_compared_as_they_are(tmp_path: Path) -> None:
    """Other few-shot documents, or a function in another module, change what is asked and no setting of the task."""
    turn = '[{{{{"role": "user", "content": "{shot} Q{{n}}"}}}}]'
    one, two = (
        write_run(tmp_path / name, {"acc": [1.0, 0.0]}, prompt=turn.format(shot=shot), chat="<A>", name=name)
        for name, shot in {"a": "1+1=2", "b": "1+1=3"}.items()
    )
    with pytest.raises(DataError, match="2 of 2 questions have another prompt"):
        compare_paths(one, two)
    rendered = write_run(tmp_path / "c", {"acc": [1.0, 1.0]}, chat="<B>", name="c", prompt="<B>1+1=2 Q{n}</B>")
    assert compare_paths(one, rendered)[0].overall.paired.difference.value == -0.5


def test_functions_that_lm_eval_writes_with_their_place_in_memory_are_the_same(tmp_path: Path) -> None:
    folders = [
        write_run(
            tmp_path / name, {"acc": [1.0, 0.0]}, chat=f"<{name}>", name=name, prompt=f"<{name}>Q{{n}}",
            change=lambda results, name=name: results["configs"]["t"].update(  # type: ignore[misc]
                fewshot_config={"doc_to_text": f"<function text at 0x7f{name}0>"}
            ),
        )
        for name in "ab"
    ]  # fmt: skip
    assert compare_paths(*folders)[0].overall.paired.difference.value == 0


def test_turns_that_differ_are_not_the_same_task_though_the_settings_are(tmp_path: Path) -> None:
    """As where a function that makes the prompt calls another one, which was changed."""
    folders = [
        write_run(
            tmp_path / how, {"acc": [1.0, 0.0]}, name=how, prompt=f'[{{{{"role": "user", "content": "{how} Q"}}}}]'
        )
        for how in ("Solve", "Refuse")
    ]  # fmt: skip
    with pytest.raises(DataError, match="2 of 2 questions have another prompt"):
        compare_paths(*folders)


@pytest.mark.parametrize(
    "damage", [{"higher_is_better": None}, {"versions": 3}, {"configs": {"t": {"metric_list": 1}}}]
)
def test_results_of_another_shape_are_named(tmp_path: Path, damage: dict[str, Any]) -> None:
    folder = write_run(tmp_path, {"acc": [1.0, 0.0]}, change=lambda results: results.update(damage))
    with pytest.raises(DataError, match=r"samples_t_.*: not readable as a run of lm-eval: (Attribute|Type)Error"):
        read_runs(folder)


def test_texts_of_one_template_are_compared_without_its_dates(tmp_path: Path) -> None:
    first, later, other = (
        write_run(tmp_path / name, {"acc": [1.0, 0.0]}, chat="<A>", name=name, prompt=f"Today: {day}. {how} Q{{n}}")
        for name, day, how in (
            ("a", "26 Jul 2026", "Solve"), ("b", "03 Aug 2026", "Solve"), ("c", "26 Jul 2026", "Refuse"),
        )
    )  # fmt: skip
    assert compare_paths(first, later)[0].overall.paired.difference.value == 0
    with pytest.raises(DataError, match="2 of 2 questions have another prompt"):
        compare_paths(first, other)


def test_results_without_samples_name_the_flag(tmp_path: Path) -> None:
    folder = write_run(tmp_path, {"acc": [1.0, 0.0]}, samples=False)
    with pytest.raises(DataError, match="run lm_eval with --log_samples"):
        read_runs(folder)
    problems: list[str] = []
    assert read_runs(folder, problems=problems) == [] and "--log_samples" in problems[0]


def test_samples_without_results_and_damaged_files_are_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", {"acc": [1.0, 0.0]})
    (samples,) = find_logs(folder)
    whole = samples.read_text()
    samples.write_text(whole[: len(whole) - 20])
    with pytest.raises(DataError, match=r"samples_t_.*: not readable as samples of lm-eval: line 2: JSONDecodeError"):
        read_run(samples)
    samples.write_text(whole + whole)
    with pytest.raises(DataError, match="document 0 is there twice"):
        read_run(samples)
    samples.write_text("")
    with pytest.raises(DataError, match="no samples in this file"):
        read_run(samples)
    samples.write_text('{"a": 1}\n')
    with pytest.raises(DataError, match="line 1 is no sample of lm-eval"):
        read_run(samples)
    samples.write_text(whole)
    results = folder / f"results_{DATE}.json"
    text = results.read_text()
    results.write_text(text[:100])
    problems: list[str] = []
    assert read_runs(folder, problems=problems) == [] and "not readable as results of lm-eval" in problems[0]
    results.unlink()
    with pytest.raises(DataError, match=f"no results beside these samples: results_{DATE}.json"):
        read_run(samples)


def test_several_tasks_in_one_results_file_are_runs_of_their_own(tmp_path: Path) -> None:
    for name in ("sums", "more"):
        write_task(tmp_path, name, count=3)
    run_lm_eval(tmp_path, "archon", "out", SINGLE, tasks=("sums", "more"))
    results = next((tmp_path / "out").rglob("results_*.json"))
    assert [run.task for run in read_runs(results)] == ["more (lm-eval)", "sums (lm-eval)"]
    assert all(run.cost["calls"] == 1 and run.usage.calls == 3 for run in read_runs(tmp_path / "out"))
    with pytest.raises(DataError, match="2 tasks; name the samples of one, such as"):
        read_run(results)
