"""The sandbox's image: a bare Debian with Python's whole standard library, from a registry or built here.

    client = connect()
    image = build_image(client)          # the tag is derived from the recipe, so a second call finds the image

Where a registry is reachable, the pinned `python:slim` image is pulled; elsewhere `debootstrap` makes the same
thing in about 35 seconds (root, Debian or Ubuntu). `ARCHON_SANDBOX_IMAGE` names another image that has `python3`.
"""

import os
import shutil
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from archon_eval.errors import SandboxError

REGISTRY_IMAGE = "python:3.11.13-slim-bookworm"
DEBIAN_SUITE = "bookworm"
PACKAGES = "python3,libpython3-stdlib"
"""Debian's `python3` alone has a part of the standard library only."""
REMOVED_PATHS = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/log",
)
"""Folders that no program needs: a third of the image."""
CLIENT_TIMEOUT = 120
"""Seconds for one answer of the daemon: on a slow disk, an image's import takes a minute."""
DOCTOR_HINT = "run `archon sandbox doctor` to see what is missing and what to type"


def get_default_image() -> str:
    """The tag programs run in: `ARCHON_SANDBOX_IMAGE`, or one derived from the recipe above."""
    recipe = "\n".join([REGISTRY_IMAGE, DEBIAN_SUITE, PACKAGES, *REMOVED_PATHS])
    return os.environ.get("ARCHON_SANDBOX_IMAGE") or f"archon-sandbox:{sha256(recipe.encode()).hexdigest()[:12]}"


def connect() -> Any:
    """A docker-py client for `DOCKER_HOST` or the local socket.

    Raises:
        SandboxError: the package or the daemon is missing; the message names `archon sandbox doctor`.
    """
    try:
        import docker
    except ImportError as e:
        raise SandboxError(
            f"the sandbox needs the docker package (pip install 'archon-eval[docker]'); {DOCTOR_HINT}"
        ) from e
    try:
        client = docker.from_env(timeout=CLIENT_TIMEOUT)
        client.ping()
    except (docker.errors.DockerException, OSError) as e:
        where = os.environ.get("DOCKER_HOST", "the default socket")
        raise SandboxError(f"no Docker daemon answers at {where} ({e}); {DOCTOR_HINT}") from e
    return client


def has_image(client: Any, image: str) -> bool:
    """Whether the daemon has the image."""
    import docker

    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        return False
    return True


def require_image(client: Any, image: str) -> None:
    """Raise `SandboxError` with what to type unless the daemon has the image."""
    if not has_image(client, image):
        raise SandboxError(f"the daemon has no image {image!r}: run `archon sandbox build` first, or {DOCTOR_HINT}")


def check_docker() -> None:
    """Raise `SandboxError` with what to type unless programs can run here; called before anything is paid for."""
    client = connect()
    try:
        require_image(client, get_default_image())
    finally:
        client.close()


def build_image(
    client: Any = None, method: Literal["auto", "pull", "debootstrap"] = "auto", *, mirror: str | None = None
) -> str:
    """Make the image unless the daemon has it.

    Args:
        client: docker-py's client; by default one for `DOCKER_HOST` or the local socket.
        method: `pull` from a registry, `debootstrap` here, or `auto`: the first that works.
        mirror: a Debian mirror; by default `ARCHON_DEBIAN_MIRROR`, then debootstrap's own.

    Returns:
        The image's tag.

    Raises:
        SandboxError: no method works; the message has the reason of each.
    """
    client = client or connect()
    image = get_default_image()
    if has_image(client, image):
        return image
    methods = {"pull": lambda: _pull(client, image), "debootstrap": lambda: _run_debootstrap(client, image, mirror)}
    failed: list[str] = []
    for name in methods if method == "auto" else (method,):
        try:
            methods[name]()
        except (SandboxError, OSError) as e:
            failed.append(f"{name}: {e}")
        else:
            return image
    raise SandboxError(f"the image {image!r} cannot be made; " + "; ".join(failed))


def _pull(client: Any, image: str) -> None:
    import docker

    try:
        client.images.pull(REGISTRY_IMAGE).tag(image)
    except docker.errors.APIError as e:
        raise SandboxError(str(e.explanation or e)) from e


def _run_debootstrap(client: Any, image: str, mirror: str | None) -> None:
    if not shutil.which("debootstrap"):
        raise SandboxError("debootstrap is not installed (Debian, Ubuntu: apt-get install debootstrap)")
    if os.geteuid() != 0:
        raise SandboxError("debootstrap needs root")
    mirror = mirror or os.environ.get("ARCHON_DEBIAN_MIRROR")
    with tempfile.TemporaryDirectory(prefix="archon-sandbox-") as folder:
        root = Path(folder, "root")
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", DEBIAN_SUITE, str(root)]
        done = subprocess.run([*command, mirror] if mirror else command, capture_output=True, text=True)
        if done.returncode:
            raise SandboxError(f"debootstrap failed: {(done.stdout + done.stderr)[-500:]}")
        for path in REMOVED_PATHS:
            shutil.rmtree(root / path, ignore_errors=True)
        _import_image(client, image, root)


def _import_image(client: Any, image: str, root: Path) -> None:
    """Hand the tree to the daemon, without set-user-id bits: no program shall gain rights by one."""
    repository, _, tag = image.partition(":")
    subprocess.run(["find", str(root), "-xdev", "-perm", "/6000", "-exec", "chmod", "ug-s", "{}", "+"], check=True)
    with subprocess.Popen(["tar", "-C", str(root), "--numeric-owner", "-cf", "-", "."], stdout=subprocess.PIPE) as tar:
        changes = ["ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", 'CMD ["python3"]']
        client.api.import_image_from_stream(tar.stdout, repository=repository, tag=tag, changes=changes)
    if tar.returncode or not has_image(client, image):
        raise SandboxError("docker import failed")
