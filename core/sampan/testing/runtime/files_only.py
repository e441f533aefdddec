"""Runtimes that isolate the file system only: what is left to promise, and that the rest is refused, not forgotten."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sampan.drivers.types import RuntimeFeatures
from sampan.errors import Unsupported
from sampan.linux import capabilities
from sampan.testing.runtime.base import Base
from sampan.testing.runtime.containers import Containers
from sampan.testing.runtime.spec import command

_WAYS_OUT = ("SYS_CHROOT", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "MKNOD", "DAC_READ_SEARCH")


class FilesOnlyTests(Base):
    @pytest.fixture(autouse=True)
    def _files_only(self, request: pytest.FixtureRequest, features: RuntimeFeatures) -> None:
        if "files_only" in request.node.name and features.isolation != "filesystem":
            pytest.skip("this runtime isolates more than the file system")

    @pytest.mark.parametrize(
        "wish",
        [
            {"resources": {"memory": {"limit": 64 << 20}}},
            {"resources": {"pids": {"limit": 10}}},
            {"resources": {"cpu": {"quota": 5000, "period": 50000}}},
            {"namespaces": [{"type": "network", "path": "/proc/self/ns/net"}]},
            {"namespaces": [{"type": "pid", "path": "/proc/self/ns/pid"}]},
        ],
        ids=["memory", "processes", "processor", "network", "another one's processes"],
    )
    def test_files_only_what_it_cannot_give_is_refused(self, containers: Containers, wish: dict[str, Any]) -> None:
        bundle = containers.bundle(command("true"))
        bundle.spec["linux"].update(wish)
        with pytest.raises(Unsupported) as refusal:
            containers.driver.order(bundle)
        assert len(refusal.value.message.splitlines()) == 1, "the refusal is not one sentence"

    def test_files_only_its_root_is_the_one_that_was_given(self, containers: Containers) -> None:
        root = containers.root()
        (root / "flag").write_text("ours")
        assert containers.run(command("cat", "/../flag"), root=root).out == "ours"
        assert containers.run(command("sh", "-c", "echo theirs > /flag; ls -a /.."), root=root).code == 0
        assert (root / "flag").read_text() == "theirs\n"

    def test_files_only_no_power_leads_out_of_the_root(self, containers: Containers) -> None:
        spec = command("sleep", "1000")
        everything = [f"CAP_{name}" for name in capabilities.NAMES]
        spec["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), everything)
        running = containers.start(spec)
        status = Path(f"/proc/{running.pid}/status").read_text().splitlines()
        for name in ("CapEff", "CapPrm", "CapBnd"):
            [held] = [int(line.split()[1], 16) for line in status if line.startswith(name)]
            ways = [each for each in _WAYS_OUT if held >> capabilities.NAMES.index(each) & 1]
            assert not ways, f"{name} has {ways}, which lead out of a root"

    def test_files_only_the_user_is_the_one_that_was_given(self, containers: Containers) -> None:
        user = {"uid": 1000, "gid": 1001, "additionalGids": [7]}
        running = containers.start(command("sleep", "1000", process={"user": user, "capabilities": {}}))
        found = dict(line.split(":\t") for line in Path(f"/proc/{running.pid}/status").read_text().splitlines())
        assert (found["Uid"].split(), found["Gid"].split()) == (["1000"] * 4, ["1001"] * 4)
        assert found["Groups"].split() == ["7"]
        assert int(found["CapEff"], 16) == 0

    def test_files_only_links_of_the_image_lead_nowhere(self, containers: Containers) -> None:
        root, victim = containers.root(), containers.directory / "victim"
        (victim / "pts").mkdir(parents=True)
        (root / "dev").rmdir()
        (root / "dev").symlink_to(victim)
        containers.run(command("true"), root=root)
        assert os.listdir(victim) == ["pts"]  # noqa: PTH208
