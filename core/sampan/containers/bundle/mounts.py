"""A container's mounts: those that a request wants, made ready when it starts, and written down for the runtime.

A missing source of ``-v`` becomes a directory when the container starts, as Docker users expect; a missing source of
``--mount`` is refused. Source: Docker's "Bind mounts" page, runtime-spec config.md ("Mounts"), mount_namespaces(7).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sampan.containers.requests import mountwords, request
from sampan.errors import Conflict, Invalid
from sampan.types import Mount

_TMPFS_DEFAULTS = ("noexec", "nosuid", "nodev")


def wanted(host: request.HostConfig, volumes: Iterable[str]) -> list[Mount]:
    """All mounts that a create request names itself, parents before what lies in them. ``volumes`` are the targets of
    anonymous volumes; one that is a mount already is no volume.

    Raises ``Invalid`` for one that cannot be, ``Unsupported`` for kinds that are not built.
    """
    mounts = [mountwords.bind(text, host.VolumeDriver) for text in host.Binds or ()]
    mounts += [mountwords.mount(mount) for mount in host.Mounts]
    mounts += [mountwords.tmpfs(target, options) for target, options in host.Tmpfs.items()]
    for text in host.VolumesFrom or ():
        mountwords.source_of_others(text)
    for target in volumes:
        mountwords.anonymous(target)
    seen: set[str] = set()
    for mount in mounts:
        if mount.target in seen:
            raise Invalid(f"Duplicate mount point: {mount.target}")
        seen.add(mount.target)
    return ordered(mounts)


def make_shallow(mounts: Iterable[Mount]) -> None:
    """Read-only binds leave what is mounted in them as it is."""
    for mount in mounts:
        if mount.type == "bind" and mount.read_only:
            mount.options["read_only_top"] = True


def ordered(mounts: Iterable[Mount]) -> list[Mount]:
    """Parents before what lies in them."""
    return sorted(mounts, key=lambda mount: depth(mount.target))


def depth(target: str) -> tuple[int, str]:
    return target.count("/"), target


def prepare(mounts: Iterable[Mount], owner: tuple[int, int] = (0, 0)) -> None:
    """Make the sources of ``-v`` that are missing, for ``owner`` (uid, gid). Raises ``Conflict`` if one cannot be made
    or is missing, ``Invalid`` if its mount on the host does not allow the propagation that is asked for."""
    for mount in mounts:
        if mount.type != "bind":
            continue
        source = Path(mount.source)
        try:
            if mount.options.get("create") and not source.exists():
                _make(source, owner)
            source.stat()
        except OSError as error:
            raise Conflict(f"error while creating mount source path '{source}': {error.strerror}") from None
        _check_propagation(mount)


def _make(directory: Path, owner: tuple[int, int]) -> None:
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    if owner != (0, 0):
        for each in missing:
            os.chown(each, *owner)


def follow(mounts: Iterable[Mount], root: Path) -> None:
    """Give binds their propagation. Where the engine's ``root`` is in a bind, or the bind in it, what the engine
    unmounts must go there, too, or it would be held for ever: ``Invalid`` if another propagation was asked for.
    """
    for mount in mounts:
        if mount.type != "bind":
            continue
        source = Path(mount.source)
        if source not in (root, *root.parents) and root not in source.parents:
            mount.propagation = mount.propagation or "rprivate"
        elif not mount.propagation:
            mount.propagation = "rslave"
            mount.options["engine"] = True
        elif mount.propagation not in ("rslave", "rshared"):
            raise Invalid(
                'invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is '
                f'within the daemon root, daemon root: "{root}", bind mount source: "{mount.source}", propagation: '
                f'"{mount.propagation}"'
            )


def _check_propagation(mount: Mount) -> None:
    """What happens on the host can only be seen through a mount that is shared, or a slave of one that is."""
    kind = mount.propagation.removeprefix("r")
    if kind not in ("shared", "slave") or mount.options.get("engine"):
        return
    point, tags = _mount_of(os.path.realpath(mount.source))
    if kind == "shared" and "shared" not in tags:
        raise Invalid(f"path {mount.source} is mounted on {point} but it is not a shared mount")
    if kind == "slave" and not tags & {"shared", "master"}:
        raise Invalid(f"path {mount.source} is mounted on {point} but it is not a shared or slave mount")


def _mount_of(path: str) -> tuple[str, set[str]]:
    """The mount point above ``path``, and its optional fields' names (proc(5), mountinfo)."""
    found, tags = "/", set[str]()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        point = fields[4].replace("\\040", " ")
        inside = point == "/" or path == point or path.startswith(point + "/")
        if inside and len(point) >= len(found):  # of two on one place, the later one is seen
            found, tags = point, {field.partition(":")[0] for field in fields[6 : fields.index("-")]}
    return found, tags


def oci(mount: Mount, places: Mapping[str, Path]) -> dict[str, Any]:
    """An entry of OCI's ``mounts``. ``places``: where volumes are on the host, by target."""
    if mount.type == "tmpfs":
        options = _merged([*_TMPFS_DEFAULTS, *mount.options.get("tmpfs", ()), *(["ro"] if mount.read_only else [])])
        return {"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options}
    options = ["bind" if mount.options.get("non_recursive") else "rbind", mount.propagation or "rprivate"]
    if mount.read_only:
        options += ["ro"] if mount.options.get("read_only_top") else ["ro", "rro"]
    source = str(places.get(mount.target, mount.source))
    return {"destination": mount.target, "type": "bind", "source": source, "options": options}


def _merged(options: Iterable[str]) -> list[str]:
    """Later options win over earlier ones of the same meaning (``exec`` over ``noexec``)."""
    chosen: dict[str, str] = {}
    for option in options:
        key = option.partition("=")[0]
        key = {"ro": "rw"}.get(key, key.removeprefix("no"))
        chosen.pop(key, None)
        chosen[key] = option
    return list(chosen.values())
