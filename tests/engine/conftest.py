"""The same test through both command lines; and a registry that does what it is told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness import Engine, Result
from harness.wild_registry import Wild

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


@pytest.fixture(scope="module")
def served(engine: Engine) -> Iterator[Wild]:
    with Wild(engine) as registry:
        yield registry


@pytest.fixture
def registry(engine: Engine, served: Wild) -> Iterator[Wild]:
    """Empty and well-behaved; the engine's images are gone afterwards."""
    served.forget()
    yield served
    for image in engine.api("GET", "/images/json")[1]:
        engine.api("DELETE", f"/images/{image['Id']}?force=true")
