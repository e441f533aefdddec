"""Packages of drivers that are broken in every way, installed beside the built-in ones: each is named with what is
wrong with it, and the engine goes on as if it were not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from harness import Engine

pytestmark = [pytest.mark.root, pytest.mark.timeout(170)]

STORAGE = """
import time
from pathlib import Path
from sampan_storage.vfs import Vfs
class Driver(Vfs):
    {}
"""
NETWORK = """
import time
from sampan_network.none import Nothing
from sampan.drivers.types import NetworkFeatures
class Driver(Nothing):
    def features(self): return NetworkFeatures(sandbox="own")
    {}
"""
RUNTIME = """
from sampan_runtime.native.driver import Native
class Driver(Native):
    def restore(self, running): pass
    {}
"""

SHOUT = r"""def check(self):
        from sampan.drivers.types import Check
        return Check(False, 'first\a the bell\n\x1b[31m' + 'A' * 999)"""

PACKAGES: list[tuple[str, str, str, str]] = [
    # family, name, code, what `sampan drivers` says of it ("": it is usable, and wrong only when it is used)
    ("storage", "no-import", "import no_such_library", "No module named 'no_such_library'"),
    ("storage", "half-written", "class Driver(", "SyntaxError"),
    ("storage", "quits", "raise SystemExit(3)", "SystemExit"),
    ("storage", "no-class", "Driver = 'a driver'", "is not a StorageDriver"),
    ("network", "wrong-family", STORAGE.format("pass"), "is not a NetworkDriver"),
    ("storage", "older", STORAGE.format("contract = 0"), "it speaks contract 0, this sampan speaks 1"),
    ("runtime", "newer", RUNTIME.format("contract = 99"), "it speaks contract 99"),
    ("storage", "texts", STORAGE.format("contract = '1'"), "it speaks contract '1', this sampan speaks 1"),
    ("storage", "no-choice", STORAGE.format("Options = 7"), "its Options are 7; expected a class, a msgspec.Struct"),
    ("storage", "panics", STORAGE.format("def check(self): raise RuntimeError('out of ideas')"), "out of ideas"),
    ("network", "sleeps", NETWORK.format("def check(self): time.sleep(600)"), "could not check this host within 5 s"),
    ("storage", "sleeps-at-once", "import time; time.sleep(600)", "could not be loaded within 5 seconds"),
    ("runtime", "mute", RUNTIME.format("def check(self): return None"), "check() returned None, where a Check was"),
    ("storage", "vague", STORAGE.format("def features(self): return {}"), "features() returned {}, where a StorageF"),
    ("network", "forgetful", NETWORK.format("def restore(self, *known): raise KeyError('all')"), "KeyError: 'all'"),
    ("storage", "old-school", STORAGE.format("def restore(self, *known): raise OSError(5, 'worn out')"), "worn out"),
    ("network", "shouts", NETWORK.format(SHOUT), "first the bell"),
    ("storage", "secretive", STORAGE.format("def usage(self, container): return 'much'"), ""),
    ("storage", "babbles", STORAGE.format("def begin_layer(self, *ids): return 'over there'"), ""),
    ("storage", "stumbles", STORAGE.format("def mount(self, container): return {}['root']"), ""),
    ("network", "nonsense", NETWORK.format("def join(self, *wishes): raise ValueError('which one?')"), ""),
    ("runtime", "rambles", RUNTIME.format("def order(self, bundle): return 'start it'"), ""),
    ("runtime", "halved", RUNTIME.format("monitor_module = 'no_such_half'"), ""),
    ("runtime", "crooked", RUNTIME.format("monitor_module = 'crooked_half'"), ""),
]


class Furnished(Engine):
    """An engine in whose environment all these packages are installed."""

    def start(self) -> None:
        if not self.packages.exists():
            for family, name, code, _ in PACKAGES:
                self._install(family, name, code)
            for twin in ("one", "two"):
                self._install("storage", "twin", STORAGE.format("pass"), f"twin_{twin}")
            self._install("storage", "nameless", STORAGE.format("pass"))
            (self.packages / "broken_nameless-1.0.dist-info/METADATA").unlink()
            (self.packages / "crooked_half.py").write_text("raise RuntimeError('not today')\n")
        super().start()

    @property
    def packages(self) -> Path:
        return self.root / "packages"

    def environment(self) -> dict[str, str]:
        return super().environment() | {"PYTHONPATH": str(self.packages)}

    def _install(self, family: str, name: str, code: str, package: str = "") -> None:
        """As pip does it: a module, and the directory that tells of it."""
        module = package or f"broken_{name.replace('-', '_')}"
        info = self.packages / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (self.packages / f"{module}.py").write_text(dedent(code))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[sampan.{family}]\n{name} = {module}:Driver\n")

    def drivers(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Asked for again where good ones took too long: a busy disk is not what is looked for here."""
        good = {(family, name) for family, name, _, reason in PACKAGES if not reason}
        for _ in range(3):
            found = {(each["family"], each["name"]): each for each in json.loads(self._drivers())}
            if not any("within 5 seconds" in found[each]["reason"] for each in good):
                break
        return found

    def _drivers(self) -> str:
        return self.sampan("drivers", "--format", "json").out


@pytest.fixture(scope="module")
def engine() -> Iterator[Furnished]:
    with Furnished() as running:
        yield running


def test_each_is_named_with_what_is_wrong_with_it(engine: Furnished) -> None:
    found, table = engine.drivers(), engine.sampan("drivers").out
    for family, name, _, reason in PACKAGES:
        said = found[family, name]
        assert said["usable"] == (not reason), (name, said["reason"])
        assert reason in said["reason"], said
        assert (said["package"], said["version"]) == (f"broken_{name.replace('-', '_')}", "1.0")
        [line] = [line for line in table.splitlines() if line.split()[:2] == [family, name]]
        assert reason[:40] in line, line
        assert "Traceback" not in said["reason"]
    assert "is claimed by twin_one 1.0 and twin_two 1.0" in found["storage", "twin"]["reason"]
    assert len([line for line in table.splitlines() if line.split()[:2] == ["storage", "twin"]]) == 2


def test_the_built_in_ones_are_all_there(engine: Furnished) -> None:
    found = engine.drivers()
    for family, name in (("storage", "overlayfs"), ("storage", "vfs"), ("network", "bridge"), ("runtime", "native")):
        assert found[family, name]["usable"], found[family, name]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--storage-driver", "no-import"], "no_such_library"),
        (["--storage-driver", "twin"], "twin_one 1.0 and twin_two 1.0"),
        (["--storage-driver", "vague"], "features() returned {}"),
        (["--storage-driver", "old-school"], "worn out"),
        (["--storage-driver", "babbles"], "begin_layer() returned 'over there'"),
        (["--storage-driver", "stumbles"], "mount() failed: KeyError: 'root'"),
        (["--runtime", "newer"], "contract 99"),
        (["--runtime", "mute"], "check() returned None"),
        (["--runtime", "rambles"], "order() returned 'start it'"),
        (["--runtime", "halved"], "no_such_half"),
        (["--runtime", "crooked"], "RuntimeError: not today"),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else "",
)
def test_a_container_that_asks_for_it_is_refused_and_leaves_nothing(
    engine: Furnished, words: list[str], said: str
) -> None:
    """But for layers and compiled filters, which a driver keeps for the next container."""
    image, before = engine.image(), engine.leftovers()
    done = engine.sampan("run", "--rm", *words, image, "true")
    assert done.code in (125, 126, 127), done
    assert said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert engine.sampan("ps", "-aq").out == ""
    kept = tuple(
        f"{engine.root}/{place}/{family}/{words[1]}" for place, family in (("data", "storage"), ("exec", "runtime"))
    )

    def extra() -> dict[str, list[str]]:
        found = engine.leftovers().beyond(before)
        found["files"] = [each for each in found.get("files", ()) if not each.startswith(kept)]
        return {kind: things for kind, things in found.items() if things}

    engine.wait_until(lambda: not extra(), "only what was there before is left")


def test_what_it_says_is_one_line_that_does_nothing_to_the_terminal(engine: Furnished) -> None:
    table = engine.sampan("drivers").out
    [line] = [line for line in table.split("\n") if line.split()[:2] == ["network", "shouts"]]
    assert "first the bell [31mAAA" in line
    assert len(line) < 700
    assert "\x1b" not in table
    assert "\a" not in table


def test_a_package_that_tells_nothing_of_itself_has_no_name(engine: Furnished) -> None:
    said = engine.drivers()["storage", "nameless"]
    assert (said["usable"], said["package"], said["version"]) == (True, "?", "?")


def test_sizes_of_others_are_told_though_one_driver_cannot_tell(engine: Furnished) -> None:
    for name, driver in (("open", "vfs"), ("closed", "secretive")):
        words = ["create", "--name", name, "--label", f"sampan.storage-driver={driver}"]
        engine.docker(*words, engine.image(), "true").ok()
    told = dict(
        line.split()[:2] for line in engine.docker("ps", "-as", "--format", "{{.Names}} {{.Size}}").out.splitlines()
    )
    assert told["closed"] == "0B"
    assert told["open"] != "0B"
    engine.docker("system", "df").ok()
    assert "usage() returned 'much'" in engine.docker("inspect", "-s", "closed").stderr
    pruned = engine.docker("container", "prune", "--force").out
    assert len([line for line in pruned.splitlines() if len(line) == 64]) == 2


def test_a_network_of_it_refuses_containers_and_can_be_removed(engine: Furnished, nothing_left: None) -> None:
    engine.sampan("network", "create", "--driver", "nonsense", "strange").ok()
    done = engine.sampan("run", "--rm", "--network", "strange", engine.image(), "true")
    assert done.code == 125
    assert "network driver 'nonsense' (broken_nonsense 1.0): join() failed: ValueError: which one?" in done.stderr
    engine.sampan("network", "rm", "strange").ok()
    done = engine.sampan("network", "create", "--driver", "sleeps", "stranger")
    assert "could not check this host within 5 seconds" in done.stderr


def test_containers_run_on_and_a_new_daemon_comes_up_beside_them(engine: Furnished) -> None:
    engine.docker("run", "-d", "--name", "boat", engine.image(), "sleep", "1000").ok()
    engine.kill()
    engine.start()
    assert engine.docker("exec", "boat", "echo", "afloat").out == "afloat"
    engine.docker("rm", "-f", "boat").ok()
    assert "forgetful" in engine.log
    assert engine.docker("run", "--rm", engine.image(), "echo", "on we go").out == "on we go"
