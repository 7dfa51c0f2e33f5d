"""What `archon search` prints: the forecast of a dry run as tables, and what came of a search."""

from collections.abc import Mapping
from typing import Any

FORECAST_TITLES = {
    "stage": "stage",
    "evals": "evals",
    "calls": "calls",
    "dollars": "dollars",
    "hours": "hours",
    "answers_to_score": "answers to score",
}
"""The columns of the stages, in their order."""
_IN_TABLE = frozenset({"stages", "calls", "dollars", "hours", "answers_to_score"})
"""What of a forecast the table of stages shows."""


def print_forecast(expected: Mapping[str, Any]) -> None:
    """The stages as a table, then a line per value, `questions, dev: 5`; what is not known before is left out."""
    from archon_eval.cli.tables import create_table, print_table
    from archon_eval.errors import sanitize_text

    titles = list(FORECAST_TITLES.values())
    table = create_table(*titles, numbers=",".join(titles[1:]))
    for stage in expected["stages"]:
        values = (stage[name] for name in FORECAST_TITLES)
        table.add_row(*("unknown" if value is None else _format_value(value) for value in values))
    print_table(table)
    parts = [
        (name, value if isinstance(value, Mapping) else {"": value})
        for name, value in expected.items()
        if name not in _IN_TABLE
    ]
    for name, by_part in parts:
        for part, value in by_part.items():
            shown = part if "/" in part else part.replace("_", " ")  # a task's name as it is
            title = ", ".join(filter(None, [name.replace("_", " "), shown]))
            if value is not None:
                print(sanitize_text(f"{title}: {_format_value(value)}"))


def _format_value(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def print_summary(summary: Mapping[str, Any], console: Any) -> None:
    """Warnings, the recommendation, the held-out table, and what else is to be known; at the end the commands."""
    from archon_eval.errors import sanitize_text

    def say(text: str, **options: Any) -> None:
        console.print(sanitize_text(text), highlight=False, markup=False, soft_wrap=True, **options)

    for warning in summary["warnings"]:
        say(f"Warning: {warning}")
    say(summary["recommendation"]["sentence"], style="bold")
    _print_held_out(summary, console)
    for name, shown in summary["held_out"].items():
        say(f"{name}: {shown['architecture']}")
    for name, other in summary["winner_against"].items():
        if other["doubt"]:
            say(f"The winner against {name}: {other['doubt']}")
    if summary["verdict"]:
        say(summary["verdict"], style="bold")
    if summary["optimism"] is not None:
        optimism = f"{100 * summary['optimism']:+.1f} points of optimism"
        say(f"Its score in the search was {100 * summary['dev']:.1f}%: {optimism}.")
    for text in _describe_spending(summary):
        say(text)
    for note in summary["notes"]:
        say(f"- {note}")
    for task, choice in summary["doors"].items():
        say(f"{task}, door: {choice['door']} ({choice['reason']})")
    for command in summary["recommendation"]["commands"]:
        console.print(command, soft_wrap=True, highlight=False, markup=False)


def _print_held_out(summary: Mapping[str, Any], console: Any) -> None:
    from rich.table import Table

    from archon_eval.search.summary import format_percent

    table = Table(title="On the held-out questions", title_justify="left")
    several = len(summary["settings"]["tasks"]) > 1  # whose names would leave no room for the other columns
    if several:
        console.print(f"Score: {summary['metric']}", highlight=False, markup=False)
    for column in ("system", f"{'score' if several else summary['metric']} (95%)", "calls", "winner against it"):
        table.add_column(column, no_wrap=True)
    for name, shown in summary["held_out"].items():
        other = summary["winner_against"].get(name)
        verdict = f"{100 * other['value']:+.1f}, {other['verdict']}" if other else ""
        table.add_row(name, format_percent(shown), f"{shown['calls_per_question']:.1f}", verdict)
    console.print(table)


def _describe_spending(summary: Mapping[str, Any]) -> list[str]:
    paid, reused = summary["calls_paid"], summary["calls_reused"]
    dollars = "unknown" if summary["dollars_paid"] is None else f"${summary['dollars_paid']:.2f}"
    lines = [
        f"{summary['trials']} of {summary['space']} architectures tried; {paid:,} calls paid ({dollars}), "
        f"{reused / max(1, paid + reused):.0%} of all calls reused."
    ]
    return [*lines, *filter(None, [describe_judging(summary)])]


def describe_judging(summary: Mapping[str, Any]) -> str:
    """A sentence on what judges took; empty where there were none."""
    if not summary["judge_calls"] and not summary["judge_tokens_on_top"]:
        return ""
    calls = "an unknown number of" if summary["judge_calls"] is None else f"{summary['judge_calls']:,}"
    dollars = "unknown" if summary["judge_dollars"] is None else f"${summary['judge_dollars']:.2f}"
    roles = ", ".join(f"{role}={model}" for role, model in summary["settings"]["model_roles"])
    tokens = f"{summary['judge_tokens_on_top']:,} tokens of models in roles" + (f" ({roles})" if roles else "")
    why = f" Not known: {summary['judge_unknown']}." if summary["judge_unknown"] else ""
    return f"Judges, on top of these: {calls} calls paid ({dollars}), {tokens}.{why}"
