"""Changing control files together: all of them, or none.

Some depend on others: a limit of memory must not be above that of memory with swap, nor the other way round, so which
goes first depends on where they stand (admin-guide/cgroup-v1/memory.rst, 5.3; sched-bwc.rst has the like). What is
refused is tried again after the others; if that does not help, what was changed gets its old value.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence

from sampan.drivers.errors import Conflict, Invalid, NotFound
from sampan.linux import cgroups

Write = tuple[str, str]
"""Path and new value."""


def change(writes: Sequence[Write]) -> None:
    """``NotFound`` if the group is gone, ``Conflict`` if a limit is below what is in use, ``Invalid`` otherwise."""
    undo: list[Write] = []
    try:
        _write_all(writes, undo)
    except OSError as error:
        for path, value in reversed(undo):
            with contextlib.suppress(OSError):
                cgroups.write(path, value)
        name = os.path.basename(str(error.filename))  # noqa: PTH119
        if error.errno in (errno.ENOENT, errno.ENODEV):
            raise NotFound(f"the container has no {name}: it has just ended, or was given no such limit") from error
        if error.errno == errno.EBUSY:
            raise Conflict(f"{name} cannot be set so low: the container uses more than that now") from error
        raise Invalid(f"the kernel refused the value for {name}: {error.strerror}") from error


def _write_all(writes: Sequence[Write], undo: list[Write]) -> None:
    while writes:
        refused, problem = [], None
        for path, value in writes:
            try:
                _write(path, value, undo)
            except OSError as error:
                refused.append((path, value))
                problem = problem or error
        if problem and len(refused) == len(writes):
            raise problem
        writes = refused


def _write(path: str, value: str, undo: list[Write]) -> None:
    before = cgroups.read(path).strip()
    if before != value:
        cgroups.write(path, value)
        undo.append((path, before or "\n"))
