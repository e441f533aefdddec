"""A small root file system made of the host's busybox, with its libraries if it has any."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

from sampan.images.linker import Linker
from sampan.testing.plugin import lacking

_DIRECTORIES = ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "var")


def make(root: Path) -> Path:
    """Fill the new directory ``root``; the test is skipped if this machine has no busybox."""
    busybox = shutil.which("busybox")
    if busybox is None:
        lacking("the suite's containers are made of busybox, and there is none (Debian: apt install busybox)")
    root.mkdir()
    for name in _DIRECTORIES:
        (root / name).mkdir()
    (root / "tmp").chmod(0o1777)
    shutil.copy(busybox, root / "bin" / "busybox")
    libraries, applets = _about(busybox)
    for library in libraries:
        target = root / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    _link(applets, root / "bin")
    (root / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\nsailor:x:1000:1000::/tmp:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\nsailor:x:1000:\n")
    return root


def _link(applets: list[str], directory: Path) -> None:
    """All names are one symbolic link: ext4 takes long over hundreds of inodes where hundreds were freed lately."""
    first, *others = applets
    (directory / first).symlink_to("busybox")
    for applet in others:
        os.link(directory / first, directory / applet, follow_symlinks=False)


@functools.cache
def _about(busybox: str) -> tuple[list[str], list[str]]:
    """The libraries that it needs, and all else that it can be called."""
    libraries, missing = Linker().closure(busybox)
    assert not missing, f"{busybox} needs libraries that were not found: {missing}"
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    return list(libraries), sorted({*applets} - {"busybox"})
