"""Root file systems made by somebody who wants to reach the host while the container is being made."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from sampan.drivers.types import RuntimeFeatures
from sampan.errors import StartFailed
from sampan.testing.runtime.base import Base, need
from sampan.testing.runtime.containers import Containers
from sampan.testing.runtime.spec import command

_DIRECTORIES = ("proc", "dev", "sys", "etc", "tmp", "dev/pts", "dev/shm", "sys/fs/cgroup", "var")


def portrait(directory: Path) -> dict[str, tuple[object, ...]]:
    """All that can be seen of a tree."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [directory, *directory.rglob("*")]:
        about = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (about.st_mode, about.st_uid, about.st_gid, about.st_dev, about.st_mtime_ns, content)
    return found


class HostileRootTests(Base):
    @pytest.fixture
    def victim(self, containers: Containers) -> Path:
        """Something of the host's that must stay as it is."""
        made = containers.directory / "victim"
        for name in ("pts", "shm", "fs/cgroup", "sys/kernel", "work"):
            (made / name).mkdir(parents=True)
        for name in ("hosts", "console", "null", "passwd", "kcore", "sys/kernel/msgmax"):
            (made / name).write_text("the host's")
        return made

    @pytest.mark.parametrize("kind", ["absolute", "climbing", "proc"])
    @pytest.mark.parametrize("name", _DIRECTORIES)
    def test_a_directory_that_is_a_link_to_the_host_leads_nowhere(
        self, containers: Containers, victim: Path, name: str, kind: str
    ) -> None:
        root = containers.root()
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            for child in place.iterdir():
                child.unlink()
            place.rmdir()
        target = {
            "absolute": str(victim),
            "climbing": f"{'../' * 40}{str(victim).lstrip('/')}",
            "proc": f"/proc/1/root{victim}",
        }[kind]
        place.symlink_to(target)
        file = containers.directory / "file"
        file.write_text("bound")
        mounts = [
            {"destination": "/etc/hosts", "type": "bind", "source": str(file), "options": ["rbind"]},
            {"destination": "/var/data", "type": "bind", "source": str(containers.root()), "options": ["rbind"]},
        ]
        spec = command(
            "sh",
            "-c",
            "echo x > /dev/escaped; echo x > /etc/escaped; echo x > /tmp/escaped; true",
            mounts=mounts,
            process={"cwd": "/tmp/work"},
            linux={"devices": [{"path": "/dev/made", "type": "c", "major": 1, "minor": 3}]},
        )
        self._run_and_compare(containers, spec, root, victim)

    @pytest.mark.parametrize("name", ["etc/hosts", "etc/passwd", "proc/kcore", "var/data", "work"])
    def test_a_file_that_is_a_link_to_the_host_leads_nowhere(
        self, containers: Containers, victim: Path, name: str
    ) -> None:
        root = containers.root()
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(victim / Path(name).name)
        file = containers.directory / "file"
        file.write_text("bound")
        mounts = [
            {"destination": f"/{each}", "type": "bind", "source": str(file), "options": ["rbind"]}
            for each in ("etc/hosts", "var/data")
        ]
        spec = command("sh", "-c", "echo x > /etc/hosts; true", mounts=mounts, process={"cwd": "/work"})
        self._run_and_compare(containers, spec, root, victim)

    @pytest.mark.parametrize("name", ["console", "null", "ptmx", "pts/ptmx", "stdin", "tty"])
    def test_a_device_that_is_a_link_to_the_host_leads_nowhere(
        self, containers: Containers, features: RuntimeFeatures, victim: Path, name: str
    ) -> None:
        """Here /dev is the image's own, with nothing mounted on it."""
        need(features, "tty")
        root = containers.root()
        (root / "dev" / name).parent.mkdir(exist_ok=True)
        (root / "dev" / name).symlink_to(victim / Path(name).name)
        spec = command("sh", "-c", "echo x > /dev/console", process={"terminal": True})
        spec["mounts"] = [each for each in spec["mounts"] if each["destination"] != "/dev"]
        self._run_and_compare(containers, spec, root, victim)

    def test_kernel_settings_are_not_written_through_a_false_proc(self, containers: Containers, victim: Path) -> None:
        root = containers.root()
        (root / "proc").rmdir()
        (root / "proc").symlink_to(victim)
        spec = command("true", linux={"sysctl": {"kernel.msgmax": "1"}})
        self._run_and_compare(containers, spec, root, victim)

    def test_a_pipe_in_place_of_a_file_holds_nothing_up(self, containers: Containers) -> None:
        root = containers.root()
        for name in ("passwd", "group"):
            (root / "etc" / name).unlink()
            os.mkfifo(root / "etc" / name)
        assert containers.run(command("true"), root=root).code == 0

    def test_the_working_directory_cannot_be_one_of_the_hosts(self, containers: Containers) -> None:
        """The way of CVE-2024-21626: a descriptor of the runtime's, open on the host's tree, as working directory."""
        for number in range(3, 12):
            spec = command("ls", "..", process={"cwd": f"/proc/self/fd/{number}"})
            try:
                outcome = containers.run(spec)
            except StartFailed:
                continue
            assert "boot" not in outcome.out.split()

    def _run_and_compare(self, containers: Containers, spec: dict[str, object], root: Path, victim: Path) -> None:
        """Whether it starts or is refused: nothing of the host's has changed."""
        before, mounted = portrait(victim), containers.host_mounts()
        with contextlib.suppress(StartFailed):
            containers.run(spec, root=root)
        assert portrait(victim) == before
        assert containers.host_mounts() == mounted
