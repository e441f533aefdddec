"""``run``, ``exec`` and ``attach``: streams, signals, terminals, and the statuses they end with."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.cli.terminal import Detector, keys
from unit.cli.fake_daemon import Answer, Daemon, Request, Result, frame, upgrade

Sampan = Callable[..., Result]
ID = "c" * 64


class Container:
    """The daemon's side of one container: ``talk`` gets the attached socket once it was started."""

    def __init__(
        self, daemon: Daemon, talk: Callable[[socket.socket], int | None], start: Answer | None = None
    ) -> None:
        self._talk = talk
        self._start = start or Answer(204)
        self.started = threading.Event()
        self.ended = threading.Event()
        self.status = 0
        self.order: list[str] = []
        daemon.on("POST /containers/create", Answer(201, {"Id": ID, "Warnings": []}))
        daemon.on(f"POST /containers/{ID}/attach", self._attach)
        daemon.on(f"POST /containers/{ID}/wait", self._wait)
        daemon.on(f"POST /containers/{ID}/start", self._begin)
        daemon.on(f"POST /containers/{ID}/resize", Answer(200))

    def _attach(self, request: Request) -> None:
        self.order.append("attach")
        stream = upgrade(request)

        def life() -> None:
            self.started.wait(10)
            self.status = self._talk(stream) or 0
            with contextlib.suppress(OSError):  # a test that has closed the daemon has closed this too
                stream.shutdown(socket.SHUT_RDWR)
            self.ended.set()

        threading.Thread(target=life, daemon=True).start()

    def _wait(self, request: Request) -> None:
        self.order.append(f"wait {request.query['condition'][0]}")
        request.socket.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.ended.wait(10)
        body = json.dumps({"StatusCode": self.status}).encode()
        request.socket.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    def _begin(self, request: Request) -> Answer:
        self.order.append("start")
        if self._start.status >= 400:
            self.ended.set()
        self.started.set()
        return self._start


def test_run_shows_both_streams_and_ends_with_its_status(daemon: Daemon, sampan: Sampan) -> None:
    def talk(stream: socket.socket) -> int:
        stream.sendall(frame(1, b"out\n") + frame(2, b"err\n"))
        return 3

    container = Container(daemon, talk)
    assert sampan("run", "--rm", "shell", "sh", "-c", "exit 3") == Result(3, "out\n", "err\n")
    assert container.order == ["attach", "wait removed", "start"]
    body = daemon.asked("POST /containers/create")[0].json
    assert (body["Image"], body["Cmd"]) == ("shell", ["sh", "-c", "exit 3"])
    assert body["HostConfig"]["AutoRemove"] is True


def test_run_in_the_background_prints_the_id(daemon: Daemon, sampan: Sampan, tmp_path: Path) -> None:
    Container(daemon, lambda stream: 0)
    file = tmp_path / "id"
    assert sampan("run", "-d", "--name", "n", "--cidfile", str(file), "shell") == Result(0, ID + "\n", "")
    assert file.read_text() == ID
    assert daemon.requests[0].query["name"] == ["n"]
    again = sampan("run", "-d", "--cidfile", str(file), "shell")
    assert (again.code, "container ID file found" in again.err) == (125, True)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('exec: "nope": executable file not found in $PATH', 127),
        ("exec: /nope: no such file or directory", 127),
        ("exec: /etc/passwd: permission denied", 126),
        ("exec: /etc: is a directory", 126),
        ("the network is on fire", 125),
    ],
)
def test_a_start_that_fails(daemon: Daemon, sampan: Sampan, message: str, code: int) -> None:
    Container(daemon, lambda stream: 0, start=Answer(400, {"message": message}))
    for words in (["--rm"], [], ["-d"]):
        assert sampan("run", *words, "shell", "nope") == Result(code, "", f"sampan: {message}\n")


def test_an_image_that_is_missing(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("POST /containers/create", Answer(404, {"message": "No such image: nope:latest"}))
    daemon.on("POST /images/create", Answer(404, {"message": "pull access denied for nope"}))
    told = "Unable to find image 'nope:latest' locally\nsampan: pull access denied for nope\n"
    assert sampan("run", "nope") == Result(125, "", told)
    assert sampan("create", "nope").code == 1
    asked = len(daemon.asked("POST /images/create"))
    assert sampan("run", "--pull", "never", "nope").code == 125
    assert len(daemon.asked("POST /images/create")) == asked


def test_an_image_that_is_missing_is_pulled(daemon: Daemon, sampan: Sampan) -> None:
    answers = iter([Answer(404, {"message": "No such image: a:1"}), Answer(201, {"Id": ID, "Warnings": ["mind"]})])
    daemon.on("POST /containers/create", lambda request: next(answers))
    daemon.on("POST /images/create", Answer(body=[b'{"status":"Pulling","id":"1"}\n{"status":"done"}\n']))
    daemon.on(f"POST /containers/{ID}/start", Answer(204))
    result = sampan("run", "-d", "a:1")
    assert (result.code, result.out) == (0, ID + "\n")
    assert result.err == "Unable to find image 'a:1' locally\n1: Pulling\ndone\nWARNING: mind\n"
    assert daemon.asked("POST /images/create")[0].query == {"fromImage": ["a"], "tag": ["1"]}


def test_the_request_says_all_that_the_flags_say(daemon: Daemon, sampan: Sampan, tmp_path: Path) -> None:
    Container(daemon, lambda stream: 0)
    env = tmp_path / "env"
    env.write_text("# comment\n\nFROM_FILE=1\nHOME\n")
    words = (
        f"-d -p 8080:80 -p 127.0.0.1:53:53/udp -p [::1]:1000-1001:10-11 -e A=b --env-file {env} -w /w -u 1:2 "
        "--network web --ip 10.5.0.9 --network-alias db --hostname h -m 64m --cpus 1.5 --pids-limit 9 -v /a:/b:ro "
        "-v data:/d --tmpfs /t:size=1m --read-only --cap-add NET_ADMIN --cap-drop ALL --security-opt no-new-privileges "
        "--entrypoint /e -l k=v --init --stop-signal INT --stop-timeout 3 --ulimit nofile=10:20 --shm-size 1m "
        "--add-host a:1.2.3.4 --dns 9.9.9.9 --runtime lxc --storage-driver vfs --restart on-failure:3 "
        "--mount type=bind,src=/x,dst=/y,ro --device /dev/null --expose 99 shell a b"
    ).split()
    assert sampan("run", *words).code == 0
    body = daemon.requests[0].json
    assert body["Entrypoint"] == ["/e"]
    assert body["Env"] == ["FROM_FILE=1", f"HOME={os.environ['HOME']}", "A=b"]
    assert set(body["ExposedPorts"]) == {"80/tcp", "53/udp", "10/tcp", "11/tcp", "99/tcp"}
    wanted = {"WorkingDir": "/w", "User": "1:2", "Hostname": "h", "Labels": {"k": "v"}, "StopSignal": "INT",
              "StopTimeout": 3, "Cmd": ["a", "b"], "Tty": False, "AttachStdout": False}  # fmt: skip
    assert {key: body[key] for key in wanted} == wanted
    host = body["HostConfig"]
    wanted = {
        "PortBindings": {
            "80/tcp": [{"HostIp": "", "HostPort": "8080"}],
            "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}],
            "10/tcp": [{"HostIp": "::1", "HostPort": "1000"}],
            "11/tcp": [{"HostIp": "::1", "HostPort": "1001"}],
        },
        "Binds": ["/a:/b:ro", "data:/d"],
        "Tmpfs": {"/t": "size=1m"},
        "Mounts": [{"Type": "bind", "Source": "/x", "Target": "/y", "ReadOnly": True}],
        "Memory": 64 << 20,
        "NanoCpus": 1_500_000_000,
        "PidsLimit": 9,
        "ReadonlyRootfs": True,
        "CapAdd": ["NET_ADMIN"],
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Init": True,
        "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
        "ShmSize": 1 << 20,
        "ExtraHosts": ["a:1.2.3.4"],
        "Dns": ["9.9.9.9"],
        "Runtime": "lxc",
        "StorageDriver": "vfs",
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        "NetworkMode": "web",
        "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/null", "CgroupPermissions": "rwm"}],
    }
    assert {key: host[key] for key in wanted} == wanted
    assert body["NetworkingConfig"] == {
        "EndpointsConfig": {"web": {"IPAMConfig": {"IPv4Address": "10.5.0.9"}, "Aliases": ["db"]}}
    }


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """``client("run", ...)`` starts ``sampan`` as a process of its own, with pipes."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*words: str, **options: Any) -> subprocess.Popen[bytes]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        command = [sys.executable, "-m", "sampan.cli", "-H", f"unix://{daemon.path}", *words]
        running.append(subprocess.Popen(command, **pipes))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_stdin_is_passed_on_to_its_end_while_output_flows(
    daemon: Daemon, client: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """More in both directions than any buffer holds: whoever stops reading while writing would hang here."""
    amount = 8 << 20

    def echo(stream: socket.socket) -> int:
        total = 0
        while data := stream.recv(65536):
            total += len(data)
            stream.sendall(frame(1, data))
        return 0 if total == amount else 1

    Container(daemon, echo)
    process = client("run", "-i", "shell", "cat")
    out, err = process.communicate(b"x" * amount, timeout=30)
    assert (process.returncode, len(out), err) == (0, amount, b"")
    assert daemon.requests[0].json["OpenStdin"] is True


def test_without_i_stdin_is_left_alone(daemon: Daemon, client: Callable[..., subprocess.Popen[bytes]]) -> None:
    def talk(stream: socket.socket) -> int:
        stream.settimeout(0.3)
        try:
            return 1 if stream.recv(1) else 2
        except TimeoutError:
            return 0

    Container(daemon, talk)
    assert client("run", "shell").wait(10) == 0


def test_signals_are_passed_on(daemon: Daemon, client: Callable[..., subprocess.Popen[bytes]]) -> None:
    killed = threading.Event()
    got: list[str] = []

    def kill(request: Request) -> Answer:
        got.append(request.query["signal"][0])
        killed.set()
        return Answer(204)

    def talk(stream: socket.socket) -> int:
        stream.sendall(frame(1, b"ready\n"))
        killed.wait(10)
        return 128 + int(got[0])

    daemon.on(f"POST /containers/{ID}/kill", kill)
    Container(daemon, talk)
    process = client("run", "shell")
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 128 + signal.SIGINT
    assert got == [str(int(signal.SIGINT))]


def test_a_daemon_that_dies_is_told(daemon: Daemon, client: Callable[..., subprocess.Popen[bytes]]) -> None:
    dead = threading.Event()

    def talk(stream: socket.socket) -> None:
        stream.sendall(frame(1, b"up\n"))
        dead.wait(10)

    Container(daemon, talk)
    process = client("run", "shell")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    daemon.close()
    dead.set()
    _, err = process.communicate(timeout=10)
    assert err.startswith(b"sampan: The daemon went away before the container ended")
    assert process.returncode == 125


class Terminal:
    """``sampan`` on a pseudo-terminal of its own."""

    def __init__(self, daemon: Daemon, *words: str) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execv(sys.executable, [sys.executable, "-m", "sampan.cli", "-H", f"unix://{daemon.path}", *words])  # noqa: S606
        self.output = b""

    def expect(self, text: bytes) -> None:
        end = time.monotonic() + 10
        while text not in self.output:
            assert time.monotonic() < end, self.output
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.output += os.read(self.master, 4096)
                except OSError:  # the other side is closed
                    assert text in self.output, self.output

    def raw(self) -> bool:
        return not termios.tcgetattr(self.master)[3] & termios.ICANON

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    def end(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        os.close(self.master)


def test_a_terminal_is_raw_resized_and_restored(daemon: Daemon) -> None:
    seen: list[bytes] = []

    def talk(stream: socket.socket) -> int:
        stream.sendall(b"$ ")
        while not b"".join(seen).endswith(b"\x03\r"):
            seen.append(stream.recv(100))
        stream.sendall(b"bye\r\n")
        return 5

    container = Container(daemon, talk)
    terminal = Terminal(daemon, "run", "-it", "shell")
    termios.tcsetwinsize(terminal.master, (33, 99))
    terminal.expect(b"$ ")
    assert terminal.raw()
    os.kill(terminal.pid, signal.SIGWINCH)
    terminal.type(b"\x03\r")
    terminal.expect(b"bye\r\n")
    assert terminal.end() == 5
    assert not terminal.raw()
    terminal.close()
    sizes = [(one.query["h"], one.query["w"]) for one in daemon.asked(f"POST /containers/{ID}/resize")]
    assert (["33"], ["99"]) in sizes
    assert b"".join(seen) == b"\x03\r"
    assert container.order[-1] == "start"


def test_detach_keys_leave_it_running(daemon: Daemon) -> None:
    gone = threading.Event()

    def talk(stream: socket.socket) -> int:
        stream.sendall(b"$ ")
        received = b""
        while data := stream.recv(100):
            received += data
        assert received == b"a\x10b"
        gone.set()
        return 0

    Container(daemon, talk)
    terminal = Terminal(daemon, "run", "-it", "shell")
    terminal.expect(b"$ ")
    terminal.type(b"a\x10b\x10\x11")
    assert terminal.end() == 0
    assert not terminal.raw()
    assert gone.wait(10)
    terminal.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_restored_when_we_are_killed(daemon: Daemon, number: int) -> None:
    daemon.on("POST /containers/web/exec", Answer(201, {"Id": "e1"}))
    daemon.on("POST /exec/e1/resize", Answer(200))

    def start(request: Request) -> None:
        upgrade(request).sendall(b"$ ")

    daemon.on("POST /exec/e1/start", start)
    terminal = Terminal(daemon, "exec", "-it", "web", "sh")
    terminal.expect(b"$ ")
    assert terminal.raw()
    os.kill(terminal.pid, number)
    assert terminal.end() == 128 + number
    assert not terminal.raw()
    terminal.close()


def test_it_needs_a_terminal(daemon: Daemon, client: Callable[..., subprocess.Popen[bytes]]) -> None:
    for words in (["run", "-it", "shell"], ["exec", "-it", "web", "sh"]):
        process = client(*words)
        assert process.communicate(timeout=10)[1] == b"sampan: the input device is not a TTY\n"
        assert process.returncode == 1


def executing(daemon: Daemon, status: int) -> None:
    daemon.on("POST /containers/web/exec", Answer(201, {"Id": "e1"}))
    daemon.on("GET /exec/e1/json", {"ExitCode": status})

    def start(request: Request) -> Answer | None:
        if request.json["Detach"]:
            return Answer(200)
        stream = upgrade(request)
        stream.sendall(frame(1, b"hi\n") + frame(2, b"oh\n"))
        stream.shutdown(socket.SHUT_RDWR)
        return None

    daemon.on("POST /exec/e1/start", start)


def test_exec(daemon: Daemon, sampan: Sampan) -> None:
    executing(daemon, 4)
    assert sampan("exec", "-e", "A=b", "-u", "1", "-w", "/", "web", "ls", "-l") == Result(4, "hi\n", "oh\n")
    body = daemon.requests[0].json
    assert (body["Cmd"], body["Env"], body["User"], body["WorkingDir"]) == (["ls", "-l"], ["A=b"], "1", "/")
    assert sampan("exec", "-d", "web", "ls") == Result(0, "", "")


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (409, "container web is not running", 1),
        (404, "No such container: web", 1),
    ],
)
def test_exec_that_cannot_be_made(daemon: Daemon, sampan: Sampan, status: int, message: str, code: int) -> None:
    daemon.on("POST /containers/web/exec", Answer(status, {"message": message}))
    assert sampan("exec", "web", "ls") == Result(code, "", f"sampan: {message}\n")


def test_exec_of_what_is_not_there(daemon: Daemon, sampan: Sampan) -> None:
    executing(daemon, 0)
    daemon.on("POST /exec/e1/start", Answer(400, {"message": 'exec: "x": executable file not found in $PATH'}))
    assert sampan("exec", "web", "x").code == 127


def test_start_attached(daemon: Daemon, sampan: Sampan) -> None:
    def talk(stream: socket.socket) -> int:
        stream.sendall(frame(1, b"again\n"))
        return 2

    Container(daemon, talk)
    config = {"Tty": False, "OpenStdin": False}
    daemon.on("GET /containers/web/json", {"Id": ID, "Config": config, "HostConfig": {"AutoRemove": False}})
    assert sampan("start", "-a", "web") == Result(2, "again\n", "")


def test_attach_to_what_does_not_run(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("GET /containers/web/json", {"Id": ID, "Config": {}, "State": {"Running": False}})
    assert sampan("attach", "web").err == "sampan: you cannot attach to a stopped container, start it first: web\n"


def test_detach_keys_in_pieces() -> None:
    detector = Detector(keys(""))
    assert [detector.feed(piece) for piece in (b"a\x10", b"\x10", b"b\x10")] == [b"a", b"\x10", b"\x10b"]
    assert not detector.found
    assert detector.feed(b"\x11rest") == b""
    assert detector.found
    assert keys("ctrl-a,x,ctrl-@") == b"\x01x\x00"
