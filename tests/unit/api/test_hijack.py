"""Attach and exec: the connection becomes a stream, and not a byte of it is lost."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from sampan.api.wire import tunnel
from unit.api.conftest import Daemon, Wire, fill
from unit.api.fake_engine import running

ATTACH = "POST /v1.{minor}/containers/web/attach?stdin=1&stdout=1&stream=1 HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n"
UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n"


def attach(minor: int = 50, upgrade: str = UPGRADE) -> str:
    return ATTACH.format(minor=minor, upgrade=upgrade)


@pytest.fixture
def far(daemon: Daemon) -> Daemon:
    daemon.engine.containers.add(running())
    return daemon


def container_end(daemon: Daemon) -> socket.socket:
    assert daemon.engine.containers.attached.wait(10)
    assert daemon.engine.containers.far is not None
    daemon.engine.containers.far.settimeout(10)
    return daemon.engine.containers.far


def read_exactly(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = source.recv(size - len(data))
        assert piece, f"ended after {len(data)} of {size} bytes"
        data += piece
    return data


def test_upgrade_and_both_directions(far: Daemon, wire: Wire) -> None:
    wire.send(attach())
    status, headers = wire.head()
    assert status == 101
    assert (headers["upgrade"], headers["connection"]) == ("tcp", "Upgrade")
    assert headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    end = container_end(far)
    wire.send("in")
    assert end.recv(10) == b"in"
    end.sendall(b"out")
    assert wire.file.read(3) == b"out"
    assert far.engine.containers.calls[-1] == (
        "attach",
        {"stdin": True, "stdout": True, "stderr": False, "stream": True, "logs": False},
    )


@pytest.mark.parametrize(("minor", "tty"), [(41, False), (50, True)])
def test_raw_streams_are_announced_as_raw(far: Daemon, wire: Wire, minor: int, tty: bool) -> None:
    far.engine.containers.get("web").config["Tty"] = tty
    wire.send(attach(minor))
    assert wire.head()[1]["content-type"] == "application/vnd.docker.raw-stream"


def test_an_old_client_without_upgrade(far: Daemon, wire: Wire) -> None:
    wire.send(attach(24, "") + "early")
    status, headers = wire.head()
    assert status == 200
    assert "upgrade" not in headers
    assert container_end(far).recv(10) == b"early"


@pytest.mark.parametrize(
    ("keys", "status"),
    [("ctrl-p,ctrl-q", 101), ("ctrl-a,d", 101), ("x", 101), ("", 101), ("bogus-x", 400), (",,x", 400)],
)
def test_detach_keys(far: Daemon, wire: Wire, keys: str, status: int) -> None:
    wire.send(attach().replace("?", f"?detachKeys={keys}&"))
    assert wire.head()[0] == status


def test_leaving_by_keys_ends_the_stream_and_not_the_input(far: Daemon, wire: Wire) -> None:
    far.engine.containers.get("web").config["Tty"] = True
    wire.send(attach().replace("?", "?detachKeys=ctrl-a,d&"))
    assert wire.head()[0] == 101
    end = container_end(far)
    wire.send("ls")
    assert read_exactly(end, 2) == b"ls"
    wire.send("\x01")
    wire.send("d")
    assert wire.socket.recv(1) == b""
    assert end.recv(1) == b""
    assert far.engine.containers.calls[-1] == ("detached", far.engine.containers.get("web").id)


def test_output_follows_when_the_head_was_read(far: Daemon, wire: Wire) -> None:
    """docker-py reads the head through a buffer and drops what else is in there."""
    wire.send(attach())
    container_end(far).sendall(b"output")
    together = wire.socket.recv(4096)
    assert together.startswith(b"HTTP/1.1 101 ")
    assert together.endswith(b"\r\n\r\n")
    assert read_exactly(wire.socket, 6) == b"output"


def test_bytes_sent_with_the_request_and_an_end_right_behind(far: Daemon, wire: Wire) -> None:
    wire.send(attach() + "all of the input")
    wire.socket.shutdown(socket.SHUT_WR)
    end = container_end(far)
    assert read_exactly(end, 16) == b"all of the input"
    assert end.recv(1) == b""
    wire.head()
    end.sendall(b"the answer")
    end.close()
    assert wire.file.read() == b"the answer"


def test_the_clients_half_close_leaves_the_output_open(far: Daemon, wire: Wire) -> None:
    wire.send(attach())
    wire.head()
    end = container_end(far)
    wire.send("x" * 100_000)
    wire.socket.shutdown(socket.SHUT_WR)
    assert read_exactly(end, 100_000) == b"x" * 100_000
    assert end.recv(1) == b""
    end.sendall(b"still here")
    assert wire.file.read(10) == b"still here"


def test_the_containers_end_closes_the_connection_even_under_a_client_that_sends(far: Daemon, wire: Wire) -> None:
    wire.send(attach())
    wire.head()
    end = container_end(far)
    end.sendall(b"bye")
    end.close()
    wire.send("nobody reads this")
    assert wire.file.read() == b"bye"


def test_the_last_words_of_a_container_that_stopped_listening(far: Daemon, wire: Wire) -> None:
    for _ in range(20):
        client = Wire(far.path)
        client.send(attach())
        client.head()
        end = container_end(far)
        end.shutdown(socket.SHUT_RD)
        client.send("x" * 10_000)
        end.sendall(b"last words")
        client.send("x" * 10_000)
        end.close()
        assert client.file.read() == b"last words"
        client.close()
        far.engine.containers.attached.clear()


def test_a_client_that_leaves_lets_go_of_the_container(far: Daemon, wire: Wire) -> None:
    wire.send(attach())
    wire.head()
    end = container_end(far)
    wire.send("last words")
    wire.close()
    assert read_exactly(end, 10) == b"last words"
    assert end.recv(1) == b""
    with pytest.raises(BrokenPipeError):
        fill(end)


def test_back_pressure_towards_a_slow_client(far: Daemon, wire: Wire) -> None:
    wire.send(attach())
    wire.head()
    end = container_end(far)
    sent = fill(end)
    assert sent < 8 << 20
    assert wire.file.read(sent) == bytes(sent)
    end.sendall(b"more")
    assert wire.file.read(4) == b"more"


def test_back_pressure_towards_a_slow_container(far: Daemon, wire: Wire) -> None:
    wire.send(attach())
    wire.head()
    end = container_end(far)
    sent = fill(wire.socket)
    assert sent < 8 << 20
    assert read_exactly(end, sent) == bytes(sent)


def test_a_lot_in_both_directions_at_once(far: Daemon, wire: Wire) -> None:
    wire.send(attach())
    wire.head()
    end = container_end(far)
    size = 20 << 20

    def echo() -> None:
        done = 0
        while done < size:
            data = end.recv(1 << 16)
            done += len(data)
            end.sendall(data)

    def send() -> None:
        wire.socket.sendall(bytes(size))

    threads = [threading.Thread(target=work) for work in (echo, send)]
    for thread in threads:
        thread.start()
    assert len(wire.file.read(size)) == size
    for thread in threads:
        thread.join(10)


def test_exec_start_has_a_body_before_its_stream(far: Daemon, wire: Wire) -> None:
    body = b'{"detach":false,"TTY":false}'
    head = f"POST /exec/e1/start HTTP/1.1\r\nHost: x\r\n{UPGRADE}Content-Type: application/json\r\n"
    wire.send(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body + b"stdin at once")
    assert wire.head()[0] == 101
    assert read_exactly(container_end(far), 13) == b"stdin at once"


def test_a_detached_exec_is_answered(far: Daemon, wire: Wire) -> None:
    assert wire.ask("POST", "/exec/e1/start", {"Detach": True}).status == 200
    assert wire.ask("GET", "/_ping").status == 200


def test_no_such_container(far: Daemon, wire: Wire) -> None:
    wire.send(attach().replace("/web/", "/nosuch/"))
    answer = wire.answer()
    assert (answer.status, answer.message) == (404, "No such container: nosuch")


def test_stop_closes_streams(far: Daemon, wire: Wire) -> None:
    wire.send(attach())
    wire.head()
    end = container_end(far)
    far.stop()
    assert wire.closed()
    assert end.recv(1) == b""


@pytest.mark.parametrize("reads", [True, False])
def test_its_end_is_told_when_its_last_words_were_heard(far: Daemon, wire: Wire, reads: bool) -> None:
    """dockerode's clients take the answer to their wait for a sign that all output is there."""
    waiting = Wire(far.path)
    waiting.send("POST /containers/web/wait HTTP/1.1\r\nHost: x\r\n\r\n")
    assert waiting.head()[0] == 200
    wire.send(attach())
    wire.head()
    end = container_end(far)
    end.sendall(b"last words")
    end.close()
    assert far.engine.containers.exit is not None
    begun = time.monotonic()
    far.call(far.engine.containers.exit.set_result, (0, ""))
    if reads:
        assert wire.file.read(10) == b"last words"
    assert waiting.chunk() == b'{"StatusCode":0}\r\n'
    waited = time.monotonic() - begun
    assert reads or waited >= tunnel.LAST_WORDS
    assert waited < tunnel.LAST_WORDS + 5
    waiting.close()
