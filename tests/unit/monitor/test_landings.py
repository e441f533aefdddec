"""What comes to landings gets to the container and back, whole; and ferries are only there while they are needed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.linux import messages
from sampan.linux.process import parent
from sampan.monitor import ferry
from sampan.monitor.landings import Landings
from sampan.monitor.relay import Loop
from sampan.networks.holding import has_ipv6, hold

pytestmark = pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
PATIENCE = 10.0


class Monitor:
    """A process with landings, and nothing else."""

    def __init__(self, *protocols: str) -> None:
        self.servers = [_server(protocol) for protocol in protocols]
        self.holds = [hold(protocol, "::1", 0, landing=True) for protocol in protocols]
        self.ports = [_port_of(one.fd) for one in self.holds]
        self.routes = [
            ((protocol, "127.0.0.1", server.getsockname()[1]), ("::1", port))
            for protocol, server, port in zip(protocols, self.servers, self.ports, strict=True)
        ]
        ours, theirs = socket.socketpair()
        self.control = ours
        self.pid = os.fork()
        if not self.pid:
            with contextlib.suppress(BaseException):
                ours.close()
                self._watch(theirs)
            os._exit(0)
        theirs.close()

    def _watch(self, control: socket.socket) -> None:
        loop = Loop()
        landings = Landings(loop, list)
        landings.change(self.routes, [os.dup(one.fd) for one in self.holds])
        self.holds.clear()
        for server in self.servers:
            server.close()
        orders: dict[bytes, Callable[[], None]] = {
            b"l": lambda: landings.change([], []),
            b"c": landings.close,
            b"": lambda: os._exit(0),
        }

        def obey(_events: int) -> None:
            orders[control.recv(1)]()
            control.send(b"!")

        loop.watch(control.fileno(), 1, obey)
        while True:
            loop.turn()

    def tell(self, order: bytes) -> None:
        self.control.sendall(order)
        assert self.control.recv(1) == b"!"

    def ferries(self) -> list[int]:
        return [
            int(each.name)
            for each in Path("/proc").iterdir()
            if each.name.isdigit() and parent(int(each.name)) == self.pid
        ]

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.control.close()
        for server in self.servers:
            server.close()


@pytest.fixture
def made() -> Iterator[Callable[..., Monitor]]:
    everyone: list[Monitor] = []

    def make(*protocols: str) -> Monitor:
        everyone.append(Monitor(*protocols))
        return everyone[-1]

    yield make
    for one in everyone:
        one.close()


def _server(protocol: str) -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    server.settimeout(PATIENCE)
    server.bind(("127.0.0.1", 0))
    if protocol == "tcp":
        server.listen()
    return server


def _port_of(fd: int) -> int:
    with socket.socket(fileno=os.dup(fd)) as one:
        port: int = one.getsockname()[1]
        return port


def _client(port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    client = socket.socket(socket.AF_INET6, kind)
    client.settimeout(PATIENCE)
    client.connect(("::1", port))
    return client


def _all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


def _until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_connection_is_carried_whole_and_may_be_half_closed(made: Callable[..., Monitor]) -> None:
    monitor = made("tcp")
    assert monitor.ferries() == [], "nobody has come"
    [server], [port] = monitor.servers, monitor.ports
    question, answer = os.urandom(3_000_001), os.urandom(5_000_001)
    with _client(port) as client:
        inner, _ = server.accept()

        def serve() -> None:
            with inner:
                got.append(_all(inner))
                inner.sendall(answer)

        got: list[bytes] = []
        thread = threading.Thread(target=serve)
        thread.start()
        client.sendall(question)
        client.shutdown(socket.SHUT_WR)
        assert _all(client) == answer
        thread.join()
        assert got == [question]
        assert len(monitor.ferries()) == 1


def test_many_at_once_have_one_ferry_and_one_that_does_not_read_keeps_nobody(made: Callable[..., Monitor]) -> None:
    monitor = made("tcp", "tcp")
    with contextlib.ExitStack() as stack:
        lazy = stack.enter_context(_client(monitor.ports[0]))
        lazy_inner = stack.enter_context(monitor.servers[0].accept()[0])
        lazy.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                lazy.send(bytes(1 << 16))
        for port, server in zip(monitor.ports * 5, monitor.servers * 5, strict=True):
            client = stack.enter_context(_client(port))
            inner = stack.enter_context(server.accept()[0])
            client.sendall(b"ahoy")
            assert inner.recv(10) == b"ahoy"
            inner.sendall(b"aye")
            assert client.recv(10) == b"aye"
        assert len(monitor.ferries()) == 1
        assert lazy_inner.recv(10)


def test_who_is_refused_or_reset_inside_is_so_outside(made: Callable[..., Monitor]) -> None:
    monitor = made("tcp")
    with _client(monitor.ports[0]) as client:
        inner, _ = monitor.servers[0].accept()
        inner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        inner.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    monitor.servers[0].close()
    with pytest.raises(ConnectionResetError), _client(monitor.ports[0]) as client:
        client.recv(1)


def test_datagrams_are_answered_to_whoever_sent_them(made: Callable[..., Monitor]) -> None:
    monitor = made("udp")
    [server], [port] = monitor.servers, monitor.ports
    with _client(port, socket.SOCK_DGRAM) as one, _client(port, socket.SOCK_DGRAM) as two:
        one.send(b"one")
        two.send(b"two")
        for _ in range(2):
            data, who = server.recvfrom(100)
            server.sendto(data * 2, who)
        assert one.recv(100) == b"oneone"
        assert two.recv(100) == b"twotwo"
        one.send(b"")
        data, who = server.recvfrom(100)
        assert data == b""
        server.sendto(bytes(60000), who)
        assert len(one.recv(65535)) == 60000


def test_when_landings_change_who_is_under_way_arrives(made: Callable[..., Monitor]) -> None:
    monitor = made("tcp")
    with _client(monitor.ports[0]) as client:
        inner, _ = monitor.servers[0].accept()
        monitor.holds.clear()
        monitor.tell(b"l")
        _until(lambda: _refused(monitor.ports[0]))
        with inner:
            client.sendall(b"on board")
            assert inner.recv(100) == b"on board"
    _until(lambda: monitor.ferries() == [])


def test_with_the_container_everybody_goes_and_the_port_is_free(made: Callable[..., Monitor]) -> None:
    monitor = made("tcp")
    with _client(monitor.ports[0]) as client:
        monitor.servers[0].accept()
        monitor.holds.clear()
        monitor.tell(b"c")
        assert monitor.ferries() == []
        hold("tcp", "::1", monitor.ports[0])
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""


def test_a_monitor_that_is_killed_takes_its_ferries_along(made: Callable[..., Monitor]) -> None:
    monitor = made("tcp")
    with _client(monitor.ports[0]):
        monitor.servers[0].accept()
        [pid] = monitor.ferries()
        os.kill(monitor.pid, signal.SIGKILL)
        _until(lambda: not _runs(pid))


def test_a_ferry_goes_when_nobody_comes_and_the_next_gets_a_new_one(
    made: Callable[..., Monitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ferry, "_IDLE", 0.02)
    monitor = made("tcp")
    for _ in range(2):
        with _client(monitor.ports[0]):
            monitor.servers[0].accept()[0].close()
            _until(lambda: len(monitor.ferries()) == 1)
        _until(lambda: monitor.ferries() == [])


def _runs(pid: int) -> bool:
    """Nobody may have reaped it."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except FileNotFoundError:
        return False


def _refused(port: int) -> bool:
    try:
        _client(port).close()
    except (ConnectionRefusedError, ConnectionResetError):  # the second: it had been let in, and nobody took it over
        return True
    return False


def test_a_box_takes_as_many_as_a_container_may_publish() -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    box = messages.box([((("tcp", "192.0.2.1", number), ("::", number)), null) for number in range(1000)])
    told, fds = messages.unboxed(box)
    for fd in (null, *fds):
        os.close(fd)
    assert len(fds) == 1000
    assert told[999] == (("tcp", "192.0.2.1", 999), ("::", 999))
