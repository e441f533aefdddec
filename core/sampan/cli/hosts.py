"""Where the daemon is: ``-H``, then ``SAMPAN_HOST``, then ``DOCKER_HOST``, then the default socket."""

from __future__ import annotations

import os

from sampan.cli.failures import Usage

DEFAULT = "unix:///run/sampan.sock"
EXEC_ROOT = "/run/sampan"
"""Both are the configuration's defaults; a test holds them equal (the client must not import the engine)."""


class Host:
    """``address`` is a path or a host and port; ``chosen`` says whether the user named it."""

    __slots__ = ("address", "chosen", "text")

    def __init__(self, text: str, address: str | tuple[str, int], *, chosen: bool) -> None:
        self.text = text
        self.address = address
        self.chosen = chosen

    def __str__(self) -> str:
        return self.text


def find(flag: str = "") -> Host:
    """The host to talk to. Raises Usage for one that cannot be understood."""
    text = flag or os.environ.get("SAMPAN_HOST", "") or os.environ.get("DOCKER_HOST", "")
    if not text:
        return Host(DEFAULT, DEFAULT.removeprefix("unix://"), chosen=False)
    return parse(text)


def parse(text: str) -> Host:
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = ("unix", text) if text.startswith("/") else ("tcp", text)
        text = f"{scheme}://{rest}"
    if scheme == "unix" and rest:
        return Host(text, rest, chosen=True)
    if scheme == "tcp":
        return Host(text, _inet(rest.rstrip("/"), text), chosen=True)
    raise Usage(f"{text} is no host of a daemon: write unix:///path/to.sock or tcp://host:port", code=1)


def _inet(rest: str, text: str) -> tuple[str, int]:
    if os.environ.get("DOCKER_TLS_VERIFY") or os.environ.get("DOCKER_TLS"):
        raise Usage(f"{text} wants TLS, which this version does not speak yet: use a Unix socket or ssh -L", code=1)
    name, _, port = rest.rpartition(":") if not rest.endswith("]") else (rest, "", "")
    if not name:
        name, port = rest, ""
    if port and not port.isdigit():
        raise Usage(f"{text} has no valid port: write tcp://host:port", code=1)
    return name.strip("[]") or "localhost", int(port or 2375)
