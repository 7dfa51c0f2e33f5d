"""What a search recommends, in one sentence and in figures: what to use, what it brings and costs, what is not known.

recommend(result)["sentence"]
# Use g8x2-f1-cr (best.yaml): it brings +6.1 points (+2.0 to +10.3, 95%, 400 held-out questions) over the best ...
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from archon_eval.models.usage_totals import sum_dollars
from archon_eval.runs.layer_health import RunHealth, name_component
from archon_eval.runs.performance import compare_performance
from archon_eval.search.choose_winner import compare_with_single
from archon_eval.search.confirm import SINGLE
from archon_eval.search.controls import BEST_OF_N, MAJORITY
from archon_eval.search.trial import Trial
from archon_eval.stats.comparison import (
    PairedComparison,
    bonferroni_confidence,
    decide_verdict,
    estimate_more_questions,
)

if TYPE_CHECKING:
    from archon_eval.search.loop import SearchResult

WORTHWHILE_GAIN = 0.03
"""A gain that is worth looking for where none is seen: the sentence says how many questions would show it."""
MAX_MORE_QUESTIONS = 20_000
"""Where more questions than that would be needed, the difference is too small to be looked for."""
MAX_NAMED = 3
"""Layers that never worked which the sentence names."""


def recommend(result: "SearchResult") -> dict[str, Any]:
    """Plain values: `sentence`, and what it is made of."""
    report = result.report
    is_single = result.winner == SINGLE
    single, tested = report.get(SINGLE), report.get("candidate" if is_single else "winner")
    on_dev = False
    if is_single and tested is None:  # all are shown worse on the dev questions, where the best of them stands for them
        others = [finalist.trial for finalist in result.finalists if finalist.key != SINGLE]
        confirmed = next((finalist.trial for finalist in result.finalists if finalist.key == SINGLE), None)
        single, tested, on_dev = confirmed, others[0] if others else None, True
    paired = compare_with_single(tested, single) if tested and single else None
    more, effect = _count_more_questions(paired, is_single)
    calls = sum(_count_calls(trial) for trial in (tested, single) if trial is not None)
    found: dict[str, Any] = {
        "use": "single model" if is_single else "architecture",
        "name": result.architecture.name,
        "file": "best.yaml",
        "against": None if single is None else single.architecture.name,
        "tested": None if tested is None else tested.architecture.name,
        "questions": "dev" if on_dev else "held-out",
        "gain": _dump_gain(paired),
        "calls_per_question": {"tested": tested and tested.calls, "single": single and single.calls},
        "dollars_per_question": {"tested": tested and _price(tested), "single": single and _price(single)},
        "more_questions": more,
        "more_calls": None if more is None else round(more * calls),
        "effect": effect,
        "controls": {name: _dump_gain(compared) for name, compared in _compare_controls(result)},
        "never_worked": _list_dead(result),
        "cost_weight": result.settings.cost_weight or None,
    }
    return {"sentence": _write_sentence(found, result), **found}


def _count_more_questions(paired: PairedComparison | None, is_single: bool) -> tuple[int | None, float | None]:
    """How many further questions would settle what is not known, and the difference that they would show."""
    if paired is None or not is_single:
        return None, None
    gain = paired.difference.value
    if gain > 0:
        more = estimate_more_questions(paired, gain, unseen=1)
        if more is not None and more <= MAX_MORE_QUESTIONS:
            return max(1, more), gain
    return estimate_more_questions(paired, WORTHWHILE_GAIN, unseen=1), WORTHWHILE_GAIN


def _compare_controls(result: "SearchResult") -> Iterable[tuple[str, PairedComparison | None]]:
    """The winner against each control, at confidences that hold together."""
    report = result.report
    names = [name for name in (BEST_OF_N, MAJORITY) if name in report]
    for name in names:
        winner, control = report.get("winner"), report[name]
        if winner is not None and not (winner.error or control.error):
            yield name, compare_performance(winner.parts, control.parts, bonferroni_confidence(len(names)))


def _dump_gain(paired: PairedComparison | None) -> dict[str, Any] | None:
    if paired is None:
        return None
    difference = paired.difference
    return {
        "value": difference.value,
        "low": difference.low,
        "high": difference.high,
        "confidence": difference.confidence,
        "questions": difference.n,
        "verdict": decide_verdict(paired),
        "more_questions": estimate_more_questions(paired, unseen=1),
    }


def _count_calls(trial: Trial) -> float:
    """Calls per question, with as many draws of each as the trial has."""
    answers = sum(len(draws) for part in trial.parts for draws in part.answers.values())
    return trial.calls * answers / max(1, trial.questions)


def _price(trial: Trial) -> float | None:
    """Dollars per answer to a question; None where a price is unknown."""
    calls = sum(each.calls + each.reused for each in trial.results)
    total = sum_dollars(each.cost for each in trial.results)
    return None if total is None or not calls else total * trial.calls / calls


def _list_dead(result: "SearchResult") -> list[str]:
    """Components that never worked, in whichever trial they stood."""
    stood: Counter[str] = Counter()
    dead: Counter[str] = Counter()
    for trial in [*(trial for _, trial in result.tried), *result.report.values()]:
        stood.update({name for each in trial.results for name in _name_components(each.health)})
        dead.update(trial.dead_layers)
    return [name for name, count in dead.most_common() if count >= stood[name]]


def _name_components(health: Any) -> Iterable[str]:
    for layer in RunHealth.from_metadata(health).layers:
        yield from (name_component(layer.kind, counts.model) for counts in layer.outcomes if counts.count)


def _write_sentence(found: dict[str, Any], result: "SearchResult") -> str:
    clauses = _describe_single(found, result) if found["use"] == "single model" else _describe_architecture(found)
    if found["cost_weight"]:
        clauses.append(f"a {result.settings.cost_unit.removesuffix('s')} counts as {found['cost_weight']:g} of score")
    if dead := found["never_worked"]:
        names = ", ".join(dead[:MAX_NAMED]) + (f" and {len(dead) - MAX_NAMED} more" if dead[MAX_NAMED:] else "")
        clauses.append(f"{names} never worked, so that this says nothing of architectures in which it would")
    return "; ".join(clauses) + "."


def _describe_architecture(found: dict[str, Any]) -> list[str]:
    gain = found["gain"]
    if gain is None:
        return [f"Use {found['name']} (best.yaml); what it brings over the best single model is not known"]
    clauses = [
        f"Use {found['name']} (best.yaml): it brings {_format_gain(gain, found)} over the best single model "
        f"{found['against']}, {_format_cost(found)}"
    ]
    unknown = []
    for name, against in found["controls"].items():
        words = f"{name} of {found['against']} at equal calls"
        if against is None:
            unknown.append(f"whether it is better than {words}")
        elif against["verdict"] == "worse":
            clauses.append(f"{words} is shown better than it: {_format_interval(against, negate=True)}")
        elif against["verdict"] != "better":
            unknown.append(f"whether it is better than {words} ({_format_interval(against)}{_format_more(against)})")
    return [*clauses, f"not known is {', and '.join(unknown)}"] if unknown else clauses


def _describe_single(found: dict[str, Any], result: "SearchResult") -> list[str]:
    use = f"Use the best single model, {found['name']} (best.yaml): no architecture is shown better"
    gain, count = found["gain"], sum(finalist.key != SINGLE for finalist in result.finalists)
    if found["tested"] is None or gain is None:
        return [use, "none could be compared with it"]
    if found["questions"] == "dev":
        who = f"all {count} that were confirmed are shown worse, the best of them, {found['tested']}, by"
        if count == 1:
            who = f"{found['tested']}, which alone was confirmed, is shown worse by"
        clauses = [f"{use}: {who} {_format_gain(gain, found)}"]
    else:
        chosen = f"chosen of {count} that were confirmed" if count > 1 else "which alone was confirmed"
        clauses = [
            f"{use}: {found['tested']} (candidate.yaml), {chosen}, brings {_format_gain(gain, found)}, "
            f"{_format_cost(found)}"
        ]
        if found["more_questions"]:
            size, more = 100 * found["effect"], f"{found['more_questions']:,} more questions"
            is_seen = found["effect"] == gain["value"]
            what = f"if it is really {size:+.1f} points" if is_seen else f"were it a gain of {size:.0f} points"
            clauses.append(f"{what}, about {more} ({found['more_calls']:,} calls) would show it four times out of five")
    for name, against in found["controls"].items():
        if against and against["verdict"] == "worse":
            clauses.append(f"{name} of it is shown better: {_format_interval(against, negate=True)}")
    return clauses


def _format_gain(gain: dict[str, Any], found: dict[str, Any]) -> str:
    """`+6.1 points (+2.0 to +10.3, 95%, 400 held-out questions)`."""
    return _format_interval(
        gain, f", {100 * gain['confidence']:g}%, {gain['questions']} {found['questions']} questions"
    )


def _format_interval(gain: dict[str, Any], more: str = "", *, negate: bool = False) -> str:
    ends: Sequence[float | None] = [gain["low"], gain["high"]]
    value = gain["value"]
    if negate:
        value, ends = -value, [None if end is None else -end for end in reversed(ends)]
    low, high = ends
    interval = "no interval is known" if low is None or high is None else f"{100 * low:+.1f} to {100 * high:+.1f}"
    return f"{100 * value + 0.0:+.1f} points ({interval}{more})"


def _format_more(gain: dict[str, Any]) -> str:
    more = gain["more_questions"]
    return (
        f"; about {max(1, more):,} more questions would tell" if more is not None and more <= MAX_MORE_QUESTIONS else ""
    )


def _format_cost(found: dict[str, Any]) -> str:
    calls, dollars = found["calls_per_question"], found["dollars_per_question"]
    text = f"for {calls['tested']:.1f} calls per question instead of {calls['single']:.1f}"
    if dollars["tested"] is None or dollars["single"] is None:
        return f"{text} (dollars are not known)"
    return f"{text} (${dollars['tested']:.4f} instead of ${dollars['single']:.4f})"
