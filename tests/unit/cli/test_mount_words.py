"""``--mount``: every option of Docker's, and what is wrong with others."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.cli.container import mounts
from sampan.cli.failures import Usage

TMPFS = {"Type": "tmpfs", "Target": "/t"}
BIND = {"Type": "bind", "Source": "/s", "Target": "/t"}
VOLUME = {"Type": "volume", "Target": "/t"}
OPTIONS = {"DriverConfig": {"Name": "local", "Options": {"type": "nfs", "o": "addr=1.2.3.4,ro"}}}


@pytest.mark.parametrize(
    ("word", "mount"),
    [
        ("dst=/t", VOLUME),
        ("TYPE=Volume,destination=/t,ro", {**VOLUME, "ReadOnly": True}),
        ("type=bind,src=/s,target=/t,readonly=false", {**BIND, "ReadOnly": False}),
        ("type=bind,src=/s,dst=/t,bind-propagation=rslave", {**BIND, "BindOptions": {"Propagation": "rslave"}}),
        ("type=bind,src=/s,dst=/t,bind-recursive=enabled", BIND),
        ("type=bind,src=/s,dst=/t,bind-recursive=disabled", {**BIND, "BindOptions": {"NonRecursive": True}}),
        (
            "type=bind,src=/s,dst=/t,ro,bind-recursive=writable",
            {**BIND, "ReadOnly": True, "BindOptions": {"ReadOnlyNonRecursive": True}},
        ),
        ("dst=/t,consistency=cached", {**VOLUME, "Consistency": "cached"}),
        ("dst=/t,volume-nocopy,volume-label=a=b", {**VOLUME, "VolumeOptions": {"NoCopy": True, "Labels": {"a": "b"}}}),
        ("dst=/t,src=x,volume-subpath=a/b", {**VOLUME, "Source": "x", "VolumeOptions": {"Subpath": "a/b"}}),
        (
            'dst=/t,volume-driver=local,volume-opt=type=nfs,"volume-opt=o=addr=1.2.3.4,ro"',
            {**VOLUME, "VolumeOptions": OPTIONS},
        ),
        (
            "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770",
            {**TMPFS, "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o1770}},
        ),
    ],
)
def test_read(word: str, mount: dict[str, Any]) -> None:
    assert mounts.mounts([word]) == [mount]


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("type=bind,src=/s", "it has no target"),
        ("type=bind,dst=/t", "a bind needs a source"),
        ("dst=/t,colour=red", "colour is none of type, source"),
        ("dst=/t,source", "invalid field 'source' must be a key=value pair"),
        ("dst=/t,ro=perhaps", "neither true nor false"),
        ("type=bind,src=/s,dst=/t,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
        ("dst=/t,bind-recursive=often", "write enabled, disabled, writable or readonly"),
        ("type=bind,src=/s,dst=/t,bind-recursive=writable", "requires 'readonly'"),
        ("type=bind,src=/s,dst=/t,ro,bind-recursive=readonly", "requires 'bind-propagation=rprivate'"),
        ("type=tmpfs,dst=/t,tmpfs-mode=9", "tmpfs-mode=9"),
        ('"dst=/t', "unexpected end of data"),
    ],
)
def test_refused(word: str, sentence: str) -> None:
    with pytest.raises(Usage) as caught:
        mounts.mounts([word])
    assert sentence in str(caught.value)
