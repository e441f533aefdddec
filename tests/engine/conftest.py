"""The same test through both command lines."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness import Engine, Result

Cli = Callable[..., Result]


@pytest.fixture(params=["docker", "sampan"])
def cli(request: pytest.FixtureRequest, engine: Engine) -> Cli:
    """``cli("run", "--rm", …)`` through the real docker CLI, and through our own."""
    if request.param == "docker":
        request.getfixturevalue("docker_cli")
        return engine.docker
    return engine.sampan


@pytest.fixture
def shell(engine: Engine) -> str:
    """The name of an image with a shell in it."""
    return engine.image()
