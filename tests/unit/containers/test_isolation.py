"""What a process has is read from the kernel's own files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.containers import isolation
from sampan.errors import Conflict
from sampan.linux import capabilities


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    command = getattr(request, "param", ["sleep", "100"])
    running = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert running.stdout
    if command[0] != "sleep":
        running.stdout.readline()  # it is where it should be
    yield running
    running.kill()
    running.wait()
    running.stdout.close()


def test_an_ordinary_process_has_what_the_host_has(process: subprocess.Popen[bytes]) -> None:
    found = isolation.look(process.pid, os.getpid(), [process.pid])
    assert set(found.namespaces.values()) == {"host"}
    assert found.user == f"{os.getuid()}:{os.getgid()}"
    assert found.capabilities["Permitted"] == [
        name for number, name in enumerate(capabilities.NAMES) if capabilities.permitted() >> number & 1
    ]
    assert "lo" in found.interfaces
    assert found.limits["Max open files"].split()[0].isdigit()
    assert next(mount for mount in found.mounts if mount.target == "/proc").type == "proc"
    assert "null" in found.devices
    assert found.overhead > 100_000, "this very process is its helper"


@pytest.mark.root
@pytest.mark.parametrize(
    "process",
    [
        [
            "unshare",
            "--uts",
            "--net",
            "setpriv",
            "--no-new-privs",
            "--bounding-set=-mknod",
            "sh",
            "-c",
            "echo; exec sleep 99",
        ]
    ],
    indirect=True,
)
def test_what_differs_is_seen(process: subprocess.Popen[bytes]) -> None:
    found = isolation.look(process.pid, 0, [])
    own = {name for name, whose in found.namespaces.items() if whose == "own"}
    assert own == {"uts", "network"}
    assert found.interfaces == ["lo"]
    assert found.no_new_privileges
    assert "MKNOD" not in found.capabilities["Bounding"]
    assert found.helpers == []


@pytest.mark.root
@pytest.mark.parametrize(
    "process",
    [
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            'mkdir -p "/tmp/a b" && mount -t tmpfs -o ro,size=4k quay "/tmp/a b"; echo; exec sleep 99',
        ]
    ],
    indirect=True,
)
def test_mounts_are_told_as_they_are(process: subprocess.Popen[bytes]) -> None:
    mount = isolation.look(process.pid, 0, []).mounts[-1]
    assert (mount.target, mount.type, mount.source, mount.propagation) == ("/tmp/a b", "tmpfs", "quay", "private")
    assert mount.options[0] == "ro"
    assert "size=4k" in mount.super_options
    Path("/tmp/a b").rmdir()


def test_one_that_has_ended_is_a_conflict() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(Conflict, match="has ended"):
        isolation.look(ended.pid, 0, [])
