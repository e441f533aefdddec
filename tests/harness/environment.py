"""A virtual environment of a test's own, in which everything of the developers' is there and more can be installed."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path


class Environment:
    """``python`` is its interpreter. Nothing is taken from the network: what a build needs is the developers', too."""

    def __init__(self, directory: Path) -> None:
        venv.EnvBuilder(with_pip=False, symlinks=True).create(directory)
        self.directory = directory
        self.python = directory / "bin" / "python"
        [site] = directory.glob("lib/python*/site-packages")
        # By addsitedir, so that the files in there that lead to editable packages are followed.
        (site / "developers.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")

    def install(self, project: Path, *options: str) -> None:
        """``pip install``, with the pip of the developers."""
        quiet = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", *quiet, *options, str(project)]
        done = subprocess.run(pip, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, *words: str, cwd: Path | None = None, timeout: float = 170) -> subprocess.CompletedProcess[str]:
        """One of its programs, by a module: ``run("pytest", "-q")``."""
        command = [str(self.python), "-m", *words]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=timeout)
