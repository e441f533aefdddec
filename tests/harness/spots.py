"""Places from which a test speaks: the engine's host, the neighbouring host, the inside of a container.

For ``Server`` and ``ask`` of :mod:`sampan.testing.wires`: packets from there, without a program there.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.engine import Engine
from sampan.testing.wires import Namespace


class Spot(Namespace):
    """The network namespace at a path."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.path = Path(f"/proc/{os.getpid()}/fd/{self.fd}")

    def __del__(self) -> None:
        self.close()


def host(engine: Engine) -> Spot:
    return Spot(engine.net.inside)


def outside(engine: Engine) -> Spot:
    return Spot(engine.net.outside)


def container(engine: Engine, name: str) -> Spot:
    """A running container with a sandbox of its own."""
    ident = engine.api("GET", f"/containers/{name}/json")[1]["Id"]
    return Spot(engine.root / "exec" / "netns" / str(ident))
