"""``kill -9`` of the daemon while containers of every kind run: they do not notice, and the next daemon knows them."""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from harness import Engine

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

IMAGE = "small:latest"
SAMPAN = [sys.executable, "-m", "sampan.cli"]
GET = ["busybox", "timeout", "5", "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/"]
WEB = """trap 'exit 5' TERM; mkdir -p /srv; echo aboard >/srv/index.html; busybox httpd -p 80 -h /srv
i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.05; done"""
ECHO = 'while read x; do echo "got $x"; done; exit 6'
WAIT = "until [ -e /alone ]; do sleep 0.05; done"
CONTAINERS = {
    "web": ["-p", "8080:80", IMAGE, "sh", "-c", WEB],
    "terminal": ["-t", "-i", IMAGE, "sh", "-c", "while :; do read x; echo got $x $(stty size); done"],
    "listener": ["-i", "--network", "none", IMAGE, "sh", "-c", ECHO],
    "inhost": ["--network", "host", IMAGE, "sleep", "1000"],
    "frozen": ["--network", "container:web", IMAGE, "sleep", "1000"],
    "brief": ["-p", "8081:80", IMAGE, "sh", "-c", f"echo first; {WAIT}; echo last words; exit 41"],
    "passing": ["--rm", IMAGE, "sh", "-c", WAIT],
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as running:
        running.sampan("image", "from-host", "-t", IMAGE, "busybox", "sh", "sleep", "mkdir", "stty").ok()
        yield running


def inspect(engine: Engine, name: str) -> dict[str, Any]:
    status, told = engine.api("GET", f"/containers/{name}/json")
    assert status == 200, told
    return dict(told)


@pytest.fixture(scope="module")
def before(engine: Engine) -> dict[str, dict[str, Any]]:
    """What was said of the containers before the daemon was killed, and another one started."""
    for name, args in CONTAINERS.items():
        engine.sampan("run", "-d", "--name", name, *args).ok()
    engine.sampan("pause", "frozen").ok()
    told = {name: inspect(engine, name) for name in CONTAINERS}
    engine.wait_until(lambda: engine.run(*GET).stdout == "aboard\n", "the port answers")
    ending = [told[name]["State"]["Pid"] for name in ("brief", "passing")]
    engine.kill()
    for pid in ending:
        Path(f"/proc/{pid}/root/alone").touch()
    log = Path(told["web"]["LogPath"])
    size = log.stat().st_size
    engine.wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in ending), "two containers end")
    engine.wait_until(lambda: log.stat().st_size > size, "the log grows without a daemon")
    assert engine.run(*GET).out == "aboard"
    told["now"] = {"time": time.time()}
    engine.start()
    return told


@pytest.mark.parametrize("name", ["web", "terminal", "listener", "inhost", "frozen"])
def test_it_is_as_it_was(engine: Engine, before: dict[str, dict[str, Any]], name: str) -> None:
    now = inspect(engine, name)
    assert now["State"] == before[name]["State"]
    assert now["NetworkSettings"] == before[name]["NetworkSettings"]


def test_the_port_still_answers(engine: Engine, before: object) -> None:
    assert engine.run(*GET).out == "aboard"


def test_the_log_has_no_hole(engine: Engine, before: object) -> None:
    lines = engine.sampan("logs", "web").out.splitlines()
    assert lines == [f"tick {number}" for number in range(1, len(lines) + 1)]


def test_the_log_is_followed(engine: Engine, before: object) -> None:
    following = engine.popen(*SAMPAN, "logs", "-f", "--tail", "1", "web", stdout=-1)
    try:
        assert following.stdout is not None
        first, second = (int(following.stdout.readline().split()[1]) for _ in range(2))
        assert second == first + 1
    finally:
        following.kill()
        following.communicate()


def test_what_ended_meanwhile_has_its_true_code_and_all_its_words(engine: Engine, before: object) -> None:
    state = inspect(engine, "brief")["State"]
    assert (state["Status"], state["ExitCode"], state["Pid"], state["Error"]) == ("exited", 41, 0, "")
    assert engine.sampan("logs", "brief").out == "first\nlast words"


def test_what_happened_meanwhile_is_told(engine: Engine, before: dict[str, dict[str, Any]]) -> None:
    told = {name: engine.events(f"container={before[name]['Id']}") for name in ("brief", "passing", "web")}
    [die] = told["brief"]
    assert (die["Action"], die["Actor"]["Attributes"]["exitCode"]) == ("die", "41")
    assert 0 <= int(die["Actor"]["Attributes"]["execDuration"]) < 10, "in seconds, of which a busy machine needs more"
    assert die["Actor"]["Attributes"]["name"] == "brief"
    state = inspect(engine, "brief")["State"]
    assert state["StartedAt"] < state["FinishedAt"]
    assert datetime.fromisoformat(state["FinishedAt"]).timestamp() < before["now"]["time"] < die["timeNano"] / 1e9
    assert [event["Action"] for event in told["passing"]] == ["die", "destroy"]
    assert told["web"] == []


def test_what_was_to_be_removed_at_its_end_is_gone(engine: Engine, before: dict[str, dict[str, Any]]) -> None:
    ident = before["passing"]["Id"]
    assert engine.api("GET", f"/containers/{ident}/json")[0] == 404
    assert not [path for path in engine.leftovers().files if ident in path]
    engine.sampan("run", "--rm", "--name", "passing", IMAGE, "true").ok()


def test_addresses_and_ports_of_the_living_are_not_given_away(
    engine: Engine, before: dict[str, dict[str, Any]]
) -> None:
    refused = engine.sampan("run", "--rm", "-p", "8080:80", IMAGE, "true")
    assert refused.code == 125
    assert "port is already allocated" in refused.stderr
    taken = before["web"]["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    names = [engine.sampan("run", "-d", "-p", "80", IMAGE, "sleep", "100").out for _ in range(3)]
    others = [inspect(engine, name)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] for name in names]
    assert len({taken, *others}) == 4
    for name in names:
        engine.sampan("rm", "-f", name).ok()


def test_ports_of_the_dead_are_free(engine: Engine, before: object) -> None:
    engine.sampan("run", "--rm", "-p", "8081:80", IMAGE, "true").ok()


def test_input_finds_its_way(engine: Engine, before: object) -> None:
    with attached(engine, "listener") as client:
        client.sendall(b"ahoy\n")
        assert client.recv(1000)[8:] == b"got ahoy\n"


def test_a_terminal_takes_input_and_sizes(engine: Engine, before: object) -> None:
    assert engine.api("POST", "/containers/terminal/resize?h=33&w=99")[0] in (200, 204)
    with attached(engine, "terminal") as client:
        client.sendall(b"ahoy\n")
        said = b""
        while b"33 99" not in said:
            said += client.recv(1000)
        assert b"got ahoy 33 99" in said


@pytest.mark.parametrize("name", ["web", "terminal", "listener", "inhost"])
def test_exec(engine: Engine, before: object, name: str) -> None:
    assert engine.sampan("exec", name, "echo", "still here").out == "still here"


def test_what_is_frozen_stays_so_until_it_is_thawed(engine: Engine, before: object) -> None:
    engine.sampan("unpause", "frozen").ok()
    assert engine.sampan("exec", "frozen", "echo", "thawed").out == "thawed"


def test_stopping(engine: Engine, before: object) -> None:
    engine.sampan("stop", "web").ok()
    assert inspect(engine, "web")["State"]["ExitCode"] == 5
    assert engine.run(*GET).code != 0
    engine.sampan("start", "web").ok()
    engine.wait_until(lambda: engine.run(*GET).stdout == "aboard\n", "the port answers again")


@pytest.mark.parametrize(("frozen", "recorded"), [(True, "running"), (False, "paused")])
def test_the_freezer_follows_the_record(engine: Engine, before: object, frozen: bool, recorded: str) -> None:
    """The daemon died between the one and the other."""
    ident = engine.sampan("run", "-d", "--network", "none", IMAGE, "sleep", "1000").out
    if frozen:
        engine.sampan("pause", ident).ok()
    engine.kill()
    with edited(engine, "containers", ident) as record:
        record["state"]["status"] = recorded
    engine.start()
    if recorded == "paused":
        engine.sampan("unpause", ident).ok()
    assert engine.sampan("exec", ident, "echo", "warm").out == "warm"
    engine.sampan("rm", "-f", ident).ok()


def test_an_image_that_was_removed_goes_with_all_that_it_consisted_of(engine: Engine, before: object) -> None:
    """The daemon died when it was out of sight and not yet away."""
    container = engine.docker("run", "-d", "--network", "none", IMAGE, "sh", "-c", "echo anew > /made").out
    engine.docker("wait", container).ok()
    blobs = engine.data / "content/blobs/sha256"
    there = set(blobs.iterdir())
    ident = engine.docker("commit", container, "doomed:1").out
    engine.docker("rm", container).ok()
    assert len(set(blobs.iterdir()) - there) == 2
    engine.kill()
    with edited(engine, "images", ident) as record:
        record.update(references=[], removed=True)
    engine.start()
    assert set(blobs.iterdir()) == there
    assert ident not in engine.docker("images", "-aq", "--no-trunc").out


@contextlib.contextmanager
def edited(engine: Engine, table: str, ident: str) -> Iterator[dict[str, Any]]:
    """A record, while there is no daemon."""
    with contextlib.closing(sqlite3.connect(engine.root / "data" / "engine.db", isolation_level=None)) as database:
        [body] = database.execute(f"SELECT body FROM {table} WHERE id = ?", (ident,)).fetchone()  # noqa: S608
        record = json.loads(body)
        yield record
        database.execute(f"UPDATE {table} SET body = ? WHERE id = ?", (json.dumps(record), ident))  # noqa: S608


def attached(engine: Engine, name: str) -> socket.socket:
    """A connection that is the container's streams."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(str(engine.socket))
    query = "stream=1&stdin=1&stdout=1&stderr=1"
    request = f"POST /containers/{name}/attach?{query} HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n"
    client.sendall(f"{request}\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    assert b" 101 " in head, head
    return client
