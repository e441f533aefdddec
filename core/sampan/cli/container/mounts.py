"""``-v``, ``--mount`` and ``--tmpfs``: Docker's ways to write mounts."""

from __future__ import annotations

import os

from sampan.cli.failures import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOUNT_KEYS = (
    "type, source (src), target (dst, destination), readonly (ro), bind-propagation, "
    "volume-driver, volume-opt, tmpfs-size, tmpfs-mode, volume-nocopy"
)


def volumes(words: list[str]) -> tuple[list[str], dict[str, object]]:
    """The binds and the anonymous volumes of ``-v`` words. Raises Usage."""
    binds: list[str] = []
    anonymous: dict[str, object] = {}
    for word in words:
        parts = word.split(":")
        if len(parts) > 3 or not all(parts):
            raise Usage(f"invalid volume {word}: write /host/path:/path, name:/path or /path")
        if len(parts) == 1:
            anonymous[_inside(word, word)] = {}
            continue
        if parts[0].startswith((".", "~")):
            parts[0] = os.path.abspath(os.path.expanduser(parts[0]))  # noqa: PTH100, PTH111
        _inside(parts[1], word)
        binds.append(":".join(parts))
    return binds, anonymous


def _inside(path: str, word: str) -> str:
    if not path.startswith("/"):
        raise Usage(f"invalid volume {word}: {path} is no absolute path in the container")
    return path


def mounts(words: list[str]) -> list[dict[str, Any]]:
    """The Mounts of ``--mount`` words. Raises Usage."""
    return [_mount(word) for word in words]


def _mount(word: str) -> dict[str, Any]:
    mount: dict[str, Any] = {"Type": "volume"}
    for part in word.split(","):
        key, equals, value = part.partition("=")
        _set(mount, key.strip().lower(), value if equals else "true", word)
    if not mount.get("Target"):
        raise Usage(f"invalid mount {word}: it has no target")
    if mount["Type"] == "bind" and not mount.get("Source"):
        raise Usage(f"invalid mount {word}: a bind needs a source")
    return mount


def _set(mount: dict[str, Any], key: str, value: str, word: str) -> None:
    from sampan.cli.flags import boolean
    from sampan.cli.quantities import size

    try:
        if key == "type":
            mount["Type"] = value.lower()
        elif key in ("source", "src"):
            mount["Source"] = os.path.abspath(value) if value.startswith(".") else value  # noqa: PTH100
        elif key in ("target", "dst", "destination"):
            mount["Target"] = value
        elif key in ("readonly", "ro"):
            mount["ReadOnly"] = boolean(value)
        elif key == "bind-propagation":
            mount.setdefault("BindOptions", {})["Propagation"] = value
        elif key == "tmpfs-size":
            mount.setdefault("TmpfsOptions", {})["SizeBytes"] = size(value)
        elif key == "tmpfs-mode":
            mount.setdefault("TmpfsOptions", {})["Mode"] = int(value, 8)
        elif key == "volume-nocopy":
            mount.setdefault("VolumeOptions", {})["NoCopy"] = boolean(value)
        elif key == "volume-driver":
            mount.setdefault("VolumeOptions", {}).setdefault("DriverConfig", {})["Name"] = value
        elif key == "volume-opt":
            name, _, text = value.partition("=")
            config = mount.setdefault("VolumeOptions", {}).setdefault("DriverConfig", {})
            config.setdefault("Options", {})[name] = text
        else:
            raise Usage(f"invalid mount {word}: {key} is none of {MOUNT_KEYS}")
    except ValueError as why:
        raise Usage(f"invalid mount {word}: {key}={value}: {why}") from None


def tmpfs(words: list[str]) -> dict[str, str]:
    """The Tmpfs of ``--tmpfs`` words: path → options."""
    return {path: options for path, _, options in (word.partition(":") for word in words)}


def device(word: str) -> dict[str, str]:
    """One ``--device`` word. Raises Usage."""
    parts = word.split(":")
    source = parts[0]
    target = parts[1] if len(parts) > 1 and parts[1].startswith("/") else source
    rights = parts[-1] if len(parts) > 1 and not parts[-1].startswith("/") else "rwm"
    if not source.startswith("/") or not set(rights) <= set("rwm") or len(parts) > 3:
        raise Usage(f"invalid device {word}: write /dev/path[:/dev/path][:rwm]")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": rights}
