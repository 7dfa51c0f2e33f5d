"""Shared by all tests: helpers on the path, no network but loopback, a home of its own for caches."""

import contextlib
import ipaddress
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

STARTUP = str(Path(__file__).parent / "startup")
"""Has a `sitecustomize` for the processes that tests start."""
SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real benchmark data beside the checkout; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no benchmark data at {SHARED}")
    return SHARED


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that opens a socket to anything but loopback fails."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0])
            loopback = host == "localhost"
            with contextlib.suppress(ValueError):
                loopback = loopback or ipaddress.ip_address(host).is_loopback
            if not loopback:
                raise RuntimeError(f"a test tried to reach {host}: only loopback is allowed")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def fake_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A loopback server with OpenAI's and Anthropic's API, and the environment that points both at it."""
    from fakes.server import FakeServer
    from inspect_ai.model._model import _models

    _models.clear()  # Inspect keeps models by name, with the address of an earlier test's server
    with FakeServer() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-fake-openai-key")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-fake-anthropic-key")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.anthropic_url)
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """The address of the tests' PostgreSQL server; skips where there is none, but not in CI."""
    from fakes.stores import find_server

    server = find_server()
    if server is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("NO POSTGRESQL: run tests/ensure_postgres.sh")
    return server


@pytest.fixture(params=["sqlite", "postgresql"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Places for call stores, of each kind in turn."""
    from fakes.stores import Stores

    server = None if request.param == "sqlite" else request.getfixturevalue("postgres_server")
    made = Stores(tmp_path, server)
    yield made
    made.close()


@pytest.fixture
def address(stores: Any) -> str:
    """Path or address of a place where no call store is yet."""
    return str(stores.new())


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium; skips where there is none, but not in CI."""
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no chromium: run tests/ensure_chromium.sh")
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = str(binary)
    profile = tmp_path_factory.mktemp("chromium")
    for word in (
        "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking "
        f"--disable-component-update --disable-sync --window-size=1200,1000 --user-data-dir={profile}"
    ).split():
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()


def pytest_configure(config: pytest.Config) -> None:
    """Python processes of tests start with `startup/sitecustomize.py`; workers of xdist are no such processes."""
    is_worker = hasattr(config, "workerinput")
    if is_worker or not getattr(config.option, "numprocesses", None):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), STARTUP]))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What has moved in Inspect is said first: everything that fails because of it comes after."""
    items.sort(key=lambda item: item.path.name != "test_inspect_compat.py")
