"""(b) Single calls over one connection that is already open."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from reporting import OURS, Part, Row, Times, ratio_to
from rounds import WARM_UP
from scratch import IMAGE, Scratch
from warm_connection import WarmConnection

from harness.dockerd import Dockerd
from harness.engine import Engine

CALLS = ("create", "start", "wait", "remove", "all four", "exec")


def measure(scratch: Scratch, runs: int) -> Part:
    part = Part("API calls over one warm connection: a container that runs true, on bridge; exec of true", "ms")
    part.notes.append("wait: from the answer to start until the end is told; exec: create, start to the end, inspect")
    engines: dict[str, Engine | Dockerd] = {OURS: scratch.sampan}
    if scratch.dockerd:
        engines["dockerd"] = scratch.dockerd
    scratch.tell("(b)")
    calls = {name: Calls(engine) for name, engine in engines.items()}
    figures: dict[str, dict[str, Times]] = {call: {} for call in CALLS}
    try:
        for number in range(-WARM_UP, runs):
            for name, each in calls.items():
                for call, seconds in each.once().items():
                    if number >= 0:
                        figures[call].setdefault(name, []).append(seconds)
    finally:
        for each in calls.values():
            each.close()
    part.rows = [Row(call, figures[call], ratio_to("dockerd")) for call in CALLS]
    return part


class Calls:
    """One engine, with a container that is there to be exec'ed in."""

    def __init__(self, engine: Engine | Dockerd) -> None:
        self._api = WarmConnection(engine.socket)
        self._idle = self._api.ask("POST", "/containers/create", {"Image": IMAGE, "Cmd": ["sleep", "100000"]})["Id"]
        self._api.ask("POST", f"/containers/{self._idle}/start")

    def close(self) -> None:
        self._api.ask("DELETE", f"/containers/{self._idle}?force=true")
        self._api.close()

    def once(self) -> dict[str, float]:
        seconds: dict[str, float] = {}

        def timed(name: str, call: Callable[[], Any]) -> Any:
            began = time.perf_counter()
            result = call()
            seconds[name] = time.perf_counter() - began
            return result

        ask = self._api.ask
        body = {"Image": IMAGE, "Cmd": ["true"]}
        container = timed("create", lambda: ask("POST", "/containers/create", body))["Id"]
        timed("start", lambda: ask("POST", f"/containers/{container}/start"))
        end = timed("wait", lambda: ask("POST", f"/containers/{container}/wait"))
        timed("remove", lambda: ask("DELETE", f"/containers/{container}"))
        if end["StatusCode"] != 0:
            raise RuntimeError(f"true ended with {end}")
        seconds["all four"] = sum(seconds.values())
        timed("exec", self._exec)
        return seconds

    def _exec(self) -> None:
        wanted = {"Cmd": ["true"], "AttachStdout": True, "AttachStderr": True}
        key = self._api.ask("POST", f"/containers/{self._idle}/exec", wanted)["Id"]
        self._api.to_the_end("POST", f"/exec/{key}/start", {"Detach": False, "Tty": False})
        about = self._api.ask("GET", f"/exec/{key}/json")
        if about["Running"] or about["ExitCode"] != 0:
            raise RuntimeError(f"true, executed, ended with {about}")
