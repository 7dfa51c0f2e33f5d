"""The report on the questions that the search has not seen: winner, best single model, best of n."""

from archon_eval.architecture.spec import Architecture
from archon_eval.engine.plan import plan
from archon_eval.errors import BudgetSpentError
from archon_eval.models.prices import load_prices
from archon_eval.search.confirm import SINGLE
from archon_eval.search.journal import Journal
from archon_eval.search.requests import build_from_layers, build_request, build_single_model
from archon_eval.search.scheduler import StepCallback, TrialScheduler
from archon_eval.search.trial import Trial


def report_held_out(
    winner: str,
    architecture: Architecture,
    scheduler: TrialScheduler,
    *,
    journal: Journal,
    model: str,
    on_progress: StepCallback,
) -> tuple[dict[str, Trial], list[str]]:
    """Ask the held-out questions, as far as the budget goes.

    Args:
        winner: key of its trial, or `single`.
        model: the best single one.

    Returns:
        Trials of `winner`, `single` and `best-of-n`, and notes.
    """
    settings, notes = scheduler.settings, []
    wanted = {"winner": architecture, SINGLE: build_single_model(model)}
    wanted["best-of-n"] = _build_best_of_n(model, architecture, scheduler)
    if note := _count_other_winners(architecture.fingerprint, journal):
        notes.append(note)
    if winner == SINGLE:
        del wanted["winner"]
    trials: dict[str, Trial] = {}
    for name, asked in wanted.items():
        on_progress(len(trials), len(wanted))
        try:
            [trials[name]] = scheduler.run_all([build_request(settings, f"report/{name}", asked, part="test")])
        except BudgetSpentError as exc:
            notes.append(f"the budget did not allow {name} on the held-out questions: {exc}")
    on_progress(len(trials), len(wanted))
    if winner == SINGLE and SINGLE in trials:
        trials = {"winner": trials[SINGLE], **trials}
    return trials, notes


def _build_best_of_n(model: str, architecture: Architecture, scheduler: TrialScheduler) -> Architecture:
    """As many samples as the winner makes calls, and a ranker: what the same calls bring without a search."""
    calls = plan(architecture, prices=load_prices(scheduler.settings.prices)).calls[1]
    samples = min(scheduler.settings.space.max_candidates, max(2, calls - 1))
    return build_from_layers(
        f"{model} x {samples}, ranked",
        {"generator": {"model": model, "samples": samples}},
        {"ranker": {"model": model, "top_k": 1}},
    )


def _count_other_winners(fingerprint: str, journal: Journal) -> str:
    """A note when the held-out questions were asked for other winners before this one, or nothing."""
    winners = {line["fingerprint"] for line in journal.list_entries("winner")}
    if fingerprint not in winners:
        journal.add("winner", {"fingerprint": fingerprint})
    begun = [line["key"].partition("@")[0] for line in journal.list_entries("start")]
    asked = {key.rpartition("/")[2] for key in begun if key.startswith(("report/winner/", "report/single/"))}
    others = sum(other[:8] in asked for other in winners - {fingerprint})
    if not others:
        return ""
    return (
        f"the held-out questions were asked for {others} other winner{'' if others == 1 else 's'} before: "
        "choosing between winners by these scores makes them too high"
    )
