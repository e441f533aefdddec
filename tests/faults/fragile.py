"""An engine whose processes can be killed at any act, and the proof that it recovers from it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from faults.fuse import DAEMON, NEVER, Fuse
from harness import Engine, Leftovers
from harness.engine import PATIENCE
from harness.leftovers import may_launch, processes

IMAGE = "small:latest"
PROGRAMS = ("busybox", "sh", "sleep", "echo")


class Fragile(Engine):
    """Like any engine, but with a :class:`Fuse` in all its processes, and a small image."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.fuse = Fuse(self.root / "fuse")
        self.program = [sys.executable, str(Path(__file__).parent / "crashing.py"), str(self.fuse.path)]

    def __enter__(self) -> Fragile:
        super().__enter__()
        self.sampan("image", "from-host", "-t", IMAGE, *PROGRAMS).ok()
        self.sampan("run", "--rm", "-p", "7070:70", IMAGE, "true").ok()
        return self

    def recover(self) -> bool:
        """Start a new daemon if the old one is dead, or about to be; was it?"""
        assert self.daemon is not None
        if self.fuse.role == DAEMON and self.fuse.where:
            self.daemon.wait(PATIENCE)
        if self.daemon.poll() is None:
            return False
        self.start()
        return True

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A request whose daemon may die over it: the answer, or None."""
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):  # progress is no JSON document
            return self.api(method, path, body)[1]
        return None

    # ── truth ──────────────────────────────────────────────────────────────────────────────────────────────────

    def check_truth(self) -> None:
        """What the engine says of its containers is so: those that run can be used, of the others nothing runs."""
        self.check_volumes()
        self.check_ports()
        for each in self.api("GET", "/containers/json?all=true")[1]:
            status, told = self.api("GET", f"/containers/{each['Id']}/json")
            if status == 404:  # one that is removed at its end has just ended
                continue
            ident = told["Id"]
            state, inside = self.settled(ident)
            if state["Paused"]:
                assert self.api("POST", f"/containers/{ident}/unpause")[0] == 204
            if state["Running"]:
                assert state["Pid"] in inside, f"it is said to run as {state['Pid']}, and there are {inside}"
                assert self.runs(ident, "true") == 0, "nothing can be executed in a running container"
                self.check_limits(ident)
                self.check_networks(told)
            else:
                self.wait_until(lambda ident=ident: not self.inside_of(ident), f"nothing runs in {state}")  # type: ignore[misc]
                assert state["Pid"] == 0
                assert state["Status"] in ("created", "exited", "gone"), state

    def check_volumes(self) -> None:
        """A volume has all of what its image has at its place, or none of it; and no more are mounted than used."""
        for volume in self.api("GET", "/volumes")[1]["Volumes"]:
            found = sorted(path.name for path in Path(volume["Mountpoint"]).iterdir())
            if volume["Name"] == "cargo":
                assert not found or set(PROGRAMS) <= set(found), found

    def check_ports(self) -> None:
        """The firewall turns round what running containers' records say, and nothing else. What has just ended, or was
        just restored, takes a moment."""
        self.wait_until(self._ports_agree, "record and firewall agree about ports", 5)

    def _ports_agree(self) -> bool:
        told = self.run("nft", "-j", "list", "map", "inet", f"sampan-{self.instance}", "anyports4").stdout
        elements = [one["map"].get("elem", []) for one in json.loads(told or "{}").get("nftables", []) if "map" in one]
        there = {tuple(key["concat"]): value["concat"] for some in elements for key, value in some}
        wanted = {}
        for each in self.api("GET", "/containers/json")[1]:
            inside = {end["IPAddress"] for end in each["NetworkSettings"]["Networks"].values()}
            ports = (port for port in each["Ports"] if port.get("IP") == "0.0.0.0")
            wanted |= {(port["Type"], port["PublicPort"]): (inside, port["PrivatePort"]) for port in ports}
        return there.keys() == wanted.keys() and all(
            there[key][0] in inside and there[key][1] == port for key, (inside, port) in wanted.items()
        )

    def check_limits(self, ident: str) -> None:
        """The kernel holds a running container to what its record says."""
        wanted = self.api("GET", f"/containers/{ident}/json")[1]["HostConfig"]
        used = self.api("GET", f"/containers/{ident}/stats?stream=0&one-shot=1")[1]
        processes = used["pids_stats"].get("limit", 0)
        assert (0 if processes == 2**64 - 1 else processes) == (wanted["PidsLimit"] or 0)
        assert not wanted["Memory"] or used["memory_stats"]["limit"] == wanted["Memory"]

    def check_networks(self, told: dict[str, Any]) -> None:
        """A running container has just the addresses that it is said to have, the right way out, and its ports."""
        settings = told["NetworkSettings"]
        places: dict[str, Any] = settings["Networks"]
        addresses = {f"{one['IPAddress']}/{one['IPPrefixLen']}" for one in places.values() if one["IPAddress"]}
        addresses |= {
            f"{one['GlobalIPv6Address']}/{one['GlobalIPv6PrefixLen']}"
            for one in places.values()
            if one["GlobalIPv6Address"]
        }
        inside = ["nsenter", f"--net={settings['SandboxKey']}", "ip", "-j"]
        links = [one for one in json.loads(self.run(*inside, "address").out) if one.get("ifname", "lo") != "lo"]
        found = {
            f"{one['local']}/{one['prefixlen']}"
            for link in links
            for one in link["addr_info"]
            if one["scope"] == "global"
        }
        assert found == addresses, f"it has {found} and is said to have {addresses}"
        assert len(links) == len(places), links
        leading = {name: one for name, one in places.items() if name != "lake"}  # that one is internal
        for version, key in (("-4", "Gateway"), ("-6", "IPv6Gateway")):
            wanted = [one[key] for _, one in sorted(leading.items()) if one[key]][:1]
            ways = json.loads(self.run(*inside, version, "route", "show", "default").out or "[]")
            assert [way["gateway"] for way in ways] == wanted, f"{ways} where {wanted} is the way out"
        rules = self.run("nft", "list", "ruleset").out
        for key, bindings in settings["Ports"].items():
            number, protocol = key.split("/")
            for binding in bindings or ():
                rule = rf"{protocol} \. {binding['HostPort']} : (\S+) \. {number}\b"
                [target, *_] = re.findall(rule, rules) or [""]
                assert target in {address.partition("/")[0] for address in addresses}, f"{key} is not published"
        sixth = {
            int(one["HostPort"]) for some in settings["Ports"].values() for one in some or () if one["HostIp"] == "::"
        }
        wanted_6 = set() if any(":" in address for address in addresses) else sixth
        assert self.landings(told["Id"]) == wanted_6, "what its monitor watches"

    def landings(self, ident: str) -> set[int]:
        """The TCP ports of IPv6 on which clients of a container come to its monitor."""
        monitor = json.loads((self.root / "exec" / "bundles" / ident / "status").read_text())["monitor"]
        links = (str(each.readlink()) for each in Path(f"/proc/{monitor}/fd").iterdir())
        inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
        lines = (line.split() for line in self.run("cat", "/proc/net/tcp6").out.splitlines()[1:])
        return {int(line[1].rpartition(":")[2], 16) for line in lines if line[9] in inodes and line[3] == "0A"}

    def settled(self, ident: str) -> tuple[dict[str, Any], list[int]]:
        """What is said of a container, and its processes; a death of just now takes the news of it a moment."""
        until = time.monotonic() + 5
        while True:
            status, told = self.api("GET", f"/containers/{ident}/json")
            state, inside = told["State"] if status == 200 else {"Status": "gone"}, self.inside_of(ident)
            if status != 200 or not state["Running"] or state["Pid"] in inside or time.monotonic() > until:
                return {"Paused": False, "Running": False, "Pid": 0, **state}, inside
            time.sleep(0.02)

    def runs(self, container: str, *command: str) -> int:
        """The exit code of a command in a running container."""
        body = {"Cmd": command, "AttachStdout": True}
        status, made = self.api("POST", f"/containers/{container}/exec", body)
        assert status == 201, made
        self.api("POST", f"/exec/{made['Id']}/start", {})
        return int(self.api("GET", f"/exec/{made['Id']}/json")[1]["ExitCode"])

    def inside_of(self, container: str) -> list[int]:
        """The processes of a container, as its cgroup knows them."""
        found: set[int] = set()
        for path in self.leftovers().cgroups:
            if path.endswith(container):
                with contextlib.suppress(OSError):
                    found.update(map(int, Path(path, "cgroup.procs").read_text().split()))
        return sorted(found)

    # ── and nothing but the truth ──────────────────────────────────────────────────────────────────────────────

    def things(self) -> Leftovers:
        """What there is, without the daemon and what waits for its word, which a restart changes."""
        assert self.daemon is not None
        found = self.leftovers()
        running = processes(self.net, [Path(path) for path in found.namespaces])
        others = frozenset(
            f"{pid} {name}" for pid, name in running.items() if pid != self.daemon.pid and not may_launch(pid)
        )
        # The group that all containers' groups are in comes and goes with them, and may come a moment later.
        groups = frozenset(path for path in found.cgroups if not path.endswith(f"sampan-{self.instance}"))
        return msgspec.structs.replace(found, processes=others, cgroups=groups)

    def clean(self) -> None:
        """Remove all containers, all volumes that have names, all networks of a test's and all images but the one."""
        self.remove_containers()
        for volume in self.api("GET", "/volumes")[1]["Volumes"]:
            assert len(volume["Name"]) < 64, f"an anonymous volume is left: {volume}"
            status, told = self.api("DELETE", f"/volumes/{volume['Name']}")
            assert status == 204, told
        for network in self.api("GET", "/networks")[1]:
            if network["Name"] not in ("bridge", "host", "none"):
                status, told = self.api("DELETE", f"/networks/{network['Id']}")
                assert status == 204, told
        for image in self.api("GET", "/images/json?all=true")[1]:
            for name in image["RepoTags"] or [image["Id"]]:
                if name != IMAGE:
                    status, told = self.api("DELETE", f"/images/{name}?force=true")
                    assert status == 200, told

    def nothing_beyond(self, before: Leftovers, patience: float = 10.0) -> None:
        assert "going on without it" not in self.log, "what waited for a dead daemon's word waits on"
        deadline = time.monotonic() + patience
        while extra := self.things().beyond(before):
            assert time.monotonic() < deadline, f"left behind: {extra}"
            time.sleep(0.02)

    def works(self) -> None:
        """A container with all that there is can be run."""
        assert self.sampan("run", "--rm", "-p", "7070:70", IMAGE, "echo", "aboard").out == "aboard"

    def count(self, role: int, act: Any) -> int:
        """How many acts ``role`` needs for something."""
        self.fuse.light(role)
        act(self)
        if role != DAEMON:  # the last ones come after the answer
            time.sleep(0.3)
        return NEVER - self.fuse.put_out()


def children(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):  # it has just ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(word) for word in (task / "children").read_text().split()]
    return found


def waiting(daemon: int) -> list[int]:
    """The launcher, and whatever below it has not started anything yet."""
    found, below = [], children(daemon)
    while below:
        pid = below.pop()
        below += children(pid)
        if may_launch(pid):
            found.append(pid)
    return found


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
