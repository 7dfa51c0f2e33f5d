"""Checks what the sandbox needs on this machine; each finding says what to type.

for finding in diagnose():
    print("ok" if finding.ok else "MISSING", finding.subject, finding.fix)
"""

import importlib.util
import shutil
import time
from dataclasses import dataclass
from typing import Any

from archon_eval.errors import SandboxError
from archon_eval.sandbox.container import Container
from archon_eval.sandbox.hosts import DEFAULT_SOCKET, DockerHost, explain_loss
from archon_eval.sandbox.image import connect, get_default_image, has_image, require_image

INSTALL_HINT = "apt-get install docker.io (Debian, Ubuntu) or https://docs.docker.com/engine/install"
TRIAL_MEMORY = 256 << 20
"""Bytes for the trial container: it compiles an empty program only."""
START_HINT = (
    "start it (`systemctl start docker`, or `dockerd &` as root), let this user in (`usermod -aG docker $USER`), "
    "or point DOCKER_HOST at a daemon (rootless Docker: unix://$XDG_RUNTIME_DIR/docker.sock, "
    "Podman: `podman system service -t 0 &` and unix://$XDG_RUNTIME_DIR/podman/podman.sock)"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    ok: bool
    subject: str
    """The thing that was checked."""
    fix: str = ""
    """Command or advice where it is not ok."""
    required: bool = True
    """Whether programs cannot run without it."""


def diagnose(host: DockerHost | None = None) -> list[Finding]:
    """Check everything the sandbox needs of a host, in order, up to the first fault that hides the rest."""
    host = host or DockerHost()
    if importlib.util.find_spec("docker") is None:
        return [Finding(False, "the Python package docker", "pip install 'archon-eval[docker]'")]
    findings = [Finding(True, "the Python package docker")]
    try:
        client = connect(host)
    except SandboxError as e:
        local = host.url == DEFAULT_SOCKET and not shutil.which("dockerd")
        return [
            *findings,
            Finding(False, str(e).partition(";")[0], f"{INSTALL_HINT}; then {START_HINT}" if local else START_HINT),
        ]
    try:
        with explain_loss(f"the Docker daemon at {host.name} fails"):
            return findings + _check_daemon(client) + _check_image(client, host)
    except SandboxError as e:
        return [*findings, Finding(False, str(e), START_HINT)]


def _check_image(client: Any, host: DockerHost) -> list[Finding]:
    image = get_default_image()
    if not has_image(client, image):
        return [Finding(False, f"the image {image}", f"archon sandbox build{_format_option(host)}")]
    try:
        require_image(client, image)
    except SandboxError as e:
        subject, _, fix = str(e).partition(": ")
        return [Finding(False, subject, fix)]
    return [Finding(True, f"the image {image}"), _check_container_start(client, image)]


def _format_option(host: DockerHost) -> str:
    return f" --docker-hosts {host.name}" if host.address else ""


def _check_daemon(client: Any) -> list[Finding]:
    info = client.info()
    protections = " ".join(info.get("SecurityOptions") or [])
    features = {
        "memory limits": (
            info.get("MemoryLimit"),
            "without them only each process is limited: enable the memory cgroup",
        ),
        "swap limits": (info.get("SwapLimit"), "add swapaccount=1 to the kernel's command line, or turn swap off"),
        "process limits": (info.get("PidsLimit"), "enable the pids cgroup"),
        "seccomp": ("seccomp" in protections, "build or choose an engine with seccomp"),
    }
    return [
        Finding(True, f"a daemon answers: {info.get('OperatingSystem')}, engine {info.get('ServerVersion')}"),
        *(
            Finding(bool(ok), f"{name} in the engine", "" if ok else fix, required=False)
            for name, (ok, fix) in features.items()
        ),
    ]


def _check_container_start(client: Any, image: str) -> Finding:
    started = time.monotonic()
    try:
        Container(client, image, TRIAL_MEMORY).close()
    except SandboxError as e:
        return Finding(False, f"a worker container: {e}", "archon sandbox build, or another ARCHON_SANDBOX_IMAGE")
    return Finding(True, f"a worker container starts, compiles and ends ({time.monotonic() - started:.2f} s)")
