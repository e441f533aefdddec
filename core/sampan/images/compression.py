"""Streams that may be compressed: gzip, zstd, bzip2 and xz are recognised by their first bytes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from sampan.errors import Invalid
from sampan.images import zstd_frames

CHUNK = 1 << 20
NONE = "none"
HEAD = 6  # bytes that tell the formats apart
_MAGIC = {
    "gzip": b"\x1f\x8b\x08",
    "zstd": b"\x28\xb5\x2f\xfd",
    "bzip2": b"BZh",
    "xz": b"\xfd7zXZ\x00",
}


def recognise(head: bytes) -> str:
    """The compression whose magic number ``head`` begins with, or ``none``."""
    if zstd_frames.is_skippable(head):
        return "zstd"
    return next((name for name, magic in _MAGIC.items() if head.startswith(magic)), NONE)


def looked_at(stream: BinaryIO) -> tuple[str, BinaryIO]:
    """The compression of a stream, and the stream from where it was on: itself if it can seek back."""
    head = _read_fully(stream, HEAD)
    name = recognise(head)
    if stream.seekable():
        stream.seek(-len(head), io.SEEK_CUR)
        whole = stream
    else:
        whole = cast(BinaryIO, _Rejoined(head, stream))
    return name, whole


def decompressed(stream: BinaryIO) -> tuple[str, BinaryIO]:
    """The compression found and a stream of what is inside; ``stream`` itself if there is none and it can seek back.

    Works on pipes. Reading raises ``Invalid`` where the compressed data is damaged or ends too early.
    """
    name, whole = looked_at(stream)
    if name == NONE:
        return name, whole
    reader, failures = _OPENERS[name](whole)
    return name, cast(BinaryIO, _Decompressed(name, reader, failures))


class Digesting(io.RawIOBase):
    """A stream that hashes what is read through it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._hash.update(data)
        return len(data)

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        return data

    def drain(self) -> None:
        """Read to the end: a digest covers what a tar reader leaves behind its end mark."""
        while self.read(CHUNK):
            pass


class _Rejoined(io.RawIOBase):
    """A stream that cannot seek, with what was already read from it put back in front."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = head
        self._stream = stream

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """What is there, as from a pipe."""
        if not self._head:
            return self._stream.read(size)
        data = self._head + self._stream.read() if size < 0 else self._head[:size]
        self._head = self._head[len(data) :]
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Decompressed(io.RawIOBase):
    """A decompressor's stream whose failures are told as ``Invalid``."""

    def __init__(self, name: str, stream: BinaryIO, failures: tuple[type[Exception], ...]) -> None:
        self._name = name
        self._stream = stream
        self._failures = failures

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except EOFError:
            raise Invalid(f"the {self._name} data ends too early: it is truncated") from None
        except self._failures as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the source's own trouble, not the data's
            raise Invalid(f"the {self._name} data is damaged: {error}") from None

    def close(self) -> None:
        self._stream.close()
        super().close()


Opened = tuple[BinaryIO, tuple[type[Exception], ...]]


def _gzip(stream: BinaryIO) -> Opened:
    from isal import igzip, isal_zlib

    failures = cast(tuple[type[Exception], ...], (isal_zlib.error, igzip.BadGzipFile))
    return cast(BinaryIO, igzip.IGzipFile(fileobj=stream, mode="rb")), failures


def _zstd(stream: BinaryIO) -> Opened:
    import zstandard

    frames = zstd_frames.Frames(stream)
    reader = zstandard.ZstdDecompressor().stream_reader(
        cast(BinaryIO, frames), read_size=CHUNK, read_across_frames=True
    )
    return cast(BinaryIO, _Complete(reader, frames)), (zstandard.ZstdError,)


class _Complete:
    """zstandard takes a stream that is cut short for one that has ended."""

    def __init__(self, reader: Any, frames: zstd_frames.Frames) -> None:
        self._reader = reader
        self._frames = frames
        self.close = reader.close

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._reader.read(size)
        if not self._frames.complete and (size < 0 or (size and not data)):
            raise EOFError
        return data


def _bzip2(stream: BinaryIO) -> Opened:
    import bz2

    return cast(BinaryIO, bz2.BZ2File(stream)), (OSError, ValueError)


def _xz(stream: BinaryIO) -> Opened:
    import lzma

    return cast(BinaryIO, lzma.LZMAFile(stream)), (lzma.LZMAError,)


_OPENERS: dict[str, Callable[[BinaryIO], Opened]] = {"gzip": _gzip, "zstd": _zstd, "bzip2": _bzip2, "xz": _xz}


def _read_fully(stream: BinaryIO, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data
