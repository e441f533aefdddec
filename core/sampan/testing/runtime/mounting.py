"""Mounts, devices, and what of /proc and /sys is covered or read-only."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sampan.linux import mounts
from sampan.testing.runtime.base import Base
from sampan.testing.runtime.containers import Containers
from sampan.testing.runtime.spec import MASKED, READ_ONLY, command


class MountTests(Base):
    def test_the_usual_file_systems_are_there(self, containers: Containers) -> None:
        outcome = containers.run(command("cat", "/proc/mounts"))
        kinds = {line.split()[1]: line.split()[2] for line in outcome.out.splitlines()}
        expected = {"/proc": "proc", "/dev": "tmpfs", "/dev/pts": "devpts", "/sys": "sysfs"}
        expected |= {"/dev/mqueue": "mqueue", "/dev/shm": "tmpfs"}
        assert expected.items() <= kinds.items()

    def test_a_mounts_options_hold(self, containers: Containers) -> None:
        mount = {"destination": "/scratch", "type": "tmpfs", "source": "tmpfs"}
        mount["options"] = ["nosuid", "nodev", "noexec", "size=1m", "mode=1770"]  # type: ignore[assignment]
        script = "grep ' /scratch ' /proc/mounts; stat -c %a /scratch; cp /bin/busybox /scratch/b; /scratch/b true"
        outcome = containers.run(command("sh", "-c", script, mounts=[mount]))
        assert {"nosuid", "nodev", "noexec", "size=1024k"} <= set(outcome.out.splitlines()[0].split()[3].split(","))
        assert outcome.out.splitlines()[1] == "1770"
        assert outcome.code == 126

    def test_a_directory_bound_in_is_the_hosts(self, containers: Containers) -> None:
        source = containers.directory / "shared"
        source.mkdir()
        mount = {"destination": "/a/new/place", "type": "bind", "source": str(source), "options": ["rbind", "rprivate"]}
        assert containers.run(command("sh", "-c", "echo x > /a/new/place/file", mounts=[mount])).code == 0
        assert (source / "file").read_text() == "x\n"

    def test_a_read_only_bind_is_read_only(self, containers: Containers) -> None:
        source = containers.directory / "shared"
        source.mkdir()
        mount = {"destination": "/data", "type": "bind", "source": str(source), "options": ["rbind", "ro"]}
        outcome = containers.run(command("sh", "-c", "echo x > /data/file", mounts=[mount]))
        assert "Read-only file system" in outcome.err
        assert list(source.iterdir()) == []

    def test_what_is_mounted_on_a_root_from_a_shared_mount_stays_inside(self, containers: Containers) -> None:
        """systemd makes all of a machine's mounts shared."""
        root = containers.root()
        tree = mounts.bind(root)
        mounts.attach(tree, root)
        os.close(tree)
        try:
            mounts.mount("none", root, None, mounts.MS_SHARED)
            before = containers.host_mounts()
            running = containers.start(command("sleep", "1000"), root=root)
            assert containers.host_mounts() == before
            containers.driver.remove(running.key)
            running.wait()
        finally:
            mounts.detach(root)

    def test_a_file_bound_in_covers_the_images(self, containers: Containers) -> None:
        source = containers.directory / "hosts"
        source.write_text("127.0.0.1 ours\n")
        mount = {"destination": "/etc/hosts", "type": "bind", "source": str(source), "options": ["rbind", "rprivate"]}
        root = containers.root()
        (root / "etc" / "hosts").write_text("theirs")
        assert containers.run(command("cat", "/etc/hosts", mounts=[mount]), root=root).out == "127.0.0.1 ours\n"
        assert (root / "etc" / "hosts").read_text() == "theirs"

    def test_a_file_is_bound_in_where_a_link_of_the_image_leads_to_nothing_yet(self, containers: Containers) -> None:
        """Images come with ``/etc/resolv.conf`` as a link to a file that some service would have made."""
        source = containers.directory / "resolv.conf"
        source.write_text("nameserver 127.0.0.11\n")
        root = containers.root()
        (root / "etc" / "resolv.conf").symlink_to("../run/resolver/stub.conf")
        mount = {"destination": "/etc/resolv.conf", "type": "bind", "source": str(source), "options": ["rbind"]}
        outcome = containers.run(command("cat", "/etc/resolv.conf", mounts=[mount]), root=root)
        assert outcome.out == "nameserver 127.0.0.11\n"

    def test_a_read_only_root_is_read_only_and_what_is_mounted_on_it_is_not(self, containers: Containers) -> None:
        spec = command("sh", "-c", "echo x > /dev/shm/x && echo x > /file", root={"path": "", "readonly": True})
        root = containers.root()
        outcome = containers.run(spec, root=root)
        assert "can't create /file: Read-only file system" in outcome.err
        assert not (root / "file").exists()

    def test_masked_paths_hold_nothing(self, containers: Containers) -> None:
        script = "for path; do if [ -d $path ]; then ls -A $path; else cat $path 2>&1 | head -c 100; fi; done"
        there = [path for path in MASKED if Path(path).exists()]
        assert there, "nothing on this machine could be masked"
        assert containers.run(command("sh", "-c", script, "sh", *there)).out == ""

    def test_read_only_paths_refuse_even_root(self, containers: Containers) -> None:
        script = 'cat /proc/sys/kernel/panic > /proc/sys/kernel/panic; grep -E " $0 " /proc/mounts | tail -1'
        for path in (each for each in READ_ONLY if Path(each).exists()):
            outcome = containers.run(command("sh", "-c", script, path))
            assert "Read-only file system" in outcome.err
            assert outcome.out.split()[3].startswith("ro"), path

    def test_sys_is_read_only(self, containers: Containers) -> None:
        outcome = containers.run(command("sh", "-c", "echo 1 > /sys/kernel/profiling; mkdir /sys/fs/cgroup/x"))
        assert outcome.err.count("Read-only file system") == 2

    @pytest.mark.parametrize("name", ["null", "zero", "full", "random", "urandom", "tty"])
    def test_the_devices_that_every_container_has_work(self, containers: Containers, name: str) -> None:
        script = {
            "null": 'echo x > /dev/null && [ -z "$(cat /dev/null)" ]',
            "full": "! echo x 2>/dev/null > /dev/full",
            "tty": "[ -c /dev/tty ]",
        }.get(name, f"[ $(head -c 16 /dev/{name} | wc -c) = 16 ]")
        assert containers.run(command("sh", "-c", script)).code == 0

    def test_the_usual_links_in_dev_are_there(self, containers: Containers) -> None:
        """``ptmx`` may be a link or a bind mount (runtime-spec config-linux.md, "Default Devices")."""
        script = "for name in fd stdin stdout stderr; do readlink /dev/$name; done; test /dev/ptmx -ef /dev/pts/ptmx"
        outcome = containers.run(command("sh", "-c", script))
        fd = "/proc/self/fd"
        assert outcome.out.split() == [fd, f"{fd}/0", f"{fd}/1", f"{fd}/2"]
        assert outcome.code == 0

    def test_a_device_that_was_asked_for_is_made(self, containers: Containers) -> None:
        device = {"path": "/dev/deep/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8}
        script = "stat -c '%a %u %g' /dev/deep/zero; head -c 4 /dev/deep/zero | wc -c"
        outcome = containers.run(command("sh", "-c", script, linux={"devices": [device]}))
        assert outcome.out.split() == ["640", "7", "8", "4"]

    def test_a_device_that_was_not_allowed_cannot_be_used(self, containers: Containers) -> None:
        """A node of the host's disk would be as good as the disk."""
        outcome = containers.run(command("sh", "-c", "mknod /disk c 1 1 && head -c 1 /disk > /dev/null"))
        assert outcome.code != 0
        assert "not permitted" in outcome.err

    def test_a_kernel_setting_of_its_own_namespace_is_made(self, containers: Containers) -> None:
        before = Path("/proc/sys/kernel/msgmax").read_text()
        spec = command("cat", "/proc/sys/kernel/msgmax", linux={"sysctl": {"kernel.msgmax": "4242"}})
        assert containers.run(spec).out == "4242\n"
        assert Path("/proc/sys/kernel/msgmax").read_text() == before

    def test_the_modes_of_dev_are_those_that_everybody_expects(self, containers: Containers) -> None:
        outcome = containers.run(command("stat", "-c", "%f", "/dev/null"))
        mode = int(outcome.out, 16)
        assert stat.S_ISCHR(mode)
        assert stat.S_IMODE(mode) == 0o666
