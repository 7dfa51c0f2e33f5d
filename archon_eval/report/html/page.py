"""The report as one HTML file that needs nothing else: no network, no other file.

The templates beside this module escape every value. Only three things are put in as they are: the drawings of
`diagram.py`, Vega's scripts, and the charts as JSON, escaped for a script element. A live page (`report/watch.py`) gets
later content from the server it came from, rendered by the same templates.

    Path("report.html").write_text(render_page(read_report_data(["logs"])), encoding="utf-8")
"""

from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from archon_eval.errors import DataError
from archon_eval.report.html.benchmark_section import (
    BenchmarkSection,
    build_benchmark_section,
    build_cost_rows,
    format_axis_title,
)
from archon_eval.report.html.cost_charts import build_cost_chart
from archon_eval.report.html.search_section import (
    TRIAL_AXIS_TITLE,
    SearchSection,
    build_search_section,
    build_trial_cost_rows,
    build_trial_rows,
)
from archon_eval.report.html.vega import ChartSpec, bundle_scripts, render_png
from archon_eval.report.progress_cells import FINALIST_COLUMNS
from archon_eval.report.ranking_cells import RANKING_COLUMNS, RANKING_NOTE, RANKING_NUMBERS
from archon_eval.report.report_data import ReportData, list_undrawn
from archon_eval.report.standard_errors import STANDARD_ERROR_COLUMNS, STANDARD_ERROR_NOTE

MAX_PAGE_CHARACTERS = 1_500_000
"""Characters of all questions and answers in a page, so that a browser still opens it quickly."""


@dataclass(frozen=True, slots=True)
class PageContent:
    """What a page shows, without what draws it."""

    title: str
    html: str
    """Of the element `#content`."""
    charts: dict[str, ChartSpec]
    """Id of an element of it -> what is drawn there."""


def render_page(report: ReportData, *, live_version: int | None = None, refresh_seconds: int = 0) -> str:
    """The whole page.

    Args:
        live_version: of a page that asks the server it came from for later ones; None for a page that stands alone.
        refresh_seconds: how often a browser reads the page again; 0 for never.

    Raises:
        DataError: the plotting package is missing.
    """
    values = _build_values(report)
    template = _create_environment().get_template("page.html")
    return template.render(
        **values,
        live_version=live_version,
        refresh_seconds=refresh_seconds,
        vega_scripts=Markup(bundle_scripts()),
    )


def render_content(report: ReportData) -> PageContent:
    """What the page shows, for one that is open already."""
    values = _build_values(report)
    html = _create_environment().get_template("content.html").render(**values)
    return PageContent(values["title"], html, values["charts"])


def _build_values(report: ReportData) -> dict[str, Any]:
    """What the templates read."""
    searches = [build_search_section(search, f"search{n}") for n, search in enumerate(report.searches, 1)]
    max_characters = MAX_PAGE_CHARACTERS // max(1, len(report.benchmarks))
    benchmarks = [
        build_benchmark_section(benchmark, f"bench{n}", max_characters)
        for n, benchmark in enumerate(report.benchmarks, 1)
    ]
    sections: list[SearchSection | BenchmarkSection] = [*searches, *benchmarks]
    return {
        "title": _format_title(report),
        "problems": report.problems,
        "warnings": report.warnings,
        "searches": searches,
        "benchmarks": benchmarks,
        "charts": {f"{section.id}-{name}": spec for section in sections for name, spec in section.charts.items()},
        "standard_error_columns": STANDARD_ERROR_COLUMNS,
        "standard_error_note": STANDARD_ERROR_NOTE,
        "ranking_columns": RANKING_COLUMNS,
        "ranking_numbers": RANKING_NUMBERS,
        "ranking_note": RANKING_NOTE,
        "finalist_columns": FINALIST_COLUMNS,
    }


def render_chart_png(report: ReportData, cost: str) -> bytes:
    """Score against cost of the first benchmark, or of the searches where there is no benchmark, as PNG.

    Raises:
        DataError: the plotting package is missing, or nothing to draw: also where no system's cost is known.
    """
    if report.benchmarks:
        first = report.benchmarks[0]
        if all(system.run.cost.get(cost) is None for system in first.systems):
            raise DataError(f"nothing to draw by {cost}: {' '.join(list_undrawn(first, [cost]))}")
        return render_png(build_cost_chart(build_cost_rows(first, ""), cost, format_axis_title(first), fixed=True))
    rows = [row for search in report.searches for row in build_trial_cost_rows(build_trial_rows(search, ""))]
    if not rows:
        raise DataError("nothing to draw: no run and no trial has a score")
    if all(row.get(cost) is None for row in rows):
        raise DataError(f"nothing to draw by {cost}: no trial's {cost} are known")
    return render_png(build_cost_chart(rows, cost, TRIAL_AXIS_TITLE, fixed=True))


def _create_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("archon_eval.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {}  # Jinja sorts keys, and the charts would be drawn out of order
    return environment


def _format_title(report: ReportData) -> str:
    if report.searches:
        return "Architecture search: " + ", ".join(
            f"{search.folder}, {search.progress.state}" if search.progress else search.summary.get("winner", "")
            for search in report.searches
        )
    return "Report: " + ", ".join(benchmark.task.split(",")[0] for benchmark in report.benchmarks)
