"""Clients that nobody changed for us, against a real engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from conftest import lacking
from harness import Engine


@pytest.fixture
def shell(engine: Engine) -> str:
    """The name of an image with a shell in it."""
    return engine.image()


@pytest.fixture
def docker_py(engine: Engine) -> Iterator[Any]:
    """docker-py's client."""
    try:
        import docker
    except ImportError:
        lacking("docker-py is not installed")
    client = docker.DockerClient(base_url=engine.host, timeout=30)
    yield client
    client.close()
