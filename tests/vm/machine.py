"""Boots the virtual machine, shows what it writes to its console, and finds the exit code in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

from image import Image

_VERDICT = re.compile(rb"sampan-vm: exit code (\d+)")


def run(image: Image, job: Path, *, accelerator: str, memory: str, processors: int, patience: float) -> int:
    """The exit code that the guest told; 124 when it took more than ``patience`` seconds, 1 when it told nothing."""
    command = [
        *("qemu-system-x86_64", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"),
        *("-accel", accelerator, "-cpu", "max" if accelerator.startswith("tcg") else "host"),
        *("-smp", str(processors), "-m", memory),
        *("-kernel", str(image.kernel), "-initrd", str(image.initramfs)),
        *("-append", "console=ttyS0 loglevel=3 panic=-1 random.trust_cpu=on"),
        *("-drive", f"file={image.disk},format=raw,if=virtio,cache=unsafe,snapshot=on"),
        *("-drive", f"file={job},format=raw,if=virtio,readonly=on"),
    ]
    machine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    late = threading.Event()
    watch = threading.Timer(patience, lambda: (late.set(), machine.kill()))
    watch.start()
    try:
        code = _follow(machine)
    finally:
        watch.cancel()
        machine.kill()
        machine.wait()
    if code is None and late.is_set():
        print(f"test-vm: the machine was stopped after {patience:.0f} s", file=sys.stderr)
        return 124
    if code is None:
        print("test-vm: the machine ended before its tests did", file=sys.stderr)
        return 1
    return code


def _follow(machine: subprocess.Popen[bytes]) -> int | None:
    """Show what comes as it comes, for pytest's dots take minutes to make a line."""
    assert machine.stdout is not None
    last = b""
    while some := os.read(machine.stdout.fileno(), 4096):
        sys.stdout.buffer.write(some.replace(b"\r", b""))
        sys.stdout.flush()
        last = (last + some)[-4096:]
    told = _VERDICT.search(last)
    return int(told[1]) if told else None
