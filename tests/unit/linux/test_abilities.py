"""What a kernel can limit, by the files of its hierarchies."""

from __future__ import annotations

from pathlib import Path

from sampan.linux import abilities, cgroups


def hierarchies(root: Path, **files: str) -> dict[str, str]:
    """``memory="a b"`` is a version 1 controller whose root has the files a and b."""
    for controller, names in files.items():
        (root / controller).mkdir()
        for name in names.split():
            (root / controller / name).touch()
    return {controller: str(root / controller) for controller in files}


def test_nothing_is_mounted() -> None:
    able = abilities.find({})
    assert not any((able.memory, able.swap, able.cpu_quota, able.cpuset, able.pids, able.block_throttle))


def test_version_1_tells_by_files(tmp_path: Path) -> None:
    able = abilities.find(hierarchies(tmp_path, memory="memory.swappiness", cpu="cpu.shares", blkio="blkio.weight"))
    assert (able.memory, able.reservation, able.swappiness, able.cpu_shares, able.block_weight) == (True,) * 5
    assert not any((able.swap, able.oom_kill_disable, able.cpu_quota, able.cpu_realtime, able.block_throttle))


def test_bfq_has_weights_of_its_own(tmp_path: Path) -> None:
    able = abilities.find(hierarchies(tmp_path, blkio="blkio.bfq.io_serviced"))
    assert able.block_weight
    assert able.block_weight_device


def test_version_2_tells_by_controllers(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu io memory pids\n")
    able = abilities.find({cgroups.V2: str(tmp_path)})
    assert (able.memory, able.cpu_quota, able.block_weight, able.block_throttle, able.pids) == (True,) * 5
    assert not any((able.cpuset, able.swappiness, able.oom_kill_disable, able.cpu_realtime))


def test_hybrid_has_both(tmp_path: Path) -> None:
    found = hierarchies(tmp_path, cpu="cpu.shares cpu.cfs_quota_us")
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified" / "cgroup.controllers").write_text("memory\n")
    able = abilities.find({**found, cgroups.V2: str(tmp_path / "unified")})
    assert able.cpu_quota
    assert able.memory
    assert not able.pids


def test_the_groups_of_this_process(tmp_path: Path) -> None:
    listing = tmp_path / "cgroup"
    listing.write_text("4:memory:/a\n3:cpu,cpuacct:/b:c\n1:name=systemd:/\n0::/d\n")
    places = {"memory": "/m", "cpu": "/c", "cpuacct": "/c", cgroups.V2: "/u"}
    assert cgroups.own(places, str(listing)) == {"/m": "/a", "/c": "/b:c", "/u": "/d"}
