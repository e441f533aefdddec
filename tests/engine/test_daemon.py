"""The daemon may die at any time: containers do not mind, and the next daemon knows them."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sys
from collections.abc import Callable

import pytest

from harness import Engine

pytestmark = pytest.mark.root

New = Callable[..., Engine]
SERVE = 'echo "aboard" >/tmp/index.html && exec busybox httpd -f -p 80 -h /tmp'
GET = ["busybox", "timeout", "5", "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/"]


def state(engine: Engine, name: str) -> dict[str, object]:
    [told] = json.loads(engine.sampan("inspect", name).out)
    return dict(told["State"])


@pytest.mark.parametrize("end", [Engine.kill, Engine.stop], ids=["kill -9", "stopped"])
def test_a_container_outlives_its_daemon(new_engine: New, end: Callable[[Engine], None]) -> None:
    engine = new_engine()
    script = f"trap 'exit 5' TERM; echo before; ({SERVE}) & while :; do sleep 0.1; done"
    engine.sampan("run", "-d", "--name", "boat", "-p", "8080:80", engine.image(), "sh", "-c", script).ok()
    engine.wait_until(lambda: engine.run(*GET).stdout == "aboard\n", "the port answers")
    before = state(engine, "boat")

    end(engine)
    assert engine.run(*GET).out == "aboard"

    engine.start()
    after = state(engine, "boat")
    assert (after["Running"], after["Pid"], after["StartedAt"]) == (True, before["Pid"], before["StartedAt"])
    assert engine.run(*GET).out == "aboard"
    assert engine.sampan("exec", "boat", "echo", "still here").out == "still here"
    assert engine.sampan("logs", "boat").out == "before"
    assert engine.sampan("stop", "boat").out == "boat"
    assert state(engine, "boat")["ExitCode"] == 5
    assert engine.run(*GET).code != 0


def test_what_ended_meanwhile_is_known_with_its_exit_status(new_engine: New) -> None:
    engine = new_engine()
    engine.sampan("run", "-d", "--name", "boat", engine.image(), "sh", "-c", "sleep 0.5; echo last words; exit 41").ok()
    pid = state(engine, "boat")["Pid"]
    engine.kill()
    engine.wait_until(lambda: engine.run("test", "-d", f"/proc/{pid}").code, "the container ends")
    engine.start()
    assert (state(engine, "boat")["Status"], state(engine, "boat")["ExitCode"]) == ("exited", 41)
    assert engine.sampan("logs", "boat").out == "last words"


def test_a_second_daemon_on_the_same_roots_is_refused(new_engine: New) -> None:
    engine = new_engine()
    apart = ["--host", f"unix://{engine.root}/other.sock", "--pidfile", engine.root / "other.pid"]
    done = engine.sampan("daemon", "--config-file", engine.config, *apart)
    assert done.code == 1
    assert f"another sampan daemon is already using {engine.root}/data" in done.stderr
    assert engine.sampan("ps").code == 0


def test_a_daemon_with_real_time_keeps_it_to_itself(new_engine: New) -> None:
    """Groups of version 1 would refuse such processes."""
    if shutil.which("chrt") is None:
        pytest.skip("there is no chrt here (util-linux)")
    engine = new_engine()
    engine.stop()
    engine.program = ["chrt", "--fifo", "1", *engine.program]
    engine.start()
    script = "cut -d ' ' -f 41 /proc/self/stat"  # the policy (proc_pid_stat(5)); 0 is SCHED_OTHER
    assert engine.sampan("run", "--name", "boat", engine.image(), "sh", "-c", script).out == "0"


def test_the_configured_driver_is_the_default(new_engine: New) -> None:
    engine = new_engine(storage={"driver": "vfs"})
    assert engine.sampan("run", "--rm", engine.image(), "echo", "on vfs").out == "on vfs"
    told = json.loads(engine.sampan("drivers", "--format", "json").out)
    assert [one["name"] for one in told if one["default"] and one["family"] == "storage"] == ["vfs"]


HIDING = '[ ! -e /etc/protocols ] || mount --bind /dev/null /etc/protocols && exec "$@"'


class Bare(Engine):
    """On a host without /etc/protocols."""

    def start(self) -> None:
        self.program = ["unshare", "--mount", "sh", "-c", HIDING, "sh", sys.executable, "-m", "sampan.cli"]
        super().start()


def test_a_host_without_names_of_protocols() -> None:
    """Debian's package netbase is in no minimal installation; what nftables is told must not need it."""
    ports = ["-p", "8080:80", "-p", "8080:80/udp", "-p", "8080:80/sctp"]
    with Bare() as engine:
        engine.docker("network", "create", "-o", "com.docker.network.bridge.gateway_mode_ipv4=routed", "routed").ok()
        for network in ("bridge", "routed"):
            engine.docker("run", "--rm", "--network", network, *ports, engine.image(), "true").ok()
        engine.docker("network", "rm", "routed").ok()


class Lame(Engine):
    """Its libnftables is none."""

    def environment(self) -> dict[str, str]:
        (self.root / "libnftables.so.1").touch()
        return {**super().environment(), "LD_LIBRARY_PATH": str(self.root)}


def test_why_there_is_no_default_network() -> None:
    """Whoever wants to run a container hears of it, and not the log alone."""
    with Lame() as engine:
        engine.sampan("image", "from-host", "-t", "shell").ok()
        told = engine.docker("run", "--rm", "shell", "true").stderr
        assert "network bridge not found: it could not be made when the daemon started: " in told
        assert "libnftables" in told
        engine.docker("run", "--rm", "--network", "none", "shell", "true").ok()


def test_a_daemon_with_very_many_files_open(many_files: int) -> None:
    """It takes more of them than its shell would give it, libnftables gets along, and containers notice nothing."""
    engine = Engine()
    engine.program = ["prlimit", "--nofile=1024:", *engine.program]
    with engine, contextlib.ExitStack() as clients:
        engine.docker("network", "create", "sound").ok()
        for _ in range(1200):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(engine.socket))
        shown = engine.docker(
            "run", "--rm", "--network", "sound", "-p", "8080:80", engine.image(), "sh", "-c", "ulimit -n"
        )
        assert shown.out == "1024"
        assert engine.docker("exec", _long(engine), "sh", "-c", "ulimit -Hn; ulimit -n").out.split() == [
            str(many_files),
            "1024",
        ]


def _long(engine: Engine) -> str:
    return engine.docker("run", "-d", engine.image(), "sleep", "1000").out
