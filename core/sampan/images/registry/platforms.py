"""Platforms: ``linux/arm64/v8``, and which image of several is the one for a platform.

What runs where is as in https://github.com/containerd/platforms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from sampan.errors import Invalid
from sampan.images.manifests import architecture

_SAME = {"x86_64": ("amd64", ""), "x86-64": ("amd64", ""), "aarch64": ("arm64", ""), "i386": ("386", "")}
_SAME |= {"armhf": ("arm", "v7"), "armel": ("arm", "v6"), "arm64/v8": ("arm64", ""), "amd64/v1": ("amd64", "")}
_SAME |= {"arm/": ("arm", "v7")}
_KNOWN = re.compile(
    "386|amd64(p32)?|arm(be|64|64be)?|loong64|mips(64)?(p32)?(le)?|ppc(64)?(le)?|riscv(64)?|s390x?|sparc(64)?|wasm"
)
"""What may be said without an operating system: Go's architectures."""
_SYSTEMS = ("linux", "windows", "darwin", "freebsd")
_PART = re.compile(r"[A-Za-z0-9_.-]+")


class Platform(NamedTuple):
    """``variant`` is ``""`` for the usual one of an architecture."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, self))


T = TypeVar("T")


def normal(os: str, arch: str, variant: str = "") -> Platform:
    """One spelling for what has several: ``aarch64`` and ``arm64/v8`` are ``arm64``."""
    arch, variant = arch.lower(), variant.lower()
    arch, variant = _SAME.get(arch, (arch, variant))
    if variant.isdigit():
        variant = "v" + variant
    arch, variant = _SAME.get(f"{arch}/{variant}", (arch, variant))
    return Platform(os.lower() or "linux", arch, variant)


def parse(text: str) -> Platform:
    """``linux/arm/v7``, ``linux`` or ``arm64``. ``Invalid`` for what is none; ``""`` is this machine's."""
    parts = text.split("/") if text else ["linux"]
    if len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts):
        raise Invalid(f'"{text[:80]}" is an invalid platform: write OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT')
    if len(parts) == 1 and parts[0].lower() not in _SYSTEMS:
        parts = ["linux", *parts]
        if not _KNOWN.fullmatch(normal(*parts).architecture):
            raise Invalid(
                f'"{text[:80]}": unknown operating system or architecture: invalid argument: '
                "write for example linux/arm64 or arm64"
            )
    return normal(parts[0], parts[1] if len(parts) > 1 else architecture(), parts[2] if len(parts) > 2 else "")


def of(config: Mapping[str, Any]) -> Platform:
    """What an image is for, by its configuration; where that says nothing, it is taken to be for this machine."""
    system, arch, variant = (str(config.get(key) or "") for key in ("os", "architecture", "variant"))
    return normal(system, arch or architecture(), variant)


def mismatch(name: str, found: Platform, wanted: Platform) -> str:
    """Docker's words for an image that is for another platform than the one that was asked for."""
    what = f"image with reference {name} was found but its platform ({found})"
    return f"{what} does not match the specified platform ({wanted})"


def choose(wanted: Platform, offered: Sequence[tuple[Platform, T]]) -> T | None:
    """The best of what is offered; None if nothing of it runs on the platform that is wanted."""
    for each in runnable(wanted):
        for platform, thing in offered:
            if platform == each:
                return thing
    return None


def runnable(wanted: Platform) -> list[Platform]:
    """What runs on a platform, the best first."""
    system, arch, variant = wanted
    found = [wanted]
    level = int(variant[1:]) if re.fullmatch(r"v[0-9]", variant) else 0
    if arch == "amd64":
        found += [Platform(system, arch, f"v{lower}" if lower > 1 else "") for lower in range(level - 1, 0, -1)]
        found += [Platform(system, "386")]
    elif arch == "arm":
        found += [Platform(system, arch, f"v{lower}") for lower in range(level - 1, 4, -1)]
    elif arch == "arm64":
        found += [Platform(system, arch, f"v{lower}" if lower != 8 else "") for lower in range(level - 1, 7, -1)]
        found += [Platform(system, "arm", f"v{lower}") for lower in range(8, 4, -1)]
    return found
