"""What a container sees of the machine: its own names, processes and file system, and nothing of the host's."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from sampan.drivers.types import RuntimeFeatures
from sampan.testing.runtime.base import Base, need, need_namespaces
from sampan.testing.runtime.containers import Containers, until
from sampan.testing.runtime.spec import command

_KINDS = ("mnt", "uts", "ipc", "pid", "net", "cgroup")


class IsolationTests(Base):
    def test_its_namespaces_are_not_the_hosts(self, containers: Containers, features: RuntimeFeatures) -> None:
        need_namespaces(features)
        running = containers.start(command("sleep", "1000"))
        for kind in _KINDS:
            assert os.readlink(f"/proc/{running.pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}"), kind  # noqa: PTH115

    def test_two_containers_share_no_namespace_but_the_network_that_they_were_given(
        self, containers: Containers, features: RuntimeFeatures
    ) -> None:
        need_namespaces(features)
        one, two = (containers.start(command("sleep", "1000")) for _ in range(2))
        for kind in _KINDS:
            same = os.readlink(f"/proc/{one.pid}/ns/{kind}") == os.readlink(f"/proc/{two.pid}/ns/{kind}")  # noqa: PTH115
            assert same == (kind == "net"), kind

    def test_its_init_is_process_1_and_sees_only_its_own(self, containers: Containers) -> None:
        outcome = containers.run(command("sh", "-c", "echo $$; ls /proc | grep '^[0-9]*$' | wc -l"))
        pid, count = map(int, outcome.out.split())
        assert pid == 1
        assert count <= 4, "sh, ls, grep and wc"

    def test_it_has_the_hostname_and_the_host_keeps_its_own(self, containers: Containers) -> None:
        before = platform.node()
        spec = command("sh", "-c", "hostname; cat /proc/sys/kernel/domainname", hostname="galley", domainname="sea")
        assert containers.run(spec).out.split() == ["galley", "sea"]
        assert os.uname().nodename == before

    def test_its_root_is_the_one_that_was_given(self, containers: Containers) -> None:
        root = containers.root()
        (root / "flag").write_text("ours")
        assert containers.run(command("cat", "/flag"), root=root).out == "ours"
        assert containers.run(command("sh", "-c", "echo theirs > /flag"), root=root).code == 0
        assert (root / "flag").read_text() == "theirs\n"

    def test_the_hosts_files_and_mounts_are_out_of_reach(self, containers: Containers) -> None:
        outcome = containers.run(command("sh", "-c", "ls -a /..; cut -d' ' -f5 /proc/self/mountinfo"))
        entries = outcome.out.split()
        assert str(containers.directory) not in outcome.out
        assert {"bin", "proc"} <= set(entries)
        assert not {"boot", "home", "usr"} & set(entries[: entries.index("/")])

    def test_its_mounts_stay_inside(self, containers: Containers) -> None:
        root, before = containers.root(), containers.host_mounts()
        containers.start(command("sleep", "1000"), root=root)
        assert containers.host_mounts() == before

    def test_the_hosts_mounts_stay_outside(self, containers: Containers) -> None:
        running = containers.start(command("sleep", "1000"))
        inside, host = (_peers(Path(f"/proc/{pid}/mountinfo")) for pid in (running.pid, "self"))
        assert not inside & host, "mounts are peers of the host's: what is mounted on the one shows on the other"

    def test_the_network_namespace_is_the_one_at_the_path(self, containers: Containers) -> None:
        running = containers.start(command("sleep", "1000"))
        given = (containers.directory / "network").stat().st_ino
        assert Path(f"/proc/{running.pid}/ns/net").stat().st_ino == given

    @pytest.mark.parametrize("kind", ["pid", "ipc", "uts"])
    def test_it_joins_another_ones_namespace(
        self, containers: Containers, features: RuntimeFeatures, kind: str
    ) -> None:
        need(features, "join_namespaces")
        host = containers.start(command("sleep", "1000", hostname="host-of-guests"))
        spec = command("sh", "-c", "readlink /proc/self/ns/$0; exec sleep 1000", kind)
        spec["linux"]["namespaces"] = [each for each in spec["linux"]["namespaces"] if each["type"] != kind]
        spec["linux"]["namespaces"].append({"type": kind, "path": f"/proc/{host.pid}/ns/{kind}"})
        spec.pop("hostname")
        guest = containers.start(spec)
        assert guest.until("\n").strip() == os.readlink(f"/proc/{host.pid}/ns/{kind}")  # noqa: PTH115
        containers.driver.remove(guest.key)
        guest.wait()
        assert Path(f"/proc/{host.pid}").exists(), "the end of a guest is not the end of its host"

    def test_a_guest_of_a_pid_namespace_ends_with_all_that_it_started(
        self, containers: Containers, features: RuntimeFeatures
    ) -> None:
        need(features, "join_namespaces")
        host = containers.start(command("sleep", "1000"))
        spec = command("sh", "-c", "sleep 987654 & echo started")
        spec["linux"]["namespaces"] = [each for each in spec["linux"]["namespaces"] if each["type"] != "pid"]
        spec["linux"]["namespaces"].append({"type": "pid", "path": f"/proc/{host.pid}/ns/pid"})
        guest = containers.start(spec)
        guest.until("started")
        guest.wait()
        until(lambda: not _running("sleep\x00987654\x00"), lambda: "a process of the guest lives on")

    def test_a_host_namespace_is_the_hosts(self, containers: Containers, features: RuntimeFeatures) -> None:
        need_namespaces(features)
        spec = command("sleep", "1000")
        hosts = ["uts", "ipc", "pid", *(["cgroup"] if features.host_cgroups else [])]
        own = {"mount", "network"} | ({"cgroup"} - set(hosts))
        spec["linux"]["namespaces"] = [{"type": kind} for kind in sorted(own)]
        spec.pop("hostname")
        running = containers.start(spec)
        for kind in hosts:
            assert os.readlink(f"/proc/{running.pid}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}"), kind  # noqa: PTH115


def _peers(mountinfo: Path) -> set[str]:
    """The peer groups of the mounts (proc_pid_mountinfo(5), optional fields)."""
    lines = (line.split(" - ")[0].split() for line in mountinfo.read_text().splitlines())
    return {field for fields in lines for field in fields[6:] if field.startswith("shared:")}


def _running(command_line: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_text() == command_line:
                return True
        except OSError:
            continue
    return False
