"""Images: an entry of a list and the whole object, with the names that people type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sampan.api.times import or_never, seconds
from sampan.images import references
from sampan.images.describing import Described
from sampan.images.registry.platforms import Platform
from sampan.types import Image


def tags(image: Image) -> list[str]:
    """In dockerd's order, which is that of whole names: Docker Hub's come before others."""
    return [references.familiar(name) for name in sorted(image.references) if "@" not in name]


def digests(image: Image) -> list[str]:
    return [references.familiar(name) for name in sorted(image.repo_digests)]


def summary(image: Image, containers: int, version: tuple[int, int]) -> dict[str, Any]:
    """``ImageSummary``."""
    entry = {
        "Id": image.id,
        "ParentId": image.parent,
        "RepoTags": tags(image),
        "RepoDigests": digests(image),
        "Created": seconds(image.created),
        "Size": image.size,
        "SharedSize": -1,
        "Labels": labels(image) or None,
        "Containers": containers,
    }
    if version < (1, 44):
        entry["VirtualSize"] = image.size
    if version < (1, 43) and not entry["RepoTags"] and not entry["RepoDigests"]:
        entry["RepoTags"], entry["RepoDigests"] = ["<none>:<none>"], ["<none>@<none>"]
    return entry


def inspect(image: Image, driver: str, version: tuple[int, int]) -> dict[str, Any]:
    """``ImageInspect``."""
    config = image.config
    history = config.get("history") or [{}]
    entry = {
        "Id": image.id,
        "RepoTags": tags(image),
        "RepoDigests": digests(image),
        "Parent": image.parent,
        "Comment": config.get("comment") or history[-1].get("comment", ""),
        "Created": or_never(image.created),
        "DockerVersion": config.get("docker_version", ""),
        "Author": config.get("author", ""),
        "Config": {**_CONFIG, **(config.get("config") or {})},
        "Architecture": config.get("architecture", ""),
        "Os": config.get("os") or "linux",
        "Size": image.size,
        "GraphDriver": {"Name": driver, "Data": {}},
        "RootFS": {"Type": "layers", "Layers": [layer.diff_id for layer in image.layers]},
        "Metadata": {"LastTagTime": or_never(image.tagged_at)},
    }
    if variant := config.get("variant"):
        entry["Variant"] = variant
    entry["ContainerConfig"] = entry["Config"]  # of old: docker-compose 1, of any version, looks for volumes there
    if version < (1, 44):
        entry["VirtualSize"] = image.size
    return entry


def manifests(image: Image, platform: Platform, found: Described, users: list[str]) -> dict[str, Any]:
    """``Descriptor``, and ``Manifests`` with the one that there is."""
    descriptor = {"mediaType": found.media_type, "digest": found.digest, "size": found.size}
    running = {key: value for key, value in platform._asdict().items() if value}
    one = {
        "ID": found.digest,
        "Descriptor": {**descriptor, "platform": running},
        "Available": True,
        "Size": {"Content": found.content, "Total": found.content + image.size},
        "Kind": "image",
        "ImageData": {"Platform": running, "Containers": users, "Size": {"Unpacked": image.size}},
    }
    return {"Descriptor": descriptor, "Manifests": [one]}


def without_steps(images: Iterable[Image]) -> list[Image]:
    """Without those that have no name and on which another one stands: they are steps on its way, not dangling."""
    images = list(images)
    below = {image.parent for image in images}
    return [image for image in images if image.references or image.repo_digests or image.id not in below]


def layers_size(images: Iterable[Image]) -> int:
    """Bytes of the layers of all ``images``, each counted once."""
    return sum({layer.diff_id: layer.size for image in images for layer in image.layers}.values())


def shared_sizes(images: Iterable[Image]) -> dict[str, int]:
    """By image id, the bytes of layers that another image has, too."""
    images = list(images)
    owners = Counter(diff_id for image in images for diff_id in {layer.diff_id for layer in image.layers})
    return {image.id: sum(one.size for one in image.layers if owners[one.diff_id] > 1) for image in images}


def labels(image: Image) -> dict[str, str]:
    return (image.config.get("config") or {}).get("Labels") or {}


_CONFIG: dict[str, Any] = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": [],
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}
"""Clients read these without asking whether they are there."""
