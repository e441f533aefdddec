"""``make test-vm``: the tests of the kernel's work on another kernel, in a virtual machine.

Debian 12's Linux 6.1 with cgroup version 2 alone, as distributions have it: the machine of the one who develops may be
newer, or have version 1. QEMU emulates the processor unless told otherwise, so that it runs inside other virtual
machines too; that takes 10 to 20 times as long.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import image
import job
import machine

_CACHE = image.REPOSITORY / ".stamps/vm"
_TESTS = ["tests/conformance/test_runtime.py", "tests/conformance/test_storage.py", "tests/engine"]
_SLOWLY = ["--timeout=900", "-p", "no:cacheprovider", "-o", "console_output_style=count"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/vm", description="Run tests in a virtual machine.")
    parser.add_argument("--layout", choices=("v2", "hybrid"), default="v2", help="the machine's cgroups (v2)")
    parser.add_argument("--accel", default="tcg,thread=multi", help="QEMU's accelerator: kvm where that works (tcg)")
    parser.add_argument("--memory", default="3G")
    parser.add_argument("--processors", type=int, default=2)
    parser.add_argument("--patience", type=float, default=3600, metavar="SECONDS", help="for all of it (3600)")
    parser.add_argument("--cache", type=Path, default=_CACHE, metavar="DIRECTORY", help="where the machine is kept")
    parser.add_argument("tests", nargs=argparse.REMAINDER, help="pytest's arguments (runtime, storage and engine)")
    options = parser.parse_args()
    tests = [each for each in options.tests if each != "--"]  # some versions of argparse keep it
    colour = f"--color={'yes' if sys.stdout.isatty() else 'no'}"
    made = image.make(options.cache)
    with tempfile.NamedTemporaryFile(prefix="sampan-vm-", suffix=".tar") as order:
        job.make(Path(order.name), options.layout, [*_SLOWLY, colour, *(tests or _TESTS)])
        return machine.run(
            made,
            Path(order.name),
            accelerator=options.accel,
            memory=options.memory,
            processors=options.processors,
            patience=options.patience,
        )


sys.exit(main())
