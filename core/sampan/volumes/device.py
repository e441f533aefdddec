"""Volumes of the driver ``local`` that are more than a directory: ``type``, ``o`` and ``device``, as mount(8) has them.

Source: Docker's "docker volume create" page (driver-specific options), mount(2), mount(8).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from sampan.errors import Invalid, Unsupported
from sampan.linux import mounts

_KNOWN = ("type", "o", "device", "size")
_NEEDED = {"device": ("type",), "type": ("device",), "o": ("device", "type")}

_SETS = {
    "ro": mounts.MS_RDONLY,
    "nosuid": mounts.MS_NOSUID,
    "nodev": mounts.MS_NODEV,
    "noexec": mounts.MS_NOEXEC,
    "sync": 0x10,
    "mand": 0x40,
    "dirsync": 0x80,
    "noatime": mounts.MS_NOATIME,
    "nodiratime": mounts.MS_NODIRATIME,
    "bind": mounts.MS_BIND,
    "rbind": mounts.MS_BIND | mounts.MS_REC,
    "relatime": mounts.MS_RELATIME,
    "strictatime": mounts.MS_STRICTATIME,
}
_CLEARS = {
    "rw": mounts.MS_RDONLY,
    "suid": mounts.MS_NOSUID,
    "dev": mounts.MS_NODEV,
    "exec": mounts.MS_NOEXEC,
    "async": 0x10,
    "nomand": 0x40,
    "atime": mounts.MS_NOATIME,
    "diratime": mounts.MS_NODIRATIME,
    "norelatime": mounts.MS_RELATIME,
    "nostrictatime": mounts.MS_STRICTATIME,
    "defaults": 0,
}
_PROPAGATION = {
    name: flag | (mounts.MS_REC if name.startswith("r") else 0)
    for names, flag in (
        (("private", "rprivate"), mounts.MS_PRIVATE),
        (("shared", "rshared"), mounts.MS_SHARED),
        (("slave", "rslave"), mounts.MS_SLAVE),
        (("unbindable", "runbindable"), mounts.MS_UNBINDABLE),
    )
    for name in names
}
_WITH_ADDRESS = ("nfs", "nfs4", "cifs")


def check(options: Mapping[str, str], name: str) -> None:
    """Raises ``Invalid`` for options that no volume can have, ``Unsupported`` for a size."""
    what = f"create {name}: " if name else ""
    for option in options:
        if option not in _KNOWN:
            raise Invalid(f'{what}invalid option: "{option}"')
        for needed in _NEEDED.get(option, ()):
            if needed not in options:
                raise Invalid(f'{what}missing required option: "{needed}"')
    if options.get("size", "0") != "0":
        raise Unsupported(f"{what}quota size requested but no quota support: give a tmpfs its size with o=size=…")


def present(options: Mapping[str, str]) -> bool:
    """Must a volume with these options be mounted before it is used?"""
    return bool(options.get("device"))


def mount(options: Mapping[str, str], target: Path) -> None:
    """Mount the device on ``target``: all of it or nothing. Raises ``Invalid`` with what the kernel said."""
    kind, source = options.get("type", ""), options["device"]
    flags, propagation, data = parsed(options.get("o", ""))
    try:
        if kind in _WITH_ADDRESS:
            data = _resolved(data)
        mounts.mount(source, target, kind, flags, data)
        try:
            _finish(target, flags, propagation)
        except OSError:
            mounts.detach(target)
            raise
    except OSError as error:
        told = f"mount {source}:{target}{f', data: {data}' if data else ''}: {(error.strerror or str(error)).lower()}"
        raise Invalid(f"error while mounting volume '{target}': failed to mount local volume: {told}") from None


def _finish(target: Path, flags: int, propagation: int) -> None:
    """What mount(2) does not do with the first call: a bind mount's own flags, and propagation."""
    binding = mounts.MS_BIND | mounts.MS_REC
    if flags & mounts.MS_BIND and flags & ~binding:
        mounts.mount("none", target, None, mounts.MS_REMOUNT | mounts.MS_BIND | flags & ~mounts.MS_REC)
    if propagation:
        mounts.mount("none", target, None, propagation)


def parsed(text: str) -> tuple[int, int, str]:
    """Flags, propagation, and what is left for the file system, of an ``o`` option."""
    flags, propagation, data = 0, 0, []
    for option in filter(None, text.split(",")):
        if option in _SETS:
            flags |= _SETS[option]
        elif option in _CLEARS:
            flags &= ~_CLEARS[option]
        elif option in _PROPAGATION:
            propagation |= _PROPAGATION[option]
        else:
            data.append(option)
    return flags, propagation, ",".join(data)


def _resolved(data: str) -> str:
    """The kernel knows no names: ``addr=host`` becomes ``addr=1.2.3.4``."""
    options = data.split(",")
    for at, option in enumerate(options):
        key, _, host = option.partition("=")
        if key == "addr" and host:
            options[at] = f"addr={socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0]}"
    return ",".join(options)
