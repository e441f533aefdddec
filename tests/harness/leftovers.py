"""What an engine has made on this machine, as sets that can be compared before and after.

The engine's own network namespace makes this exact: every link and every rule in it is the engine's, and every
process in it, in a sandbox made from it, or below one of those, was started by the engine.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from harness.net import Net, run
from sampan.monitor.launcher import CREWS

LAUNCHER = "launcher.main("
WAITING = 1 + CREWS * 3 + CREWS * 2
"""The launcher; a monitor, a starter and an init for each container to come; a monitor and a starter for each exec.

A monitor that has something to watch is none of these: how many wait differs from moment to moment, for they are made
when there is time, and what watches must not be counted as what was yet to come.
"""

UNPACKER = "process.main("
IDLE = 2
"""What took an archive apart waits some seconds for the next one: the first of its PID namespace, and its parent."""

BOOKKEEPING = re.compile(r"/(engine\.db.*|daemon\.log|steps\.json(\.new)?|state/\.cache(/.*)?|seccomp/[0-9a-f]{64})$")
"""Written when there is time, or kept for those who come: compiled seccomp rules, crun's cache. Steps lie in their
container's directory, and that is not left out."""


class Leftovers(msgspec.Struct, frozen=True):
    """``mounts``, ``links``, ``namespaces``, ``cgroups``, ``rules`` (nftables), ``files`` and ``processes``."""

    mounts: frozenset[str]
    links: frozenset[str]
    namespaces: frozenset[str]
    cgroups: frozenset[str]
    rules: frozenset[str]
    files: frozenset[str]
    processes: frozenset[str]

    def beyond(self, before: Leftovers) -> dict[str, list[str]]:
        """What is there now and was not there before, by kind; empty is what a test wants to see."""
        extra = {kind: getattr(self, kind) - getattr(before, kind) for kind in self.__struct_fields__}
        extra["cgroups"] = {each for each in extra["cgroups"] if not _is_pivot_of(each, before)}
        return {kind: sorted(things) for kind, things in extra.items() if things}


def _is_pivot_of(group: str, before: Leftovers) -> bool:
    """``lxc-start`` goes there to end; it is one group for all containers, and goes with the last of them."""
    parent, _, name = group.rpartition("/")
    return name == "lxc.pivot" and parent in before.cgroups


def survey(root: Path, net: Net, instance: str) -> Leftovers:
    """Everything under ``root``, in ``net``, and with ``instance`` in its name."""
    inside = [*net.enter(net.inside)]
    links = json.loads(run(*inside, "ip", "-json", "link"))
    rules = re.sub(r"packets \d+ bytes \d+", "", run(*inside, "nft", "list", "ruleset"))
    spaces = [path for path in sandboxes(root) if path.is_file()]
    return Leftovers(
        mounts=frozenset(_mounts(str(root))),
        links=frozenset(link["ifname"] for link in links),
        namespaces=frozenset(map(str, spaces)),
        cgroups=frozenset(_cgroups(instance)),
        rules=frozenset(_lines_in_context(rules)),
        files=frozenset(path for path in _files(root) if not BOOKKEEPING.search(path)),
        processes=frozenset(_counted(processes(net, spaces))),
    )


def sandboxes(root: Path) -> list[Path]:
    """The network namespaces of containers: with ``userns_remap`` in a directory of the one that is configured."""
    return [*(root / "exec").glob("netns/*"), *(root / "exec").glob("*.*/netns/*")]


def _counted(found: dict[int, str]) -> Iterator[str]:
    """Each command line with how many there are of it up to here.

    Whether those that wait for the next container or archive are the same as before says nothing; more than may wait
    are left.
    """
    seen: Counter[tuple[str, bool]] = Counter()
    for pid, name in found.items():
        waits = LAUNCHER in name and may_launch(pid)
        seen[name, waits] += 1
        allowed = WAITING if waits else IDLE if UNPACKER in name else 0
        if seen[name, waits] > allowed:
            yield f"{seen[name, waits]}. {name}"


def may_launch(pid: int) -> bool:
    """Does it hold the lock of launches, which a new daemon waits for?"""
    try:
        return Path(f"/proc/{pid}/fd/0").readlink().name == "launching"
    except OSError:
        return False


def processes(net: Net, sandboxes: Iterable[Path] = ()) -> dict[int, str]:
    """Every process in the namespaces, and every one below those: pid → command line."""
    namespaces = {path.stat().st_ino for path in (net.inside, *sandboxes) if path.exists()}
    parents: dict[int, int] = {}
    found: set[int] = set()
    for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdecimal()):  # noqa: PTH208
        try:
            parents[pid] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if os.stat(f"/proc/{pid}/ns/net").st_ino in namespaces:  # noqa: PTH116
                found.add(pid)
        except (OSError, ValueError):  # it is gone
            continue
    for pid in parents:
        line, above = [pid], parents.get(pid, 0)
        while above in parents and above not in found:
            line.append(above)
            above = parents[above]
        if above in found:
            found.update(line)
    return {pid: _command(pid) for pid in found if _command(pid)}


def _command(pid: int) -> str:
    """The command line; ``""`` for one that is dead, even if nobody has reaped it."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _mounts(root: str) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        target = line.split()[4]
        if target.startswith(root + "/") and "/net-" not in target:
            yield target


def _cgroups(instance: str) -> Iterator[str]:
    for directory, names, _ in os.walk("/sys/fs/cgroup"):
        for name in names:
            path = f"{directory}/{name}"
            if instance in path:
                yield path


def _files(root: Path) -> Iterator[str]:
    for family in ("data", "exec"):
        for directory, names, files in os.walk(root / family):
            yield from (f"{directory}/{name}" for name in [*names, *files])


def _lines_in_context(ruleset: str) -> Iterator[str]:
    """Each line with the lines that it is nested in, so that the same rule in two chains is two."""
    context: list[str] = []
    for line in ruleset.splitlines():
        depth = len(line) - len(line.lstrip("\t"))
        context[depth:] = [line.strip()]
        for element in line.split(","):  # a map's elements may share a line
            yield " / ".join([*context[:-1], element.strip()])
