"""``make database``: would you trust it with a database? PostgreSQL under load, and what may happen to it.

A server of Debian's packages runs on a volume, with a memory limit and a health check; the daemon is killed, the kernel
kills for want of memory, files are copied under its feet. Each committed transaction must be there afterwards. Says
what was proved, and exits 1 at the first thing that is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import image
from campaign import Campaign
from server import IMAGE

from harness import Engine

_CACHE = Path(__file__).parents[2] / ".stamps/database"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/database", description="PostgreSQL under load in a container.")
    parser.add_argument("--cache", type=Path, default=_CACHE, metavar="DIRECTORY", help="where the image is kept")
    parser.add_argument("--seconds", type=int, default=12, help="of load in each trial (12)")
    parser.add_argument("--rounds", type=int, default=1, help="how often all of it is done, each time anew (1)")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("database: it starts an engine and containers: run it as root")
    archive = image.make(options.cache)
    for number in range(options.rounds):
        if options.rounds > 1:
            print(f"round {number + 1}")
        _round(archive, options.seconds)
    return 0


def _round(archive: Path, seconds: int) -> None:
    with Engine(log_level="info") as engine:
        engine.docker("import", archive, IMAGE, timeout=120).ok()
        for trial in Campaign(engine, seconds).trials:
            begun = time.monotonic()
            print(f"  {trial():100} {time.monotonic() - begun:6.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
