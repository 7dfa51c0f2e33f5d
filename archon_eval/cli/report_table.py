"""`archon report --table`: one table of systems by benchmarks."""

import argparse
import sys

from archon_eval.cli.progress import ProgressDisplay, ProgressUpdate
from archon_eval.errors import DataError, sanitize_text

ENDINGS = {".md": "md", ".csv": "csv", ".tex": "latex", ".json": "json"}
"""What the name of the output says."""


def write_table(options: argparse.Namespace) -> int:
    """Write the table to the output or to stdout; what was left out, and of a CSV what must be known, to stderr.

    Raises:
        DataError: a format that is none of a table's, or nothing that can be used.
    """
    from archon_eval.report.benchmark_table import build_benchmark_table
    from archon_eval.report.ci_output import write_file
    from archon_eval.report.report_data import read_report_data
    from archon_eval.report.table_formats import TABLE_FORMATS

    form = options.format or (ENDINGS.get(options.output.suffix, "") if options.output else "md")
    if form not in TABLE_FORMATS:
        given = f"--format {form}" if form else f"{options.output}: the ending says no format of a table"
        raise DataError(f"{given}; legal with --table: {', '.join(ENDINGS)}, or --format {', '.join(TABLE_FORMATS)}")
    with ProgressDisplay("report", options.json) as progress:
        report = read_report_data(
            options.paths,
            options.scorer,
            options.missing,
            metric=options.metric,
            ignore_prompts=options.ignore_prompts,
            merge=True,
            on_progress=lambda done, total: progress(ProgressUpdate("reading logs", done, total, unit="logs")),
        )
        progress(ProgressUpdate("writing the table"))
        table = build_benchmark_table(report, by_part=options.by_part)
        content = TABLE_FORMATS[form](table)
    for problem in table.left_out:
        print(sanitize_text(f"left out: {problem}"), file=sys.stderr)
    for note in (*table.warnings, *table.notes) if form == "csv" else ():  # the other formats have them
        print(f"note: {note}", file=sys.stderr)
    if options.output is None:
        print(content, end="")
        return 0
    write_file(options.output, content)
    print(f"{options.output}: {len(table.rows)} systems, {len(table.columns)} columns of figures")
    return 0
