"""Compressed streams are recognised, read from pipes, and refused when damaged."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import threading
from typing import BinaryIO, cast

import pytest
import zstandard

from sampan.errors import Invalid
from sampan.images.compression import Digesting, decompressed
from unit.images.image_archives import sha

DATA = os.urandom(100_000) + b"some text that repeats " * 50_000
PACKED = {
    "none": DATA,
    "gzip": gzip.compress(DATA, 1),
    "zstd": zstandard.compress(DATA),
    "bzip2": bz2.compress(DATA),
    "xz": lzma.compress(DATA, preset=0),
}


def piped(data: bytes) -> tuple[BinaryIO, threading.Thread]:
    ours, theirs = os.pipe()

    def write() -> None:
        with os.fdopen(theirs, "wb") as out:
            out.write(data)

    thread = threading.Thread(target=write)
    thread.start()
    return os.fdopen(ours, "rb"), thread


@pytest.mark.parametrize("name", PACKED)
def test_reads_from_a_pipe(name: str) -> None:
    stream, thread = piped(PACKED[name])
    with stream:
        found, plain = decompressed(stream)
        assert (found, plain.read()) == (name, DATA)
    thread.join()


def test_reads_members_in_a_row() -> None:
    _, plain = decompressed(io.BytesIO(gzip.compress(b"one ") + gzip.compress(b"two")))
    assert plain.read() == b"one two"


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd"])
def test_a_truncated_stream_is_told(name: str) -> None:
    _, plain = decompressed(io.BytesIO(PACKED[name][: len(PACKED[name]) // 2]))
    with pytest.raises(Invalid, match=f"the {name} data ends too early"):
        plain.read()


def frames() -> dict[str, bytes]:
    """One of every kind that there is of blocks and headers."""
    skippable = b"\x5b\x2a\x4d\x18\x03\0\0\0abc"
    data = [b"", b"x", b"0" * 1_000_000, os.urandom(300_000), DATA[:150_000]]
    plain, checked = (zstandard.ZstdCompressor(write_checksum=each) for each in (False, True))
    unsized = zstandard.ZstdCompressor(write_content_size=False)
    packed = [each.compress(piece) for each in (plain, checked, unsized) for piece in data]
    together = b"".join(packed)
    return {"first": skippable + together, "last": together + skippable, "mixed": skippable.join(packed)}


@pytest.mark.parametrize("kind", ["first", "last", "mixed"])
def test_frames_of_every_kind(kind: str) -> None:
    packed = frames()[kind]
    name, plain = decompressed(io.BytesIO(packed))
    length = sum(len(piece) for piece in iter(lambda: plain.read(4099), b""))
    assert (name, length) == ("zstd", 3 * (1 + 1_000_000 + 300_000 + 150_000))
    for cut in (len(packed) - 1, len(packed) - 3, 5, 7, 25):
        _, plain = decompressed(io.BytesIO(packed[:cut]))
        with pytest.raises(Invalid, match="ends too early"):
            sum(len(piece) for piece in iter(lambda: plain.read(4099), b""))  # noqa: B023


@pytest.mark.parametrize("name", ["gzip", "zstd", "bzip2", "xz"])
def test_a_damaged_stream_is_told(name: str) -> None:
    damaged = bytearray(PACKED[name])
    damaged[5000:5064] = bytes(64)
    _, plain = decompressed(io.BytesIO(bytes(damaged)))
    if name == "zstd":  # random bytes are stored raw and zstandard's default has no checksum: the digest tells
        assert plain.read() != DATA
        return
    with pytest.raises(Invalid, match=f"the {name} data"):
        plain.read()


def test_the_source_failing_is_not_the_data_failing() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            if not data:
                raise ConnectionResetError(104, "gone")
            return data

    _, plain = decompressed(Broken(PACKED["bzip2"][:1000]))
    with pytest.raises(ConnectionResetError):
        plain.read()


def test_short_and_empty_streams_are_left_as_they_are() -> None:
    for data in (b"", b"B", b"BZ"):
        found, plain = decompressed(io.BytesIO(data))
        assert (found, plain.read()) == ("none", data)


def test_a_digest_covers_all_that_is_read() -> None:
    stream = Digesting(io.BytesIO(DATA))
    cast(BinaryIO, stream).read(10)
    stream.drain()
    assert stream.digest == "sha256:" + sha(DATA)
