"""The daemon's client, the launcher and monitors together, with a runtime that starts plain processes."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sampan.containers.monitors import Exit, Launch, Monitors, Started
from sampan.errors import Internal, NotFound, StartFailed, Unavailable
from sampan.linux import mounts

pytestmark = pytest.mark.root

PATIENCE = 20.0
LONG = ("sleep", "1000")


class Daemon:
    """What a daemon does with its monitors."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.exits: dict[str, Exit] = {}
        self._changed = threading.Condition()
        self.monitors = Monitors(["plain_runtime"], self._on_exit)
        self.monitors.open()

    def launch(self, *args: str, tty: bool = False, **more: Any) -> tuple[str, Started, socket.socket]:
        """Start a process with a client attached; its key is also the name of its directory."""
        key = uuid.uuid4().hex * 2
        own = self.directory / key
        own.mkdir()
        ours, theirs = Monitors.stream(stdin=True, stdout=True, stderr=True)
        order = {"terminal": tty, "args": list(args), "marks": str(own)}
        root = mounts.bind("/")
        try:
            started = self.monitors.start(
                Launch(
                    key=key,
                    kind="start",
                    module="plain_runtime",
                    order=order,
                    root=root,
                    tty=tty,
                    directory=own,
                    streams=[theirs],
                    **{"stdin": True, "stdin_once": True, **more},
                )
            )
        finally:
            os.close(root)
        ours.settimeout(PATIENCE)
        return key, started, ours

    def wait(self, key: str) -> Exit:
        with self._changed:
            assert self._changed.wait_for(lambda: key in self.exits, PATIENCE), "no exit was reported"
        return self.exits[key]

    def _on_exit(self, key: str, how: Exit) -> None:
        with self._changed:
            self.exits[key] = how
            self._changed.notify_all()


def everything(client: socket.socket) -> bytes:
    client.settimeout(PATIENCE)
    found = b""
    while piece := client.recv(1 << 16):
        found += piece
    return found


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture
def daemons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Daemon]]:
    """Daemons one after the other, over the same directory."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    made: list[Daemon] = []

    def start() -> Daemon:
        made.append(Daemon(tmp_path))
        return made[-1]

    yield start
    for status in tmp_path.glob("*/status"):
        about = msgspec.json.decode(status.read_bytes())
        if "exit" not in about and alive(about["monitor"]):
            with contextlib.suppress(ProcessLookupError):  # its end is told first, and then written down
                os.kill(about["pid"], signal.SIGKILL)
    for each in made:
        each.monitors.close()


@pytest.fixture
def daemon(daemons: Callable[[], Daemon]) -> Daemon:
    return daemons()


def test_a_process_runs_and_its_end_is_told(daemon: Daemon) -> None:
    key, started, client = daemon.launch("sh", "-c", "echo out; exit 7")
    assert everything(client) == b"\1\0\0\0\0\0\0\4out\n"
    assert (daemon.wait(key).code, daemon.wait(key).oom, daemon.wait(key).lost) == (7, False, False)
    assert daemon.wait(key).at >= started.at > 0


def test_a_death_by_signal_and_for_want_of_memory_is_told(daemon: Daemon) -> None:
    key, started, _ = daemon.launch("sh", "-c", "sleep 1000", "starved")
    os.kill(started.pid, signal.SIGKILL)
    assert (daemon.wait(key).code, daemon.wait(key).oom) == (137, True)


def test_the_runtime_cleans_up_after_the_end_and_the_monitor_goes(daemon: Daemon) -> None:
    key, started, _ = daemon.launch("true")
    daemon.wait(key)
    daemon.monitors.forget(key)
    assert (daemon.directory / key / "finished").exists()
    until(lambda: not alive(started.monitor))


def test_a_refusal_is_a_refusal_and_no_monitor_stays(daemon: Daemon) -> None:
    with pytest.raises(StartFailed, match="there is nothing to start") as failure:
        daemon.launch("nothing")
    assert failure.value.exit_code == 127


@pytest.mark.parametrize("args", ["bug", "die"])
def test_a_broken_runtime_is_told_and_the_next_start_works(daemon: Daemon, args: str) -> None:
    with pytest.raises((StartFailed, Internal)):
        daemon.launch(args)
    key, _, _ = daemon.launch("true")
    assert daemon.wait(key).code == 0


def test_clients_may_come_later_and_see_what_comes_after(daemon: Daemon) -> None:
    key, _, first = daemon.launch("cat")
    second = daemon.monitors.attach(key, stdin=True, stdout=True, stderr=False)
    second.settimeout(PATIENCE)
    second.sendall(b"hello")
    frame = b"\1\0\0\0\0\0\0\5hello"
    assert first.recv(100) == frame
    assert second.recv(100) == frame
    second.shutdown(socket.SHUT_WR)
    assert daemon.wait(key).code == 0


def test_an_ended_process_can_neither_be_attached_to_nor_resized(daemon: Daemon) -> None:
    key, _, _ = daemon.launch("true")
    daemon.wait(key)
    with pytest.raises(NotFound):
        daemon.monitors.attach(key, stdin=True, stdout=True, stderr=True)
    with pytest.raises(NotFound):
        daemon.monitors.resize(key, 24, 80)


def test_a_terminal_has_the_size_that_was_set(daemon: Daemon) -> None:
    key, _, client = daemon.launch("sh", "-c", "stty size; read go; stty size", tty=True, size=(30, 90))
    client.sendall(b"")
    assert client.recv(100).startswith(b"30 90")
    daemon.monitors.resize(key, 40, 100)
    client.sendall(b"\n")
    assert b"40 100" in everything(client)


@pytest.mark.parametrize("size", [(0, 0), (100_000, 100_000), (-1, -1)])
def test_a_size_that_no_terminal_has_does_no_harm(daemon: Daemon, size: tuple[int, int]) -> None:
    key, _, client = daemon.launch("cat", tty=True)
    daemon.monitors.resize(key, *size)
    client.sendall(b"hello\n")
    assert client.recv(100).startswith(b"hello")
    assert key not in daemon.exits


def test_a_terminal_that_its_process_let_go_of_can_still_be_resized(daemon: Daemon) -> None:
    key, started, client = daemon.launch("sh", "-c", "exec <&- >&- 2>&-; sleep 1000", tty=True)

    def let_go() -> bool:
        with contextlib.suppress(FileNotFoundError):  # it is just letting go
            fds = Path(f"/proc/{started.pid}/fd").iterdir()
            return not any("/dev/pts/" in os.readlink(each) for each in fds)  # noqa: PTH115
        return False

    until(let_go)
    select.select([client], [], [], 0.05)
    daemon.monitors.resize(key, 10, 10)
    again = daemon.monitors.attach(key, stdin=False, stdout=True, stderr=False)
    assert alive(started.pid)
    again.close()


def test_the_log_is_written(daemon: Daemon) -> None:
    path = daemon.directory / "log"
    key, _, client = daemon.launch("echo", "hello", log={"path": str(path), "max_size": 0, "max_file": 1})
    everything(client)
    daemon.wait(key)
    assert msgspec.json.decode(path.read_bytes())["log"] == "hello\n"


def test_processes_outlive_the_daemon_and_the_next_one_finds_them(daemons: Callable[[], Daemon]) -> None:
    first = daemons()
    key, started, _ = first.launch("cat")
    first.monitors.close()
    assert alive(started.pid)
    second = daemons()
    told = second.monitors.adopt(key, second.directory / key)
    assert isinstance(told, Started)
    assert (told.pid, told.monitor, told.at) == (started.pid, started.monitor, started.at)
    client = second.monitors.attach(key, stdin=True, stdout=True, stderr=True)
    client.settimeout(PATIENCE)
    client.sendall(b"still here")
    assert client.recv(100).endswith(b"still here")
    client.shutdown(socket.SHUT_WR)
    assert second.wait(key).code == 0


def test_an_end_without_a_daemon_is_told_to_the_next_one(daemons: Callable[[], Daemon]) -> None:
    first = daemons()
    key, started, _ = first.launch("sh", "-c", "read line; exit 5")
    first.monitors.close()
    os.kill(started.pid, signal.SIGTERM)
    until(lambda: not alive(started.monitor))
    found = daemons().monitors.adopt(key, first.directory / key)
    assert isinstance(found, Exit)
    assert (found.code, found.lost) == (143, False)
    assert (first.directory / key / "finished").exists(), "the runtime cleaned up without a daemon"


def test_a_monitor_that_was_killed_meanwhile_is_told_as_lost(daemons: Callable[[], Daemon]) -> None:
    first = daemons()
    key, started, _ = first.launch(*LONG)
    first.monitors.close()
    os.kill(started.monitor, signal.SIGKILL)
    os.kill(started.pid, signal.SIGKILL)
    until(lambda: not alive(started.monitor))
    found = daemons().monitors.adopt(key, first.directory / key)
    assert isinstance(found, Exit)
    assert found.lost


def test_of_what_never_ran_nothing_is_known(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert daemon.monitors.adopt("a" * 64, tmp_path / "empty") is None
    assert daemon.monitors.adopt("b" * 64, tmp_path / "missing") is None


def test_a_killed_monitor_is_noticed_at_once(daemon: Daemon) -> None:
    key, started, _ = daemon.launch(*LONG)
    os.kill(started.monitor, signal.SIGKILL)
    assert daemon.wait(key).lost
    os.kill(started.pid, signal.SIGKILL)


def test_a_killed_launcher_is_started_again(daemon: Daemon) -> None:
    key, started, _ = daemon.launch(*LONG)
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    launchers = [int(pid) for each in children for pid in each.read_text().split() if _is_launcher(int(pid))]
    for pid in launchers:
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: not alive(pid))
    another, _, _ = daemon.launch("true")
    assert daemon.wait(another).code == 0
    assert alive(started.pid), "what runs does not need the launcher"
    os.kill(started.pid, signal.SIGKILL)
    assert daemon.wait(key).code == 137


def test_many_at_once(daemon: Daemon) -> None:
    results: dict[str, int] = {}

    def one(number: int) -> None:
        key, _, _ = daemon.launch("sh", "-c", f"exit {number}")
        results[key] = number

    threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert {daemon.wait(key).code for key in results} == set(range(20))
    assert all(daemon.wait(key).code == number for key, number in results.items())


def test_after_the_close_nothing_is_started(daemon: Daemon) -> None:
    daemon.monitors.close()
    with pytest.raises(Unavailable):
        daemon.launch("true")


def _is_launcher(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text().strip() == "sampan-launcher"
