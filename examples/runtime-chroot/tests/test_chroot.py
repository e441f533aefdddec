"""The chroot driver keeps the promises of the runtime contract that are left without namespaces, and its own."""

import pytest
from sampan_chroot.driver import Chroot

from sampan.errors import Unsupported
from sampan.testing.runtime import RuntimeDriverTests, command


class TestChroot(RuntimeDriverTests):
    driver_name = "chroot"
    driver_class = Chroot

    def test_what_it_does_not_isolate_is_told_at_each_start(self, containers, caplog):
        containers.driver.order(containers.bundle(command("true")))
        assert "only its files are its own" in caplog.text

    @pytest.mark.parametrize("target", ["/data", "/etc/passwd"])
    def test_volumes_are_refused(self, containers, target):
        bundle = containers.bundle(command("true"))
        bundle.spec["mounts"] = [{"destination": target, "type": "bind", "source": "/etc/hosts", "options": ["rbind"]}]
        with pytest.raises(Unsupported, match=target):
            containers.driver.order(bundle)

    def test_the_engines_files_are_copied_whatever_the_image_has_there(self, containers):
        root, hosts, victim = (containers.root(), containers.directory / "hosts", containers.directory / "victim")
        hosts.write_text("127.0.0.1 ours\n")
        victim.write_text("the host's")
        (root / "etc/resolv.conf").symlink_to(victim)
        mounts = [{"destination": f"/etc/{name}", "source": str(hosts)} for name in ("hosts", "resolv.conf")]
        bundle = containers.bundle(command("cat", "/etc/hosts"))
        bundle.spec["mounts"] = mounts
        assert dict(containers.driver.order(bundle)["files"])[b"/etc/hosts"] == b"127.0.0.1 ours\n"
        assert victim.read_text() == "the host's"
