"""`archon demo | sim-check | sandbox`: commands that run something. Each imports what it needs when it runs."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archon_eval.cli.commands import add_command
from archon_eval.cli.eval_options import add_docker_hosts_option, add_door_option
from archon_eval.cli.progress import ProgressDisplay, ProgressUpdate
from archon_eval.cli.tables import create_table, print_table
from archon_eval.errors import SimulationError, did_you_mean


def add(commands: Any) -> None:
    """Add this group's commands."""
    demo = add_command(commands, "demo", "four systems on the bundled problems, as real evals", run=_run_demo)
    demo.add_argument("--models", default="sim/pool", help="separated by commas, strongest first (default: simulated)")
    demo.add_argument("--small", action="store_true", help="few easy questions and short replies, for a small model")
    add_door_option(demo, "auto")
    add_docker_hosts_option(demo)
    demo.add_argument("--log-dir", type=Path, default=Path("logs", "demo"), help="where the logs go (%(default)s)")
    demo.add_argument("--json", action="store_true", help="the figures as JSON, progress as JSON on stderr")

    check = add_command(
        commands, "sim-check", "how far the simulated pool agrees with the published results", run=_check_simulation
    )
    check.add_argument("--questions", type=int, default=200, help="made-up questions per family (%(default)s)")
    check.add_argument("--seed", type=int, default=0, help="of the simulated world (%(default)s)")
    check.add_argument("--families", help="benchmark families, separated by commas (default: all)")
    check.add_argument("--json", action="store_true", help="everything, as JSON")

    sandbox = add_command(commands, "sandbox", "the sandbox that runs programs")
    actions = sandbox.add_subparsers(metavar="ACTION", required=True)
    build = add_command(actions, "build", "make sure its image is there", run=_build_sandbox)
    build.add_argument("--method", choices=("auto", "pull", "debootstrap"), default="auto", help="how (%(default)s)")
    build.add_argument("--mirror", help="the Debian mirror that debootstrap uses")
    doctor = add_command(actions, "doctor", "what is missing, and what to do about it", run=_diagnose_sandbox)
    for command in (build, doctor):
        add_docker_hosts_option(command)


def _run_demo(options: argparse.Namespace) -> int:
    from rich.console import Console

    from archon_eval.cli.demo import dump_results, run_demo

    results = run_demo(
        options.models, options.log_dir, Console(), small=options.small, events=options.json, door=options.door
    )
    if options.json:
        print(json.dumps(dump_results(results, options.door), indent=2))
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
        agreement = check_agreement(
            options.questions,
            options.seed,
            families,
            on_progress=lambda done, total: progress(ProgressUpdate("simulating", done, total, unit="architectures")),
        )
    if options.json:
        print(json.dumps(agreement, indent=2))
    else:
        _print_agreement(agreement, PUBLISHED, COLUMNS)
    return 0


def _print_agreement(
    agreement: Mapping[str, Any], published: Mapping[str, Sequence[float]], columns_published: Sequence[str]
) -> None:
    """The ablations beside the published figures, then the curves."""
    correlations, ablations = agreement["spearman"], agreement["ablations"]
    table = create_table("simulated / published, %", *correlations, numbers=",".join(correlations))
    for name, figures in published.items():
        expected = dict(zip(columns_published, figures, strict=True))
        table.add_row(
            name, *(f"{ablations[c.removesuffix('_raw')][name]:.1f} / {expected[c]:.1f}" for c in correlations)
        )
    table.add_row("rank correlation", *(f"{value:.2f}" for value in correlations.values()), style="bold")
    print_table(table)
    print()
    for family, curves in agreement["curves"].items():
        for name, points in curves.items():
            print(f"{family}, {name}: " + ", ".join(f"{count}: {share:.1f}" for count, share in points.items()))
    source = f"{agreement['questions']} made-up questions per family, seed {agreement['seed']}"
    print(f"\n{source}; published: Archon v1, Table 2.")


def _build_sandbox(options: argparse.Namespace) -> int:
    from archon_eval.sandbox.image import build_on_hosts, get_default_image

    with ProgressDisplay("sandbox build") as progress:
        progress(ProgressUpdate("making sure that the image is there"))
        done = build_on_hosts(method=options.method, mirror=options.mirror)
    print(get_default_image())
    if len(done) > 1:
        for host, what in done.items():
            print(f"{'':8}{host}: {what}")
    return 0


def _diagnose_sandbox(options: argparse.Namespace) -> int:
    from archon_eval.sandbox.doctor import diagnose
    from archon_eval.sandbox.hosts import get_docker_hosts

    hosts, failed = get_docker_hosts(), False
    for host in hosts:
        if len(hosts) > 1:
            print(f"{host.name}:")
        for finding in diagnose(host):
            word = "ok" if finding.ok else "MISSING" if finding.required else "warning"
            print(f"{word:8}{finding.subject}" + (f"\n{'':8}-> {finding.fix}" if finding.fix else ""), flush=True)
            failed |= finding.required and not finding.ok
    return int(failed)
