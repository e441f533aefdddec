"""Compressing the files that a log has left behind (``compress=true``), in a process beside: nobody waits for it.

It is forked at a rotation, takes the files one by one and ends. The next rotation, which gives the files other names,
kills it first: what it had not finished is left for the next one. ``PATH.1`` is there until ``PATH.1.gz`` is whole.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import struct
import zlib

from sampan.linux.suppress import suppress

_PIECE = 256 * 1024
_LEVEL = 6
_COMMENTED = 16  # the flag FCOMMENT (RFC 1952)
_MOST = 1 << 16


class Compressor:
    """For the log at ``path``, of which ``files`` are kept, the one that is written included."""

    def __init__(self, path: str, files: int) -> None:
        self._path = path
        self._files = files
        self._child = 0

    def stop(self) -> None:
        """The files will get other names."""
        if self._child:
            with suppress(ProcessLookupError):
                os.kill(self._child, _signal.SIGKILL)
            self.wait()

    def wait(self) -> None:
        """Until it has done what there is to do."""
        if self._child:
            with suppress(ChildProcessError):
                os.waitpid(self._child, 0)
            self._child = 0

    def begin(self) -> None:
        """Compress what there is."""
        self._child = os.fork()
        if self._child:
            return
        try:
            os.closerange(0, _MOST)  # whoever waits for the end of a stream must not wait for us
            os.nice(10)
            for number in range(1, self._files):
                with suppress(FileNotFoundError):
                    compress(f"{self._path}.{number}")
        finally:
            os._exit(0)

    def shift(self, older: str, newer: str) -> None:
        """``older``, plain or compressed, is called ``newer`` from now on, in place of what was called so."""
        for end in ("", ".gz", ".gz.new"):
            with suppress(FileNotFoundError):
                os.unlink(newer + end)  # noqa: PTH108
        for end in ("", ".gz"):
            with suppress(FileNotFoundError):
                os.rename(older + end, newer + end)  # noqa: PTH104


def compress(path: str) -> None:
    """Put ``path.gz`` in the place of ``path`` (RFC 1952). Its comment is the inode of the file that it was, so that
    who has read that one knows it again."""
    making = f"{path}.gz.new"
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    target = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    comment = b"%d\0" % os.fstat(source).st_ino
    _write(target, struct.pack("<HBBIBB", 0x8B1F, 8, _COMMENTED, 0, 0, 3) + comment)
    check = size = 0
    while piece := os.read(source, _PIECE):
        check, size = zlib.crc32(piece, check), size + len(piece)
        _write(target, packer.compress(piece))
    _write(target, packer.flush() + struct.pack("<II", check, size & 0xFFFFFFFF))
    os.rename(making, f"{path}.gz")  # noqa: PTH104
    os.unlink(path)  # noqa: PTH108


def _write(fd: int, data: bytes) -> None:
    """All of it, or an error: a disk that is full leaves the file as it was."""
    while data:
        data = data[os.write(fd, data) :]
