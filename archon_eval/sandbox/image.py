"""The sandbox's image: a bare Debian with Python's whole standard library, from a registry or built here.

    client = connect()
    image = build_image(client)          # the tag is derived from the recipe, so a second call finds the image

Where a registry is reachable, the pinned `python:slim` image is pulled; elsewhere `debootstrap` makes the same
thing in about 35 seconds (root, Debian or Ubuntu). `ARCHON_SANDBOX_IMAGE` names another image that has `python3`.
"""

import os
import platform
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from archon_eval._notes import show_note
from archon_eval.errors import SandboxError
from archon_eval.sandbox.container import remove_orphans
from archon_eval.sandbox.hosts import (
    NO_PASSWORD,
    DockerHost,
    DockerHosts,
    explain_loss,
    get_docker_hosts,
    is_news,
    list_engine_errors,
    remove_user_info,
)

BuildMethod = Literal["auto", "pull", "debootstrap"]
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
PROBE_TIMEOUT = 10
"""Seconds for a machine to take a connection; one that is switched off never says that it does not."""
KEEPALIVE_SECONDS = 15
"""Between two signs of life over ssh, by which the system notices a lost connection."""
MIN_API_VERSION = (1, 32)
"""The first with containers that have no shared memory (`IpcMode: none`): Docker 17.11."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
"""Images' names for the processors that daemons name as the kernel does; others have one name."""
DOCTOR_HINT = "run `archon sandbox doctor` to see what is missing and what to type"


class ImageContent(NamedTuple):
    """What tells two images apart."""

    architecture: str
    content: tuple[str, ...]
    """Digests of the layers, and the environment."""


def get_default_image() -> str:
    """The tag programs run in: `ARCHON_SANDBOX_IMAGE`, or one derived from the recipe above."""
    recipe = "\n".join([REGISTRY_IMAGE, DEBIAN_SUITE, PACKAGES, *REMOVED_PATHS])
    return os.environ.get("ARCHON_SANDBOX_IMAGE") or f"archon-sandbox:{sha256(recipe.encode()).hexdigest()[:12]}"


def connect(host: DockerHost | None = None, timeout: int = CLIENT_TIMEOUT) -> Any:
    """A docker-py client for a host, by default for `DOCKER_HOST` or the local socket.

    `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH` hold for every `tcp://` address.

    Args:
        host: the daemon.
        timeout: seconds for one answer of it.

    Raises:
        SandboxError: the package or the daemon is missing, or too old; the message names `archon sandbox doctor`.
    """
    host = host or DockerHost()
    try:
        import docker
    except ImportError as e:
        raise SandboxError(
            f"the sandbox needs the docker package (pip install 'archon-eval[docker]'); {DOCTOR_HINT}"
        ) from e
    environment = os.environ if host.address is None else {**os.environ, "DOCKER_HOST": host.address}
    faults: tuple[type[Exception], ...] = (*list_engine_errors(), ValueError)
    try:
        _probe(host)
        client = docker.from_env(timeout=timeout, environment=environment)
        client.ping()
        _bound_waits(client, timeout)
    except faults as e:
        problem = remove_user_info(str(e) or type(e).__name__)
        if "Install paramiko" in problem:
            problem = "ssh:// needs paramiko: pip install 'archon-eval[ssh]'"
        # Without the cause: a traceback of it would show the address whole.
        raise SandboxError(f"no Docker daemon answers at {host.name} ({problem}); {DOCTOR_HINT}") from None
    version = str(client.api._version)
    if tuple(map(int, version.split(".")[:2])) < MIN_API_VERSION:
        client.close()
        needed = ".".join(map(str, MIN_API_VERSION))
        raise SandboxError(
            f"the engine at {host.name} is too old: its API is {version}, the sandbox needs {needed} (Docker 17.11)"
        )
    return client


def _bound_waits(client: Any, timeout: int) -> None:
    """Over ssh, have a machine that went away noticed: paramiko waits an hour for one that answers nothing."""
    ssh = getattr(getattr(client.api, "_custom_adapter", None), "ssh_client", None)
    if ssh is not None:
        transport = ssh.get_transport()
        transport.channel_timeout = timeout
        transport.set_keepalive(KEEPALIVE_SECONDS)


def _probe(host: DockerHost) -> None:
    """Raise OSError where a TCP address takes no connection, sooner than docker-py would, ValueError at a password."""
    parts = urlsplit(host.url)
    if parts.password is not None:
        raise ValueError(NO_PASSWORD)
    if parts.scheme in ("tcp", "http", "https") and parts.hostname and parts.port:
        socket.create_connection((parts.hostname, parts.port), PROBE_TIMEOUT).close()


def has_image(client: Any, image: str) -> bool:
    """Whether the daemon has the image."""
    import docker

    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        return False
    return True


def require_image(client: Any, image: str) -> None:
    """Raise `SandboxError` with what to type unless the daemon has the image, and it is for the daemon's processor."""
    if not has_image(client, image):
        raise SandboxError(f"the daemon has no image {image!r}: run `archon sandbox build` first, or {DOCTOR_HINT}")
    machine, built_for = read_architecture(client), client.images.get(image).attrs.get("Architecture")
    if built_for and built_for != machine:
        raise SandboxError(
            f"the image {image!r} is for {built_for}, and the daemon's machine is {machine}: remove it there "
            "(`docker image rm`) and run `archon sandbox build`"
        )


def read_architecture(client: Any) -> str:
    """The processor of the daemon's machine, as images name it: `amd64`."""
    machine = str(client.info().get("Architecture"))
    return ARCHITECTURES.get(machine, machine)


def read_image_content(client: Any, image: str) -> ImageContent:
    """What is in the daemon's image, in terms that are the same for every engine.

    Its id is not: engines that keep images in containerd's store name them otherwise.
    """
    attrs = client.images.get(image).attrs
    layers = (attrs.get("RootFS") or {}).get("Layers") or [attrs["Id"]]
    environment = (attrs.get("Config") or {}).get("Env") or ()
    return ImageContent(attrs.get("Architecture") or read_architecture(client), (*layers, *environment))


def find_different_images(contents: Mapping[str, ImageContent]) -> list[str]:
    """Of hosts with processors alike, by name, those that do not all have the same image.

    >>> amd, arm = ImageContent("amd64", ("a",)), ImageContent("arm64", ("b",))
    >>> find_different_images({"one": amd, "two": amd, "other": arm})
    []
    """
    names = dict[str, list[str]]()
    for name, content in sorted(contents.items()):
        names.setdefault(content.architecture, []).append(name)
    return [name for alike in names.values() if len({contents[each] for each in alike}) > 1 for name in alike]


def describe_different_images(names: Sequence[str]) -> str:
    """What to type where hosts do not have the same image."""
    return (
        f"the Docker hosts {', '.join(names)} do not have the same image: verdicts may depend on the host; "
        "`archon sandbox build` with the same hosts copies the first one's to the others"
    )


def check_docker(hosts: DockerHosts = None, *, image: str | None = None, orphans: bool = False) -> None:
    """Raise `SandboxError` with what to type unless programs can run; called before anything is paid for.

    Of several hosts (see `get_docker_hosts`), those that cannot run programs are told in a note while one can.

    Args:
        hosts: the hosts that are checked.
        image: the image's tag; by default the sandbox's own.
        orphans: also remove the containers of dead owners.
    """
    image = image or get_default_image()
    found, faults, contents = get_docker_hosts(hosts), dict[str, str](), dict[str, ImageContent]()

    def check(host: DockerHost) -> None:
        try:
            client = connect(host)
            with closing(client), explain_loss(f"the Docker daemon at {host.name} fails"):
                require_image(client, image)
                contents[host.name] = read_image_content(client, image)
                if orphans:
                    remove_orphans(client)
        except SandboxError as e:
            faults[host.name] = str(e)

    with ThreadPoolExecutor(len(found)) as threads:
        list(threads.map(check, found))
    faults = {host.name: faults[host.name] for host in found if host.name in faults}
    if len(faults) == len(found):
        raise SandboxError(describe_faults(faults))
    if news := {name: fault for name, fault in faults.items() if is_news(name, absent=True)}:
        show_note(f"programs run without {len(faults)} of {len(found)} Docker hosts: {describe_faults(news)}")
    if different := find_different_images(contents):
        show_note(describe_different_images(different))


def describe_faults(faults: Mapping[str, str]) -> str:
    """What is wrong with each host, by its name; once where it is the same with all."""
    if len(same := {*faults.values()}) == 1:
        return same.pop()
    return "; and ".join(fault if name in fault else f"{name}: {fault}" for name, fault in faults.items())


def build_on_hosts(
    hosts: DockerHosts = None, method: BuildMethod = "auto", *, mirror: str | None = None
) -> dict[str, str]:
    """Make sure that all hosts have the same image: the first one's, which is made where no host has one.

    Machines with other processors have an image of their own.

    Returns:
        What was done, by the host's name.

    Raises:
        SandboxError: a host has no image in the end; the others have.
    """
    image, done, faults = get_default_image(), dict[str, str](), dict[str, str]()
    by_architecture: dict[str, dict[str, Any]] = {}
    for host in get_docker_hosts(hosts):
        try:
            client = connect(host)
            with explain_loss(f"the Docker daemon at {host.name} fails"):
                by_architecture.setdefault(read_architecture(client), {})[host.name] = client
        except SandboxError as e:
            faults[host.name] = str(e)
    for architecture, clients in by_architecture.items():
        first = next((name for name in clients if _has_fitting_image(clients[name], image, architecture)), "")
        if first:
            done[first] = "it is there"
        for name, client in clients.items():
            try:
                with explain_loss(f"the Docker daemon at {name} fails"):
                    if not first:
                        build_image(client, method, mirror=mirror)
                        require_image(client, image)  # one for another processor was there, and stays
                        first, done[name] = name, "made"
                    elif name != first:
                        done[name] = _copy_image(clients[first], client, image, first)
            except SandboxError as e:
                faults[name] = str(e)
        for client in clients.values():
            client.close()
    if faults:
        others = "".join(f"; {name}: {what}" for name, what in done.items())
        raise SandboxError(describe_faults(faults) + others)
    return done


def _has_fitting_image(client: Any, image: str, architecture: str) -> bool:
    try:
        return has_image(client, image) and client.images.get(image).attrs.get("Architecture") in (
            None,
            "",
            architecture,
        )
    except list_engine_errors():  # told when its turn comes
        return False


def _copy_image(source: Any, target: Any, image: str, name: str) -> str:
    """Give a daemon the image of another one, unless it has the same; what was done, in words."""
    wanted = source.images.get(image)
    if has_image(target, image) and read_image_content(target, image) == read_image_content(source, image):
        return "it is there"
    with explain_loss(f"the image could not be copied from {name}"):
        target.images.load(wanted.save(named=image))
    return f"copied from {name}"


def build_image(client: Any = None, method: BuildMethod = "auto", *, mirror: str | None = None) -> str:
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
    faults: tuple[type[Exception], ...] = (SandboxError, *list_engine_errors())
    for name in methods if method == "auto" else (method,):
        try:
            methods[name]()
        except faults as e:
            failed.append(f"{name}: {remove_user_info(str(e))}")
        else:
            return image
    raise SandboxError(f"the image {image!r} cannot be made; " + "; ".join(failed))


def _pull(client: Any, image: str) -> None:
    import docker

    try:
        client.images.pull(REGISTRY_IMAGE).tag(image)
    except docker.errors.APIError as e:
        raise SandboxError(str(e.explanation or e)) from None


def _run_debootstrap(client: Any, image: str, mirror: str | None) -> None:
    if not shutil.which("debootstrap"):
        raise SandboxError("debootstrap is not installed (Debian, Ubuntu: apt-get install debootstrap)")
    if os.geteuid() != 0:
        raise SandboxError("debootstrap needs root")
    here, there = ARCHITECTURES.get(platform.machine(), platform.machine()), read_architecture(client)
    if here != there:
        raise SandboxError(f"debootstrap makes an image for this machine's {here}, and the daemon's machine is {there}")
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
