"""Whatever is typed, the answer is a sentence and a status, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sampan.cli import commands, hosts
from sampan.cli.app import find, run
from sampan.cli.failures import Usage
from unit.cli.fake_daemon import Answer, Daemon, Request, Result

Sampan = Callable[..., Result]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["pss"], 1, "unknown command: sampan pss (did you mean ps?)"),
        (["network", "lst"], 1, "unknown command: sampan network lst (did you mean ls?)"),
        (["--hots", "x"], 125, "unknown flag: --hots (did you mean --host?)"),
        (["ps", "--al"], 125, "unknown flag: --al (did you mean --all?)"),
        (["ps", "x"], 1, "'sampan ps' takes no arguments"),
        (["rm"], 1, "'sampan rm' takes at least 1 argument"),
        (["rename", "a"], 1, "'sampan rename' takes 2 arguments"),
        (["run"], 1, "'sampan run' takes at least 1 argument"),
        (["run", "--nmae", "x", "y"], 125, "unknown flag: --nmae (did you mean --name?)"),
        (["run", "-m", "lots", "x"], 125, 'invalid argument "lots" for -m, --memory: write a size such as'),
        (["run", "-p", "99999:1", "x"], 125, "invalid port 99999:1: host port 99999 is not between 1 and 65535"),
        (["run", "-p", "80:http", "x"], 125, "invalid port 80:http: container port http is no number"),
        (["run", "-p", "1.2.3:80:80", "x"], 125, "invalid port 1.2.3:80:80: 1.2.3 is no IP address"),
        (["run", "-p", "80/quic", "x"], 125, "invalid port 80/quic: quic is none of tcp, udp, sctp"),
        (["run", "-v", "/a:b", "x"], 125, "invalid volume /a:b: b is no absolute path in the container"),
        (["run", "--mount", "type=bind,dst=/x", "x"], 125, "invalid mount type=bind,dst=/x: a bind needs a source"),
        (["run", "--env-file", "/no/such", "x"], 125, "open /no/such: no such file or directory"),
        (["run", "--rm", "--restart", "always", "x"], 125, "conflicting options: cannot specify both --restart"),
        (["run", "-d", "-a", "stdout", "x"], 125, "conflicting options: cannot specify both --attach and --detach"),
        (["run", "--ulimit", "nofil=1", "x"], 125, 'invalid argument "nofil=1" for --ulimit: nofil is none of'),
        (["run", "--detach-keys", "ctrl-", "x"], 125, "invalid detach keys ctrl-:"),
        (["ps", "--filter", "x"], 1, "invalid filter 'x': write name=value"),
        (["ps", "--format", "{{.Nope}}"], 64, "the format cannot be used: there is no Nope in .Nope"),
        (["daemon", "--tlsverify"], 1, "--tlsverify: TLS is not built yet"),
    ],
)  # fmt: skip
def test_wrong_command_lines(daemon: Daemon, sampan: Sampan, words: list[str], code: int, sentence: str) -> None:
    daemon.on("GET /containers/json", [{"Id": "1" * 64}])
    result = sampan(*words)
    assert result.err.startswith(f"sampan: {sentence}")
    assert (result.code, result.out) == (code, "")
    assert "Traceback" not in result.err


@pytest.mark.parametrize(("words", "code"), [(["ps"], 1), (["run", "x"], 125), (["run", "-d", "x"], 125)])
def test_nobody_listens(
    words: list[str], code: int, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = f"unix://{tmp_path}/no.sock"
    monkeypatch.delenv("SAMPAN_HOST", raising=False)
    for args in (["-H", host, *words], words):
        assert run(args) == code
        assert capfd.readouterr().err == f"sampan: Cannot connect to the sampan daemon at {host}. Is it running?\n"
        monkeypatch.setenv("DOCKER_HOST", host)


def test_which_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAMPAN_HOST", raising=False)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    assert (str(hosts.find()), hosts.find().chosen) == (hosts.DEFAULT, False)
    monkeypatch.setenv("DOCKER_HOST", "tcp://box:99")
    assert hosts.find().address == ("box", 99)
    monkeypatch.setenv("SAMPAN_HOST", "unix:///a")
    assert hosts.find().address == "/a"
    assert hosts.find("tcp://[::1]:7").address == ("::1", 7)
    assert hosts.find("tcp://box").address == ("box", 2375)
    assert hosts.find("/b").address == "/b"
    for wrong in ("ssh://x", "tcp://x:y", "unix://"):
        with pytest.raises(Usage):
            hosts.find(wrong)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    with pytest.raises(Usage, match="TLS"):
        hosts.find("tcp://box:99")


def test_the_default_host_is_the_configurations() -> None:
    from sampan.config import Config

    assert list(Config().hosts) == [hosts.DEFAULT]
    assert str(Config().exec_root) == hosts.EXEC_ROOT


def test_not_root_is_told_how(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SAMPAN_HOST", raising=False)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(hosts, "DEFAULT", f"unix://{tmp_path}/no.sock")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert run(["ps"]) == 1
    assert "Is it running? (as root, sampan starts it by itself: try sudo)" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (Answer(500, {"message": "the disk is full"}), "the disk is full"),
        (Answer(500, b"<html>"), "<html>"),
        (Answer(503, b""), "The daemon answered with status 503"),
        (Answer(200, b"<html>"), "did not answer with JSON"),
    ],
)
def test_errors_of_the_daemon(daemon: Daemon, sampan: Sampan, answer: Answer, sentence: str) -> None:
    daemon.on("GET /containers/json", answer)
    result = sampan("ps")
    assert result.code == 1
    assert sentence in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    "garbage", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[", b"x" * 99]
)
def test_who_listens_is_no_daemon(daemon: Daemon, sampan: Sampan, garbage: bytes) -> None:
    def answer(request: Request) -> None:
        request.socket.sendall(garbage)
        request.socket.shutdown(2)

    daemon.on("GET /containers/json", answer)
    result = sampan("ps")
    assert result.code == 1
    assert result.err.startswith("sampan: ")
    assert "bug" not in result.err


def test_a_connection_that_went_stale_is_replaced(daemon: Daemon, sampan: Sampan) -> None:
    def hangs_up(request: Request) -> None:
        request.socket.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        request.socket.shutdown(2)

    daemon.on("POST /containers/a/pause", hangs_up)
    assert sampan("pause", "a", "a") == Result(0, "a\na\n", "")


def test_a_bug_is_one_line_unless_it_is_asked_for(
    daemon: Daemon, sampan: Sampan, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.on("GET /containers/json", [{"nothing": 1}])
    result = sampan("ps")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "this is a bug of sampan: KeyError: 'Id'" in result.err
    monkeypatch.setenv("SAMPAN_DEBUG", "1")
    assert "Traceback" in sampan("ps").err


def every_command() -> list[list[str]]:
    grouped = [[noun, verb] for noun, (table, _) in commands.GROUPS.items() for verb in table]
    return [*([name] for name in commands.COMMANDS), *grouped]


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_has_help_with_an_example(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run([*words, "--help"]) == 0
    text = capfd.readouterr().out
    assert text.startswith(f"Usage:  sampan {' '.join(words)}")
    assert "Examples:" in text
    entry = find(words)[1]
    assert entry is not None
    command = commands.load(entry)
    assert all(flag.help for flag in command.flags)
    assert len({flag.name for flag in command.flags}) == len(command.flags)


@pytest.mark.parametrize("words", [[], ["--help"], ["help"], ["network"], ["help", "run"], ["--version"]])
def test_help_of_all_kinds(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    assert capfd.readouterr().out


def test_a_closed_pipe_ends_quietly(daemon: Daemon) -> None:
    row = {"Id": "1" * 64, "Created": 0, "Names": ["/a" * 50]}
    daemon.on("GET /containers/json", [row] * 2000)
    code = f"{sys.executable} -m sampan.cli -H unix://{daemon.path} ps 2>{daemon.path}.err; echo $? >{daemon.path}.code"
    subprocess.run(["sh", "-c", f"({code}) | head -1"], check=True, capture_output=True)
    assert Path(f"{daemon.path}.err").read_text() == ""
    assert Path(f"{daemon.path}.code").read_text() == "141\n"


def test_a_full_disk_is_told_once(daemon: Daemon) -> None:
    daemon.on("GET /containers/json", [])
    command = [sys.executable, "-m", "sampan.cli", "-H", f"unix://{daemon.path}", "ps"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"sampan: input or output: No space left on device\n")


def test_names_stay_names(daemon: Daemon, sampan: Sampan) -> None:
    """What is typed as a name can neither reach another resource nor write a request of its own."""
    sampan("stop", "a?x=1", "b/../c d\r\nX: y", "ä%2e")
    assert [request.path for request in daemon.requests] == [
        "/containers/a?x=1/stop",
        "/containers/b/../c d\r\nX: y/stop",
        "/containers/ä%2e/stop",
    ]
    assert sampan("stop", "").err == "sampan: a name on the command line is empty\n"


def test_ps_imports_next_to_nothing(daemon: Daemon) -> None:
    """What makes a command slow to start: each of these costs as much as Python's own start, or half of it."""
    daemon.on("GET /containers/json", [])
    code = f"import sys; from sampan.cli.app import run; run(['-H', 'unix://{daemon.path}', 'ps']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True)
    heavy = {"re", "json", "socket", "enum", "typing", "inspect", "dataclasses", "argparse", "click", "msgspec",
             "asyncio", "ssl", "email", "urllib.parse", "pathlib", "datetime", "signal", "threading"}  # fmt: skip
    before = subprocess.run(
        [sys.executable, "-I", "-c", "import sys; print(*sys.modules)"], check=True, capture_output=True, text=True
    )
    loaded = set(done.stdout.split()) - set(before.stdout.split())
    assert loaded & heavy == set()
    assert not any(name.startswith("sampan.") and not name.startswith("sampan.cli") for name in loaded)
