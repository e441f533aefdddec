"""A daemon that starts by itself: waited for, outliving us, and its last words told when it fails."""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sampan.cli import selfstart
from sampan.cli.failures import CannotConnect
from sampan.cli.hosts import Host

LISTEN = """
import os, socket, sys, time
time.sleep(0.1)
listener = socket.socket(socket.AF_UNIX)
listener.bind({path!r})
listener.listen()
open({path!r} + ".made", "w").write(f"{{os.getpid()}} {{os.getsid(0)}} {{os.getcwd()}} {{sys.argv[1:]}}")
os.rename({path!r} + ".made", {path!r} + ".pid")
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(selfstart, "EXEC_ROOT", str(tmp_path / "exec"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    path = str(tmp_path / "default.sock")
    return Host(f"unix://{path}", path, chosen=False)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """``program(text)`` is what is started in the daemon's stead."""
    real = sys.executable

    def make(text: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!{real}\n{text}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(path))

    return make


def test_it_is_waited_for_and_outlives_us(host: Host, program: Callable[[str], None], tmp_path: Path) -> None:
    path = str(host.address)
    program(LISTEN.format(path=path))
    selfstart.start(host)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    words = Path(path + ".pid")
    while not words.exists():
        os.sched_yield()
    pid, session, directory, arguments = words.read_text().split(" ", 3)
    try:
        assert int(session) not in (os.getsid(0), int(pid))
        assert (directory, arguments) == ("/", "['-P', '-m', 'sampan.cli', 'daemon']")
        with pytest.raises(ChildProcessError):
            os.waitpid(int(pid), os.WNOHANG)
    finally:
        os.kill(int(pid), signal.SIGKILL)
    assert (tmp_path / "exec" / "daemon.log").stat().st_mode & 0o007 == 0


def test_its_last_words_are_told(host: Host, program: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfstart, "GRACE", 0.1)
    program("import sys; print('starting'); sys.exit('sampan daemon: the data root is on fire')")
    with pytest.raises(CannotConnect, match=r"^The daemon could not start: the data root is on fire$"):
        selfstart.start(host)


def test_one_that_never_answers_is_not_waited_for_for_ever(
    host: Host, program: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(selfstart, "PATIENCE", 0.5)
    program(f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    with pytest.raises(CannotConnect, match=r"does not answer at unix://.*its log is .*daemon\.log"):
        selfstart.start(host)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_not_root_starts_nothing(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CannotConnect, match="try sudo"):
        selfstart.start(host)
    assert not (tmp_path / "exec").exists()
