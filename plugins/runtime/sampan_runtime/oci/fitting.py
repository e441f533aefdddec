"""From the engine's OCI configuration to one that a binary can carry out on this machine.

A binary refuses what the machine does not grant, where the engine's promise is to go as far as that is safe: powers
that this process has not got itself, limits that it may not raise, control files that the kernel was built without.
"""

from __future__ import annotations

import json
import re
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from sampan.drivers.errors import Unsupported
from sampan.drivers.types import INIT
from sampan.linux import capabilities
from sampan_runtime.outside.groups import OutsideGroups

INIT_PATH = "/dev/init"
"""Where the program for ``--init`` is in the container: on a file system that is not part of its image."""

VERSION = "1.0.2"
"""Of runtime-spec: older binaries refuse a newer one, newer ones take this."""

_DESCRIPTOR = re.compile("/proc/[0-9]+/fd/[0-9]+")
_CGROUPS = "/sys/fs/cgroup"
_RESOURCE = 1 << capabilities.NAMES.index("SYS_RESOURCE")
_UNLIMITED = (1 << 64) - 1


def config(spec: Mapping[str, Any], groups: OutsideGroups, *, group: str, init: str) -> dict[str, Any]:
    """The whole ``config.json``. It shares nothing with ``spec`` that it changes."""
    linux = dict(spec.get("linux") or {})
    linux["cgroupsPath"] = group
    linux["resources"] = resources(linux.get("resources") or {}, groups)
    if spec.get("domainname"):  # binaries that do not know the key know this (runtime-spec 1.1 brought it)
        linux["sysctl"] = {"kernel.domainname": spec["domainname"], **(linux.get("sysctl") or {})}
    if any(each["destination"] == _CGROUPS and "ro" in each.get("options", ()) for each in spec.get("mounts") or ()):
        linux["readonlyPaths"] = [*(linux.get("readonlyPaths") or ()), _CGROUPS, *_hierarchies(groups)]
    made = {**spec, "ociVersion": VERSION, "process": process(spec["process"]), "linux": linux}
    made["mounts"] = list(spec.get("mounts") or ())
    if (spec.get("annotations") or {}).get(INIT) == "true":
        if not init:
            raise Unsupported("there is no static program for --init on this machine")
        made["process"]["args"] = [INIT_PATH, "--", *made["process"]["args"]]
        bound = {"destination": INIT_PATH, "type": "bind", "source": init, "options": ["bind", "ro"]}
        made["mounts"].append(bound)
    return made


def _hierarchies(groups: OutsideGroups) -> list[str]:
    """Where the hierarchies of version 1 are inside: crun leaves the file system above them writable, and what it makes
    read-only there is writable again below that."""
    return [f"{_CGROUPS}/{Path(place).name}" for place in groups.places]


def named(config: dict[str, Any], shelf: Path) -> list[tuple[str, str]]:
    """Give every source that is another process's descriptor a path on the ``shelf``: what lies where, and where to."""
    found: list[tuple[str, str]] = []
    for number, mount in enumerate(config.get("mounts") or ()):
        if _DESCRIPTOR.fullmatch(mount.get("source") or ""):
            found.append((mount["source"], str(shelf / str(number))))
            config["mounts"][number] = {**mount, "source": found[-1][1]}
    return found


def process(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """OCI's ``process``, with what this machine grants of it."""
    having = capabilities.permitted()
    made = dict(wanted)
    sets = wanted.get("capabilities") or {}
    made["capabilities"] = {
        name: [each for each in sets.get(name) or () if capabilities.mask([each]) & having] for name in _SETS
    }
    if not having & _RESOURCE:
        made["rlimits"] = [_lower(each) for each in wanted.get("rlimits") or ()]
        if (wanted.get("oomScoreAdj") or 0) < int(Path("/proc/self/oom_score_adj").read_text()):
            made.pop("oomScoreAdj", None)
    if not any(variable.startswith("HOME=") for variable in made.get("env") or ()):
        # Or binaries look into the image's passwd, where anything can lie: crun waits for ever for what is in a pipe.
        made["env"] = [*(made.get("env") or ()), "HOME=/"]
    return {key: value for key, value in made.items() if value is not None}


_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def _lower(limit: Mapping[str, Any]) -> dict[str, Any]:
    """Raising a hard limit takes CAP_SYS_RESOURCE: as near as this machine lets us."""
    number = getattr(resource, limit["type"], None)
    _, ceiling = resource.getrlimit(number) if number is not None else (0, -1)
    most = _UNLIMITED if ceiling == -1 else ceiling
    return {**limit, "soft": min(limit["soft"], most), "hard": min(limit["hard"], most)}


def resources(wanted: Mapping[str, Any], groups: OutsideGroups) -> dict[str, Any]:
    """OCI's ``linux.resources`` without what this host has no controller or file for."""
    made = {}
    for name, part in wanted.items():
        if isinstance(part, Mapping):
            made[name] = {key: value for key, value in part.items() if groups.offers(name, key)}
        else:
            made[name] = part
    return {name: part for name, part in made.items() if part}


def given(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """For an update: the limits that are numbers or lists. Binaries do not agree on how to take a limit away."""
    made = {
        name: {key: value for key, value in part.items() if value not in (-1, 0, "")}
        for name, part in wanted.items()
        if isinstance(part, Mapping)
    }
    return {name: part for name, part in made.items() if part}


def encoded(value: Any) -> bytes:
    """JSON, which is text: what is not, in arguments and variables, is replaced as Go's encoder does it."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        text = json.dumps(value, ensure_ascii=False)
        return text.encode(errors="surrogateescape").decode(errors="replace").encode()
