"""Which Docker daemons run programs: read from an option, a file or `ARCHON_DOCKER_HOSTS`.

>>> [host.name for host in parse_docker_hosts("unix:///run/docker.sock, ssh://me@big.example workers=16")]
['unix:///run/docker.sock', 'ssh://big.example']
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from archon_eval.errors import HostLostError, SandboxError, did_you_mean

HOSTS_VARIABLE = "ARCHON_DOCKER_HOSTS"
LOCAL = "local"
"""Stands for the daemon that is used where no hosts are named: `DOCKER_HOST`, or the local socket."""
DEFAULT_SOCKET = "unix:///var/run/docker.sock"
SCHEMES = ("unix", "tcp", "ssh", "http", "https", "npipe")
"""The addresses that docker-py takes."""
NO_PASSWORD = "docker-py takes no password in an address: use TLS (DOCKER_TLS_VERIFY, DOCKER_CERT_PATH), or an ssh key"
_told_absent: set[str] = set()
"""Hosts of which this process has said that they are absent: samples check and open pools often."""
DockerHosts = str | Path | Sequence[str] | None
"""Addresses as text with commas or a list, or the path of a file with one per line."""
_USER_INFO = re.compile(r"(?<=//)[^/\s]*@")
"""Up to the last `@`: a password may have one."""
_MISTYPED_USER_INFO = re.compile(r"(?:(?<=//)|^)\S*@")
"""Of what is no address, as where a password has an unescaped slash."""


@dataclass(frozen=True, slots=True)
class DockerHost:
    """One daemon."""

    address: str | None = None
    """As docker-py takes it; None for `DOCKER_HOST` or the local socket. May hold a user: show `name` instead."""
    workers: int | None = None
    """Containers at once; None for one per CPU of that machine."""

    @property
    def url(self) -> str:
        """The address in force."""
        return self.address or os.environ.get("DOCKER_HOST") or DEFAULT_SOCKET

    @property
    def name(self) -> str:
        """The address in force for people and logs: without user and password."""
        return remove_user_info(self.url)


def remove_user_info(text: str) -> str:
    """The text with users and passwords taken out of the addresses in it.

    >>> remove_user_info("500 Server Error for http://me:secret@big:2375/info")
    '500 Server Error for http://big:2375/info'
    """
    return _USER_INFO.sub("", text)


def list_engine_errors() -> tuple[type[Exception], ...]:
    """What docker-py raises where a daemon refuses or does not answer; over ssh also what paramiko does, as it is."""
    import docker

    paramiko = sys.modules.get("paramiko")  # docker-py loads it where it is installed
    over_ssh = (paramiko.SSHException, EOFError) if paramiko else ()
    return (docker.errors.DockerException, OSError, *over_ssh)


@contextmanager
def explain_loss(what: str) -> Iterator[None]:
    """Turn an engine's error in the block into `HostLostError`.

    It has no cause: a traceback of it would show an address whole.

    Args:
        what: the start of the message, such as what could not be done.
    """
    try:
        yield
    except list_engine_errors() as e:
        raise HostLostError(f"{what}: {remove_user_info(str(e) or type(e).__name__)}") from None


def get_docker_hosts(hosts: DockerHosts = None) -> tuple[DockerHost, ...]:
    """The hosts given, else those of `ARCHON_DOCKER_HOSTS`, else the one of `DOCKER_HOST` or the local socket.

    Raises:
        SandboxError: see `parse_docker_hosts`.
    """
    if hosts:
        return parse_docker_hosts(hosts)
    if text := os.environ.get(HOSTS_VARIABLE):
        return parse_docker_hosts(text, HOSTS_VARIABLE)
    return (DockerHost(),)


def is_news(name: str, *, absent: bool) -> bool:
    """Whether this process has yet to say that a host is absent, or, where it has, that it is back."""
    is_new = (name in _told_absent) is not absent
    (_told_absent.add if absent else _told_absent.discard)(name)
    return is_new


def parse_docker_hosts(hosts: DockerHosts, source: str = "docker_hosts") -> tuple[DockerHost, ...]:
    """The hosts of an option.

    Args:
        hosts: addresses (`unix://`, `tcp://`, `ssh://`, or `local`), each with ` workers=N` behind it where it shall
            run other than one container per CPU; or the path of a file with one per line and `#` before comments.
        source: what has the option, for messages.

    Raises:
        SandboxError: no hosts, the same one twice, an address or option of an unknown form, or a password; says where.
    """
    is_list = isinstance(hosts, Sequence) and all(isinstance(host, str) for host in hosts)
    if not hosts or not (is_list or isinstance(hosts, Path)):
        raise SandboxError(f"{source} must be addresses or the path of a file, not {_describe(hosts)!r}")
    found: list[DockerHost] = []
    for where, text in _list_entries(hosts, source):
        host = _parse_host(text, where)
        if host.name in [other.name for other in found]:
            raise SandboxError(f"{where}: {host.name} is there twice")
        found.append(host)
    if not found:
        raise SandboxError(f"{source}: there is no address in {_describe(hosts)}")
    return tuple(found)


def _describe(hosts: DockerHosts) -> str:
    return remove_user_info(str(hosts))


def _lists_addresses(hosts: DockerHosts) -> bool:
    """Whether the option holds the addresses themselves, rather than a file that does."""
    return bool(hosts) and not isinstance(hosts, Path) and (not isinstance(hosts, str) or _is_address(hosts))


def _is_address(text: str) -> bool:
    return "://" in text or text.partition(",")[0].split()[:1] == [LOCAL]


def _list_entries(hosts: DockerHosts, source: str) -> Iterator[tuple[str, str]]:
    """Where each entry is, and its text."""
    if hosts and not isinstance(hosts, Path) and _lists_addresses(hosts):
        texts = [hosts] if isinstance(hosts, str) else hosts
        parts = (part.strip() for text in texts for part in text.split(","))
        yield from ((source, part) for part in parts if part)
        return
    path = Path(str(hosts))
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise SandboxError(
            f"{source}: {str(path)!r} is no address ({', '.join(f'{s}://' for s in SCHEMES[:3])}...), "
            f"and no file can be read there: {getattr(e, 'strerror', None) or e}"
        ) from None
    for number, line in enumerate(lines, 1):
        if text := line.partition("#")[0].strip():
            yield f"{path}, line {number}", text


def _parse_host(text: str, where: str) -> DockerHost:
    address, *options = text.split()
    workers = None
    for option in options:
        name, _, value = option.partition("=")
        if name != "workers":
            raise SandboxError(f"{where}: unknown option {name!r}{did_you_mean(name, ['workers'])}")
        if not value.isascii() or not value.isdigit() or not int(value):
            raise SandboxError(f"{where}: workers={value}: must be a whole number from 1")
        workers = int(value)
    if address == LOCAL:
        return DockerHost(None, workers)
    try:
        parts = urlsplit(address)
        problem = _find_problem(parts)
    except ValueError as e:  # which may show a part of the password as a port
        problem = NO_PASSWORD if "@" in address else str(e)
    if problem:
        raise SandboxError(f"{where}: {_MISTYPED_USER_INFO.sub('', address)}: {problem}")
    return DockerHost(address, workers)


def _find_problem(parts: SplitResult) -> str:
    if "://" not in parts.geturl() and parts.scheme not in ("unix", "npipe"):
        return f"no address such as {DEFAULT_SOCKET}, tcp://NAME:PORT or ssh://NAME"
    if parts.password is not None:
        return NO_PASSWORD
    if parts.scheme not in SCHEMES:
        return f"unknown kind of address {parts.scheme!r}{did_you_mean(parts.scheme, SCHEMES)}"
    if parts.scheme == "unix" and (parts.netloc or not parts.path.startswith("/")):
        return f"a socket's address has a whole path after three slashes, such as {DEFAULT_SOCKET}"
    if parts.scheme not in ("unix", "npipe") and not parts.hostname:
        return "the name of the machine is missing"
    if parts.scheme in ("tcp", "http", "https") and parts.port is None:
        return "the port is missing (Docker's are 2376 with TLS, 2375 without)"
    return ""
