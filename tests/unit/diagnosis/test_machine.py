"""What the doctor says of a host: each thing wrong for real where that can be had, and by its figures elsewhere."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.diagnosis import machine
from sampan.linux import capabilities
from sampan.linux.abilities import Abilities
from sampan.linux.idmaps import SAME


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A very small one."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=100", "small", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.root
def test_a_disk_that_fills(disk: Path) -> None:
    assert [one.mark for one in machine.room("data root", disk)] == ["fine"]
    (disk / "much").write_bytes(bytes(950_000))
    assert [one.mark for one in machine.room("data root", disk)] == ["note"]
    (disk / "more").write_bytes(bytes(90_000))
    [found] = machine.room("data root", disk)
    assert (found.mark, "nearly full" in found.says) == ("wrong", True)


@pytest.mark.root
def test_a_disk_without_inodes(disk: Path) -> None:
    for number in range(98):
        (disk / str(number)).touch()
    [found] = machine.room("data root", disk)
    assert (found.mark, "inodes are free" in found.says) == ("wrong", True)


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    assert [one.mark for one in machine.room("data root", tmp_path / "nowhere")] == ["wrong"]


def test_capabilities_that_the_daemon_lacks() -> None:
    whole = capabilities.ALL
    assert [one.mark for one in machine.powers(whole)] == ["fine"]
    resource, admin = (1 << capabilities.NAMES.index(name) for name in ("SYS_RESOURCE", "NET_ADMIN"))
    [lacking, _] = machine.powers(whole & ~resource)
    assert (lacking.about, lacking.mark) == ("CAP_SYS_RESOURCE", "note")
    [lacking] = machine.powers(whole & ~admin)
    assert (lacking.about, lacking.mark) == ("CAP_NET_ADMIN", "wrong")


@pytest.mark.parametrize(("release", "mark"), [("5.11.0", "wrong"), ("5.12", "fine"), ("6.1.0-18-amd64", "fine")])
def test_the_age_of_the_kernel(release: str, mark: str) -> None:
    assert machine.kernel(release).mark == mark


def test_control_groups_that_are_missing() -> None:
    assert [one.mark for one in machine.control_groups(Abilities())] == ["fine"]
    [found] = machine.control_groups(Abilities(memory=False, pids=False))
    assert "memory, processes cannot be limited" in found.says
    assert "swap" in next(iter(machine.control_groups(Abilities(swap=False)))).says


def test_user_namespaces_are_looked_for() -> None:
    assert machine.user_namespaces(SAME).about == "user namespaces"


def test_name_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("search example.org\n")
    assert "names none" in machine.name_servers(file).says
    file.write_text("nameserver 127.0.0.77\n")
    assert "none of the host's (127.0.0.77) answers" in machine.name_servers(file).says
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.78", 0))
        monkeypatch.setattr(machine, "_PORT", server.getsockname()[1])
        file.write_text("nameserver 127.0.0.77\nnameserver 127.0.0.78\n")
        echo = threading.Thread(target=lambda: server.sendto(*server.recvfrom(512)), daemon=True)
        echo.start()
        assert machine.name_servers(file).says.startswith("127.0.0.77 of ")
        echo.join(5)
