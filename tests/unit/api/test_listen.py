"""Sockets: whose they are, and what is done about those that are left over."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from sampan.api.listen import listen
from sampan.errors import Conflict, Forbidden, Invalid, Unavailable


def test_mode(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "s"
    (listener,) = listen([f"unix://{path}"], str(os.getgid()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    listener.close()


def test_a_dead_daemons_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    (listener,) = listen([f"unix://{path}"])
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listener.close()


def test_a_living_daemons_socket_is_left_alone(tmp_path: Path) -> None:
    hosts = [f"unix://{tmp_path}/s"]
    (first,) = listen(hosts)
    with pytest.raises(Conflict, match="another daemon already listens on unix://"):
        listen(hosts)
    assert (tmp_path / "s").is_socket()
    first.close()


def test_a_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(Conflict, match="is not a socket"):
        listen([f"unix://{tmp_path}/s"])
    assert (tmp_path / "s").read_text() == "precious"


@pytest.mark.parametrize(
    ("host", "error"),
    [
        ("unix://relative", Invalid),
        ("unix://" + "/x" * 80, Invalid),
        ("/var/run/x.sock", Invalid),
        ("http://127.0.0.1:1", Invalid),
        ("tcp://127.0.0.1", Invalid),
        ("tcp://127.0.0.1:x", Invalid),
        ("tcp://somewhere:1", Invalid),
        ("tcp://0.0.0.0:2375", Forbidden),
        ("tcp://[::]:2375", Forbidden),
        ("fd://", Invalid),
        ("unix:///proc/nosuch/s", Unavailable),
    ],
)
def test_hosts_that_cannot_be(host: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        listen([host])


def test_all_or_nothing(tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        listen([f"unix://{tmp_path}/s", "nonsense"])
    (again,) = listen([f"unix://{tmp_path}/s"])
    again.close()


def test_loopback(tmp_path: Path) -> None:
    (listener,) = listen(["tcp://127.0.0.1:0"])
    with socket.create_connection(listener.socket.getsockname()):
        pass
    listener.close()
