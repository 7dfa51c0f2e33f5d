"""Findings of the doctor and errors of the image builder, with and without daemon and image."""

from types import SimpleNamespace
from typing import Any

import docker
import pytest

from archon_eval.errors import SandboxError
from archon_eval.sandbox import image
from archon_eval.sandbox.doctor import diagnose


def test_a_working_machine(client: Any) -> None:
    findings = diagnose()
    assert all(f.ok for f in findings if f.required), findings
    assert "a worker container starts" in findings[-1].subject
    assert all(f.fix for f in findings if not f.ok)


def test_no_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    last = diagnose()[-1]
    assert not last.ok and "no Docker daemon answers" in last.subject and "DOCKER_HOST" in last.fix


def test_no_image(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHON_SANDBOX_IMAGE", "archon-sandbox:absent")
    last = diagnose()[-1]
    assert not last.ok and last.fix == "archon sandbox build"


def test_an_image_without_python(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial container shows it, with the engine's own message."""
    empty = client.api.import_image_from_data(b"\0" * 10240, repository="archon-sandbox-test", tag="empty")
    assert "error" not in str(empty)
    monkeypatch.setenv("ARCHON_SANDBOX_IMAGE", "archon-sandbox-test:empty")
    try:
        last = diagnose()[-1]
    finally:
        client.images.remove("archon-sandbox-test:empty", force=True)
    assert not last.ok and "python3" in last.subject and "ARCHON_SANDBOX_IMAGE" in last.fix


def test_build_finds_what_it_built(client: Any) -> None:
    assert image.build_image(client) == image.get_default_image()
    setuid = "import os\nfor d, _, fs in os.walk('/usr'):\n for f in fs:\n  p = d + '/' + f\n"
    setuid += "  if not os.path.islink(p) and os.stat(p).st_mode & 0o6000: print(p)"
    assert client.containers.run(image.get_default_image(), ["python3", "-c", setuid], remove=True) == b""


def test_build_names_every_way_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> None:
        raise docker.errors.ImageNotFound("no")

    def refused(*_: object) -> None:
        raise docker.errors.APIError("lookup registry: no such host")

    offline: Any = SimpleNamespace(images=SimpleNamespace(get=absent, pull=refused))
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SandboxError, match=r"pull: .*no such host.*debootstrap: debootstrap is not installed"):
        image.build_image(offline)


def test_the_tag_follows_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    first = image.get_default_image()
    monkeypatch.setattr(image, "PACKAGES", "python3,numpy")
    assert image.get_default_image() != first
