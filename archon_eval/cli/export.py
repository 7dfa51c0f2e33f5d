"""`archon export sft | preferences`: training data of finished evals.

$ archon export preferences logs -o pairs.jsonl --by ranking --per-question 1
"""

import argparse
import json
from pathlib import Path
from typing import Any

from archon_eval.cli.commands import add_command
from archon_eval.cli.progress import ProgressDisplay, ProgressUpdate
from archon_eval.errors import DataError, sanitize_text

LICENCES = (
    "Whether you may train on these is for you to find out: the benchmark's questions have a licence, and the models' "
    "providers have terms."
)


def add(commands: Any) -> None:
    """Add this group's commands."""
    export = add_command(commands, "export", "training data of finished evals")
    kinds = export.add_subparsers(metavar="KIND", required=True)
    for kind, summary in (
        ("sft", "final answers as conversations, a line of JSON each"),
        ("preferences", "pairs of a better and a worse answer to one prompt, a line of JSON each"),
    ):
        command = add_command(kinds, kind, summary, run=_export)
        command.set_defaults(kind=kind)
        command.add_argument("logs", nargs="+", type=Path, metavar="LOGS", help="logs, or folders of logs or searches")
        command.add_argument("-o", "--output", type=Path, metavar="FILE", help="lines of JSON")
        command.add_argument("--dataset", type=Path, metavar="FOLDER", help="for datasets.load_from_disk, as well")
        command.add_argument("--dry-run", action="store_true", help="count, and write nothing")
        command.add_argument(
            "--scorer", metavar="NAME", help="which score counts, NAME or NAME/KEY (default: the first)"
        )
        command.add_argument("--min-score", type=float, metavar="X", help="only of answers with at least this score")
        command.add_argument("--per-question", type=_parse_count, metavar="N", help="at most so many rows, best first")
        if kind == "preferences":
            command.add_argument(
                "--by",
                action="append",
                default=[],
                metavar="SOURCE",
                help="score, ranking, verdict, tests, reward, or a component's own; repeat for several (default: all)",
            )
        command.add_argument("--with-thoughts", action="store_true", help="the models' thoughts, as the key `thinking`")
        command.add_argument(
            "--include-held-out", action="store_true", help="questions too that are kept for testing (default: refused)"
        )
        command.add_argument("--json", action="store_true", help="the result as JSON, progress as JSON on stderr")


def _parse_count(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return value


def _export(options: argparse.Namespace) -> int:
    from archon_eval.export.export import ExportOptions, export_rows
    from archon_eval.export.rows import RowFilter

    places = [place for place in (options.output, options.dataset) if place is not None]
    if not places and not options.dry_run:
        raise DataError("where to? -o FILE.jsonl, --dataset FOLDER, or --dry-run to count")
    wanted = RowFilter(
        min_score=options.min_score,
        per_question=options.per_question,
        by=tuple(getattr(options, "by", ())),
        with_thoughts=options.with_thoughts,
    )
    chosen = ExportOptions(options.kind, wanted, options.scorer, options.include_held_out)
    with ProgressDisplay("export", options.json) as progress:
        report = export_rows(
            options.logs,
            chosen,
            None if options.dry_run else options.output,
            dataset=None if options.dry_run else options.dataset,
            on_question=lambda done, total: progress(ProgressUpdate("exporting", done, total, unit="questions")),
        )
    if options.json:
        print(json.dumps({**report.to_mapping(), "written": not options.dry_run}, indent=2, ensure_ascii=False))
        return 0
    where = "would be written" if options.dry_run else f"written to {' and '.join(map(str, places))}"
    lines = [f"{report.rows:,} rows of {report.questions:,} questions in {report.logs:,} logs {where}"]
    if report.held_out:
        what = "exported" if options.include_held_out else "refused (--include-held-out exports them)"
        lines.append(f"{report.held_out:,} held-out questions {what}")
    if report.unsplit:
        lines.append(f"{report.unsplit:,} questions have no split in their logs: none of them was held out")
    if report.sources:
        counts = ", ".join(f"{count:,} by {source}" for source, count in report.sources.most_common())
        lines.append(f"Pairs before any was left out: {counts}")
    lines += [f"Left out: {count:,} {reason}" for reason, count in report.left_out.most_common() if count]
    lines += [f"Note: {note}" for note in report.notes]
    lines += [f"Not read: {problem}" for problem in report.problems]
    print(sanitize_text("\n".join([*lines, LICENCES])))
    return 0
