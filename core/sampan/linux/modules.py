"""Kernel modules that, loaded by themselves when they are first needed, would bring more than was asked for."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

_LOADED = Path("/sys/module")
_PATIENCE = 10.0  # seconds


def load(name: str, *parameters: str) -> None:
    """Load a module with parameters, as modprobe(8) does. Where there is no such module, or no modprobe, nothing
    happens: the kernel may have it built in, or load it by itself in its own way."""
    program = shutil.which("modprobe")
    if program is None or (_LOADED / name).exists():
        return
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run([program, "-q", name, *parameters], capture_output=True, timeout=_PATIENCE, check=False)
