"""The image of the campaign: PostgreSQL as Debian packages it, in a root file system of debootstrap's, kept as an
archive that ``docker import`` takes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from harness.debian import RELEASE, Debian

PACKAGES = ("postgresql",)
_PROGRAMS = {"debootstrap": "debootstrap", "tar": "tar"}
_UNNEEDED = ("var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man")


def make(cache: Path) -> Path:
    """The archive in ``cache``, made anew if what it is made of has changed. Exits with a sentence if it cannot be."""
    debian = Debian("database")
    recipe = "\n".join([RELEASE, *PACKAGES, *_UNNEEDED])
    archive = cache / f"{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.tar"
    if archive.exists():
        return archive
    if os.geteuid() != 0:
        sys.exit("database: making the image's root file system takes root (once; then it is kept)")
    debian.need(_PROGRAMS)
    debian.say(f"making a Debian {RELEASE} with PostgreSQL (a minute or two; it is kept in {cache})")
    root, making = cache / "making", cache / "making.tar"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    debian.bootstrap(root, PACKAGES)
    for directory in _UNNEEDED:
        shutil.rmtree(root / directory)
        (root / directory).mkdir()
    for program in root.glob("usr/lib/postgresql/*/bin/*"):
        (root / "usr/local/bin" / program.name).symlink_to("/" / program.relative_to(root))
    debian.run("tar", "-C", root, "--numeric-owner", "-cf", making, ".")
    shutil.rmtree(root)
    for older in cache.glob("*.tar"):
        if older != making:
            older.unlink()
    making.rename(archive)
    return archive
