"""Containers whose users are others on the host: in a given user namespace, which owns all that they have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.drivers.types import RuntimeFeatures
from sampan.linux import userns
from sampan.linux.idmaps import IdMap, Range
from sampan.testing.runtime.base import Base, need
from sampan.testing.runtime.containers import Containers
from sampan.testing.runtime.spec import command

_UID, _GID = 300_000, 400_000
_IDS = IdMap((Range(0, _UID, 65_536),), (Range(0, _GID, 65_536),))
_OWNED = ("mnt", "uts", "ipc", "pid", "cgroup", "net")


class RemappingTests(Base):
    @pytest.fixture
    def given(self, sampan_root: None, features: RuntimeFeatures) -> Iterator[dict[str, Any]]:
        """A user namespace and a network namespace that it owns, as the ``linux`` part of a specification."""
        need(features, "user_namespaces")
        users, network = userns.create(_IDS)
        kinds = [{"type": kind} for kind in ("mount", "uts", "ipc", "pid", "cgroup")]
        paths = {"user": f"/proc/{os.getpid()}/fd/{users}", "network": f"/proc/{os.getpid()}/fd/{network}"}
        yield {
            "namespaces": kinds + [{"type": kind, "path": path} for kind, path in paths.items()],
            "uidMappings": [{"containerID": 0, "hostID": _UID, "size": 65_536}],
            "gidMappings": [{"containerID": 0, "hostID": _GID, "size": 65_536}],
        }
        os.close(users)
        os.close(network)

    @pytest.fixture
    def root(self, containers: Containers) -> Path:
        """A root file system that belongs to the container's root."""
        made = containers.root()
        for directory, names, files in os.walk(made):
            for path in (directory, *(f"{directory}/{name}" for name in [*names, *files])):
                os.lchown(path, _UID, _GID)
        return made

    def test_its_processes_are_others_on_the_host(
        self, containers: Containers, given: dict[str, Any], root: Path
    ) -> None:
        script = "id -u; id -g; echo again > /dev/stdout; exec sleep 1000"
        running = containers.start(command("sh", "-c", script, linux=given), root=root)
        assert running.until("again").split() == ["0", "0", "again"]
        status = Path(f"/proc/{running.pid}/status").read_text().splitlines()
        owners = [line.split()[1:] for line in status if line.startswith(("Uid:", "Gid:"))]
        assert owners == [[str(_UID)] * 4, [str(_GID)] * 4]
        assert Path(f"/proc/{running.pid}/uid_map").read_text().split() == ["0", str(_UID), "65536"]

    def test_its_user_namespace_owns_all_others(
        self, containers: Containers, given: dict[str, Any], root: Path
    ) -> None:
        running = containers.start(command("sleep", "1000", linux=given), root=root)
        wanted = Path(f"/proc/{running.pid}/ns/user").stat().st_ino
        assert wanted != Path("/proc/self/ns/user").stat().st_ino
        for kind in _OWNED:
            namespace = os.open(f"/proc/{running.pid}/ns/{kind}", os.O_RDONLY)
            owner = userns.owner(namespace)
            assert os.fstat(owner).st_ino == wanted, kind
            os.close(owner)
            os.close(namespace)

    def test_it_has_what_every_container_has(self, containers: Containers, given: dict[str, Any], root: Path) -> None:
        script = "ls /sys/class/net; echo > /dev/null; head -c 2 /dev/zero | wc -c; ls /dev/pts/ptmx; test -d /proc/$$"
        outcome = containers.run(command("sh", "-c", script, linux=given), root=root)
        assert (outcome.out.split(), outcome.code) == (["lo", "2", "/dev/pts/ptmx"], 0), outcome.err

    def test_its_files_are_its_own_on_the_host(
        self, containers: Containers, given: dict[str, Any], root: Path, directory: Path
    ) -> None:
        (directory / "hosts").mkdir(mode=0o755)
        bound = {"destination": "/deep/er", "type": "bind", "source": str(directory / "hosts"), "options": ["rbind"]}
        script = "touch /mine && chown 5:6 /mine && touch /deep/er/x"
        outcome = containers.run(command("sh", "-c", script, linux=given, mounts=[bound]), root=root)
        assert outcome.code != 0, "it wrote into a directory of the host's root"
        assert not list((directory / "hosts").iterdir())
        owners = [((root / name).stat().st_uid, (root / name).stat().st_gid) for name in ("mine", "deep")]
        assert owners == [(_UID + 5, _GID + 6), (_UID, _GID)]

    def test_an_exec_is_in_it(
        self, containers: Containers, features: RuntimeFeatures, given: dict[str, Any], root: Path
    ) -> None:
        need(features, "exec")
        running = containers.start(command("sleep", "1000", linux=given), root=root)
        script = "readlink /proc/self/ns/user; id -u; echo again > /dev/stdout"
        outcome = containers.execute(running, "sh", "-c", script, user={"uid": 7, "gid": 8})
        assert outcome.out.split() == [str(Path(f"/proc/{running.pid}/ns/user").readlink()), "7", "again"], outcome.err
