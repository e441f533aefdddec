"""The mounts that a user asks for: ``Binds`` (``-v``), ``Mounts`` (``--mount``) and ``Tmpfs``; then the same for OCI.

A missing source of ``-v`` becomes a directory when the container starts, as Docker users expect; a missing source of
``--mount`` is refused. Source: Docker's "Bind mounts" and "tmpfs mounts" pages, runtime-spec config.md ("Mounts").
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sampan.containers import request
from sampan.errors import Conflict, Invalid, Unsupported
from sampan.types import Mount

PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_MODES = (
    frozenset({"ro", "rw"}),
    frozenset({"z", "Z"}),
    PROPAGATIONS,
    frozenset({"consistent", "cached", "delegated"}),
)
_TMPFS_FLAGS = frozenset(
    {"ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async", "atime", "noatime"}
    | {"diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime"}
)
_TMPFS_VALUES = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"})
_TMPFS_DEFAULTS = ("noexec", "nosuid", "nodev")
_VOLUMES = "named and anonymous volumes are not supported yet: mount a directory of the host instead"


def wanted(host: request.HostConfig, volumes: Iterable[str]) -> list[Mount]:
    """All mounts of a create request, parents before what lies in them. ``volumes``: targets of anonymous volumes.

    Raises ``Invalid`` for one that cannot be, ``Unsupported`` for volumes.
    """
    for target in volumes:
        raise Unsupported(f"volume {target}: {_VOLUMES}")
    if host.VolumesFrom:
        raise Unsupported(f"volumes from {host.VolumesFrom[0]}: {_VOLUMES}")
    mounts = [_bind(text) for text in host.Binds or ()]
    mounts += [_mount(mount) for mount in host.Mounts]
    mounts += [_tmpfs(target, options) for target, options in host.Tmpfs.items()]
    seen: set[str] = set()
    for mount in mounts:
        if mount.target in seen:
            raise Invalid(f"Duplicate mount point: {mount.target}")
        seen.add(mount.target)
    return sorted(mounts, key=lambda mount: (mount.target.count("/"), mount.target))


def _bind(text: str) -> Mount:
    source, *rest = text.split(":")
    if not source or len(rest) > 2 or not all(rest):
        raise Invalid(f'invalid volume specification: "{text}"')
    if not rest or not source.startswith("/"):
        raise Unsupported(f"volume {text}: {_VOLUMES}")
    target, mode = rest[0], rest[1].split(",") if len(rest) == 2 else []
    if any(sum(option in kind for option in mode) > 1 for kind in _MODES) or not set(mode) <= frozenset().union(
        *_MODES
    ):
        raise Invalid(f'invalid mode: "{rest[1]}"')
    return Mount(
        type="bind",
        source=_clean(source),
        target=_target(target, f'invalid volume specification: "{text}"'),
        read_only="ro" in mode,
        propagation=next((option for option in mode if option in PROPAGATIONS), "rprivate"),
        options={"create": True},
    )


def _mount(mount: request.Mount) -> Mount:
    what = f'invalid mount config for type "{mount.Type}"'
    if mount.Type in ("volume", "image", "cluster", "npipe"):
        raise Unsupported(f"mounts of type {mount.Type} are not supported yet, only bind and tmpfs")
    if mount.Type not in ("bind", "tmpfs"):
        raise Invalid(f"{what}: mount type unknown")
    _check_options(mount, what)
    target = _target(mount.Target, what)
    if mount.Type == "tmpfs":
        return Mount(type="tmpfs", target=target, read_only=mount.ReadOnly, options=_tmpfs_options(mount, what))
    bind = mount.BindOptions or request.BindOptions()
    if bind.ReadOnlyNonRecursive and bind.ReadOnlyForceRecursive:
        raise Invalid(f"{what}: mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive")
    if not mount.Source.startswith("/"):
        missing = f"invalid mount path: '{mount.Source}' mount path must be absolute"
        raise Invalid(f"{what}: {missing if mount.Source else 'field Source must not be empty'}")
    if not bind.CreateMountpoint and not _exists(mount.Source):
        raise Invalid(f"{what}: bind source path does not exist: {mount.Source}")
    return Mount(
        type="bind",
        source=_clean(mount.Source),
        target=target,
        read_only=mount.ReadOnly,
        propagation=bind.Propagation or "rprivate",
        options={
            "create": bind.CreateMountpoint,
            "non_recursive": bind.NonRecursive,
            "read_only_top": bind.ReadOnlyNonRecursive,
        },
    )


def _check_options(mount: request.Mount, what: str) -> None:
    others: dict[str, object] = {"VolumeOptions": mount.VolumeOptions, "ImageOptions": mount.ImageOptions}
    others |= {"TmpfsOptions": mount.TmpfsOptions} if mount.Type == "bind" else {"BindOptions": mount.BindOptions}
    for name, value in others.items():
        if value is not None:
            raise Invalid(f"{what}: field {name} must not be specified")
    if mount.Type == "tmpfs" and mount.Source:
        raise Invalid(f"{what}: field Source must not be specified")


def _tmpfs_options(mount: request.Mount, what: str) -> dict[str, Any]:
    given = mount.TmpfsOptions or request.TmpfsOptions()
    for option in given.Options:
        if option not in (["exec"], ["noexec"]):
            raise Invalid(f"{what}: invalid option: {'='.join(option)}")
    options = [option for [option] in given.Options]
    options += [f"size={given.SizeBytes}"] if given.SizeBytes else []
    options += [f"mode={given.Mode:o}"] if given.Mode else []
    return {"tmpfs": options}


def _tmpfs(target: str, text: str) -> Mount:
    options = [option for option in text.split(",") if option]
    for option in options:
        key, equals, value = option.partition("=")
        if option not in _TMPFS_FLAGS and not (key in _TMPFS_VALUES and equals and value):
            raise Invalid(f'invalid tmpfs option "{option}"')
        if key == "size" and not re.fullmatch(r"[0-9]{1,18}[kKmMgG%]?", value, re.ASCII):
            raise Invalid(f'invalid tmpfs option "{option}"')
    clean = _target(target, f"invalid tmpfs mount {target}")
    return Mount(type="tmpfs", target=clean, read_only="ro" in options, options={"tmpfs": options})


def _target(text: str, what: str) -> str:
    if not text:
        raise Invalid(f"{what}: field Target must not be empty")
    if not text.startswith("/"):
        raise Invalid(f"{what}: invalid mount path: '{text}' mount path must be absolute")
    clean = _clean(text)
    if clean == "/":
        raise Invalid(f"{what}: invalid specification: destination can't be '/'")
    if len(clean.encode()) > 4000:
        raise Invalid(f"{what}: the mount path is longer than 4000 bytes")
    return clean


def _clean(path: str) -> str:
    return "/" + posixpath.normpath(path).lstrip("/")


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:
        return False


def prepare(mounts: Iterable[Mount]) -> None:
    """Make the sources of ``-v`` that are missing. Raises ``Conflict`` if one cannot be made or is missing."""
    for mount in mounts:
        if mount.type != "bind":
            continue
        source = Path(mount.source)
        try:
            if mount.options.get("create") and not source.exists():
                source.mkdir(parents=True, exist_ok=True)
            source.stat()
        except OSError as error:
            raise Conflict(f"error while creating mount source path '{source}': {error.strerror}") from None


def oci(mount: Mount) -> dict[str, Any]:
    """An entry of OCI's ``mounts``."""
    if mount.type == "tmpfs":
        options = _merged([*_TMPFS_DEFAULTS, *mount.options.get("tmpfs", ()), *(["ro"] if mount.read_only else [])])
        return {"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options}
    options = ["bind" if mount.options.get("non_recursive") else "rbind", mount.propagation or "rprivate"]
    if mount.read_only:
        options += ["ro"] if mount.options.get("read_only_top") else ["ro", "rro"]
    return {"destination": mount.target, "type": "bind", "source": mount.source, "options": options}


def _merged(options: Iterable[str]) -> list[str]:
    """Later options win over earlier ones of the same meaning (``exec`` over ``noexec``)."""
    chosen: dict[str, str] = {}
    for option in options:
        key = option.partition("=")[0]
        key = {"ro": "rw"}.get(key, key.removeprefix("no"))
        chosen.pop(key, None)
        chosen[key] = option
    return list(chosen.values())
