"""What one run brings to the virtual machine: the repository, sampan installed, a docker CLI, and what to test."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from image import REPOSITORY

_BROUGHT = ("core", "plugins", "tests", "config.yaml", "pyproject.toml", "README.md", "LICENSE")


def make(path: Path, layout: str, arguments: list[str]) -> None:
    """A tar archive at ``path``; the guest unpacks it from its second disk."""
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(path, "w") as job:
        site, order = Path(scratch) / "site", Path(scratch) / "order"
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps"]
        subprocess.run([*pip, f"--target={site}", str(REPOSITORY)], check=True)
        order.write_text(f"LAYOUT={layout}\nset -- {shlex.join(arguments)}\n")
        job.add(site, "site")
        job.add(order, "order")
        for name in _BROUGHT:
            job.add(REPOSITORY / name, f"repository/{name}", filter=_without_caches)
        if docker := shutil.which("docker"):
            job.add(Path(docker).resolve(), "bin/docker")


def _without_caches(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if Path(entry.name).name in ("__pycache__", ".hypothesis") else entry
