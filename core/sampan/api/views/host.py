"""Facts about this machine that ``/version`` and ``/info`` tell."""

from __future__ import annotations

import os
import platform
import shlex
from functools import cache
from pathlib import Path

GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm", "loongarch64": "loong64"}


def architecture() -> str:
    """In Go's words, as the API wants it: ``amd64``."""
    machine = os.uname().machine
    return GO_ARCHITECTURES.get(machine, machine)


def memory() -> int:
    """Bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@cache
def operating_system() -> tuple[str, str]:
    """Name and version, from os-release(5)."""
    for path in (Path("/etc/os-release"), Path("/usr/lib/os-release")):
        if path.is_file():
            pairs = (line.partition("=") for line in path.read_text(errors="replace").splitlines())
            fields = {key: "".join(shlex.split(value)[:1]) for key, found, value in pairs if found and key.isupper()}
            return fields.get("PRETTY_NAME") or "Linux", fields.get("VERSION_ID", "")
    return "Linux", ""


@cache
def cgroup_version() -> str:
    """``2`` when the unified hierarchy is all there is (cgroups(7)); hybrid hosts keep their limits in version 1."""
    return "2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "1"


def forwards_ipv4() -> bool:
    try:
        return Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
    except OSError:
        return False


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def python() -> str:
    return f"none, this is Python {platform.python_version()}"
