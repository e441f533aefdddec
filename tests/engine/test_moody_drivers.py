"""Installed drivers whose calls hang, fall over half-way or answer nonsense when they are told to.

Whoever asked is told in one sentence and in time, what was done is undone, and everybody else goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest

from harness import Engine, Result

pytestmark = [pytest.mark.root, pytest.mark.timeout(170)]

PATIENCE = 2.0  # seconds that whatever does not hang always stays below, on a busy machine, too

MOOD = """
import sys, time
from pathlib import Path

ORDERS = Path(__file__).parent / "orders"

def moody(kind, *names):
    for name in names:
        setattr(kind, name, _moody(name, getattr(kind, name)))
    return kind

def _moody(name, method):
    def call(self, *args, **options):
        file = ORDERS / name
        mood = file.read_text() if file.exists() else ""
        if mood.startswith("return "):
            return eval(mood.removeprefix("return "))
        if mood == "hang":
            while file.exists():
                time.sleep(0.02)
        answer = method(self, *args, **options)
        if mood == "hang at the end":
            while file.exists():
                time.sleep(0.02)
        if mood.startswith("raise "):
            exec(mood)
        return answer
    return call
"""

DRIVERS = {
    "storage": """
        from mood import moody
        from sampan_storage.vfs import Vfs
        class Driver(Vfs):
            pass
        moody(Driver, "layers", "begin_layer", "commit_layer", "create", "mount", "unmount", "remove", "changes",
              "usage", "describe", "remove_layer")
    """,
    "network": """
        from mood import moody
        from sampan_network.none import Nothing
        from sampan.drivers.types import NetworkFeatures
        class Driver(Nothing):
            def features(self): return NetworkFeatures(sandbox="own", addresses=True, publish=True)
            def validate(self, network): pass
            def restore(self, networks, joined):
                for each in self._place.iterdir() if self._place.exists() else ():
                    if each.name not in {one.endpoint.id for one in joined}: each.unlink()
            @property
            def _place(self): return self.host.exec_root / "joined"
            def join(self, network, endpoint, sandbox):
                self._place.mkdir(parents=True, exist_ok=True)
                (self._place / endpoint.id).touch()
            def leave(self, network, endpoint, sandbox): (self._place / endpoint.id).unlink(missing_ok=True)
        moody(Driver, "validate", "create_network", "remove_network", "join", "leave", "publish", "unpublish")
    """,
    "runtime": """
        from mood import moody
        from sampan_runtime.native.driver import Native
        class Driver(Native):
            def restore(self, running): pass
        moody(Driver, "order", "exec_order", "signal", "processes", "pause", "resume", "frozen", "update", "stats",
              "starvation", "remove")
    """,
}


class Moody(Engine):
    """An engine with a driver called ``moody`` in each family."""

    def start(self) -> None:
        if not self.packages.exists():
            self.orders.mkdir(parents=True)
            (self.packages / "mood.py").write_text(MOOD)
            for family, code in DRIVERS.items():
                info = self.packages / f"moody_{family}-1.0.dist-info"
                info.mkdir()
                (self.packages / f"moody_{family}.py").write_text(dedent(code))
                (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: moody_{family}\nVersion: 1.0\n")
                (info / "entry_points.txt").write_text(f"[sampan.{family}]\nmoody = moody_{family}:Driver\n")
        super().start()

    @property
    def packages(self) -> Path:
        return self.root / "packages"

    @property
    def orders(self) -> Path:
        return self.packages / "orders"

    def environment(self) -> dict[str, str]:
        return super().environment() | {"PYTHONPATH": str(self.packages)}

    @contextmanager
    def mood(self, call: str, mood: str) -> Iterator[None]:
        """While this lasts, ``call`` does that; afterwards whatever hangs comes back."""
        (self.orders / f"{call}.new").write_text(mood)
        (self.orders / f"{call}.new").rename(self.orders / call)
        try:
            yield
        finally:
            (self.orders / call).unlink()

    def said_of(self, family: str) -> str:
        """Why ``sampan drivers`` calls the moody one of ``family`` unusable, or ``""``."""
        found = json.loads(self.sampan("drivers", "--format", "json").out)
        [reason] = [each["reason"] for each in found if (each["family"], each["name"]) == (family, "moody")]
        return str(reason)

    def recovered(self, family: str) -> None:
        self.wait_until(lambda: not self.said_of(family), f"the {family} driver is usable again")

    def joined(self) -> list[str]:
        return [each.name for each in self.root.glob("exec/network/moody/joined/*")]


@pytest.fixture(scope="module")
def engine() -> Iterator[Moody]:
    patience = {"patience": PATIENCE}
    with Moody(storage=patience, network=patience, runtime=patience) as running:
        image = running.image()
        running.docker("network", "create", "--driver", "moody", "moor").ok()
        running.docker("run", "--rm", "--network", "moor", "--runtime", "moody", image, "true").ok()
        running.sampan("run", "--rm", "--storage-driver", "moody", image, "true").ok()
        yield running


@pytest.fixture
def boat(engine: Moody) -> Iterator[str]:
    """A container that all three of them have made."""
    words = ["--storage-driver", "moody", "--runtime", "moody", "--network", "moor"]
    engine.sampan("run", "-d", "--name", "boat", *words, engine.image(), "sleep", "1000").ok()
    yield "boat"
    engine.wait_until(lambda: engine.docker("rm", "-f", "boat").code == 0, "the boat can be removed")
    engine.wait_until(lambda: not engine.joined(), "its endpoint is gone")


ON_START = [
    ("storage", "create", "hang at the end", []),
    ("storage", "mount", "hang", []),
    ("network", "join", "hang at the end", ["--network", "moor"]),
    ("network", "publish", "hang", ["--network", "moor", "-p", "7001:7001"]),
    ("runtime", "order", "hang at the end", ["--runtime", "moody"]),
]


def run_on(engine: Moody, family: str, words: list[str]) -> Result:
    if family == "storage":
        return engine.sampan("run", "--rm", "--storage-driver", "moody", engine.image(), "true")
    return engine.docker("run", "--rm", *words, engine.image(), "true")


@pytest.mark.parametrize(("family", "call", "mood", "words"), ON_START, ids=lambda it: it if type(it) is str else "")
def test_a_start_that_hangs_is_given_up_and_undone(
    engine: Moody, family: str, call: str, mood: str, words: list[str]
) -> None:
    with engine.mood(call, mood):
        done = run_on(engine, family, words)
        sentence = f"{family} driver 'moody' (moody_{family} 1.0) hangs: {call}() did not come back within 2 seconds"
        assert (done.code, sentence in done.stderr) == (125, True), done
        assert f"it hangs: {call}() was called" in engine.said_of(family)
        began = time.monotonic()
        again = run_on(engine, family, words)  # nobody waits twice
        assert again.code == 125
        assert f"() is not called, for it hangs: {call}() was called" in again.stderr, again
        assert engine.docker("run", "--rm", engine.image(), "echo", "on we go").out == "on we go"
        assert time.monotonic() - began < 10
        engine.wait_until(lambda: engine.docker("ps", "-aq").out == "", "no container is left")
    engine.recovered(family)
    assert run_on(engine, family, words).ok()
    engine.wait_until(lambda: not engine.joined(), "no endpoint is left")
    engine.wait_until(lambda: not list(engine.root.glob("data/storage/moody/containers/*")), "no root is left")


@pytest.mark.parametrize(
    ("family", "call", "words"),
    [
        ("runtime", "pause", ["pause", "boat"]),
        ("runtime", "exec_order", ["exec", "boat", "true"]),
        ("runtime", "processes", ["top", "boat"]),
        ("storage", "changes", ["diff", "boat"]),
    ],
    ids=lambda value: value if type(value) is str else "",
)
def test_a_call_for_one_that_runs_is_given_up(
    engine: Moody, boat: str, family: str, call: str, words: list[str]
) -> None:
    with engine.mood(call, "hang at the end"):
        done = engine.sampan(*words)
        assert done.code != 0
        assert f"hangs: {call}() did not come back within 2 seconds" in done.stdout + done.stderr, done
        assert f"it hangs: {call}() was called" in engine.said_of(family)
        assert engine.docker("inspect", boat, "--format", "{{.State.Status}}").out == "running"
    engine.recovered(family)
    assert engine.docker("exec", boat, "echo", "afloat").out == "afloat"  # not frozen, either


@pytest.mark.parametrize("call", ["signal", "remove", "leave", "unmount"])
def test_a_container_can_be_removed_though_it_hangs(engine: Moody, call: str) -> None:
    words = ["--runtime", "moody", "--network", "moor"]
    name = engine.docker("run", "-d", *words, engine.image(), "sleep", "1000").out
    with engine.mood(call, "hang"):
        engine.docker("rm", "-f", name).ok()
        assert engine.docker("ps", "-aq").out == ""
        assert engine.docker("run", "--rm", engine.image(), "echo", "on we go").out == "on we go"
    engine.wait_until(lambda: not engine.joined(), "no endpoint is left")
    for family in ("runtime", "network"):
        engine.recovered(family)


@pytest.mark.parametrize("call", ["create_network", "remove_network"])
def test_networks(engine: Moody, call: str) -> None:
    if call == "remove_network":
        engine.docker("network", "create", "--driver", "moody", "rapids").ok()
    with engine.mood(call, "hang"):
        action = ["rm"] if call == "remove_network" else ["create", "--driver", "moody"]
        done = engine.docker("network", *action, "rapids")
        assert f"hangs: {call}() did not come back" in done.stderr, done
    engine.recovered("network")
    if call == "remove_network":
        engine.docker("network", "rm", "rapids").ok()
    assert "rapids" not in engine.docker("network", "ls").out


@pytest.mark.parametrize(
    ("family", "call", "words", "raised"),
    [
        ("storage", "mount", [], "SystemExit(3)"),
        ("network", "join", ["--network", "moor"], "KeyboardInterrupt"),
        ("network", "publish", ["--network", "moor", "-p", "7001:7001"], "MemoryError('full\\nof it')"),
        ("runtime", "order", ["--runtime", "moody"], "OSError(5, 'worn out')"),
    ],
)
def test_one_that_falls_over_half_way_is_named_and_undone(
    engine: Moody, family: str, call: str, words: list[str], raised: str
) -> None:
    with engine.mood(call, f"raise {raised}"):
        done = run_on(engine, family, words)
    kind = raised.partition("(")[0]
    [line] = [line for line in done.stderr.splitlines() if "moody" in line]
    assert f"{family} driver 'moody' (moody_{family} 1.0): {call}() failed: {kind}" in line, done
    assert done.code == 125
    engine.wait_until(lambda: engine.docker("ps", "-aq").out == "", "no container is left")
    engine.wait_until(lambda: not engine.joined(), "no endpoint is left")
    assert run_on(engine, family, words).ok()


def test_nonsense_is_named(engine: Moody, boat: str) -> None:
    for call, words, answer in (
        ("processes", ["top", boat], "['init']"),
        ("exec_order", ["exec", boat, "true"], "{'terminal': self}"),
        ("stats", ["stats", "--no-stream", boat], "{}"),
        ("changes", ["diff", boat], "['/etc/passwd']"),
        ("changes", ["diff", boat], "7"),
    ):
        with engine.mood(call, f"return {answer}"):
            done = engine.sampan(*words)
        assert f"{call}() returned " in done.stdout + done.stderr, (call, done)
        assert "was expected" in done.stdout + done.stderr, (call, done)
    with engine.mood("mount", "return 1"):
        done = run_on(engine, "storage", [])
    assert "mount() returned 1, where the descriptor of a directory was expected" in done.stderr, done


def test_why_a_driver_refuses_an_exec_is_told_to_every_client(engine: Moody, boat: str) -> None:
    """In the stream, as dockerd does it: of an answer with another status the docker CLI shows the number alone."""
    for mood, sentence in (
        ("return {'terminal': self}", "exec_order() returned "),
        ("raise __import__('sampan.errors').errors.Unavailable('the mast is down')", "the mast is down"),
    ):
        for client in (engine.docker, engine.sampan):
            with engine.mood("exec_order", mood):
                done = client("exec", boat, "true")
            assert (done.code, sentence in done.stdout) == (126, True), done
            with engine.mood("exec_order", mood):
                detached = client("exec", "--detach", boat, "true")
            assert detached.code != 0
            assert sentence in detached.stderr, detached


def test_the_daemon_ends_and_begins_while_one_hangs(engine: Moody) -> None:
    with engine.mood("join", "hang at the end"):
        client = engine.popen("docker", "run", "--rm", "--network", "moor", engine.image(), "true")
        engine.wait_until(lambda: bool(engine.joined()), "it hangs")
        began = time.monotonic()
        engine.stop()
        assert time.monotonic() - began < 6
        client.wait(20)
    engine.start()
    assert not engine.joined()
    engine.docker("container", "prune", "--force").ok()  # nobody was there to remove it, its client neither
    assert run_on(engine, "network", ["--network", "moor"]).ok()
