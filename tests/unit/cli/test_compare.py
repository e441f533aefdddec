"""``sampan compare``: what it asks for, what it makes of the answers, and that it cleans up."""

from __future__ import annotations

import html.parser
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from sampan.cli.compare import facts, page, plots, text
from sampan.cli.compare.plan import Combination, labels
from sampan.cli.compare.result import Result as Found
from sampan.cli.compare.rounds import Row
from unit.cli.fake_daemon import Answer, Daemon, Request, Result, frame, upgrade

Sampan = Callable[..., Result]

ISOLATION = {
    "Pid": 7,
    "Namespaces": {"mount": "own", "network": "own", "user": "host"},
    "Capabilities": {"Effective": ["KILL", "CHOWN"], "Bounding": ["KILL", "CHOWN"], "Ambient": []},
    "Seccomp": "filter",
    "SeccompFilters": 1,
    "NoNewPrivileges": False,
    "User": "0:0",
    "Groups": [0, 5],
    "UserMap": ["0 0 4294967295"],
    "GroupMap": [],
    "Cgroups": {"memory": "/sampan-0123abcd/{id}"},
    "Mounts": [
        {"Target": "/", "Type": "rootfs", "Source": "none", "Options": ["rw"], "SuperOptions": [], "Propagation": "x"},
        {"Target": "/", "Type": "overlay", "Source": "none", "Options": ["rw", "relatime"], "SuperOptions": [],
         "Propagation": "private"},
    ],
    "Limits": {"Max open files": "1024 4096"},
    "Label": "",
    "OomScoreAdjust": 0,
    "Devices": ["null", "zero"],
    "Interfaces": ["eth0", "lo"],
    "Helpers": ["sampan-monitor"],
    "Overhead": 1_100_000,
}  # fmt: skip


class Engine:
    """As much of an engine as a comparison asks for; ``refuse`` are runtimes that cannot start anything."""

    def __init__(self, daemon: Daemon, refuse: set[str], *, dies: bool = False) -> None:
        self.there: dict[str, dict[str, Any]] = {}
        self.made: list[dict[str, Any]] = []
        self._refuse, self._dies = refuse, dies
        for name in ("version", "info", "_ping"):
            daemon.on(f"GET /{name}", {"Version": "9", "ApiVersion": "1.50", "KernelVersion": "6", "NCPU": 2})
        daemon.on("GET /images/shell/json", {})
        daemon.on("GET /sampan/drivers", [driver(*each) for each in DRIVERS])
        daemon.on("GET /networks", [{"Name": "bridge", "Driver": "bridge"}, {"Name": "none", "Driver": "null"}])
        daemon.on("POST /networks/create", Answer(201, {"Id": "n"}))
        daemon.on("POST /containers/create", self.create)
        daemon.on("GET /containers/json", lambda _: Answer(body=[{"Id": each} for each in self.there]))
        daemon.on("POST /exec/e/start", self.execute)
        daemon.on("GET /exec/e/json", {"ExitCode": 0})
        self._daemon = daemon

    def create(self, request: Request) -> Answer:
        ident = f"{len(self.made):064x}"
        body = request.json
        self.made.append(body)
        self.there[ident] = body
        on, keeps = self._daemon.on, body["Cmd"][0] == "sleep" and not self._dies
        refused = body["HostConfig"]["Runtime"] in self._refuse
        path = f"/containers/{ident}"
        on(f"POST {path}/wait", {"StatusCode": 3})
        on(f"POST {path}/start", Answer(500, {"message": "it has no oars"}) if refused else Answer(204))
        state = {"Running": keeps, "ExitCode": 3}
        host = {"NetworkMode": "none"}
        on(
            f"GET {path}/json",
            {"State": state, "SizeRw": 5000, "HostConfig": host, "NetworkSettings": {"Networks": {}}},
        )
        on(f"GET {path}/logs", Answer(body=[frame(1, b"storage is " + body["HostConfig"]["StorageDriver"].encode())]))
        on(f"GET {path}/stats", {"memory_stats": {"usage": 300_000}})
        on(f"GET /sampan/containers/{ident}/isolation", json.loads(json.dumps(ISOLATION).replace("{id}", ident)))
        on(f"POST {path}/exec", Answer(201, {"Id": "e"}))
        on(f"POST {path}/stop", Answer(204))
        on(f"DELETE {path}", self.remove)
        return Answer(201, {"Id": ident})

    def remove(self, request: Request) -> Answer:
        del self.there[unquote(request.path.rpartition("/")[2])]
        return Answer(204)

    def execute(self, request: Request) -> None:
        upgrade(request).close()


DRIVERS = (
    ("runtime", "native", True, True),
    ("runtime", "crun", True, False),
    ("runtime", "broken", False, False),
    ("storage", "overlayfs", True, True),
    ("storage", "vfs", True, False),
    ("network", "bridge", True, True),
    ("network", "none", True, False),
)


def driver(family: str, name: str, usable: bool, default: bool) -> dict[str, Any]:
    return {"family": family, "name": name, "usable": usable, "default": default, "package": "p", "version": "1"}


def compared(sampan: Sampan, *words: str) -> Found:
    result = sampan("compare", "--format", "json", "--size", "0", *words)
    assert result.code == 0, result.err
    found: Found = json.loads(result.out)
    return found


def test_each_runs_in_each_round_and_nothing_is_left(daemon: Daemon, sampan: Sampan) -> None:
    engine = Engine(daemon, set())
    found = compared(sampan, "-n", "3", "--storage", "overlayfs,vfs", "--network", "none", "shell", "id", "-u")
    assert [row["name"] for row in found["rows"]] == ["overlayfs", "vfs"]
    for row in found["rows"]:
        assert {key: len(values) for key, values in row["samples"].items()} == dict.fromkeys(
            ("create", "start", "exec", "stop", "remove", "run", "memory", "overhead", "disk"), 3
        )
        assert (row["median"]["disk"], row["median"]["memory"], row["median"]["overhead"]) == (5, 300, 1100)
    assert engine.there == {}
    storages = [body["HostConfig"]["StorageDriver"] for body in engine.made if body["Cmd"] == ["id", "-u"]]
    warm, rounds = storages[:2], storages[2:]
    assert warm == ["overlayfs", "vfs"]
    assert rounds == ["overlayfs", "vfs", "vfs", "overlayfs", "overlayfs", "vfs"], "they do not take turns"
    assert {body["HostConfig"]["NetworkMode"] for body in engine.made} == {"none"}
    assert found["differences"] == [
        {
            "fact": "the command's output",
            "family": "storage",
            "values": [["storage is overlayfs", ["overlayfs"]], ["storage is vfs", ["vfs"]]],
        }
    ]
    assert found["alike"]["the command's exit code"] == "3"
    assert found["alike"]["cgroups"] == "all /sampan-…/ID"
    assert found["alike"]["mount, /"] == "overlay rw,relatime"
    assert found["about"]["same"] == ["runtime native", "network none"]
    assert found["about"]["drivers"]["storage vfs"] == "p 1"


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], ["native · overlayfs", "native · vfs", "crun · overlayfs", "crun · vfs"]),
        (["--runtime", "crun,native"], ["crun", "native"]),
        (["--storage", "vfs"], ["native · vfs · bridge"]),
        (["--network", "none, bridge"], ["none", "bridge"]),
    ],
)
def test_what_is_compared_with_what(daemon: Daemon, sampan: Sampan, words: list[str], names: list[str]) -> None:
    Engine(daemon, set())
    assert [row["name"] for row in compared(sampan, "-n", "1", *words, "shell")["rows"]] == names


def test_a_combination_that_fails_is_a_row_with_its_sentence(daemon: Daemon, sampan: Sampan) -> None:
    engine = Engine(daemon, {"crun"})
    found = compared(sampan, "-n", "2", "--runtime", "native,crun", "shell", "true")
    assert [(row["name"], row["error"]) for row in found["rows"]] == [("native", ""), ("crun", "it has no oars")]
    assert found["rows"][1]["samples"] == {}
    assert found["differences"] == []
    assert engine.there == {}
    out = sampan("compare", "--size", "0", "-n", "1", "--runtime", "native,crun", "shell").out
    assert "crun failed: it has no oars" in out
    assert sampan("compare", "--size", "0", "--runtime", "crun", "shell").code == 1


def test_an_image_in_which_nothing_stays(daemon: Daemon, sampan: Sampan) -> None:
    Engine(daemon, set(), dies=True)
    [row] = compared(sampan, "-n", "1", "--runtime", "native", "shell", "true")["rows"]
    assert set(row["samples"]) == {"create", "start", "run"}
    assert row["notes"] == ["sleep 3600 ended at once: no exec, stop, memory (--keep names what stays)"]


def test_a_network_of_a_driver_that_has_none_is_made_and_removed(daemon: Daemon, sampan: Sampan) -> None:
    Engine(daemon, set())
    compared(sampan, "-n", "1", "--network", "internal", "shell", "true")
    [made] = daemon.asked("POST /networks/create")
    assert made.json["Driver"] == "internal"
    assert [request.path for request in daemon.requests if request.method == "DELETE"][-1].endswith(made.json["Name"])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--format", "yaml", "shell"], "text or json"),
        (["-n", "0", "shell"], "from 1 to 1000"),
        (["--size", "5k", "shell"], "at least 1m"),
        (["--timeout", "0", "shell"], "at least 1 second"),
        (["--keep", "'", "shell"], "invalid command"),
        (["--exec", "", "shell"], "need a command"),
        (["--storage", "vfs,,x", "shell"], "commas"),
        (["--storage", "vfs,vfs", "shell"], "each once"),
        (["nothing"], "No such image: nothing"),
    ],
)
def test_what_is_refused(daemon: Daemon, sampan: Sampan, words: list[str], reason: str) -> None:
    engine = Engine(daemon, set())
    daemon.on("GET /images/nothing/json", Answer(404, {"message": "No such image: nothing"}))
    result = sampan("compare", *words)
    assert result.code != 0
    assert reason in result.err
    assert engine.made == []


# ── showing it ─────────────────────────────────────────────────────────────────────────────────────────────────


class Outline(html.parser.HTMLParser):
    """Fails on tags that do not match, and collects what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def found(**more: Any) -> Found:
    about = {
        "at": "now", "image": "<b>", "command": ["<script>alert(1)</script>"], "keep": ["k"], "exec": ["e"],
        "rounds": 2, "bytes": 0, "client": "1", "engine": "1", "api": "1", "kernel": "6", "system": "s",
        "architecture": "a", "cpus": 1, "memory": 1 << 30, "cgroups": "2", "load": [0.1, 0.2], "same": [],
        "drivers": {},
    }  # fmt: skip
    metrics = [{"key": "start", "title": "start", "unit": "ms", "group": "Time", "more": False}]
    rows = [
        {"name": name, "runtime": name, "storage": "s", "network": "n", "error": "", "notes": [], "facts": {},
         "samples": {"start": values}, "median": {"start": values[0]}}
        for name, values in (("one", [10.0, 12.5]), ("two", [150.0, 150.0]))
    ]  # fmt: skip
    differences = [{"fact": "seccomp", "family": "", "values": [("filter (1)", ["one"]), ("off & out", ["two"])]}]
    return {
        "about": about,
        "metrics": metrics,
        "rows": rows,
        "differences": differences,
        "alike": {"user": "0"},
        **more,
    }


def test_the_page_is_whole_loads_nothing_and_believes_nobody() -> None:
    written = page.page(found())
    outline = Outline()
    outline.feed(written)
    assert outline.open == []
    assert outline.loads == []
    assert "script" not in outline.tags
    assert "url(" not in written
    assert "@import" not in written
    assert "<script>alert(1)</script>" in outline.words
    for words in ("10.0–12.5", "150", "off & out", "filter (1)", "prefers-color-scheme"):
        assert words in outline.words
    assert outline.tags.count("svg") == 2
    assert {"caption", "th", "h1", "h2", "main", "title"} <= set(outline.tags)


def test_the_page_of_failures_alone() -> None:
    nothing = found(metrics=[], differences=[], alike={})
    for row in nothing["rows"]:
        row |= {"error": "no <oars>", "samples": {}, "median": {}, "notes": ["too <slow>"]}
    outline = Outline()
    outline.feed(page.page(nothing))
    assert "one failed: no <oars>" in outline.words
    assert "two: too <slow>" in outline.words
    assert "one failed: no <oars>" in text.text(nothing)


def test_bars_end_at_the_median_and_rounds_are_marks() -> None:
    drawn = plots.bar([10, 30, 20], 40, 2)
    assert "width='500.0'" in drawn
    assert [drawn.count(f"M{x} 3v18") for x in ("250.0", "500.0", "750.0")] == [1, 1, 1]
    assert "M" not in plots.bar([5], 10, 0).partition("<rect")[2]
    assert plots.bar([], 10, 0) == plots.bar([0.0], 0, 0) == ""


def test_the_text_has_medians_spans_and_differences() -> None:
    lines = text.text(found()).splitlines()
    assert "one                        10.0" in lines
    assert "  from least to most  10.0–12.5" in lines
    assert "two                         150" in lines
    assert "    off & out  ← two" in lines
    assert "  user: 0" in lines


@pytest.mark.parametrize(
    ("value", "told"), [(None, "–"), (0.1234, "0.12"), (9.998, "10.0"), (12.34, "12.3"), (1234.5, "1234")]
)
def test_figures_have_three_digits(value: float | None, told: str) -> None:
    assert text.figure(value) == told


def test_names_are_as_short_as_they_can_be() -> None:
    one, two = Combination("native", "vfs", "bridge"), Combination("lxc", "vfs", "bridge")
    assert labels([one, two]) == {one: "native", two: "lxc"}
    assert labels([one]) == {one: "native · vfs · bridge"}


def test_what_depends_on_one_family_alone_is_told_by_its_drivers() -> None:
    facts_of = {
        Combination(runtime, storage, "bridge"): {"user": "0", "root": storage, "init": runtime[:1]}
        for runtime in ("crun", "clown", "lxc")
        for storage in ("vfs", "overlayfs")
    }
    facts_of[Combination("lxc", "vfs", "bridge")]["odd"] = "yes"
    root, init, odd = facts.differences(facts_of)
    assert root == ("root", "storage", [("vfs", ["vfs"]), ("overlayfs", ["overlayfs"])])
    assert init == ("init", "runtime", [("c", ["crun", "clown"]), ("l", ["lxc"])])
    assert odd.family == ""
    assert odd.values[1] == ("yes", ["lxc · vfs"])
    assert odd.values[0][0] == "not there"
    assert facts.alike(facts_of) == {"user": "0"}


def test_what_differs_alike_is_told_once() -> None:
    one, two = Combination("a", "s", "n"), Combination("b", "s", "n")
    mounts = {"mount, /x": "1", "mount, /y": "1", "mount, /z": "2", "limit, q": "1"}
    others = {"mount, /x": "3", "mount, /y": "3", "mount, /z": "3", "limit, q": "3"}
    found = facts.differences({one: mounts, two: others})
    assert [each.fact for each in found] == ["mount, /x /y", "mount, /z", "limit, q"]


@pytest.mark.parametrize(
    ("paths", "told"),
    [({"cpu": "/a", "pids": "/a"}, "all /a"), ({"cpu": "/a", "pids": "/a", "v2": "/"}, "/: v2; /a: cpu pids")],
)
def test_alike_groups_are_told_once(paths: dict[str, str], told: str) -> None:
    assert facts.flat({**ISOLATION, "Cgroups": paths}, "x")["cgroups"] == told


def test_a_row_keeps_each_note_once() -> None:
    row = Row(Combination("a", "b", "c"))
    row.note("slow")
    row.note("slow")
    row.add("x", None)
    assert (row.notes, row.samples) == (["slow"], {})


def test_a_page_that_cannot_be_written(daemon: Daemon, sampan: Sampan, tmp_path: Path) -> None:
    Engine(daemon, set())
    target = tmp_path / "no" / "page.html"
    result = sampan("compare", "--size", "0", "-n", "1", "--runtime", "native", "--html", str(target), "shell")
    assert (result.code, "cannot be written" in result.err) == (1, True)
