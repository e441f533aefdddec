"""(f) Many at once: 50 containers started, listed, stopped and removed by 8 clients, each over a warm connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from reporting import OURS, Part, Row, Times, at_least
from scratch import IMAGE, Scratch
from warm_connection import WarmConnection

from harness.dockerd import Dockerd
from harness.engine import Engine

CONTAINERS, CLIENTS = 50, 8
LISTS = 5
ROUNDS = 3
UNTIL_TOLD = ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"]


def measure(scratch: Scratch, runs: int) -> Part:
    part = Part(
        f"{CONTAINERS} containers on bridge by {CLIENTS} clients at once, from the first call to the last", "ms"
    )
    part.notes.append("started: create and start; ps: GET /containers/json; stopped and removed: stop, then remove")
    engines: dict[str, Engine | Dockerd] = {OURS: scratch.sampan}
    if scratch.dockerd:
        engines["dockerd"] = scratch.dockerd
    scratch.tell("(f)")
    figures: dict[str, dict[str, Times]] = {"started": {}, "ps": {}, "stopped and removed": {}}
    for _ in range(min(runs, ROUNDS)):
        for name, engine in engines.items():
            for what, seconds in _once(engine).items():
                figures[what].setdefault(name, []).extend(seconds)
    factors = {"started": 6, "ps": 1, "stopped and removed": 6}
    part.rows = [Row(what, times, at_least("dockerd", factors[what])) for what, times in figures.items()]
    return part


def _once(engine: Engine | Dockerd) -> dict[str, Times]:
    connections = [WarmConnection(engine.socket) for _ in range(CLIENTS)]
    body = {"Image": IMAGE, "Cmd": UNTIL_TOLD}
    made: list[str] = []

    def start(api: WarmConnection, _: Any) -> None:
        ident = api.ask("POST", "/containers/create", body)["Id"]
        made.append(ident)
        api.ask("POST", f"/containers/{ident}/start")

    def end(api: WarmConnection, ident: str) -> None:
        api.ask("POST", f"/containers/{ident}/stop?t=30")
        api.ask("DELETE", f"/containers/{ident}")

    try:
        started = _by_all(connections, start, range(CONTAINERS))
        time.sleep(1)
        lists = [_taken(lambda: connections[0].ask("GET", "/containers/json")) for _ in range(LISTS)]
        return {"started": [started], "ps": lists, "stopped and removed": [_by_all(connections, end, list(made))]}
    finally:
        for each in connections:
            each.close()


def _by_all(connections: list[WarmConnection], do: Callable[[WarmConnection, Any], None], work: Sequence[Any]) -> float:
    """Each client takes the next piece of work until there is none. ``RuntimeError`` of the first that failed."""
    left = list(work)
    failures: list[Exception] = []

    def client(api: WarmConnection) -> None:
        while left and not failures:
            try:
                do(api, left.pop())
            except IndexError:  # another client was quicker
                return
            except (RuntimeError, OSError) as error:
                failures.append(error)

    threads = [threading.Thread(target=client, args=(each,)) for each in connections]
    seconds = _taken(lambda: ([each.start() for each in threads], [each.join() for each in threads]))
    if failures:
        raise RuntimeError(str(failures[0]))
    return seconds


def _taken(do: Callable[[], Any]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began
