"""Files as the Engine API shows them."""

from __future__ import annotations

import base64
import json
import stat

import pytest

from sampan.api.views import files
from sampan.containers.files.archive import PathStat
from sampan.drivers.types import Change, ChangeKind


@pytest.mark.parametrize(
    ("bits", "shown"),
    [
        (stat.S_IFREG | 0o644, 0o644),
        (stat.S_IFREG | 0o4755, 1 << 23 | 0o755),
        (stat.S_IFREG | 0o2755, 1 << 22 | 0o755),
        (stat.S_IFDIR | 0o1777, 1 << 31 | 1 << 20 | 0o777),
        (stat.S_IFLNK | 0o777, 1 << 27 | 0o777),
        (stat.S_IFCHR | 0o600, 1 << 26 | 1 << 21 | 0o600),
        (stat.S_IFBLK | 0o600, 1 << 26 | 0o600),
        (stat.S_IFIFO | 0o600, 1 << 25 | 0o600),
        (stat.S_IFSOCK | 0o600, 1 << 24 | 0o600),
    ],
)
def test_modes_are_gos(bits: int, shown: int) -> None:
    assert files.mode(bits) == shown


@pytest.mark.parametrize("mtime", [0, 1_500_000_000_123_456_789, -(1 << 62), 1 << 62])
def test_the_header_can_be_read_whatever_the_file_says(mtime: int) -> None:
    header = files.path_stat(PathStat("caf\udce9", 3, stat.S_IFREG | 0o644, mtime, ""))
    told = json.loads(base64.b64decode(header))
    assert told["name"] == "caf\ufffd"
    assert told["mtime"].endswith("Z")


def test_no_changes_are_null() -> None:
    assert files.changes([]) is None
    found = [Change("/a", ChangeKind.MODIFIED), Change("/b", ChangeKind.ADDED), Change("/c", ChangeKind.DELETED)]
    assert [row["Kind"] for row in files.changes(found) or []] == [0, 1, 2]
