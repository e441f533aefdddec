"""The same container under several drivers, side by side, of a real engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from harness import Engine

pytestmark = pytest.mark.root


@pytest.fixture
def nothing_left(engine: Engine, shell: str) -> Iterator[None]:
    """As the harness's, but that the image's layers are there in every storage."""
    for storage in ("overlayfs", "vfs"):
        engine.sampan("run", "--rm", "--storage-driver", storage, shell, "true").ok()
    before = engine.leftovers()
    yield
    engine.assert_as_before(before)


def compared(engine: Engine, *words: object, code: int = 0) -> dict[str, Any]:
    result = engine.sampan("compare", "--format", "json", "-n", "1", *words, timeout=100)
    assert result.code == code, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def values(found: dict[str, Any], fact: str) -> dict[str, str]:
    """A fact that differs, by driver or combination."""
    each = next(each for each in found["differences"] if each["fact"] == fact)
    return {name: value for value, names in each["values"] for name in names}


def test_storages_and_networks_differ_where_they_should(engine: Engine, shell: str, nothing_left: None) -> None:
    words = ("--storage", "overlayfs,vfs", "--network", "bridge,host,none", "--size", "16m")
    found = compared(engine, *words, shell, "sh", "-c", "echo hello")
    assert [row["error"] for row in found["rows"]] == [""] * 6
    roots = values(found, "mount, /")
    assert (roots["overlayfs"].split()[0], roots["vfs"].split()[0] == "overlay") == ("overlay", False)
    interfaces = values(found, "interfaces")
    assert (interfaces["bridge"], interfaces["none"]) == ("eth0 lo", "lo")
    assert engine.bridge in interfaces["host"]
    assert "network" not in values(found, "namespaces, its own")["host"]
    assert found["alike"]["the command's output"] == "hello"
    for row in found["rows"]:
        assert {"create", "start", "exec", "stop", "remove", "run", "disk", "write"} <= set(row["median"]), row
        assert ("receive" in row["median"]) == (row["network"] != "none")
        assert all(value > 0 for key, value in row["median"].items() if key != "disk")
    assert min(row["median"]["disk"] for row in found["rows"] if row["storage"] == "vfs") > 1000
    assert found["about"]["drivers"]["storage vfs"].startswith("sampan ")
    assert engine.api("GET", "/containers/json?all=true")[1] == []


def test_one_that_cannot_is_a_row_with_its_sentence(engine: Engine, shell: str, nothing_left: None) -> None:
    found = compared(engine, "--storage", "overlayfs,nosuch", "--size", "0", shell, "false")
    good, bad = found["rows"]
    assert "no storage driver is called 'nosuch'" in bad["error"]
    assert (good["error"], good["facts"]["the command's exit code"]) == ("", "1")
    compared(engine, "--storage", "nosuch", "--size", "0", shell, "true", code=1)


def test_a_network_is_made_for_a_driver_that_has_none(engine: Engine, shell: str, nothing_left: None) -> None:
    [row] = compared(engine, "--network", "internal", "--size", "0", shell, "true")["rows"]
    assert row["error"] == ""
    assert row["facts"]["interfaces"] == "eth0 lo"


@pytest.mark.needs("host_cgroups")
def test_what_it_tells_is_what_is_so(engine: Engine, shell: str) -> None:
    engine.sampan("run", "-d", "--name", "told", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "-u",
                  "12:34", "--ulimit", "nofile=99:199", "--cgroupns", "host", shell, "sleep", "100").ok()  # fmt: skip
    status, found = engine.api("GET", "/sampan/containers/told/isolation")
    assert status == 200
    assert found["Capabilities"]["Bounding"] == []
    assert found["NoNewPrivileges"] is True
    assert found["User"] == "12:34"
    assert found["Limits"]["Max open files"] == "99 199"
    assert found["Namespaces"]["cgroup"] == "host"
    assert found["Helpers"] == ["sampan-monitor"] or found["Helpers"][0] == "sampan-monitor"
    assert engine.sampan("exec", "told", "hostname").out
    engine.sampan("stop", "-t", "0", "told").ok()
    assert engine.api("GET", "/sampan/containers/told/isolation")[0] == 409


def test_the_page_is_written(engine: Engine, shell: str) -> None:
    file = engine.root / "page.html"
    result = engine.sampan("compare", "-n", "1", "--size", "0", "--storage", "vfs", "--html", file, shell).ok()
    assert "native · vfs · bridge" in result.stdout or "vfs" in result.stdout
    assert file.read_text().startswith("<!doctype html>")


def test_a_command_that_does_not_end_is_left_after_its_time(engine: Engine, shell: str, nothing_left: None) -> None:
    words = ("--storage", "vfs", "--size", "0", "--timeout", "1", shell, "sleep", "100")
    [row] = compared(engine, *words)["rows"]
    assert row["facts"]["the command's exit code"] == "none within 1 seconds"
    assert "run" not in row["median"]
