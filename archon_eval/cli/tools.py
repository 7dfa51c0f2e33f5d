"""`archon demo | sim-check | sandbox`: what runs something. Imports happen inside the command that needs them."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from archon_eval.cli.commands import add_command
from archon_eval.cli.progress import ProgressDisplay, ProgressUpdate
from archon_eval.cli.tables import create_table, print_table
from archon_eval.errors import SimulationError, did_you_mean


def add(commands: Any) -> None:
    """Add this group's commands."""
    demo = add_command(commands, "demo", "four systems on the bundled problems, as real evals", _run_demo)
    demo.add_argument("--models", default="sim/pool", help="separated by commas, strongest first (default: simulated)")
    demo.add_argument("--log-dir", type=Path, default=Path("logs", "demo"), help="where the logs go (%(default)s)")
    demo.add_argument("--json", action="store_true", help="the figures as JSON, progress as JSON on stderr")

    check = add_command(
        commands, "sim-check", "how far the simulated pool agrees with the published results", _check_simulation
    )
    check.add_argument("--questions", type=int, default=200, help="made-up questions per family (%(default)s)")
    check.add_argument("--seed", type=int, default=0, help="of the simulated world (%(default)s)")
    check.add_argument("--families", help="benchmark families, separated by commas (default: all)")
    check.add_argument("--json", action="store_true", help="everything, as JSON")

    sandbox = add_command(commands, "sandbox", "the sandbox that runs programs")
    actions = sandbox.add_subparsers(metavar="ACTION", required=True)
    build = add_command(actions, "build", "make sure its image is there", _build_sandbox)
    build.add_argument("--method", choices=("auto", "pull", "debootstrap"), default="auto", help="how (%(default)s)")
    build.add_argument("--mirror", help="the Debian mirror that debootstrap uses")
    add_command(actions, "doctor", "what is missing, and what to do about it", _diagnose_sandbox)


def _run_demo(options: argparse.Namespace) -> int:
    from rich.console import Console

    from archon_eval.cli.demo import run_demo

    results = run_demo(options.models, options.log_dir, Console(), options.json)
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    return 0


def _check_simulation(options: argparse.Namespace) -> int:
    from archon_eval.simulation.check import COLUMNS, PUBLISHED, check_agreement
    from archon_eval.simulation.skills import FAMILIES

    families = options.families.split(",") if options.families else FAMILIES
    if unknown := [name for name in families if name not in FAMILIES]:
        raise SimulationError(f"no benchmark family {unknown[0]!r}{did_you_mean(unknown[0], FAMILIES)}")
    if options.questions < 1:
        raise SimulationError(f"--questions must be at least 1, not {options.questions}")
    with ProgressDisplay("sim-check", options.json) as progress:
        progress(ProgressUpdate("simulating"))
        found = check_agreement(
            options.questions,
            options.seed,
            families,
            on_progress=lambda done, total: progress(ProgressUpdate("simulating", done, total, "architectures")),
        )
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    columns = list(found["spearman"])
    rows = create_table("simulated / published, %", *columns, numbers=",".join(columns))
    for name, published in PUBLISHED.items():
        shown = dict(zip(COLUMNS, published, strict=True))
        rows.add_row(
            name, *(f"{found['ablations'][c.removesuffix('_raw')][name]:.1f} / {shown[c]:.1f}" for c in columns)
        )
    rows.add_row("rank correlation", *(f"{found['spearman'][column]:.2f}" for column in columns), style="bold")
    print_table(rows)
    print()
    for family, curves in found["curves"].items():
        for name, points in curves.items():
            print(f"{family}, {name}: " + ", ".join(f"{count}: {share:.1f}" for count, share in points.items()))
    print(f"\n{found['questions']} made-up questions per family, seed {found['seed']}; published: Archon v1, Table 2.")
    return 0


def _build_sandbox(options: argparse.Namespace) -> int:
    from archon_eval.sandbox.image import build_image

    with ProgressDisplay("sandbox build") as progress:
        progress(ProgressUpdate("making sure that the image is there"))
        image = build_image(method=options.method, mirror=options.mirror)
    print(image)
    return 0


def _diagnose_sandbox(options: argparse.Namespace) -> int:
    from archon_eval.sandbox.doctor import diagnose

    findings = diagnose()
    for finding in findings:
        word = "ok" if finding.ok else "MISSING" if finding.required else "warning"
        print(f"{word:8}{finding.what}" + (f"\n{'':8}-> {finding.fix}" if finding.fix else ""))
    return int(any(finding.required and not finding.ok for finding in findings))
