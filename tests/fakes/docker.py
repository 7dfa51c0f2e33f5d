"""What a test that runs programs begins with: `require_docker()`."""

import os

import pytest

from archon_eval.errors import SandboxError
from archon_eval.sandbox.image import build_image


def require_docker() -> None:
    """Skips, loudly, where no program can be run; fails there in CI."""
    try:
        build_image()
    except SandboxError as error:
        if os.environ.get("CI") == "true" or os.environ.get("ARCHON_REQUIRE_DOCKER") == "1":
            pytest.fail(f"Docker is required here: {error}")
        pytest.skip(f"NO DOCKER, programs are not run: {error}")
