"""What clients see between the lines of the Engine API: statuses, words, defaults of older versions, framing."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from harness import Engine

pytestmark = pytest.mark.root


@pytest.fixture
def made(engine: Engine, shell: str) -> Iterator[Any]:
    """``made(**body)``: a container by the API, removed at the end; its id."""
    idents: list[str] = []

    def make(version: str = "1.50", start: bool = False, **body: Any) -> str:
        status, answer = engine.api("POST", f"/v{version}/containers/create", {"Image": shell, "Cmd": ["cat"], **body})
        assert status == 201, answer
        idents.append(answer["Id"])
        if start:
            assert engine.api("POST", f"/containers/{answer['Id']}/start")[0] == 204
        return str(answer["Id"])

    yield make
    for ident in idents:
        engine.api("DELETE", f"/containers/{ident}?force=1&v=1")


def hijacked(engine: Engine, path: str, body: Any, connection_too: bool = True) -> tuple[int, str, bytes]:
    """Status, content type and all that is said on a connection that becomes a stream."""
    payload = json.dumps(body).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(engine.socket))
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\n"
        head += "Connection: Upgrade\r\n" if connection_too else ""
        head += f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        connection.sendall(head.encode() + payload)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        said = b""
        while piece := connection.recv(65536):
            said += piece
        return answer.status, str(answer.headers.get_content_type()), said


@pytest.mark.parametrize(
    ("terminal", "told", "kind", "said"),
    [
        (True, True, "raw", b"out\r\n"),
        (True, False, "multiplexed", b"\x01\0\0\0\0\0\0\x05out\r\n"),
        (False, True, "raw", b"out\n"),
        (False, False, "multiplexed", b"\x01\0\0\0\0\0\0\x04out\n"),
    ],
)
def test_whoever_starts_an_exec_says_how_it_is_framed(
    engine: Engine, made: Any, terminal: bool, told: bool, kind: str, said: bytes
) -> None:
    """docker-py's low level creates with a terminal and starts without."""
    boat = made(OpenStdin=True, start=True)
    wish = {"Cmd": ["echo", "out"], "Tty": terminal, "AttachStdout": True, "AttachStderr": True}
    ident = engine.api("POST", f"/containers/{boat}/exec", wish)[1]["Id"]
    answer = hijacked(engine, f"/exec/{ident}/start", {"Tty": told})
    assert answer == (101, f"application/vnd.docker.{kind}-stream", said)


@pytest.mark.parametrize("tty", [False, True])
def test_whoever_attaches_to_nothing_gets_nothing(engine: Engine, made: Any, tty: bool) -> None:
    status, kind, said = hijacked(engine, f"/containers/{made(Tty=tty)}/attach?stdout=1&stderr=1", {})
    assert (status, kind, said) == (101, f"application/vnd.docker.{'raw' if tty else 'multiplexed'}-stream", b"")


def test_a_size_is_answered_as_dockerd_does(engine: Engine, made: Any) -> None:
    boat = made(Tty=True, OpenStdin=True, start=True)
    assert engine.api("POST", f"/containers/{boat}/resize?h=40&w=50")[0] == 200
    status, answer = engine.api("POST", f"/containers/{boat}/resize?h=-1&w=50")
    assert (status, answer["message"]) == (400, 'invalid resize height "-1": value out of range')
    assert engine.api("POST", f"/containers/{made(Tty=True)}/resize?h=40&w=50")[0] == 409


@pytest.mark.parametrize(
    ("platform", "status"), [("linux/amd64", 201), ("linux", 201), ("linux/s390x", 404), ("windows/amd64", 404)]
)
def test_an_image_of_another_platform_is_not_found(engine: Engine, shell: str, platform: str, status: int) -> None:
    """Clients take it as a reason to pull the right one."""
    name = f"boat-{uuid.uuid4().hex[:8]}"
    got, answer = engine.api("POST", f"/containers/create?name={name}&platform={platform}", {"Image": shell})
    assert got == status, answer
    if status == 404:
        assert "does not match the specified platform" in answer["message"]
    else:
        engine.api("DELETE", f"/containers/{name}")


def test_annotations_are_listed(engine: Engine, made: Any) -> None:
    boat = made(HostConfig={"Annotations": {"a": "b"}})

    def listed(version: str) -> Any:
        [found] = [each for each in engine.api("GET", f"/v{version}/containers/json?all=1")[1] if each["Id"] == boat]
        return found["HostConfig"]

    assert listed("1.46") == {"NetworkMode": "bridge", "Annotations": {"a": "b"}}
    assert listed("1.45") == {"NetworkMode": "bridge"}
    status, answer = engine.api("POST", "/containers/create", {"Image": "x", "HostConfig": {"Annotations": {"": "b"}}})
    assert (status, "the empty string is not permitted as an annotation key" in answer["message"]) == (400, True)


def test_older_clients_get_the_defaults_that_they_know(engine: Engine, made: Any) -> None:
    host = engine.api("GET", f"/containers/{made('1.39')}/json")[1]["HostConfig"]
    assert host["IpcMode"] == "shareable"
    assert engine.api("GET", f"/containers/{made('1.40')}/json")[1]["HostConfig"]["IpcMode"] == "private"


@pytest.mark.parametrize(("version", "inner"), [("1.43", "rw"), ("1.44", "ro")])
@pytest.mark.parametrize("how", ["Binds", "Mounts"])
def test_what_read_only_means_depends_on_the_version(
    engine: Engine, made: Any, version: str, inner: str, how: str
) -> None:
    """Before 1.44 only the mount itself, not what is mounted below it."""
    mount = {"Type": "bind", "Source": "/dev", "Target": "/mnt/dev", "ReadOnly": True}
    host = {"Binds": ["/dev:/mnt/dev:ro"]} if how == "Binds" else {"Mounts": [mount]}
    boat = made(version, Cmd=["grep", " /mnt/dev", "/proc/self/mountinfo"], HostConfig=host, start=True)
    assert engine.api("POST", f"/containers/{boat}/wait")[1]["StatusCode"] == 0
    lines = [line.split()[4:6] for line in engine.docker("logs", boat).out.splitlines()]
    modes = {place: options.split(",")[0] for place, options in lines}
    assert modes.pop("/mnt/dev") == "ro"
    assert modes
    assert set(modes.values()) == {inner}


def test_inspect_tells_where_the_files_are(engine: Engine, made: Any) -> None:
    boat = made(Cmd=["sh", "-c", "echo here > /mark"], start=True)
    engine.docker("wait", boat).ok()
    told = engine.api("GET", f"/containers/{boat}/json")[1]["GraphDriver"]
    assert told["Name"] == "overlayfs"
    assert Path(told["Data"]["UpperDir"], "mark").read_text() == "here\n"
    assert Path(told["Data"]["LowerDir"].split(":")[0], "bin").exists()
    small = engine.api("GET", f"/containers/{made(HostConfig={'StorageOpt': {'size': '20m'}})}/json")[1]
    assert set(small["GraphDriver"]["Data"]) == {"LowerDir"}


def test_binds_around_the_engines_root_follow_it(engine: Engine, shell: str, made: Any) -> None:
    """As with dockerd, so that nothing that the engine unmounts is held by a container."""

    def propagation(mounts: list[str], **more: Any) -> str:
        boat = made(HostConfig={"Binds": mounts, **more}, Cmd=["ls", "/x"], start=True)
        assert engine.docker("wait", boat).out == "0"
        return str(engine.api("GET", f"/containers/{boat}/json")[1]["Mounts"][0]["Propagation"])

    assert propagation([f"{engine.root}:/x"]) == "rslave"
    assert propagation([f"{engine.root}/data/volumes:/x"]) == "rslave"
    assert propagation(["/usr:/x"]) == "rprivate"
    for mode in ("private", "rprivate", "slave", "shared"):
        mount = {"Type": "bind", "Source": str(engine.root), "Target": "/x", "BindOptions": {"Propagation": mode}}
        for host in ({"Binds": [f"{engine.root}:/x:{mode}"]}, {"Mounts": [mount]}):
            status, answer = engine.api("POST", "/containers/create", {"Image": shell, "HostConfig": host})
            assert (status, 'must use either propagation mode "rslave"' in answer["message"]) == (400, True)


@pytest.mark.parametrize("signal", ["0", "SIG42", "65", "SIGNOTHING", "-1"])
def test_signals_that_are_none(engine: Engine, made: Any, signal: str) -> None:
    boat = made(OpenStdin=True, start=True)
    status, answer = engine.api("POST", f"/containers/{boat}/kill?signal={signal}")
    assert (status, f"nvalid signal: {signal}" in answer["message"]) == (400, True)
    assert engine.api("GET", f"/containers/{boat}/json")[1]["State"]["Running"] is True


@pytest.mark.parametrize("cli", ["docker", "sampan"])
def test_graphics_processors_are_refused_with_a_sentence(engine: Engine, shell: str, cli: str) -> None:
    done = getattr(engine, cli)("run", "--rm", "--gpus", "all", shell, "true")
    assert (done.code, 'could not select device driver "" with capabilities: [[gpu]]' in done.stderr) == (125, True)


def test_a_program_that_is_stopped_at_once_can_still_say_goodbye(engine: Engine, made: Any) -> None:
    """It has its handler only when the shell has read the line; process 1 would not notice the signal before."""
    for _ in range(5):
        boat = made(Cmd=["sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.05; done"], start=True)
        assert engine.api("POST", f"/containers/{boat}/stop")[0] == 204
        assert engine.api("GET", f"/containers/{boat}/json")[1]["State"]["ExitCode"] == 5


@pytest.mark.parametrize("logs", [0, 1])
def test_attaching_by_a_websocket(engine: Engine, made: Any, logs: int) -> None:
    """The bare bytes of both streams, with the log first for who wants it."""
    boat = made(Cmd=["sh", "-c", "echo before; read x; echo got $x; echo err >&2"], OpenStdin=True, StdinOnce=True)
    if logs:
        assert engine.api("POST", f"/containers/{boat}/start")[0] == 204
        engine.wait_until(lambda: engine.docker("logs", boat).stdout == "before\n", "it has said something")

    async def attach() -> bytes:
        heard = b""
        query = f"stream=1&stdin=1&stdout=1&stderr=1&logs={logs}"
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(engine.socket))) as session,
            session.ws_connect(f"http://localhost/v1.50/containers/{boat}/attach/ws?{query}") as stream,
        ):
            if not logs:
                async with session.post(f"http://localhost/containers/{boat}/start") as started:
                    assert started.status == 204
            await stream.send_bytes(b"you\n")
            async for message in stream:
                heard += message.data
            assert stream.close_code == 1000
        return heard

    assert sorted(asyncio.run(attach()).split(b"\n")) == [b"", b"before", b"err", b"got you"]


def test_whoever_has_heard_the_last_word_sees_the_end(engine: Engine, made: Any) -> None:
    """dockerd's streams end when the state is written: clients ask for the exit code then, and not for the wait."""
    for _ in range(20):
        boat = made(Cmd=["sh", "-c", "sleep 0.02; exit 3"])
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(engine.socket))
            ask = f"POST /containers/{boat}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\n\r\n"
            connection.sendall(ask.encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 101")
            assert engine.api("POST", f"/containers/{boat}/start")[0] == 204
            assert connection.recv(65536) == b""
        state = engine.api("GET", f"/containers/{boat}/json")[1]["State"]
        assert (state["Status"], state["ExitCode"], state["Pid"]) == ("exited", 3, 0)


@pytest.mark.parametrize("connection_too", [True, False])
def test_whoever_names_an_upgrade_gets_one(engine: Engine, made: Any, connection_too: bool) -> None:
    """Go's clients can write to an answer of 101 alone, and some do not write ``Connection: Upgrade``."""
    boat = made(start=True, OpenStdin=True)
    exec_ = engine.api("POST", f"/containers/{boat}/exec", {"Cmd": ["echo", "out"], "AttachStdout": True})[1]["Id"]
    status, _, said = hijacked(engine, f"/exec/{exec_}/start", {}, connection_too)
    assert (status, said) == (101, b"\x01\0\0\0\0\0\0\x04out\n")


def test_an_exec_is_of_one_run_of_its_container(engine: Engine, made: Any) -> None:
    boat = made(start=True, OpenStdin=True)
    name = engine.api("GET", f"/containers/{boat}/json")[1]["Name"].lstrip("/")
    exec_ = engine.api("POST", f"/containers/{boat}/exec", {"Cmd": ["true"]})[1]["Id"]
    assert engine.api("POST", f"/containers/{boat}/pause")[0] == 204
    status, told = engine.api("POST", f"/exec/{exec_}/start", {"Detach": True})
    assert (status, "is paused" in told["message"]) == (409, True)
    status, told = engine.api("POST", f"/containers/{name}/exec", {"Cmd": ["true"]})
    assert (status, told["message"]) == (409, f"Container {name} is paused, unpause the container before exec")
    assert engine.api("POST", f"/containers/{boat}/unpause")[0] == 204
    assert engine.api("POST", f"/exec/{exec_}/start", {"Detach": True})[0] == 200
    exec_ = engine.api("POST", f"/containers/{boat}/exec", {"Cmd": ["true"]})[1]["Id"]
    assert engine.api("POST", f"/containers/{boat}/stop?t=0")[0] == 204
    for _ in range(2):
        status, told = engine.api("POST", f"/exec/{exec_}/start", {"Detach": True})
        assert (status, told["message"].startswith(f"No such exec instance: {exec_}")) == (404, True)
        assert engine.api("POST", f"/containers/{boat}/start")[0] in (204, 304)


@pytest.mark.parametrize(
    ("container", "exec_", "term"),
    [
        ({"Tty": True}, {}, ""),
        ({"Tty": True}, {"Tty": True}, "xterm"),
        ({}, {"Tty": True}, "xterm"),
        ({"Env": ["TERM=vt100"]}, {"Tty": True}, "vt100"),
        ({"Env": ["TERM=vt100"], "Tty": True}, {}, "vt100"),
        ({}, {"Tty": True, "Env": ["TERM=vt52"]}, "vt52"),
    ],
)
def test_the_variable_of_a_terminal(
    engine: Engine, made: Any, container: dict[str, Any], exec_: dict[str, Any], term: str
) -> None:
    """It is the process's, not the container's, but for one that the user has set."""
    boat = made(start=True, OpenStdin=True, **container)
    body = {"Cmd": ["sh", "-c", "echo =$TERM"], "AttachStdout": True, **exec_}
    ident = engine.api("POST", f"/containers/{boat}/exec", body)[1]["Id"]
    said = hijacked(engine, f"/exec/{ident}/start", {"Tty": "Tty" in exec_})[2]
    assert said.strip().rpartition(b"=")[2] == term.encode()


def test_paths_that_old_clients_know(engine: Engine) -> None:
    assert engine.api("OPTIONS", "/v1.50/containers/json") == (200, b"")
    assert engine.api("GET", "/networks/")[1] == engine.api("GET", "/networks")[1]


def test_an_image_is_saved_for_one_platform(engine: Engine, shell: str) -> None:
    one = quote('{"os":"linux","architecture":"amd64"}')
    status, told = engine.api("GET", f"/images/{shell}/get?platform={one}&platform={one}")
    assert (status, "multiple platform parameters" in told["message"]) == (400, True)


def test_what_older_clients_read_of_the_engine(engine: Engine) -> None:
    assert "FirewallBackend" not in engine.api("GET", "/v1.48/info")[1]
    older, newer = engine.api("GET", "/v1.49/info")[1], engine.api("GET", "/v1.50/info")[1]
    assert older["FirewallBackend"] == {"Driver": "nftables"}
    assert (older["BridgeNfIptables"], older["BridgeNfIp6tables"]) == (False, False)
    assert "BridgeNfIptables" not in newer


def test_a_privileged_container_keeps_the_filter_that_was_asked_for(engine: Engine, shell: str) -> None:
    rules = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_ERRNO"}]}
    profile = engine.root / "profile.json"
    profile.write_text(json.dumps(rules))
    again = ["run", "--rm", "--privileged"]
    assert engine.docker(*again, shell, "hostname", "x").code == 0
    done = engine.docker(*again, "--security-opt", f"seccomp={profile}", shell, "hostname", "x")
    assert (done.code, "hostname:" in done.stderr) == (1, True)
