"""What can be seen of a container by its cgroups alone, whatever program made it."""

from __future__ import annotations

import os
import signal

from sampan.drivers import RuntimeDriver
from sampan.drivers.errors import NotFound
from sampan.drivers.types import Stats
from sampan.linux import starvation
from sampan_runtime.control import stats
from sampan_runtime.control.groups import Groups


class Grouped(RuntimeDriver):
    """A runtime whose containers have the groups that ``_groups`` names."""

    @property
    def _groups(self) -> Groups:
        raise NotImplementedError

    def processes(self, container: str, pid: int) -> list[int]:
        found = self._groups.processes(container)
        return sorted(found, key=lambda each: (each != pid, each))

    def stats(self, container: str) -> Stats:
        try:
            return stats.read(self._groups, container)
        except OSError as error:
            raise gone(container) from error

    def frozen(self, container: str) -> bool:
        return self._groups.frozen(container)

    def starvation(self, container: str) -> int | None:
        group = os.path.dirname(self._groups.file("memory", container, "memory.events"))  # noqa: PTH120
        if not group:
            return None
        try:
            return (starvation.listen_1 if self._groups.has("memory") else starvation.listen_2)(group)
        except OSError as error:
            raise gone(container) from error


def signal_one_of(groups: Groups, container: str, pid: int, number: int) -> bool:
    """Send a signal to a process of the container; False if there is no such process in its groups."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # The pid may belong to another process by now; the descriptor stays with the one that it was opened for.
        if pid not in groups.processes(container):
            return False
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def gone(container: str) -> NotFound:
    return NotFound(f"container {container[:12]} is not running")
