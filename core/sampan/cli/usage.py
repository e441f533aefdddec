"""``system df --verbose``: each image, container and volume with the room that it takes."""

from __future__ import annotations

from sampan.cli.listing import show
from sampan.cli.output import ago, short_id, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_IMAGES = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "Size": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "Containers": "CONTAINERS",
}
_CONTAINERS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "LocalVolumes": "LOCAL VOLUMES",
    "Size": "SIZE",
    "Status": "STATUS",
    "Names": "NAMES",
}
_VOLUMES = {"Name": "VOLUME NAME", "Links": "LINKS", "Size": "SIZE"}


def details(found: dict[str, Any]) -> None:
    """Prints the answer of ``/system/df``."""
    print("Images space usage:\n")
    show([row for image in found.get("Images") or [] for row in _image(image)], _IMAGES, "")
    print("\nContainers space usage:\n")
    show([_container(each) for each in found.get("Containers") or []], _CONTAINERS, "")
    print("\nLocal Volumes space usage:\n")
    show([_volume(each) for each in found.get("Volumes") or []], _VOLUMES, "")


def _image(image: dict[str, Any]) -> Iterator[dict[str, str]]:
    shared = max(image.get("SharedSize") or 0, 0)
    for name in image.get("RepoTags") or ["<none>:<none>"]:
        repository, _, tag = name.rpartition(":")
        yield {
            "Repository": repository,
            "Tag": tag,
            "ID": short_id(image["Id"]),
            "CreatedSince": ago(image["Created"]) if image["Created"] > 0 else "N/A",
            "Size": size(image["Size"], 4),
            "SharedSize": size(shared, 4),
            "UniqueSize": size(image["Size"] - shared, 4),
            "Containers": str(image.get("Containers", 0)),
        }


def _container(found: dict[str, Any]) -> dict[str, str]:
    return {
        "ID": short_id(found["Id"]),
        "Image": found["Image"],
        "LocalVolumes": str(sum(each.get("Type") == "volume" for each in found.get("Mounts") or [])),
        "Size": size(found.get("SizeRw") or 0),
        "Status": found["Status"],
        "Names": ",".join(name.lstrip("/") for name in found.get("Names") or []),
    }


def _volume(found: dict[str, Any]) -> dict[str, str]:
    used = found.get("UsageData") or {}
    return {"Name": found["Name"], "Links": str(used.get("RefCount", 0)), "Size": size(max(used.get("Size") or 0, 0))}
