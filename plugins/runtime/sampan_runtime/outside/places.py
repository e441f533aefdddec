"""Where such a program works: a mount namespace in which the root file system has a path, and files that have none.

Nothing of it is seen on the host, and nothing of it is left when whoever made it is killed: the namespace ends with its
last process, and a detached file system with its last descriptor.
"""

from __future__ import annotations

import errno
import os
import stat

from sampan.linux import mounts, namespaces
from sampan.linux.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def own_mounts(*, root: int = -1, at: bytes = b"", hidden: Sequence[str] = ()) -> None:
    """Give the calling thread a mount namespace of its own: ``root``, a detached mount, is attached at ``at``, and what
    is mounted on the ``hidden`` paths is not there.

    All other mounts stay what they are to those on the host, so that mounts can propagate. Only those
    that change are parted from the host's, or the host would see the change (mount_namespaces(7)).
    """
    namespaces.unshare(namespaces.CLONE_NEWNS)
    for path in hidden:
        _part(os.path.dirname(path))  # noqa: PTH120
        with suppress(OSError):  # of a caller that has hidden it before, it is not there
            mounts.detach(path)
    if root >= 0:
        _part(at)
        mounts.attach(root, os.fsdecode(at))


def pick_up(sources: Sequence[tuple[str, str]]) -> list[tuple[int, str]]:
    """Detached copies of what lies at the first of each two paths, for :func:`put_down` at the second.

    For what can be named on the host, but no more in a mount namespace of one's own: a descriptor that another process
    has open (open_tree(2)).
    """
    return [(mounts.bind(source, recursive=True), target) for source, target in sources]


def put_down(trees: Sequence[tuple[int, str]], at: str) -> None:
    """Attach them below ``at``, a directory of which the host must see nothing. After :func:`own_mounts`."""
    _part(at)
    shelf = mounts.filesystem("tmpfs", {"source": "sampan", "mode": "700", "size": "1m"})
    mounts.attach(shelf, at)
    os.close(shelf)
    for fd, target in trees:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.mkdir(target)  # noqa: PTH102
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        mounts.attach(fd, target)
        os.close(fd)


def files() -> int:
    """A descriptor of a directory that nobody else has: a file system in memory, attached nowhere."""
    return mounts.filesystem("tmpfs", {"source": "sampan", "mode": "700", "size": "16m"})


def path_in(directory: int, name: str) -> str:
    """A path of a file in :func:`files`, short enough for a socket, good while the calling process lives."""
    return f"/proc/{os.getpid()}/fd/{directory}/{name}"


def _part(path: str | bytes) -> None:
    """Make the mount private on which ``path`` lies. It is the next above that the kernel takes for one: to ask for the
    table of mounts instead would be dear where there are many (mount(2), EINVAL)."""
    place = os.path.realpath(os.fsdecode(path))
    while True:
        try:
            mounts.mount("none", place, None, mounts.MS_PRIVATE)
        except OSError as error:
            above = os.path.dirname(place)  # noqa: PTH120
            if error.errno != errno.EINVAL or above == place:
                raise
            place = above
        else:
            return
