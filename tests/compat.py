"""Runs the tests of the doors with the oldest and the newest Inspect and lm-eval of the declared ranges: `make compat`.

Each end gets an environment of its own, in which pip installs this package. Printed per end: the versions, which of the
private names that `archon_eval._inspect_compat` uses are not where they were (and where a definition of that name is
now), and how the tests ended. Exit code 1 where a test failed or an end could not be installed.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-compat"
DOORS = ("tests/test_inspect_compat.py", "tests/solvers", "tests/integrations", "tests/models", "tests/runs")
WITHOUT = ("tests/integrations/test_real_model.py",)
"""The real model says nothing of versions that loopback servers do not, and takes minutes."""
HARNESSES = ("inspect-ai", "lm-eval")
OLD_CLIENTS = ("anthropic<2",)
"""What an Inspect of the oldest version needs older too: before 0.3.284 it cannot read what anthropic 2 sends."""
EXTRAS = ("lm-eval", "search", "docker")
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "import-linter")
_MISSING = """
import json
from archon_eval import _inspect_compat as compat
moved = {}
for name, place in compat.PRIVATE_NAMES.items():
    try:
        getattr(compat, name)
    except ImportError:
        moved[name] = place
print(json.dumps(moved))
"""


@dataclass(frozen=True, slots=True)
class End:
    """One end of the declared ranges."""

    name: str
    pins: tuple[str, ...]
    """Requirements beside this package's own."""

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return FOLDER / self.name / "bin" / "python"


def read_lower_bounds() -> dict[str, str]:
    """The lowest version of each harness that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    bounds = {}
    for name in HARNESSES:
        found = next(match for line in listed if (match := re.match(rf"{name}\S*>=([\w.]+)", line)))
        bounds[name] = found[1]
    return bounds


def list_ends() -> list[End]:
    """The oldest versions of the ranges, and the newest that are published."""
    oldest = (*(f"{name}=={least}" for name, least in read_lower_bounds().items()), *OLD_CLIENTS)
    return [End("oldest", oldest), End("newest", ())]


def install(end: End) -> None:
    """Make the end's environment anew; what pip prints is shown where it fails."""
    shutil.rmtree(FOLDER / end.name, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(FOLDER / end.name)], check=True)
    wanted = [*TOOLS, *end.pins, "-e", f"{ROOT}[{','.join(EXTRAS)}]"]
    pip = [str(end.python), "-m", "pip", "--disable-pip-version-check", "-qq", "install", "--upgrade"]
    subprocess.run([*pip, *wanted], check=True, cwd=ROOT)


def read_versions(end: End) -> dict[str, str]:
    """The harnesses and clients that its environment has, `{"inspect-ai": "0.3.285", ...}`; empty if one is missing."""
    names = (*HARNESSES, "openai", "anthropic")
    code = (
        f"import json; from importlib.metadata import version; print(json.dumps({{n: version(n) for n in {names!r}}}))"
    )
    done = subprocess.run([str(end.python), "-c", code], capture_output=True, text=True)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def is_installed(end: End) -> bool:
    """Whether its environment of the last time has the versions that the ranges ask for now."""
    if not end.python.exists() or not (versions := read_versions(end)):
        return False
    wanted = [pin.split("==") for pin in end.pins if "==" in pin]
    return all(versions[name] == version for name, version in wanted)


def list_moved(end: End) -> Iterator[str]:
    """A line per private name that is not where it was, with the files that define one of that name now."""
    read = subprocess.run([str(end.python), "-c", _MISSING], check=True, capture_output=True, text=True, cwd=ROOT)
    site = next((FOLDER / end.name).glob("lib/python*/site-packages"))
    for name, place in json.loads(read.stdout).items():
        module, _, attribute = place.partition(":")
        definition = re.compile(
            rf"^\s*(?:async def|def|class) {re.escape(attribute)}\b|^{re.escape(attribute)}\s*[:=]", re.M
        )
        package = site / module.partition(".")[0]
        places = [
            str(file.relative_to(site))
            for file in sorted(package.rglob("*.py"))
            if definition.search(file.read_text(encoding="utf-8", errors="replace"))
        ]
        yield f"{name}: not at {place}; {'now in ' + ', '.join(places[:3]) if places else 'no definition of that name'}"


def run_tests(end: End, tests: tuple[str, ...], processes: str) -> list[str]:
    """The failed tests, each with the first line of its reason; prints the counts."""
    report = FOLDER / f"{end.name}.xml"
    report.unlink(missing_ok=True)
    command = [str(end.python), "-m", "pytest", "-q", "-n", processes, "--dist", "loadgroup", f"--junit-xml={report}"]
    ignored = [f"--ignore={path}" for path in WITHOUT]
    done = subprocess.run([*command, *ignored, *tests], cwd=ROOT, capture_output=True, text=True)
    if done.returncode not in (0, 1) or not report.exists():  # interrupted, no such tests, an error of its own
        return [f"pytest did not run to its end (code {done.returncode}):\n{done.stdout[-2000:]}{done.stderr[-2000:]}"]
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = [(case, bad) for case in cases for tag in ("failure", "error") if (bad := case.find(tag)) is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    print(f"  tests: {len(cases) - len(failed) - skipped} passed, {len(failed)} failed, {skipped} skipped")
    return [f"{case.get('classname')}::{case.get('name')}: {_read_first_line(bad)}" for case, bad in failed]


def _read_first_line(bad: ElementTree.Element) -> str:
    """Of why a test failed."""
    return (bad.get("message") or "").partition("\n")[0][:200]


def main() -> int:
    """Both ends, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*", default=DOORS, help="tests to run (default: those of the doors)")
    parser.add_argument("--end", choices=[end.name for end in list_ends()], help="one end only")
    parser.add_argument("--keep", action="store_true", help="use the environments of the last time that fit")
    parser.add_argument("-n", default="2", help="processes (%(default)s)")
    options = parser.parse_args()
    bad = 0
    for end in list_ends():
        if options.end not in (None, end.name):
            continue
        if not (options.keep and is_installed(end)):
            print(f"{end.name}: installing {' '.join(end.pins) or 'the newest published'}", flush=True)
            install(end)
        print(f"{end.name}: {', '.join(map(' '.join, read_versions(end).items()))}", flush=True)
        lines = [f"moved: {line}" for line in list_moved(end)]
        lines += [f"failed: {line}" for line in run_tests(end, tuple(options.tests), options.n)]
        print("".join(f"  {line}\n" for line in lines) or "  nothing moved, nothing failed", flush=True)
        bad += bool(lines)
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
