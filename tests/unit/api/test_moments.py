"""Points in time as clients write them, and who is at the other end of a connection."""

from __future__ import annotations

import os
import pwd
import socket
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sampan.api.query import Filters
from sampan.api.times import SECOND, moment
from sampan.api.wire import peer
from sampan.errors import Invalid


@pytest.mark.parametrize(("text", "ago"), [("10m", 600), ("1h30m", 5400), ("1.5s", 1.5), ("200ms", 0.2), ("0s", 0)])
def test_so_long_ago(text: str, ago: float) -> None:
    assert abs(time.time_ns() - ago * SECOND - moment(text)) < 5 * SECOND


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1136073600", 1136073600 * SECOND),
        ("1136073600.000000001", 1136073600 * SECOND + 1),
        ("2006-01-01T00:00:00Z", 1136073600 * SECOND),
        ("2006-01-01T01:00:00+01:00", 1136073600 * SECOND),
    ],
)
def test_points_in_time(text: str, nanoseconds: int) -> None:
    assert moment(text) == nanoseconds


@pytest.mark.parametrize("text", ["2006-01-02", "2006-01-02T15:04", "2006-01-02T15:04:05"])
def test_what_is_left_out_is_ours(text: str) -> None:
    whole = text + "2006-01-02T00:00:00"[len(text) :]
    assert moment(text) == int(time.mktime(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))) * SECOND


@pytest.mark.parametrize("text", ["", "soon", "-5m", "5 m", "2006-13-01", "2006-02-30", "1e3", "9" * 40 + "h"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        moment(text, "until")


def test_one_until_is_enough() -> None:
    assert Filters('{"until": ["1136073600"]}', ("until",)).until() == 1136073600 * SECOND
    assert Filters("", ("until",)).until() is None
    with pytest.raises(Invalid, match="more than one until filter specified"):
        Filters('{"until": ["1h", "2h"]}', ("until",)).until()


def test_who_is_there() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        transport = cast(Any, SimpleNamespace(get_extra_info=lambda name: ours))
        assert peer.name(transport) == f"user {pwd.getpwuid(os.getuid()).pw_name}"
        ours.close()
        assert peer.name(transport) == ""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        far, _ = server.accept()
        with far:
            assert peer.name(cast(Any, SimpleNamespace(get_extra_info=lambda name: far))) == "127.0.0.1"
