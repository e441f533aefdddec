"""Containers' logs: the drivers and their options, following, what is written while no daemon is there, a flood."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Engine

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]

FLOOD = "yes 0123456789012345678901234567890123456789012345678901234567890123456789"


@pytest.fixture(autouse=True)
def no_containers(engine: Engine) -> Iterator[None]:
    yield
    engine.remove_containers()


def inspected(engine: Engine, name: str) -> dict[str, Any]:
    return dict(engine.api("GET", f"/containers/{name}/json")[1])


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--log-driver", "paper"], "logger: no log driver named 'paper' is registered"),
        (["--log-opt", "ink=blue"], "unknown log opt 'ink' for json-file log driver"),
        (["--log-driver", "local", "--log-opt", "tag=x"], "unknown log opt 'tag' for log driver local"),
        (["--log-opt", "max-size=big"], "invalid size: 'big'"),
        (["--log-opt", "max-size=0"], "max-size must be a positive number"),
        (["--log-opt", "max-file=0"], "max-file cannot be less than 1"),
        (["--log-opt", "mode=fast"], "logger: logging mode not supported: fast"),
        (["--log-opt", "max-buffer-size=1m"], "max-buffer-size option is only supported with 'mode=non-blocking'"),
        (["--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=x"], "invalid size: 'x'"),
        (["--log-opt", "compress=maybe"], "invalid log opt compress: 'maybe'"),
        (["--log-opt", "compress=true", "--log-opt", "max-size=1m"], "compress cannot be true when max-file is less"),
        (["--log-opt", "labels-regex=("], "invalid log opt labels-regex: '('"),
        (["--log-opt", "tag={{.Mood}}"], "invalid log opt tag: '{{.Mood}}'"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_wrong_is_refused(engine: Engine, shell: str, flags: list[str], sentence: str) -> None:
    refused = engine.docker("create", *flags, shell, "true")
    assert (refused.code, sentence in refused.stderr) == (1, True)
    assert engine.docker("ps", "-aq").out == ""


def test_the_driver_local(engine: Engine, shell: str) -> None:
    script = "echo one; echo two >&2; printf 'a \\377 byte'"
    engine.docker("run", "--name", "boat", "--log-driver", "local", shell, "sh", "-c", script).ok()
    told = inspected(engine, "boat")
    assert (told["HostConfig"]["LogConfig"], told["LogPath"]) == ({"Type": "local", "Config": {}}, "")
    found = engine.docker("logs", "boat").ok()
    assert (found.stderr, found.stdout.startswith("one\na ")) == ("two\n", True)
    assert engine.api("GET", "/containers/boat/logs?stdout=1&tail=1")[1][8:] == b"a \xff byte"
    assert engine.docker("logs", "-f", "--tail", "0", "boat").out == ""


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_older_files_are_compressed(engine: Engine, shell: str, driver: str) -> None:
    limits = ["--log-opt", "max-size=2k", "--log-opt", "max-file=4", "--log-opt", "compress=true"]
    script = "i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo line $i; done"
    engine.docker("run", "--name", "boat", "--log-driver", driver, *limits, shell, "sh", "-c", script).ok()
    directory = engine.root / "data/containers" / inspected(engine, "boat")["Id"]
    assert len(list(directory.glob("*.gz"))) == 3
    told = [int(line.split()[1]) for line in engine.docker("logs", "boat").out.splitlines()]
    assert told == list(range(told[0], 401))
    assert len(told) > 60
    assert engine.docker("logs", "--tail", "50", "boat").out.splitlines()[0] == "line 351"


def test_details(engine: Engine, shell: str) -> None:
    options = ["labels=color,none", "env-regex=^SAIL", "tag={{.Name}}"]
    words = [word for option in options for word in ("--log-opt", option)]
    labels = ["-l", "color=dark red", "-l", "size=9", "-e", "SAILS=2", "-e", "OARS=4"]
    engine.docker("run", "--name", "boat", *words, *labels, shell, "echo", "ahoy").ok()
    assert engine.docker("logs", "--details", "boat").out == "SAILS=2,color=dark+red,tag=boat ahoy"
    assert engine.docker("logs", "boat").out == "ahoy"
    [entry] = map(json.loads, Path(inspected(engine, "boat")["LogPath"]).read_text().splitlines())
    assert entry["attrs"] == {"color": "dark red", "SAILS": "2", "tag": "boat"}


@pytest.mark.parametrize("follow", [[], ["-f"]], ids=["", "follow"])
def test_a_driver_that_keeps_nothing(engine: Engine, shell: str, follow: list[str]) -> None:
    engine.docker("run", "--name", "boat", "--log-driver", "none", shell, "echo", "ahoy").ok()
    refused = engine.docker("logs", *follow, "boat")
    assert (refused.code, "configured logging driver does not support reading" in refused.stderr) == (1, True)


def test_info(engine: Engine) -> None:
    told = engine.api("GET", "/info")[1]
    assert (told["LoggingDriver"], told["Plugins"]["Log"]) == ("json-file", ["json-file", "local", "none"])


def test_following_ends_with_the_container_also_when_it_is_restarted(engine: Engine, shell: str) -> None:
    engine.docker("run", "-d", "--name", "boat", shell, "sh", "-c", "echo out; exec sleep 99").ok()
    following = engine.popen("docker", "logs", "-f", "boat", stdout=subprocess.PIPE)
    assert following.stdout
    assert following.stdout.readline() == b"out\n"
    engine.docker("restart", "-t", "0", "boat").ok()
    assert following.communicate(timeout=20)[0] == b""
    engine.wait_until(lambda: engine.docker("logs", "boat").out == "out\nout", "both runs are told")


def test_what_is_said_while_no_daemon_is_there(engine: Engine, shell: str) -> None:
    script = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo $i; sleep 0.05; done; exec sleep 99"
    engine.docker(
        "run", "-d", "--name", "boat", "--log-opt", "max-size=1k", "--log-opt", "max-file=9", shell, "sh", "-c", script
    ).ok()
    path = Path(inspected(engine, "boat")["LogPath"])
    engine.kill()
    size = path.stat().st_size
    older = path.with_name(f"{path.name}.2")
    deadline = time.monotonic() + 20
    while not older.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert older.exists(), f"the log is not rotated; it had {size} bytes"
    engine.start()
    following = engine.popen("docker", "logs", "-f", "boat", stdout=subprocess.PIPE)
    assert following.stdout
    assert [int(following.stdout.readline()) for _ in range(60)] == list(range(1, 61))
    following.kill()
    following.communicate()


@pytest.mark.parametrize("mode", ["blocking", "non-blocking"])
def test_a_flood(engine: Engine, shell: str, mode: str) -> None:
    """The daemon answers, the disk does not fill up, and the end is told."""
    limits = ["--log-opt", "max-size=1m", "--log-opt", "max-file=2", "--log-opt", f"mode={mode}"]
    script = f"{FLOOD} | head -c 100000000; echo; echo end"
    engine.docker("run", "-d", "--name", "boat", *limits, shell, "sh", "-c", script).ok()
    directory = Path(inspected(engine, "boat")["LogPath"]).parent
    following = engine.popen("docker", "logs", "-f", "boat", stdout=subprocess.DEVNULL)
    slowest = most = 0.0
    while engine.api("GET", "/containers/json")[1]:
        begun = time.monotonic()
        engine.api("GET", "/_ping")
        slowest = max(slowest, time.monotonic() - begun)
        most = max(most, sum(size(path) for path in directory.glob("*-json.log*")))
    assert slowest < 2
    assert 1_100_000 < most < 2_001_000
    assert following.wait(30) == 0
    if mode == "blocking":
        assert engine.docker("logs", "--tail", "1", "boat").out == "end"


def size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
