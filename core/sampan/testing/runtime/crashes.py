"""After a monitor or the daemon was killed: what a restored driver finds, keeps and removes."""

from __future__ import annotations

import importlib
import os
import traceback
from pathlib import Path

import msgspec

from sampan.drivers import RuntimeDriver
from sampan.drivers.types import Host, RuntimeFeatures
from sampan.testing.runtime.base import Base
from sampan.testing.runtime.containers import Containers, groups, until
from sampan.testing.runtime.spec import command


class CrashTests(Base):
    def test_a_killed_monitor_is_noticed_and_remove_does_its_work(self, containers: Containers) -> None:
        running = containers.start(command("sh", "-c", "sleep 1000 & sleep 1000"))
        containers.kill_monitor(running)
        assert running.wait().lost
        containers.driver.remove(running.key)
        containers.assert_traces(set())

    def test_a_killed_monitor_of_an_exec_leaves_the_container_alone(
        self, containers: Containers, features: RuntimeFeatures
    ) -> None:
        if not features.exec:
            return
        running = containers.start(command("sleep", "1000"))
        process = containers.exec(running, "sleep", "1000")
        containers.kill_monitor(process)
        assert process.wait().lost
        assert containers.execute(running, "true").code == 0

    def test_restoring_leaves_running_ones_alone_and_removes_the_others(
        self, containers: Containers, driver: RuntimeDriver, features: RuntimeFeatures
    ) -> None:
        kept, other = (containers.start(command("cat")) for _ in range(2))
        again = type(driver)(driver.host, driver.options)
        again.restore([kept.key])
        assert other.wait().code == 137
        kept.send("still here")
        assert kept.until("still here")
        again.restore([kept.key])
        assert Path(f"/proc/{kept.pid}").exists()
        again.restore([])
        assert kept.wait().code == 137

    def test_restoring_when_nothing_runs_any_more_leaves_no_group(
        self, driver: RuntimeDriver, directory: Path, usable: None
    ) -> None:
        """Not even those above the containers', though one has ended by itself, and one was never started."""
        with Containers(driver, directory) as containers:
            running = containers.start(command("true"))
            running.finish()
            driver.order(containers.bundle(command("true")))
            containers.assert_traces(set())
            containers.forget(running)
        driver.restore([])
        until(lambda: not groups(driver.host.instance), lambda: f"left behind: {groups(driver.host.instance)}")

    def test_a_new_daemon_acts_on_what_an_earlier_one_started(
        self, containers: Containers, driver: RuntimeDriver, features: RuntimeFeatures
    ) -> None:
        running = containers.start(command("sleep", "1000"))
        again = type(driver)(driver.host, driver.options)
        again.restore([running.key])
        assert again.processes(running.key, running.pid) == [running.pid]
        if features.stats:
            assert again.stats(running.key).pids == 1
        if features.pause:
            again.pause(running.key)
            again.resume(running.key)
        again.signal(running.key, running.pid, 9)
        assert running.wait().code == 137

    def test_restoring_another_instance_touches_nothing_of_this_one(
        self, containers: Containers, driver: RuntimeDriver, host: Host
    ) -> None:
        running = containers.start(command("cat"))
        elsewhere = containers.directory / "elsewhere"
        other = msgspec.structs.replace(host, instance="0" * 8, data_root=elsewhere / "d", exec_root=elsewhere / "e")
        type(driver)(other, driver.options).restore([])
        running.send("still here")
        assert running.until("still here")

    def test_finishing_what_is_gone_already_says_nothing(self, containers: Containers, driver: RuntimeDriver) -> None:
        """The daemon's ``remove`` may have been quicker. In a process of its own, as a monitor is."""
        module = importlib.import_module(driver.monitor_module)
        order = dict(driver.order(containers.bundle(command("true"))))
        child = os.fork()
        if not child:
            try:
                module.prepare()
                module.finish(order)
                module.finish(order)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "finish() raised where there was nothing to do"

    def test_restoring_where_nothing_ever_ran(self, containers: Containers, driver: RuntimeDriver) -> None:
        driver.restore([])
        driver.restore(["a" * 64])
