"""A gate's outcome for the places where CI shows it: the job page (Markdown), JUnit XML, JSON.

write_summary(outcome, "math", os.environ["GITHUB_STEP_SUMMARY"])
"""

import os
import re
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from archon_eval._files import append_whole, write_whole
from archon_eval.errors import DataError, sanitize_text
from archon_eval.report.formatting import truncate
from archon_eval.report.gate import GateOutcome
from archon_eval.runs.benchmark_run import COST_COLUMNS
from archon_eval.stats.estimates import format_score

LIGHTS = ("🟢", "🔴", "🟡")
MAX_LISTED = 20
"""Lost questions listed."""
MAX_CHARACTERS = 4_000
"""Characters of a reason, a name or a note; GitHub takes no summary above a megabyte."""
ILLEGAL_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold."""


def format_text(outcome: GateOutcome) -> str:
    """The outcome in plain lines."""
    lines = [f"{outcome.verdict}: {truncate(reason, MAX_CHARACTERS)}" for reason in outcome.reasons]
    lines += [f"warning: {truncate(warning, MAX_CHARACTERS)}" for warning in outcome.warnings]
    if outcome.paired is not None:
        paired = outcome.paired
        scores = [
            format_score(score, outcome.points, digits=outcome.digits) for score in (outcome.run, outcome.baseline)
        ]
        lines.append(
            f"{outcome.metric} of {paired.difference.n} questions: {', baseline '.join(scores)}; "
            f"{paired.wins} better, {paired.losses} worse, {paired.ties} equal"
        )
    if outcome.lost:
        lines.append(f"worse: {', '.join(truncate(question) for question, _ in outcome.lost[:MAX_LISTED])}")
    lines += [truncate(why, MAX_CHARACTERS) for why in outcome.unknown_costs]
    return sanitize_text("\n".join([*lines, *(f"note: {truncate(note, MAX_CHARACTERS)}" for note in outcome.notes)]))


def format_markdown(outcome: GateOutcome, name: str) -> str:
    """The outcome as a section for a job page."""
    lines = [f"### {LIGHTS[outcome.code]} {escape_markdown(name)}: {outcome.verdict}", ""]
    lines += [f"- {escape_markdown(reason)}" for reason in outcome.reasons]
    lines += [f"- **warning:** {escape_markdown(warning)}" for warning in outcome.warnings]
    if outcome.paired is not None:
        scores = (outcome.points * outcome.baseline, outcome.points * outcome.run)
        rows = [(outcome.metric, *scores), *((COST_COLUMNS[name], before, now) for name, before, now in outcome.cost)]
        lines += ["", "| per question | baseline | this run |", "|---|---:|---:|"]
        lines += [
            f"| {escape_markdown(title)} | {_format_number(before)} | {_format_number(now)} |"
            for title, before, now in rows
        ]
        if outcome.unknown_costs:
            lines += ["", *(f"- {escape_markdown(why)}" for why in outcome.unknown_costs)]
    if outcome.lost:
        lines += ["", f"<details><summary>{len(outcome.lost)} questions are worse</summary>", ""]
        lines += [
            f"- {escape_markdown(question)}: {format_score(-drop, outcome.points)}"
            for question, drop in outcome.lost[:MAX_LISTED]
        ]
        lines += ["", "</details>"]
    return "\n".join([*lines, "", *(f"- note: {escape_markdown(note)}" for note in outcome.notes), ""])


def escape_markdown(text: str) -> str:
    """Text that came from elsewhere, without power over the page."""
    return re.sub(r"([\\`*_{}\[\]<>|#&!~$])", r"\\\1", sanitize_text(" ".join(truncate(text, MAX_CHARACTERS).split())))


def _format_number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def format_junit(outcome: GateOutcome, name: str) -> str:
    """One test case: a regression is its failure, an undecided gate its error."""
    counts = {"tests": "1", "failures": str(int(outcome.code == 1)), "errors": str(int(outcome.code == 2))}
    suite = ElementTree.Element("testsuite", {"name": "archon gate", **counts})
    case = ElementTree.SubElement(suite, "testcase", {"classname": "archon.gate", "name": ILLEGAL_XML.sub("?", name)})
    shown = ILLEGAL_XML.sub("?", format_text(outcome))
    if outcome.code:
        kind, why = ("failure", "error")[outcome.code - 1], truncate(outcome.reasons[0], MAX_CHARACTERS)
        ElementTree.SubElement(case, kind, {"message": ILLEGAL_XML.sub("?", why)}).text = shown
    else:
        ElementTree.SubElement(case, "system-out").text = shown
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def dump_outcome(outcome: GateOutcome, name: str) -> dict[str, Any]:
    """Plain values for JSON."""
    return {"name": name, "code": outcome.code, "outcome": outcome.verdict, **asdict(outcome)}


def write_file(path: str | os.PathLike[str], content: str | bytes, mode: str = "w") -> None:
    """Write (or, with mode `a`, append) a file, all of it or nothing; its folder is made.

    Raises:
        DataError: it cannot be written.
    """
    try:
        (append_whole if mode == "a" else write_whole)(path, content)
    except OSError as exc:
        raise DataError(f"cannot write {path}: {exc.strerror or exc}") from exc
