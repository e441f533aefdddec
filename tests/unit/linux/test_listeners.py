"""Who listens in a network namespace."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from sampan.linux.listeners import Listener, _sctp, listeners, owner


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")]
)
@pytest.mark.parametrize(("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_a_socket_that_waits_is_found_with_its_program(family: int, address: str, protocol: str, kind: int) -> None:
    with socket.socket(family, kind) as server:
        server.bind((address, 0))
        port = server.getsockname()[1]
        if protocol == "tcp":
            assert all(one.port != port for one in listeners(protocol)), "bound, but nobody listens"
            server.listen()
        [found] = [one for one in listeners(protocol, os.getpid()) if one.port == port]
        assert found.address == address
        assert found.loopback == (address != "0.0.0.0")
        assert found.everywhere == (address == "0.0.0.0")
        who = owner(found.inode)
        assert who
        assert who[0] == os.getpid()
        assert owner(found.inode, among=[1]) is None or os.getpid() == 1


def test_a_process_that_is_gone() -> None:
    with pytest.raises(OSError, match="No such"):
        listeners("tcp", 2**22 + 1)


def test_endpoints_of_sctp(tmp_path: Path) -> None:
    """As Linux net/sctp/proc.c writes them."""
    file = tmp_path / "eps"
    file.write_text(
        " ENDPT     SOCK   STY SST HBKT LPORT   UID INODE LADDRS\n"
        "ffff8880 ffff8881 2   10  29   9999      0 12345 127.0.0.1 ::1 \n"
        "ffff8882 ffff8883 2   7   30   9998      0 12346 0.0.0.0 \n"
    )
    assert list(_sctp(file)) == [Listener("127.0.0.1", 9999, 12345), Listener("::1", 9999, 12345)]
    assert list(_sctp(tmp_path / "nowhere")) == []
