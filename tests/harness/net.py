"""A network namespace for one engine under test, with a neighbour outside.

Whatever the engine does to links, firewall and ports happens in ``inside``; the machine's own network sees nothing of
it. ``outside`` is another host as far as the engine can tell: 192.0.2.1, joined to the engine's 192.0.2.2.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

OUTSIDE, INSIDE = "192.0.2.1", "192.0.2.2"


class Net:
    def __init__(self, directory: Path) -> None:
        self.inside, self.outside = directory / "net-inside", directory / "net-outside"

    def make(self) -> None:
        for path in (self.inside, self.outside):
            path.touch()
            run("unshare", f"--net={path}", "true")
            run(*self.enter(path), "ip", "link", "set", "lo", "up")
        ip = [*self.enter(self.inside), "ip"]
        run(*ip, "link", "add", "up0", "type", "veth", "peer", "name", "up0p")
        with self.outside.open() as namespace:  # ip takes a name or a pid, and a descriptor as /proc/self/fd
            run(*ip, "link", "set", "up0p", "netns", f"/proc/self/fd/{namespace.fileno()}", keep=namespace.fileno())
        run(*ip, "address", "add", f"{INSIDE}/24", "dev", "up0")
        run(*ip, "link", "set", "up0", "up")
        run(*ip, "route", "add", "default", "via", OUTSIDE)
        run(*self.enter(self.outside), "ip", "address", "add", f"{OUTSIDE}/24", "dev", "up0p")
        run(*self.enter(self.outside), "ip", "link", "set", "up0p", "up")

    def remove(self) -> None:
        for path in (self.inside, self.outside):
            subprocess.run(["umount", "--lazy", path], check=False, capture_output=True)
            path.unlink(missing_ok=True)

    @staticmethod
    def enter(path: Path) -> list[str]:
        """What to put before a command so that it runs in the namespace; the process keeps its id."""
        return ["nsenter", f"--net={path}", "--"]


def run(*command: object, keep: int | None = None) -> str:
    """Run a command of the test's set-up and return what it printed; its error is the test's."""
    keeps: Sequence[int] = () if keep is None else (keep,)
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=30, pass_fds=keeps, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout
