"""What is done in the confined process: a layer unpacked, or a stream inflated.

Answers are short messages: ``a`` alive, ``o`` and a path that is to be made opaque, ``d`` and what came of it as JSON,
``f`` and why not.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from sampan.errors import Exhausted, Internal, Invalid, SampanError, Unavailable
from sampan.images.compression import NONE, Digesting, decompressed
from sampan.images.confined.confinement import MEMORY
from sampan.images.confined.growing import Growing, Piped
from sampan.images.confined.limits import Limits, Watched
from sampan.images.filling import Filler, Hand, serve
from sampan.images.unpack import unpack_at
from sampan.linux import messages
from sampan.linux.idmaps import IdMap, Range
from sampan.linux.paths import inside

CHUNK = 1 << 20


def prepare() -> None:
    """Import what jobs import late: later there is no file system to import from."""
    import bz2
    import encodings.latin_1
    import encodings.utf_8
    import lzma

    import zstandard
    from isal import igzip, isal_zlib

    del bz2, encodings, lzma, zstandard, igzip, isal_zlib


def work(order: dict[str, Any], fds: list[int], answer: Any) -> None:
    """Do what the daemon ordered. Whatever goes wrong is an answer."""
    try:
        done = _JOBS[order["job"]](order, fds, answer)
        answer.send(b"d" + json.dumps(done).encode())
    except SampanError as error:
        _fail(answer, error.kind, error.message)
    except MemoryError:
        _fail(answer, Invalid.kind, f"it needs more than {MEMORY} bytes of memory to be unpacked")
    except OSError as error:
        kind = Exhausted if error.errno in (errno.ENOSPC, errno.EDQUOT) else Unavailable
        _fail(answer, kind.kind, f"it could not be unpacked: {error.strerror}".lower())
    except Exception as error:
        _fail(answer, Internal.kind, f"the process that unpacks archives failed: {error!r}")


def _fail(answer: Any, kind: str, message: str) -> None:
    text = json.dumps([kind, message[:4000]])
    answer.send(b"f" + text.encode())


def _unpack(order: dict[str, Any], fds: list[int], answer: Any) -> dict[str, Any]:
    """``fds``: the blob, or a pipe with what is in it; the root of the layer; how the blob grows if it does; where a
    helper is if there is one. The digest is that of the uncompressed stream, all of it."""
    blob, root, *more = fds
    link = messages.connect(more.pop()) if order["helped"] else None
    limits = Limits(*order["limits"])
    alive = _living(answer)
    digesting = None
    if order["piped"]:
        watched = Watched(cast(BinaryIO, Piped(blob, alive)), limits, None, root, alive)
    else:
        plain = _plain(blob, more, alive)
        watched, compression, digesting = _opened(blob, plain, root, limits, alive, hashed=order["hashed"])
    hand = None
    if link is not None and compression == NONE:
        hand = Hand(link, Filler(blob), lambda: getattr(plain, "ended", True))
    ids = IdMap(*(tuple(Range(*each) for each in side) for side in order["ids"]))

    def opaque(fd: int) -> None:
        answer.send(b"o" + inside(root, fd))

    stream = cast(BinaryIO, watched)
    size = unpack_at(stream, root, order["whiteouts"], limits=limits, ids=ids, opaque=opaque, hand=hand)
    while watched.read(CHUNK):
        pass
    return {"size": size, "digest": digesting.digest if digesting else ""}


def _help(order: dict[str, Any], fds: list[int], answer: Any) -> dict[str, Any]:
    """``fds``: the blob, and where the process that unpacks it asks for help."""
    blob, link = fds
    serve(messages.connect(link), Filler(blob))
    return {}


def _inflate(order: dict[str, Any], fds: list[int], answer: Any) -> dict[str, Any]:
    """``fds``: something compressed, where to write what is in it, and how it grows if it does."""
    source, out, *growth = fds
    limits = Limits(*order["limits"])
    alive = _living(answer)
    disk = out if order["kept"] else None
    watched, compression, digesting = _opened(source, _plain(source, growth, alive), disk, limits, alive, hashed=True)
    try:
        while data := watched.read(CHUNK):
            view = memoryview(data)
            while view:
                view = view[os.write(out, view) :]
    except BrokenPipeError:
        pass  # whoever reads has seen enough
    return {"size": watched.size, "digest": digesting.digest if digesting else "", "compression": compression}


def _living(answer: Any) -> Callable[[], None]:
    """Signs of life. Nobody may be listening at the moment, and then they are left out."""

    def alive() -> None:
        with contextlib.suppress(BlockingIOError):
            answer.send(b"a", socket.MSG_DONTWAIT)

    return alive


def _plain(source: int, growth: list[int], alive: Callable[[], None]) -> BinaryIO:
    """It as it is. ``growth``: how it grows, if it does."""
    if growth:
        return cast(BinaryIO, Growing(source, growth[0], alive))
    return open(source, "rb", buffering=0, closefd=False)


def _opened(
    source: int, plain: BinaryIO, disk: int | None, limits: Limits, alive: Callable[[], None], *, hashed: bool
) -> tuple[Watched, str, Digesting | None]:
    """What is in it, within limits. ``hashed``: also if it is not compressed."""

    def packed() -> int:
        return os.lseek(source, 0, os.SEEK_CUR)

    compression, stream = decompressed(plain)
    digesting = Digesting(stream) if hashed or compression != NONE else None
    asked = None if compression == NONE else packed
    watched = Watched(cast(BinaryIO, digesting or stream), limits, asked, disk, alive)
    return watched, compression, digesting


_JOBS = {"unpack": _unpack, "help": _help, "inflate": _inflate}
