"""An init that was made ahead, and groups for it, as the starter sees them: until a container takes them, or nobody.

The groups lie beside those of the containers and are renamed when they become a container's (cgroups(7): a version 1
group can be renamed, a version 2 group cannot; nor can a process enter one of those without a long wait, so there
nothing is made ahead). Their names are used again and again: what a killed starter leaves, the next one removes.
"""

from __future__ import annotations

import os
import posixpath

from sampan.errors import StartFailed
from sampan.linux import cgroups, messages, namespaces, process
from sampan.linux.suppress import suppress
from sampan_runtime.native import init, ready

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Limit = tuple[str, str]

PREFIX = "ready-"
_FLAGS = ready.NAMESPACES | namespaces.CLONE_NEWCGROUP
_MOST = 200  # descriptors: 253 fit into a message (unix(7), SCM_MAX_FD)


class Standby:
    """``usual``: an order for a container without wishes; its groups and limits are made under a name of our own."""

    def __init__(self, usual: dict[str, Any], slot: str) -> None:
        self._parents = [posixpath.dirname(each) for each in usual["cgroups"]]
        self._bounding = usual["capabilities"]["bounding"]
        self._limits = [_split(each) for each in usual["limits"]]
        self._link, theirs = messages.pair()
        self._groups = [f"{each}/{PREFIX}{slot}" for each in self._parents]
        try:
            for each in self._groups:
                cgroups.remove(each)
                cgroups.make(each)
            for parent, name, value in self._limits:
                cgroups.write(f"{parent}/{PREFIX}{slot}/{name}", value)
            self.pid = process.clone(ready.NAMESPACES)
        except BaseException:
            self.close()
            raise
        if self.pid == 0:
            self._link.close()
            init.run_ready(theirs, usual, self._groups)
        theirs.close()

    def is_ready(self) -> bool:
        """Wait for it. If not, it is gone: what is wrong shows again, and is told, when a container is started."""
        with suppress(OSError):
            if messages.receive(self._link)[0] == ("ready",):
                return True
        self.close()
        return False

    def suits(self, order: dict[str, Any]) -> bool:
        """Can it become this container's, in time?"""
        joins = [flag for flag, _ in order["joins"]]
        if order["flags"] & ~namespaces.CLONE_NEWNET != _FLAGS or namespaces.CLONE_NEWPID in joins or order["v2"]:
            return False
        if [posixpath.dirname(each) for each in order["cgroups"]] != self._parents:
            return False
        if order["users"] or order["capabilities"]["bounding"] & ~self._bounding:
            return False
        return len(order["mounts"]) + len(joins) < _MOST and self._further(order) is not None

    def take(self, order: dict[str, Any], kept: int, things: init.Things) -> Any:
        """Make it this container's: ``kept`` is the order's file, as the init reads it for itself. The link to it."""
        for ours, theirs in zip(self._groups, order["cgroups"], strict=True):
            _rename(ours, theirs)
        self._groups = []
        set_limits(self._further(order) or ())
        process.mark("make groups its own and set their limits", "cgroup", " ".join(order["cgroups"]))
        shape, fds = things.pack()
        messages.send(self._link, shape, [kept, *fds])
        return self._link

    def close(self) -> None:
        """Give it up: it ends, and its groups are removed."""
        self._link.close()
        for each in self._groups:
            with suppress(OSError):
                cgroups.remove(each)
        for each in self._parents:
            with suppress(OSError):  # others are in it
                os.rmdir(each)  # noqa: PTH106

    def _further(self, order: dict[str, Any]) -> list[Limit] | None:
        """What is still to be written; None if what was written cannot become what is wanted.

        Rules for devices are kept in the order in which they come, so those that were written have to be the first.
        """
        written = {(parent, name) for parent, name, _ in self._limits}
        wanted = [_split(each) for each in order["limits"]]
        same = [each for each in wanted if each[:2] in written]
        if same[: len(self._limits)] != self._limits:
            return None
        done = len(self._limits)
        further = []
        for limit, each in zip(order["limits"], wanted, strict=True):
            if each[:2] in written and done:
                done -= 1
            else:
                further.append(limit)
        return further


def set_limits(limits: Iterable[Limit]) -> None:
    """``StartFailed`` says which one the kernel refused."""
    for path, value in limits:
        try:
            cgroups.write(path, value)
        except OSError as error:
            reason = f"the kernel refused {value!r} for {posixpath.basename(path)}: {error.strerror}"
            raise StartFailed(reason, 128) from None


def remove_left(parent: str) -> None:
    """Remove the groups of an earlier daemon's, as far as nobody is in them any more."""
    with suppress(FileNotFoundError):
        for name in os.listdir(parent):  # noqa: PTH208 - names
            if name.startswith(PREFIX):
                cgroups.remove_empty(f"{parent}/{name}")


def _split(limit: Limit) -> tuple[str, str, str]:
    """A limit without the container's name: the group above, the file, the value."""
    group, name = posixpath.split(limit[0])
    return posixpath.dirname(group), name, limit[1]


def _rename(ours: str, theirs: str) -> None:
    try:
        os.rename(ours, theirs)  # noqa: PTH104
    except FileExistsError:  # what an earlier run could not remove
        cgroups.remove(theirs)
        os.rename(ours, theirs)  # noqa: PTH104
