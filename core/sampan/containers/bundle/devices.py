"""Devices: which a container may use, which it is given, and the host's own for a privileged one."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sampan.containers.requests.request import DeviceRequest, HostConfig
from sampan.errors import Invalid

_HARMLESS = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, None))
"""null, zero, full, random, urandom, tty, ptmx, pts/* (runtime-spec config-linux.md, "Default Devices")."""

_NOT_WALKED = frozenset({"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"})
_NOT_GIVEN = frozenset({"console", "ptmx"})
_RULE = re.compile(r"([acb]) ([0-9]{1,10}|\*):([0-9]{1,10}|\*) ([rwm]{1,3})", re.ASCII)
_ALL = "rwm"
_ANYTHING = {"allow": True, "access": _ALL}


def check(host: HostConfig) -> None:
    """Refuse what could never be given (``Invalid``); whether a device is there, the start will see.

    Fills in what a mapping leaves open.
    """
    for request in host.DeviceRequests or ():
        raise Invalid(f'could not select device driver "{request.Driver}" with capabilities: {_listed(request)}')
    for device in host.Devices:
        device.PathInContainer = device.PathInContainer or device.PathOnHost
        device.CgroupPermissions = device.CgroupPermissions or _ALL
        for path in (device.PathOnHost, device.PathInContainer):
            if not path.startswith("/") or posixpath.normpath(path) == "/":
                raise Invalid(f"invalid device: {path!r} is not an absolute path")
        if not set(device.CgroupPermissions) <= set(_ALL):
            raise Invalid(f"invalid device mode: {device.CgroupPermissions}, it is made of r, w and m")
    for rule in host.DeviceCgroupRules or ():
        _parsed(rule)


def _listed(request: DeviceRequest) -> str:
    sets = [f"[{' '.join(words)}]" for words in request.Capabilities]
    return f"[{' '.join(sets)}]"


def rules(host: Mapping[str, Any]) -> list[dict[str, Any]]:
    """OCI's ``linux.resources.devices``: the harmless ones and those asked for, though any node may be made."""
    if host["Privileged"]:
        return [dict(_ANYTHING)]
    found: list[dict[str, Any]] = [{"allow": False, "access": _ALL}]
    found += [{"allow": True, "type": kind, "access": "m"} for kind in "cb"]
    for major, minor in _HARMLESS:
        rule = {"allow": True, "type": "c", "major": major, "access": _ALL}
        found.append(rule if minor is None else {**rule, "minor": minor})
    for mapping in host.get("Devices") or ():
        found += [_rule(device, mapping["CgroupPermissions"] or _ALL) for device in _mapped(mapping)]
    for text in host.get("DeviceCgroupRules") or ():
        found += _parsed(text)
    return found


def nodes(host: Mapping[str, Any]) -> list[dict[str, Any]]:
    """OCI's ``linux.devices``: those asked for, after all of the host's if the container is privileged.

    ``Invalid`` names one that is not there.
    """
    found = {str(device["path"]): device for device in (of_host() if host["Privileged"] else ())}
    for mapping in host.get("Devices") or ():
        found.update((str(device["path"]), device) for device in _mapped(mapping))
    return list(found.values())


def of_host() -> list[dict[str, Any]]:
    """Every device node under the host's ``/dev`` that is not a terminal."""
    return sorted(_below(Path("/dev")), key=lambda device: str(device["path"]))


def _below(top: Path) -> Iterable[dict[str, Any]]:
    for directory, names, files in os.walk(top):
        names[:] = [name for name in names if name not in _NOT_WALKED]
        for name in files:
            device = None if name in _NOT_GIVEN else _device(Path(directory, name))
            if device:
                yield device


def _mapped(mapping: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A device, or all those in a directory, by their paths in the container."""
    asked = mapping["PathOnHost"]
    path = Path(os.path.realpath(asked))
    inside = mapping["PathInContainer"] or asked
    if path.is_dir():
        found = [{**each, "path": inside + each["path"].removeprefix(str(path))} for each in _below(path)]
    else:
        device = _device(path)
        found = [{**device, "path": inside}] if device else []
    if not found:
        reason = "not a device node" if path.exists() else "no such file or directory"
        raise Invalid(f'error gathering device information while adding custom device "{asked}": {reason}')
    return found


def _device(path: Path) -> dict[str, Any] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b" if stat.S_ISBLK(status.st_mode) else None
    if kind is None or status.st_rdev == 0:
        return None
    return {
        "path": str(path),
        "type": kind,
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }


def _rule(device: Mapping[str, Any], access: str) -> dict[str, Any]:
    return {"allow": True, "access": access, **{key: device[key] for key in ("type", "major", "minor")}}


def _parsed(text: str) -> list[dict[str, Any]]:
    """``c 7:* rmw``: type, numbers and access; of type ``a`` are both kinds. ``Invalid`` if it is no such rule."""
    match = _RULE.fullmatch(text)
    if not match:
        raise Invalid(f"invalid device cgroup rule format: '{text}'")
    kind, major, minor, access = match.groups()
    if (kind, major, minor) == ("a", "*", "*") and set(access) == set(_ALL):
        return [dict(_ANYTHING)]
    numbers = {name: int(given) for name, given in (("major", major), ("minor", minor)) if given != "*"}
    if any(number >= 1 << 31 for number in numbers.values()):
        raise Invalid(f"invalid device cgroup rule format: '{text}': the numbers are too large")
    return [{"allow": True, "type": each, "access": access, **numbers} for each in ("bc" if kind == "a" else kind)]
