"""What older clients mean by a create request, in today's words.

A client speaks the version of the Engine API that it was written for. Where a default has changed since, it gets the
one that it knows; keys that its version does not have are left out, unless leaving them out would do less than it
asks for: then they are refused. Source: the Engine API's version history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sampan.errors import Invalid
from sampan.linux import cgroups

Version = tuple[int, int]
RECURSIVE: Version = (1, 44)
"""Older clients mean the mount itself by read-only, not what is mounted in it."""
PLATFORM: Version = (1, 41)
"""Older clients cannot ask for a platform."""

MANIFESTS: Version = (1, 47)
MANIFESTS_OF_ONE: Version = (1, 48)
"""Older clients do not know of images' manifests, in lists and when looking at one."""

FILTERS: Version = (1, 41)
"""Older clients may name the images of a list in a parameter ``filter``."""

PRIORITY: Version = (1, 48)
"""Older clients cannot say which network is the way out, nor do without IPv4."""


def adapt(body: dict[str, Any], version: Version) -> None:
    """Change the body of a create request, which may be malformed, in place. Raises ``Invalid``."""
    if body.get("HostConfig") is None:
        body["HostConfig"] = {}
    host = body["HostConfig"]
    if not isinstance(host, dict):
        return  # it will be refused
    for newest, change in _CHANGES:
        if version < newest:
            change(body, host)
    if version >= (1, 42):
        host.pop("KernelMemory", None)


def _unremoved(body: dict[str, Any], host: dict[str, Any]) -> None:
    host.pop("AutoRemove", None)  # the client removes the container itself


def _before_private_ipc(body: dict[str, Any], host: dict[str, Any]) -> None:
    host["IpcMode"] = host.get("IpcMode") or "shareable"
    host.pop("KernelMemoryTCP", None)
    for _, options in _options(host, "BindOptions"):
        options.pop("NonRecursive", None)


def _before_private_cgroups(body: dict[str, Any], host: dict[str, Any]) -> None:
    if any(controller != cgroups.V2 for controller in cgroups.hierarchies()):
        host["CgroupnsMode"] = host.get("CgroupnsMode") or "host"


def _before_checked_mounts(body: dict[str, Any], host: dict[str, Any]) -> None:
    host.pop("ConsoleSize", None)
    for _, options in _options(host, "BindOptions"):
        options.pop("CreateMountpoint", None)
    for key, kind in (("VolumeOptions", "volume"), ("TmpfsOptions", "tmpfs")):
        for mount, _ in _options(host, key):
            if mount.get("Type") != kind:
                del mount[key]


def _before_annotations(body: dict[str, Any], host: dict[str, Any]) -> None:
    host.pop("Annotations", None)


def _before_several_networks(body: dict[str, Any], host: dict[str, Any]) -> None:
    health = body.get("Healthcheck")
    if isinstance(health, dict):
        health.pop("StartInterval", None)
    if any(options.get("ReadOnlyForceRecursive") for _, options in _options(host, "BindOptions")):
        raise Invalid("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
    networking = body.get("NetworkingConfig")
    endpoints = networking.get("EndpointsConfig") if isinstance(networking, dict) else None
    if isinstance(endpoints, dict) and len(endpoints) > 1:
        raise Invalid(f"Container cannot be created with multiple network endpoints: {', '.join(endpoints)}")


def _before_subpaths(body: dict[str, Any], host: dict[str, Any]) -> None:
    if any(options.get("Subpath") for _, options in _options(host, "VolumeOptions")):
        raise Invalid("VolumeOptions.Subpath needs API v1.45 or newer")


def _before_image_mounts(body: dict[str, Any], host: dict[str, Any]) -> None:
    if any(mount.get("Type") == "image" for mount in _mounts(host)):
        raise Invalid('Mount type "Image" needs API v1.48 or newer')


_CHANGES: tuple[tuple[Version, Callable[[dict[str, Any], dict[str, Any]], None]], ...] = (
    ((1, 25), _unremoved),
    ((1, 40), _before_private_ipc),
    ((1, 41), _before_private_cgroups),
    ((1, 42), _before_checked_mounts),
    ((1, 43), _before_annotations),
    ((1, 44), _before_several_networks),
    ((1, 45), _before_subpaths),
    ((1, 48), _before_image_mounts),
)


def _mounts(host: dict[str, Any]) -> Iterator[dict[str, Any]]:
    mounts = host.get("Mounts")
    yield from (mount for mount in mounts if isinstance(mount, dict)) if isinstance(mounts, list) else ()


def _options(host: dict[str, Any], key: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each mount that has them, and its options of this kind."""
    for mount in _mounts(host):
        options = mount.get(key)
        if isinstance(options, dict):
            yield mount, options
