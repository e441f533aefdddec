"""One real engine: a daemon with roots, socket, bridge and network namespace of its own."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from harness import runtimes
from harness.leftovers import Leftovers, processes, sandboxes, survey
from harness.net import Net

NUMBERS = itertools.count(1)
UNREACHABLE = {"HTTPS_PROXY": "http://127.0.0.1:9"}
"""For the daemon: that there is no way to Docker Hub from here shows at once, not when a name server is given up."""
PATIENCE = 30.0
"""Seconds after which anything that an engine does counts as hanging."""


class Result(msgspec.Struct, frozen=True):
    """What a command printed, and its exit code."""

    stdout: str
    stderr: str
    code: int

    def ok(self) -> Result:
        """Asserts that the command succeeded."""
        assert self.code == 0, f"exit code {self.code}: {self.stderr or self.stdout}"
        return self

    @property
    def out(self) -> str:
        """The output of a command that must have succeeded, without the last line's end."""
        return self.ok().stdout.rstrip("\n")


class Engine:
    """``with Engine() as engine:`` starts it, and at the end removes all that it made and fails if more was left.

    ``settings`` are laid over the harness's configuration, section by section.
    """

    def __init__(self, **settings: Any) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="sampan-", dir="/tmp"))  # short: socket paths end at 107 bytes
        self.net = Net(self.root)
        self.socket = self.root / "engine.sock"
        self.host = f"unix://{self.socket}"
        self.bridge = f"sp{os.getpid() % 100_000}x{next(NUMBERS)}"
        self.config = self.root / "config.yaml"
        self.config.write_text(yaml.safe_dump(self._configuration(settings)))
        self.daemon: subprocess.Popen[bytes] | None = None
        self.program = [sys.executable, "-m", "sampan.cli"]
        self._has_image = False

    def __enter__(self) -> Engine:
        try:
            self.net.make()
            self.start()
        except BaseException:
            self._sweep()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.remove_containers()
            self.stop()
            left = self.after_the_end() if kind is None else {}
        finally:
            self._sweep()
        assert not left, f"the engine left behind: {left}"

    # ── the daemon ───────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Start the daemon, or start it again, and wait until it answers."""
        log = (self.root / "daemon.log").open("ab")
        command = [*self.program, "daemon", "--config-file", str(self.config)]
        self.daemon = subprocess.Popen(
            [*self.net.enter(self.net.inside), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=UNREACHABLE | self.environment(),
        )
        log.close()
        self.wait_until(self._answers, "the daemon answers")

    def stop(self) -> None:
        """End the daemon as a service manager would; containers live on."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """``kill -9`` of the daemon: nothing of it gets to run."""
        self._end(signal.SIGKILL)

    @property
    def log(self) -> str:
        """What the daemon has told so far."""
        return (self.root / "daemon.log").read_text(errors="replace")

    @property
    def data(self) -> Path:
        """Its data root: with ``userns_remap`` a directory in the one that is configured."""
        return next((self.root / "data").glob("*.*/engine.db"), self.root / "data" / "engine.db").parent

    @property
    def instance(self) -> str:
        """What the engine's things in the kernel carry in their names."""
        database = sqlite3.connect(f"file:{self.data}/engine.db?mode=ro", uri=True)
        try:
            [body] = database.execute("SELECT body FROM meta WHERE id = 'instance'").fetchone()
        finally:
            database.close()
        return str(json.loads(body))

    # ── its clients ──────────────────────────────────────────────────────────────────────────────────────────────

    def docker(self, *args: object, stdin: str | bytes | None = None, timeout: float = PATIENCE) -> Result:
        """The real docker CLI. It runs in the engine's network namespace, as everything here does."""
        return self.run("docker", *args, stdin=stdin, timeout=timeout)

    def sampan(self, *args: object, stdin: str | bytes | None = None, timeout: float = PATIENCE) -> Result:
        """Our own."""
        return self.run(sys.executable, "-m", "sampan.cli", *args, stdin=stdin, timeout=timeout)

    def run(self, *command: object, stdin: str | bytes | None = None, timeout: float = PATIENCE) -> Result:
        """Any command on the engine's host."""
        return self._run(self.net.inside, command, stdin, timeout)

    def outside(self, *command: object, stdin: str | bytes | None = None, timeout: float = PATIENCE) -> Result:
        """Any command on the neighbouring host (see :mod:`harness.net`)."""
        return self._run(self.net.outside, command, stdin, timeout)

    def popen(self, *command: object, **options: Any) -> subprocess.Popen[bytes]:
        """A command on the engine's host that goes on while the test does."""
        argv = [*self.net.enter(self.net.inside), *map(str, command)]
        return subprocess.Popen(argv, env=self.environment(), **options)

    def api(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One request to the Engine API: the status, and the body, decoded if it is JSON."""
        connection = _Connection(self.socket)
        try:
            payload = body if isinstance(body, bytes) or body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            data = answer.read()
            is_json = answer.headers.get_content_type() == "application/json"
            return answer.status, json.loads(data) if is_json and data else data
        finally:
            connection.close()

    def events(self, *filters: str) -> list[dict[str, Any]]:
        """What has happened so far, of that what fits: ``container=boat``, ``event=die``."""
        words = [word for each in filters for word in ("--filter", each)]
        until = f"{time.time():.9f}"
        told = self.docker("events", "--since", "1", "--until", until, "--format", "{{json .}}", *words).out
        return [json.loads(line) for line in told.splitlines()]

    def environment(self) -> dict[str, str]:
        """Nothing of the user's own settings, and where the engine is."""
        kept = {name: value for name in ("PATH", "LANG") if (value := os.environ.get(name))}
        here = {"HOME": str(self.root), "DOCKER_HOST": self.host, "SAMPAN_HOST": self.host}
        return kept | here | {"DOCKER_CONFIG": f"{self.root}/docker", "PYTHONDONTWRITEBYTECODE": "1"}

    def image(self, name: str = "shell:latest") -> str:
        """An image made of this machine's own programs; made once per engine.

        A first container is run of it, so that what an engine makes once and keeps (a compiled seccomp filter, empty
        directories) is there before a test looks at what is left behind.
        """
        if not self._has_image:
            self.sampan("image", "from-host", "-t", name).ok()
            self.sampan("run", "--rm", name, "true").ok()
            self._has_image = True
        return name

    # ── proof ────────────────────────────────────────────────────────────────────────────────────────────────────

    def leftovers(self) -> Leftovers:
        """What the engine has made up to now. Take one before, and hand it to :meth:`assert_as_before`."""
        found = survey(self.root, self.net, self.instance)
        if self.daemon is None or self.daemon.poll() is not None:
            return found
        # What waits for containers comes and goes while the daemon lives.
        return msgspec.structs.replace(
            found, cgroups=frozenset(each for each in found.cgroups if "/ready-" not in each)
        )

    def assert_as_before(self, before: Leftovers, patience: float = 10.0) -> None:
        """Nothing more is there than ``before``. What is removed after the answer gets ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while extra := self.leftovers().beyond(before):
            if time.monotonic() > deadline:
                raise AssertionError(f"left behind: {extra}")
            time.sleep(0.05)

    def wait_until(self, condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
        """Wait until ``condition()`` is true; ``AssertionError`` says that ``what`` never happened, with the log."""
        deadline = time.monotonic() + patience
        while not condition():
            dead = self.daemon is not None and self.daemon.poll() is not None
            if dead or time.monotonic() > deadline:
                raise AssertionError(f"it never happened that {what}\n{self.log[-4000:]}")
            time.sleep(0.01)

    def remove_containers(self) -> None:
        """Remove every container, by force."""
        if self.daemon is None or not self._answers():
            return
        for container in self.api("GET", "/containers/json?all=true")[1]:
            self.api("DELETE", f"/containers/{container['Id']}?force=true&v=true")

    def after_the_end(self) -> dict[str, list[str]]:
        """What must not outlive an engine without containers: processes, and mounts (layers and records may stay)."""
        deadline = time.monotonic() + 10
        while True:
            left = survey(self.root, self.net, self.instance)
            extra = {
                "processes": sorted(processes(self.net).values()),
                "mounts": sorted(left.mounts),
                "cgroups": sorted(left.cgroups),
            }
            extra = {kind: things for kind, things in extra.items() if things}
            if not extra or time.monotonic() > deadline:
                return extra
            time.sleep(0.05)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _configuration(self, settings: dict[str, Any]) -> dict[str, Any]:
        tree: dict[str, Any] = {
            "data_root": f"{self.root}/data",
            "exec_root": f"{self.root}/exec",
            "pidfile": f"{self.root}/daemon.pid",
            "hosts": [self.host],
            "log_level": "debug",
            "network": {"bridge_name": self.bridge},
            "runtime": {"driver": runtimes.chosen()},
        }
        for key, value in settings.items():
            tree[key] = {**tree[key], **value} if isinstance(tree.get(key), dict) else value
        return tree

    def _answers(self) -> bool:
        try:
            return self.api("GET", "/_ping")[0] == 200
        except OSError:
            return False

    def _run(self, net: Path, command: tuple[object, ...], stdin: str | bytes | None, timeout: float) -> Result:
        done = subprocess.run(
            [*self.net.enter(net), *map(str, command)],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout,
            env=self.environment(),
            check=False,
        )
        return Result(done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"), done.returncode)

    def _end(self, number: int) -> None:
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.send_signal(number)
            self.daemon.wait(PATIENCE)
        self.daemon = None

    def _sweep(self) -> None:
        """Remove the engine from this machine, in whatever state a failed test has left it."""
        for pid in processes(self.net, sandboxes(self.root)) if self.net.inside.exists() else ():
            if pid != os.getpid():
                _kill(pid)
        if self.daemon is not None:
            self.daemon.wait(PATIENCE)
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for target in sorted((m for m in mounts if m.startswith(f"{self.root}/")), reverse=True):
            subprocess.run(["umount", "--lazy", target], check=False, capture_output=True)
        self.net.remove()
        shutil.rmtree(self.root, ignore_errors=True)


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
