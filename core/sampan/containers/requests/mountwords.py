"""The ways in which a request names mounts: ``Binds`` (``-v``), ``Mounts`` (``--mount``), ``Tmpfs``, ``VolumesFrom``.

Source: Docker's "Volumes", "Bind mounts" and "tmpfs mounts" pages and the Engine API's ``Mount``; the words of
refusals are dockerd's.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import Any

from sampan.containers.requests import request
from sampan.errors import Invalid, Unsupported
from sampan.types import Mount

PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
_ACCESS = frozenset({"ro", "rw"})
_RELABEL = frozenset({"z", "Z"})
_NOCOPY = "nocopy"
_MODES = (
    _ACCESS,
    _RELABEL,
    PROPAGATIONS,
    frozenset({_NOCOPY}),
    frozenset({"consistent", "cached", "delegated", "default"}),
)
_TMPFS_FLAGS = frozenset(
    {"ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async", "atime", "noatime"}
    | {"diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime"}
)
_PROC = "/proc"
_PROC_FILES = frozenset(
    f"{_PROC}/{name}"
    for name in (
        *("cpuinfo", "diskstats", "loadavg", "meminfo", "net/dev", "slabinfo", "stat", "swaps", "uptime"),
        *("sys/crypto/fips_enabled", "sys/kernel/ns_last_pid"),
    )
)
"""What others may tell of a container's share of the machine (LXCFS), as runc allows it. In the rest nothing is to
be mounted, by an image least of all: who starts a process in there would write to what looks like the kernel's file."""
_TMPFS_VALUES = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"})


def bind(text: str, driver: str = "") -> Mount:
    """One of ``Binds``: ``/host:/path[:mode]`` or ``name:/path[:mode]``. ``driver`` is for volumes. ``Invalid``."""
    wrong = f"invalid volume specification: '{text}'"
    parts = text.split(":")
    if not parts[0] or len(parts) > 3:
        raise Invalid(wrong)
    if len(parts) == 1:
        return anonymous(parts[0], driver, wrong)
    source, target, mode = parts[0], parts[1], parts[2] if len(parts) == 3 else ""
    if len(parts) == 2 and target and _is_mode(target):
        raise Invalid(wrong)
    if not _is_mode(mode):
        raise Invalid(f"invalid mode: {mode}")
    chosen = mode.split(",")
    kind = "bind" if source.startswith("/") else "volume"
    what = f'{wrong}: invalid mount config for type "{kind}"'
    place = destination(target, what, source)
    propagation = next((option for option in chosen if option in PROPAGATIONS), "")
    if kind == "bind":
        if _NOCOPY in chosen:
            raise Invalid(f"{what}: field VolumeOptions must not be specified")
        return Mount(
            type="bind",
            source=clean(source),
            target=place,
            mode=mode,
            read_only="ro" in chosen,
            propagation=propagation,
            options={"create": True},
        )
    if propagation:
        raise Invalid(f"{what}: field BindOptions must not be specified")
    return Mount(
        type="volume",
        name=source,
        target=place,
        driver=driver,
        mode=mode or "z",
        read_only="ro" in chosen,
        options={"copy": _NOCOPY not in chosen},
    )


def _is_mode(text: str) -> bool:
    options = text.split(",") if text else []
    known = frozenset().union(*_MODES)
    return set(options) <= known and all(sum(option in kind for option in options) < 2 for kind in _MODES)


def anonymous(target: str, driver: str = "", wrong: str = "") -> Mount:
    """A volume that nobody names. ``Invalid``."""
    place = destination(target, wrong or f"invalid volume specification: '{target}'")
    return Mount(type="volume", target=place, driver=driver, options={"copy": True, "anonymous": True})


def source_of_others(text: str) -> tuple[str, str]:
    """One of ``VolumesFrom``: the container, and ``ro``, ``rw`` or ``""``. ``Invalid``."""
    container, colon, mode = text.partition(":")
    if not container:
        raise Invalid("volumes-from must not be empty" if not text else f"invalid volumes-from specification: {text}")
    if colon and (mode not in (*_ACCESS, *_RELABEL, "") and not (_is_mode(mode) and set(mode.split(",")) <= _FROM)):
        raise Invalid(f"invalid mode: {mode}")
    return container, "ro" if "ro" in mode.split(",") else "rw" if "rw" in mode.split(",") else ""


_FROM = _ACCESS | _RELABEL


def mount(wanted: request.Mount) -> Mount:
    """One of ``Mounts``. ``Invalid``, ``Unsupported``."""
    what = f'invalid mount config for type "{wanted.Type}"'
    if wanted.Type in ("image", "cluster"):
        raise Unsupported(f"mounts of type {wanted.Type} are not supported yet, only bind, volume and tmpfs")
    if wanted.Type not in ("bind", "tmpfs", "volume"):
        raise Invalid(f"{what}: mount type unknown")
    target = destination(wanted.Target, what, wanted.Source if wanted.Type == "bind" else "")
    _check_options(wanted, what)
    if wanted.Type == "tmpfs":
        return Mount(type="tmpfs", target=target, read_only=wanted.ReadOnly, options=_tmpfs_options(wanted, what))
    return _volume(wanted, target, what) if wanted.Type == "volume" else _bind(wanted, target, what)


def _check_options(wanted: request.Mount, what: str) -> None:
    given: dict[str, object] = {
        "BindOptions": wanted.BindOptions,
        "VolumeOptions": wanted.VolumeOptions,
        "TmpfsOptions": wanted.TmpfsOptions,
        "ImageOptions": wanted.ImageOptions,
    }
    own = {"bind": "BindOptions", "volume": "VolumeOptions", "tmpfs": "TmpfsOptions"}[wanted.Type]
    for name, value in given.items():
        if value is not None and name != own:
            raise Invalid(f"{what}: field {name} must not be specified")
    if wanted.Type == "tmpfs" and wanted.Source:
        raise Invalid(f"{what}: field Source must not be specified")


def _bind(wanted: request.Mount, target: str, what: str) -> Mount:
    options = wanted.BindOptions or request.BindOptions()
    if options.ReadOnlyNonRecursive and options.ReadOnlyForceRecursive:
        raise Invalid(f"{what}: mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive")
    if options.NonRecursive and options.ReadOnlyForceRecursive:
        raise Invalid(f"{what}: mount options conflict: NonRecursive && ReadOnlyForceRecursive")
    for name in ("ReadOnlyNonRecursive", "ReadOnlyForceRecursive"):
        if getattr(options, name) and not wanted.ReadOnly:
            raise Invalid(f"{what}: mount option {name} needs ReadOnly")
    if not wanted.Source.startswith("/"):
        missing = f"invalid mount path: '{wanted.Source}' mount path must be absolute"
        raise Invalid(f"{what}: {missing if wanted.Source else 'field Source must not be empty'}")
    if options.Propagation and options.Propagation not in PROPAGATIONS:
        raise Invalid(f"{what}: invalid propagation mode: {options.Propagation}")
    if not options.CreateMountpoint and not _exists(wanted.Source):
        raise Invalid(f"{what}: bind source path does not exist: {wanted.Source}")
    return Mount(
        type="bind",
        source=clean(wanted.Source),
        target=target,
        read_only=wanted.ReadOnly,
        propagation=options.Propagation,
        options={
            "create": options.CreateMountpoint,
            "non_recursive": options.NonRecursive,
            "read_only_top": options.ReadOnlyNonRecursive,
        },
    )


def _volume(wanted: request.Mount, target: str, what: str) -> Mount:
    options = wanted.VolumeOptions or request.VolumeOptions()
    driver = options.DriverConfig or request.DriverConfig()
    if options.Subpath:
        if not wanted.Source:
            raise Invalid(f"{what}: must not set Subpath when using anonymous volumes")
        if options.Subpath.startswith("/") or not _stays_inside(options.Subpath):
            raise Invalid(f"{what}: subpath must be a relative path within the volume")
    if not wanted.Source and wanted.ReadOnly:
        raise Invalid(f"{what}: must not set ReadOnly mode when using anonymous volumes")
    return Mount(
        type="volume",
        name=wanted.Source,
        target=target,
        driver=driver.Name,
        mode="z",
        read_only=wanted.ReadOnly,
        options={
            "copy": not options.NoCopy,
            "anonymous": not wanted.Source,
            "subpath": options.Subpath,
            "driver_options": driver.Options,
            "labels": options.Labels,
        },
    )


def _stays_inside(path: str) -> bool:
    depth = 0
    for part in PurePosixPath(path).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return False
    return True


def _tmpfs_options(wanted: request.Mount, what: str) -> dict[str, Any]:
    given = wanted.TmpfsOptions or request.TmpfsOptions()
    for option in given.Options:
        if option not in (["exec"], ["noexec"]):
            raise Invalid(f"{what}: invalid option: {'='.join(option)}")
    options = [option for [option] in given.Options]
    options += [f"size={given.SizeBytes}"] if given.SizeBytes else []
    options += [f"mode={given.Mode:o}"] if given.Mode else []
    return {"tmpfs": options}


def tmpfs(target: str, text: str) -> Mount:
    """One of ``Tmpfs``. ``Invalid``."""
    options = [option for option in text.split(",") if option]
    for option in options:
        key, equals, value = option.partition("=")
        if option not in _TMPFS_FLAGS and not (key in _TMPFS_VALUES and equals and value):
            raise Invalid(f'invalid tmpfs option "{option}"')
        if key == "size" and not re.fullmatch(r"[0-9]{1,18}[kKmMgG%]?", value, re.ASCII):
            raise Invalid(f'invalid tmpfs option "{option}"')
    place = destination(target, f"invalid tmpfs mount {target}")
    return Mount(type="tmpfs", target=place, read_only="ro" in options, options={"tmpfs": options})


def destination(text: str, what: str, source: str = "") -> str:
    """A place in the container, of what is at ``source`` on the host. ``Invalid``: ``what`` and why."""
    if not text:
        raise Invalid(f"{what}: field Target must not be empty")
    if not text.startswith("/"):
        raise Invalid(f"{what}: invalid mount path: '{text}' mount path must be absolute")
    place = clean(text)
    if place == "/":
        raise Invalid(f"{what}: invalid specification: destination can't be '/'")
    if len(place.encode()) > 4000:
        raise Invalid(f"{what}: the mount path is longer than 4000 bytes")
    if (place == _PROC and clean(source) != _PROC) or (place.startswith(f"{_PROC}/") and place not in _PROC_FILES):
        raise Invalid(f'{what}: "{place}" cannot be mounted on because it is inside {_PROC}')
    return place


def clean(path: str) -> str:
    return "/" + posixpath.normpath(path).lstrip("/")


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:
        return False
