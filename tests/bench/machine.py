"""What it was measured on and against."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from scratch import Scratch

import sampan

_PROGRAMS = {
    "docker": ["--version"],
    "dockerd": ["--version"],
    "containerd": ["--version"],
    "podman": ["--version"],
    "crun": ["--version"],
    "runc": ["--version"],
    "conmon": ["--version"],
    "lxc-execute": ["--version"],
    "unshare": ["--version"],
}


def describe(scratch: Scratch) -> str:
    found = {name: version(name) for name in _PROGRAMS}
    there = [f"{name} {text}" for name, text in found.items() if text]
    absent = [name for name, text in found.items() if not text]
    lines = [
        f"sampan {sampan.__version__} on Python {platform.python_version()}, against {', '.join(there)}",
        f"Linux {platform.release()}, {os.cpu_count()} processors, cgroups {_cgroups()}, "
        f"{_file_system(scratch.directory)} under {scratch.directory.parent}, load {os.getloadavg()[0]:.1f}",
    ]
    return "\n".join(lines + ([f"absent: {', '.join(absent)}"] if absent else []))


def version(program: str) -> str:
    """``""`` if it is not installed."""
    if shutil.which(program) is None:
        return ""
    done = subprocess.run([program, *_PROGRAMS[program]], capture_output=True, text=True, check=False, timeout=20)
    match = re.search(r"\d+\.\d+[\w.+~-]*", done.stdout + done.stderr)
    return match.group() if match else "of unknown version"


def _cgroups() -> str:
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return "v2"
    return "v1 and v2" if Path("/sys/fs/cgroup/unified").is_dir() else "v1"


def _file_system(path: Path) -> str:
    done = subprocess.run(["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "an unknown file system"
