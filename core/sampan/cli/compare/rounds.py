"""The rounds: every combination runs once in each, the first of a round being another one each time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sampan.cli.client import Client
from sampan.cli.compare import traffic
from sampan.cli.compare.facts import flat
from sampan.cli.compare.plan import LABEL, Combination, Networks, Plan
from sampan.cli.failures import CannotConnect, Refused

_OUTPUT = 1 << 16  # bytes of a command's output that are compared
_FRAME = 8


class Metric(NamedTuple):
    """``more``: the higher the better."""

    key: str
    title: str
    unit: str
    group: str
    more: bool = False


METRICS = (
    Metric("create", "create", "ms", "Time"),
    Metric("start", "start", "ms", "Time"),
    Metric("exec", "exec", "ms", "Time"),
    Metric("stop", "stop", "ms", "Time"),
    Metric("remove", "remove", "ms", "Time"),
    Metric("run", "command, from create to its end", "ms", "Time"),
    Metric("memory", "memory, the container's", "kB", "Memory and disk"),
    Metric("overhead", "memory, of what watches it", "kB", "Memory and disk"),
    Metric("disk", "disk, its own", "kB", "Memory and disk"),
    Metric("write", "write to its disk", "MB/s", "Throughput", more=True),
    Metric("receive", "receive from the host", "MB/s", "Throughput", more=True),
)


class Row:
    """What is known of one combination. ``error`` is why it was given up; ``notes``: what could not be measured."""

    def __init__(self, combination: Combination) -> None:
        self.combination = combination
        self.error = ""
        self.notes: list[str] = []
        self.samples: dict[str, list[float]] = {}
        self.facts: dict[str, str] = {}

    def add(self, key: str, value: float | None) -> None:
        if value is not None:
            self.samples.setdefault(key, []).append(value)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def run(client: Client, plan: Plan, tell: Callable[[str], None]) -> list[Row]:
    """Measure everything; ``tell`` hears what is going on. Leaves nothing behind, even if it is interrupted."""
    rows = [Row(each) for each in plan.combinations]
    ident = f"{time.time_ns() & 0xFFFFFFFF:08x}"
    networks = Networks(client, ident)
    try:
        for row in rows:
            tell(f"getting ready: {row.combination.name}")
            _try(client, plan, networks, Row(row.combination), ident, into=row)
        for number in range(plan.rounds):
            turn = number % len(rows)
            for row in (*rows[turn:], *rows[:turn]):
                if not row.error:
                    tell(f"round {number + 1} of {plan.rounds}: {row.combination.name}")
                    _try(client, plan, networks, row, ident, into=row)
    finally:
        _sweep(client, ident)
        networks.close()
    return rows


def _try(client: Client, plan: Plan, networks: Networks, row: Row, ident: str, *, into: Row) -> None:
    """The first time goes into a row of its own: layers are unpacked then, and filters compiled."""
    try:
        made = _Maker(client, plan, row.combination, networks.of(row.combination.network), ident)
        _run_command(made, row)
        _keep(made, row)
    except (Refused, CannotConnect) as error:
        into.error = error.message


def _sweep(client: Client, ident: str) -> None:
    """What was interrupted, or failed."""
    filters = {"label": {f"{LABEL}={ident}": True}}
    for container in client.get("/containers/json", {"all": True, "filters": filters}):
        try:
            client.delete(f"/containers/{container['Id']}", {"force": True, "v": True})
        except Refused:
            continue


class _Maker:
    """Makes containers of one combination."""

    def __init__(self, client: Client, plan: Plan, combination: Combination, network: str, ident: str) -> None:
        self.client = client
        self.plan = plan
        self._host = {
            "Runtime": combination.runtime,
            "StorageDriver": combination.storage,
            "NetworkMode": network,
        }
        self._labels = {LABEL: ident}

    def create(self, command: list[str]) -> tuple[str, float]:
        """Its id, and the milliseconds."""
        body = {"Image": self.plan.image, "Cmd": command, "Labels": self._labels, "HostConfig": self._host}
        with _stopwatch() as took:
            ident: str = self.client.post("/containers/create", None, body)["Id"]
        return ident, took()

    def start(self, ident: str) -> float:
        with _stopwatch() as took:
            self.client.post(f"/containers/{ident}/start")
        return took()

    def remove(self, ident: str) -> float:
        with _stopwatch() as took:
            self.client.delete(f"/containers/{ident}", {"force": True, "v": True})
        return took()

    def execute(self, ident: str, command: list[str]) -> tuple[int, float]:
        """Its exit code, and the milliseconds from asking for it to the end of its output."""
        with _stopwatch() as took:
            body = {"Cmd": command, "AttachStdout": True, "AttachStderr": True}
            number = self.client.post(f"/containers/{ident}/exec", None, body)["Id"]
            connection = self.client.converse(f"/exec/{number}/start", None, {"Detach": False, "Tty": False})
            connection.socket.settimeout(self.plan.timeout)
            try:
                while connection.some():
                    pass
            except TimeoutError:
                raise Refused(f"{' '.join(command)} did not end within {self.plan.timeout:g} seconds", 0) from None
            finally:
                connection.close()
        return int(self.client.get(f"/exec/{number}/json").get("ExitCode") or 0), took()


@contextmanager
def _stopwatch() -> Iterator[Callable[[], float]]:
    """Gives a function that tells the milliseconds that the block took, or has taken so far."""
    begun, ended = time.perf_counter(), 0.0
    try:
        yield lambda: ((ended or time.perf_counter()) - begun) * 1000
    finally:
        ended = time.perf_counter()


def _run_command(made: _Maker, row: Row) -> None:
    """The command itself, from create to its end; what it printed and how it ended are facts."""
    ident, created = made.create(made.plan.command)
    waiting = made.client.request("POST", f"/containers/{ident}/wait", {"condition": "next-exit"})
    waiting.connection.socket.settimeout(made.plan.timeout)
    with _stopwatch() as took:
        made.start(ident)
        try:
            waiting.body()
            ended = True
        except TimeoutError:
            ended = False
    waiting.connection.close()
    if ended:
        row.add("run", created + took())
        state = made.client.get(f"/containers/{ident}/json")["State"]
        row.facts["the command's exit code"] = str(state["ExitCode"])
        row.facts["the command's output"] = _output(made.client, ident)
    else:
        row.facts["the command's exit code"] = f"none within {made.plan.timeout:g} seconds"
    made.remove(ident)


def _output(client: Client, ident: str) -> str:
    try:
        response = client.request("GET", f"/containers/{ident}/logs", {"stdout": True, "stderr": True})
        data = response.body()
        client.release(response)
    except Refused as error:
        return f"not kept: {error.message}"
    text = b""
    while len(data) >= _FRAME and len(text) < _OUTPUT:
        length = int.from_bytes(data[4:_FRAME], "big")
        text, data = text + data[_FRAME : _FRAME + length], data[_FRAME + length :]
    return text[:_OUTPUT].decode(errors="replace").strip().replace(ident[:12], "ID")


def _keep(made: _Maker, row: Row) -> None:
    """A container that stays: its start and end, what is executed in it, and what its process has."""
    ident, created = made.create(made.plan.keep)
    row.add("create", created)
    row.add("start", made.start(ident))
    state = made.client.get(f"/containers/{ident}/json", {"size": True})
    if not state["State"]["Running"]:
        row.note(f"{' '.join(made.plan.keep)} ended at once: no exec, stop, memory (--keep names what stays)")
        made.remove(ident)
        return
    row.add("disk", state.get("SizeRw", 0) / 1000)
    row.add("memory", _memory(made.client, ident, row))
    code, took = made.execute(ident, made.plan.probe)
    if code:
        row.note(f"exec of {' '.join(made.plan.probe)} ended with exit code {code} (--exec names another)")
    else:
        row.add("exec", took)
    if made.plan.size:
        bare = min([took, *row.samples.get("exec", ())])
        row.add("write", traffic.write(made.execute, ident, made.plan.size, bare))
        row.add("receive", traffic.receive(made.execute, ident, made.plan.size, bare, _gateway(state)))
    found = made.client.get(f"/sampan/containers/{ident}/isolation")
    row.facts.update(flat(found, ident))
    row.add("overhead", found["Overhead"] / 1000)
    with _stopwatch() as stopped:
        made.client.post(f"/containers/{ident}/stop", {"signal": "SIGKILL"})
    row.add("stop", stopped())
    row.add("remove", made.remove(ident))


def _memory(client: Client, ident: str, row: Row) -> float | None:
    try:
        found = client.get(f"/containers/{ident}/stats", {"stream": False, "one-shot": True})
    except Refused as error:
        row.note(f"no memory: {error.message}")
        return None
    usage: float = found["memory_stats"].get("usage", 0)
    return usage / 1000


def _gateway(inspected: dict[str, Any]) -> str:
    """Where the container finds this host; nothing if it does not."""
    if inspected["HostConfig"]["NetworkMode"] == "host":
        return "127.0.0.1"
    networks = inspected["NetworkSettings"]["Networks"].values()
    return next((each["Gateway"] for each in networks if each.get("Gateway")), "")
