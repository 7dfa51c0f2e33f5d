"""What a search leaves behind: best.yaml, trials.csv, ranking.csv, summary.json, and the table a person reads.

    summary = write_results(result, folder)      # a plain mapping, the content of summary.json

The score on the held-out questions is the result. The dev score is printed next to it, as what it is: the score of the
best of many on questions they were chosen by.
"""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from archon_eval._files import write_whole
from archon_eval.errors import SearchError
from archon_eval.runs.log_folder import is_address
from archon_eval.runs.model_ranking import dump_ranking, render_ranking_csv
from archon_eval.runs.performance import compare_performance, estimate_performance
from archon_eval.search.choose_winner import BETTER_CONFIDENCE
from archon_eval.search.config import SearchBudget
from archon_eval.search.confirm import SINGLE
from archon_eval.search.controls import BEST_OF_N, MAJORITY
from archon_eval.search.loop import CANDIDATE, SearchResult
from archon_eval.search.proposal_registry import describe_proposals
from archon_eval.search.recommendation import recommend
from archon_eval.search.space import list_table_rows
from archon_eval.search.trial import Trial
from archon_eval.stats.comparison import bonferroni_confidence, decide_verdict, explain_doubt
from archon_eval.stats.estimates import Estimate

MAX_NAMED_LAYERS = 5
"""Layers that never worked which the sentence on trials names."""
NO_WINNER = "No architecture is shown better than the best single model here."


def write_results(result: SearchResult, folder: Path, *, commands: Sequence[str] = ()) -> dict[str, Any]:
    """Write the files, each complete or not at all, and return the summary.

    `candidate.yaml` is there where the winner is the best single model and an architecture was compared with it.

    Args:
        commands: what evaluates the winner, to be pasted into a shell; part of the recommendation.
    """
    named = replace(result.architecture, name="best", description=_describe_winner(result))
    rows = list(_build_trial_rows(result, folder))
    trials = io.StringIO(newline="")
    table = csv.DictWriter(trials, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    summary = summarize(result)
    summary["recommendation"]["commands"] = list(commands)
    files = {
        "best.yaml": named.to_yaml(),
        "trials.csv": trials.getvalue(),
        **({"ranking.csv": render_ranking_csv(ranking)} if (ranking := result.ranking.table) else {}),
        "summary.json": json.dumps(summary, indent=1) + "\n",
    }
    if candidate := result.report.get(CANDIDATE):
        description = f"Compared by archon search with the best single model. {NO_WINNER}"
        files["candidate.yaml"] = replace(candidate.architecture, name="candidate", description=description).to_yaml()
    else:
        (folder / "candidate.yaml").unlink(missing_ok=True)  # of an earlier outcome of the same search
    for name, content in files.items():
        try:
            write_whole(folder / name, content)
        except OSError as exc:
            why = f"cannot write {folder / name} ({exc.strerror or exc})"
            raise SearchError(f"{why}: make room, and the same command writes it without paying again") from exc
    return summary


def summarize(result: SearchResult) -> dict[str, Any]:
    """Everything a reader should know, as plain values."""
    dev = next((trial for _, trial in result.tried if trial.key == result.winner), None)
    report, ledger, confirmed = result.report, result.ledger, result.confirmed_winner
    against, comparison_notes = _compare_winner(result)
    failures = [f"{name} failed on the held-out questions: {t.error}" for name, t in report.items() if t.error]
    failures += [f"{name}, on the held-out questions: {t.note}" for name, t in report.items() if t.note]
    summary = {
        "warnings": list(_list_warnings(result)),
        "winner": result.architecture.name,
        "fingerprint": result.architecture.fingerprint,
        "metric": _name_metric(result.finalists[0].trial),
        "doors": {task: asdict(choice) for task, choice in result.doors.items()},
        "recommendation": recommend(result),
        "verdict": NO_WINNER if result.winner == SINGLE else "",
        "held_out": {name: _summarize_trial(trial) for name, trial in report.items()},
        "winner_against": against,
        "dev": None if dev is None else dev.performance,
        "dev_surrogate": result.estimate.get(result.winner) if result.has_surrogate else None,
        "dev_fresh_draws": None if confirmed is None else confirmed.trial.performance,
        "optimism": None,
        "finalists": [
            {
                "key": finalist.key,
                "architecture": finalist.trial.architecture.name,
                "fresh": finalist.trial.performance,
                "chosen_by": finalist.value,
                "cost": finalist.trial.cost,
                "warnings": list(finalist.trial.warnings),
            }
            for finalist in result.finalists
        ],
        "generators": list(result.generators),
        "fusers": list(result.fusers),
        "ranking": dump_ranking(result.ranking.table) or None,
        "algorithm": result.settings.algorithm,
        "space": len(result.options),
        "trials": len(result.tried),
        "free_trials": sum(trial.is_free for _, trial in result.tried),
        "failed_trials": sum(trial.performance is None for _, trial in result.tried),
        "trials_with_dead_layers": _count_dead_trials(result),
        "calls_paid": ledger.calls,
        "calls_reused": ledger.reused,
        "dollars_paid": ledger.dollars,
        "forecast": dict(result.forecast) or None,
        "judge_tokens_on_top": ledger.judges,
        "judge_calls": ledger.judge_calls,
        "judge_dollars": ledger.judge_dollars,
        "judge_unknown": ledger.judge_unknown or None,
        "notes": [*result.notes, *describe_proposals(result.proposals), *failures, *comparison_notes],
        "settings": {
            "identity": result.settings.identity,
            **replace(result.settings, budget=SearchBudget()).to_mapping(),
        },
    }
    scored = report.get("winner")
    if dev is not None and dev.performance is not None and scored is not None and scored.performance is not None:
        summary["optimism"] = dev.performance - scored.performance
    if result.proposals:
        summary["proposals"] = dict(result.proposals)
    if result.settings.pareto:
        summary["pareto"] = list(_find_pareto_front(result))
    return summary


def _name_metric(trial: Trial) -> str:
    """What performance is: the task's metric, or the mean of the tasks'."""
    names = [f"{part.metric.name} of {part.task.key}" for part in trial.parts]
    return trial.parts[0].metric.name if len(names) == 1 else f"mean of {', '.join(names)}, by weight"


def _list_warnings(result: SearchResult) -> Iterator[str]:
    """Layers that never worked and replies that were cut or lost, of the architectures that the held-out questions were
    asked of; and how many finalists and trials had such layers."""
    for name, trial in result.report.items():
        if not (result.winner == SINGLE and name == SINGLE):  # the same trial as the winner's
            yield from (f"{name}: {text}" for text in trial.warnings)
    finalists = [finalist.trial for finalist in result.finalists]
    for name, trials in (("finalists", finalists), ("trials", [trial for _, trial in result.tried])):
        if dead := [trial.dead_layers for trial in trials if trial.dead_layers]:
            often = Counter(layer for layers in dead for layer in layers).most_common()
            shown = ", ".join(f"{layer} in {count}" for layer, count in often[:MAX_NAMED_LAYERS])
            more = f", and {len(often) - MAX_NAMED_LAYERS} more" if len(often) > MAX_NAMED_LAYERS else ""
            yield f"{len(dead)} of {len(trials)} {name} had a layer that never worked: {shown}{more}."
    if uncounted := sum(not trial.layers_counted for _, trial in result.tried):
        many = f"{uncounted} of {len(result.tried)} trials"
        yield f"Whether layers of {many} worked is unknown: their results do not say."


def _count_dead_trials(result: SearchResult) -> int | None:
    """Trials with a layer that never worked; None where that is unknown of one."""
    if not all(trial.layers_counted for _, trial in result.tried):
        return None
    return sum(bool(trial.dead_layers) for _, trial in result.tried)


def _compare_winner(result: SearchResult) -> tuple[dict[str, Any], list[str]]:
    """The winner against every other system on the held-out questions, and notes.

    The difference to the best single model decides by itself, so its interval is one of 95%; those to the others hold
    together.
    """
    report = result.report
    names = (SINGLE, CANDIDATE, BEST_OF_N, MAJORITY)
    others = [name for name in names if {name, "winner"} <= report.keys()]
    others = [name for name in others if not name == SINGLE == result.winner]
    together = bonferroni_confidence(len({*others} - {SINGLE, CANDIDATE}))
    against: dict[str, Any] = {}
    notes = []
    for name in others:
        first, second = report["winner"], report[name]
        paired = None
        if not (first.error or second.error):
            confidence = BETTER_CONFIDENCE if name in (SINGLE, CANDIDATE) else together
            paired = compare_performance(first.parts, second.parts, confidence)
        if paired is None:
            notes.append(f"the winner and {name} are not compared: not both have a score on the held-out questions")
            continue
        against[name] = {
            **_dump_interval(paired.difference),
            "confidence": paired.difference.confidence,
            "p": paired.permutation_p,
            "questions": paired.difference.n,
            "verdict": decide_verdict(paired),
            "doubt": explain_doubt(paired),
        }
    return against, notes


def _find_pareto_front(result: SearchResult) -> Iterator[dict[str, Any]]:
    """Tried architectures of which none is both better, as the surrogate sees it, and cheaper than another."""
    usable = []
    for option, trial in result.tried:
        if trial.performance is not None:
            value = result.estimate.get(trial.key, (None, None))[0]
            usable.append((trial.cost, -(trial.performance if value is None else value), option, trial))
    best = -1.0
    for cost, minus_value, option, trial in sorted(usable, key=lambda entry: entry[:2]):
        if -minus_value > best:
            best = -minus_value
            yield {
                "architecture": option.configuration.key,
                "performance": best,
                "cost": cost,
                "unit": result.settings.cost_unit,
                "yaml": trial.architecture.to_mapping(),
            }


def _build_trial_rows(result: SearchResult, folder: Path) -> Iterator[dict[str, Any]]:
    axes = list_table_rows([option.configuration for option, _ in result.tried])
    for (option, trial), columns in zip(result.tried, axes, strict=True):
        configuration, estimate = option.configuration, result.estimate.get(trial.key, ("", ""))
        surrogate = estimate[0] if result.has_surrogate else ""
        yield {
            "trial": trial.key.split("/")[1],
            "fingerprint": option.architecture.fingerprint,
            "architecture": configuration.key,
            **columns,
            "draws": trial.first_epoch,
            "last_draws": trial.last_draws,
            "free": trial.is_free,
            "performance": "" if trial.performance is None else trial.performance,
            "surrogate": surrogate,
            "deviation": "" if estimate[1] is None else estimate[1],
            "questions": trial.questions,
            "calls_per_question": trial.calls,
            "cost": trial.cost,
            "calls_paid": trial.paid,
            "calls_reused": trial.reused,
            "error": trial.error,
            "log": " ".join(_show_log(r.log, folder) for r in trial.results),
        }


def _show_log(log: str, folder: Path) -> str:
    """A log as from the folder, as journals have it; those of earlier versions have a path from elsewhere."""
    return os.path.relpath(log, folder) if log and not is_address(log) and Path(log).is_absolute() else log


def _summarize_trial(trial: Trial) -> dict[str, Any]:
    estimate = None if trial.error else estimate_performance(trial.parts)
    interval = {"value": None, "low": None, "high": None} if estimate is None else _dump_interval(estimate)
    return {
        "architecture": trial.architecture.name,
        "fingerprint": trial.architecture.fingerprint,
        **interval,
        "value": trial.performance,
        "questions": trial.questions,
        "calls_per_question": trial.calls,
        "cost_per_question": trial.cost,
        "error": trial.error,
        "warnings": list(trial.warnings),
    }


def _dump_interval(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _describe_winner(result: SearchResult) -> str:
    winner = result.report.get("winner")
    settings = result.settings
    text = f"Found by archon search ({settings.algorithm}, {len(result.tried)} trials, seed {settings.seed})"
    text += f" on {', '.join(task.key for task in settings.tasks)}."
    if winner and winner.performance is not None:
        scored = _summarize_trial(winner)
        text += f" Held-out: {format_percent(scored)} on {scored['questions']} questions."
    return text + (f" {NO_WINNER}" if result.winner == SINGLE else "")


def format_percent(shown: Mapping[str, Any]) -> str:
    """`71.4% (66 to 77)`, or `failed`."""
    if shown["value"] is None:
        return "failed"
    if shown["low"] in (None, shown["high"]):  # nothing is known of spread, or every question has the same score
        return f"{100 * shown['value']:.1f}%"
    return f"{100 * shown['value']:.1f}% ({100 * max(0, shown['low']):.0f} to {100 * min(1, shown['high']):.0f})"
