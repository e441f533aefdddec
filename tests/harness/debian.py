"""What tests make of Debian's packages: root file systems, and programs of this machine that they need for that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

RELEASE = "bookworm"
QUIETLY = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}


class Debian:
    """``name`` is who asks: it begins each sentence on standard error."""

    def __init__(self, name: str) -> None:
        self._name = name

    def say(self, text: str) -> None:
        print(f"{self._name}: {text}", file=sys.stderr, flush=True)

    def run(self, *command: object, env: Mapping[str, str] | None = None) -> None:
        """Run a command; exits with the end of what it said if it fails."""
        done = subprocess.run(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, check=False
        )
        if done.returncode:
            sys.exit(f"{self._name}: {command[0]} failed:\n{done.stdout.decode(errors='replace')[-4000:]}")

    def need(self, programs: Mapping[str, str]) -> None:
        """Have the programs, by the packages that they are in: installed now, or asked for in a sentence."""
        os.environ["PATH"] += ":/usr/sbin:/sbin"
        missing = {program: package for program, package in programs.items() if not shutil.which(program)}
        if not missing:
            return
        packages = sorted(set(missing.values()))
        if os.geteuid() == 0 and shutil.which("apt-get"):
            self.say(f"installing {' '.join(packages)}")
            install = ["apt-get", "-qq", "install", "--no-install-recommends", *packages]
            if subprocess.run(install, env=QUIETLY, check=False).returncode:
                self.run("apt-get", "-qq", "update", env=QUIETLY)
                self.run(*install, env=QUIETLY)
            return
        sys.exit(f"{self._name}: {', '.join(missing)} not found; on Debian: sudo apt-get install {' '.join(packages)}")

    def bootstrap(self, root: Path, packages: Collection[str]) -> None:
        """Make a small Debian with ``packages`` in ``root``."""
        include = ["--include=" + ",".join(packages)] if packages else []
        self.run("debootstrap", "--variant=minbase", *include, RELEASE, root)
        shutil.rmtree(root / "var/cache/apt/archives")
