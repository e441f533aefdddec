"""``-v``, ``--mount`` and ``--tmpfs``: Docker's ways to write mounts."""

from __future__ import annotations

import os

from sampan.cli.failures import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MOUNT_KEYS = (
    "type, source (src), target (dst, destination), readonly (ro), consistency, bind-propagation, bind-recursive, "
    "bind-create-src, volume-nocopy, volume-subpath, volume-label, volume-driver, volume-opt, tmpfs-size, tmpfs-mode"
)
_FLAGS = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src")
_OPTIONS = {"bind": "BindOptions", "volume": "VolumeOptions", "tmpfs": "TmpfsOptions", "image": "ImageOptions"}


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
    for part in _fields(word):
        key, equals, value = part.partition("=")
        key = key.strip().lower()
        if not equals and key not in _FLAGS:
            raise Usage(f"invalid mount {word}: invalid field '{part}' must be a key=value pair")
        _set(mount, key, value if equals else "true", word)
    _check(mount, word)
    return mount


def _fields(word: str) -> list[str]:
    """Between commas; quotes as in CSV."""
    if '"' not in word:
        return word.split(",")
    import csv

    try:
        return next(csv.reader([word], strict=True))
    except csv.Error as why:
        raise Usage(f"invalid mount {word}: {why}") from None


def _check(mount: dict[str, Any], word: str) -> None:
    if not mount.get("Target"):
        raise Usage(f"invalid mount {word}: it has no target")
    if mount["Type"] == "bind" and not mount.get("Source"):
        raise Usage(f"invalid mount {word}: a bind needs a source")
    for kind, options in _OPTIONS.items():
        if options in mount and mount["Type"] != kind:
            raise Usage(f"invalid mount {word}: cannot mix '{kind}-*' options with mount type '{mount['Type']}'")
    bind = mount.get("BindOptions", {})
    if bind.get("ReadOnlyNonRecursive") and not mount.get("ReadOnly"):
        raise Usage(f"invalid mount {word}: option 'bind-recursive=writable' requires 'readonly'")
    if bind.get("ReadOnlyForceRecursive"):
        if not mount.get("ReadOnly"):
            raise Usage(f"invalid mount {word}: option 'bind-recursive=readonly' requires 'readonly'")
        if bind.get("Propagation") != "rprivate":
            raise Usage(f"invalid mount {word}: option 'bind-recursive=readonly' requires 'bind-propagation=rprivate'")


def _set(mount: dict[str, Any], key: str, value: str, word: str) -> None:
    setter = _SETTERS.get(key)
    if setter is None:
        raise Usage(f"invalid mount {word}: {key} is none of {MOUNT_KEYS}")
    try:
        setter(mount, value)
    except ValueError as why:
        raise Usage(f"invalid mount {word}: {key}={value}: {why}") from None


def _plain(name: str, read: Callable[[str], Any] = str) -> Callable[[dict[str, Any], str], None]:
    def put(mount: dict[str, Any], value: str) -> None:
        mount[name] = read(value)

    return put


def _below(group: str, name: str, read: Callable[[str], Any] = str) -> Callable[[dict[str, Any], str], None]:
    def put(mount: dict[str, Any], value: str) -> None:
        mount.setdefault(group, {})[name] = read(value)

    return put


def _boolean(text: str) -> bool:
    from sampan.cli.flags import boolean

    return boolean(text)


def _size(text: str) -> int:
    from sampan.cli.quantities import size

    return size(text)


def _octal(text: str) -> int:
    return int(text, 8)


def _source(text: str) -> str:
    return os.path.abspath(text) if text == "." or text.startswith(("./", "../")) else text  # noqa: PTH100


def _recursive(mount: dict[str, Any], value: str) -> None:
    names = {"disabled": "NonRecursive", "writable": "ReadOnlyNonRecursive", "readonly": "ReadOnlyForceRecursive"}
    if value in names:
        mount.setdefault("BindOptions", {})[names[value]] = True
    elif value != "enabled":
        raise ValueError("write enabled, disabled, writable or readonly")


def _label(mount: dict[str, Any], value: str) -> None:
    name, _, text = value.partition("=")
    mount.setdefault("VolumeOptions", {}).setdefault("Labels", {})[name] = text


def _driver(mount: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = mount.setdefault("VolumeOptions", {}).setdefault("DriverConfig", {})
    return config


def _driver_name(mount: dict[str, Any], value: str) -> None:
    _driver(mount)["Name"] = value


def _driver_option(mount: dict[str, Any], value: str) -> None:
    name, _, text = value.partition("=")
    _driver(mount).setdefault("Options", {})[name] = text


_SETTERS: dict[str, Callable[[dict[str, Any], str], None]] = {
    "type": _plain("Type", str.lower),
    **dict.fromkeys(("source", "src"), _plain("Source", _source)),
    **dict.fromkeys(("target", "dst", "destination"), _plain("Target")),
    **dict.fromkeys(("readonly", "ro"), _plain("ReadOnly", _boolean)),
    "consistency": _plain("Consistency", str.lower),
    "bind-propagation": _below("BindOptions", "Propagation", str.lower),
    "bind-nonrecursive": _below("BindOptions", "NonRecursive", _boolean),
    "bind-create-src": _below("BindOptions", "CreateMountpoint", _boolean),
    "bind-recursive": _recursive,
    "volume-subpath": _below("VolumeOptions", "Subpath"),
    "volume-nocopy": _below("VolumeOptions", "NoCopy", _boolean),
    "volume-label": _label,
    "volume-driver": _driver_name,
    "volume-opt": _driver_option,
    "image-subpath": _below("ImageOptions", "Subpath"),
    "tmpfs-size": _below("TmpfsOptions", "SizeBytes", _size),
    "tmpfs-mode": _below("TmpfsOptions", "Mode", _octal),
}


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
