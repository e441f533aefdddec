"""Running one CNI plugin: a program that reads its configuration, does one thing and answers (section 2).

A plugin gets an environment of its own, a group of its own, so that all of it can be ended, and no more time and room
for its answer than it is given here.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.errors import NotFound, Unavailable
from sampan_network.cni import answers

_ROOM = 1 << 20  # bytes that a plugin may answer
_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What CNI knows an endpoint by. ``namespace`` is a path, or ``""`` if the network namespace is gone."""

    container: str
    namespace: str
    interface: str


@dataclass(frozen=True, slots=True)
class Programs:
    """Where plugins are, and the seconds that each may take."""

    directories: Sequence[Path]
    patience: float

    def find(self, kind: str) -> Path:
        for directory in self.directories:
            path = directory / kind
            if path.is_file() and os.access(path, os.X_OK):
                return path
        where = ", ".join(map(str, self.directories))
        raise NotFound(f"there is no CNI plugin {kind!r} in {where}: install it, or name its directory in plugin_dirs")

    def run(self, verb: str, endpoint: Endpoint, request: Mapping[str, Any]) -> bytes:
        """What the plugin answered. ``Unavailable`` says in a sentence why it failed."""
        kind = str(request["type"])
        environment = {
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": endpoint.container,
            "CNI_NETNS": endpoint.namespace,
            "CNI_IFNAME": endpoint.interface,
            "CNI_PATH": ":".join(map(str, self.directories)),
            "PATH": os.environ.get("PATH") or _SEARCH,
        }
        process = subprocess.Popen(
            [self.find(kind)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
        try:
            answer = _talk(process, json.dumps(request).encode(), time.monotonic() + self.patience)
        except TimeoutError:
            said = f"did not answer {verb} within {self.patience:g} s and was killed"
            raise Unavailable(f"CNI plugin {kind!r} {said}") from None
        except OverflowError:
            raise Unavailable(f"CNI plugin {kind!r} answered {verb} with more than {_ROOM >> 20} MiB") from None
        finally:
            _end(process)
        if process.returncode:
            raise Unavailable(f"CNI plugin {kind!r} failed to {verb}: {answers.failure(answer, process.returncode)}")
        return answer


def _talk(process: subprocess.Popen[bytes], request: bytes, deadline: float) -> bytes:
    """Write and read at once, for a plugin may answer before it has read all."""
    assert process.stdin is not None
    assert process.stdout is not None
    answer = bytearray()
    rest = memoryview(request)
    with selectors.DefaultSelector() as selector:
        os.set_blocking(process.stdin.fileno(), False)
        selector.register(process.stdin, selectors.EVENT_WRITE)
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                if key.fileobj is process.stdout:
                    piece = os.read(process.stdout.fileno(), 1 << 16)
                    answer += piece
                    if not piece:
                        selector.unregister(process.stdout)
                else:
                    rest = rest[_written(process.stdin.fileno(), rest) :]
                    if not rest:
                        selector.unregister(process.stdin)
                        process.stdin.close()
            if len(answer) > _ROOM:
                raise OverflowError
            if time.monotonic() >= deadline:
                raise TimeoutError
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return bytes(answer)


def _written(fd: int, data: memoryview) -> int:
    """All of it, if nobody reads."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0
    except BrokenPipeError:
        return len(data)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the plugin, with all that it has started in its group."""
    if process.returncode is None:  # not waited for, so that its number is still its own, even if it has ended
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except BrokenPipeError:
                continue
