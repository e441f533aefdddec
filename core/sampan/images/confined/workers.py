"""The daemon's side: archives are taken apart elsewhere, see :mod:`sampan.images.confined`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, cast

import sampan
from sampan.errors import KINDS, Internal, SampanError, Unavailable
from sampan.images.confined.growing import Growth
from sampan.images.confined.limits import DEFAULT, MIB, Limits
from sampan.images.layer_tree import set_opaque
from sampan.linux import messages, mounts
from sampan.linux.idmaps import SAME, IdMap
from sampan.linux.paths import DIRECTORY, NO_LINKS, openat2

_START = "import sys; sys.path[:0] = {path!r}; from sampan.images.confined import process; process.main({fd}, {path!r})"
_ATTRIBUTES = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC
_LONGEST = 1 << 16  # bytes of a message
_PIPE = 1 << 20  # bytes between two processes
_BEGINS = 30.0  # seconds until a job has begun
_LONGEST_JOB = 24 * 3600.0  # seconds; the signs of life of a process that was taken over are worth nothing


Second = Literal["fills", "inflates", None]
"""``fills``: files that the first has made; for a large blob that is not compressed and is read from its first byte on.
``inflates``: a compressed blob, while the first unpacks what is in it."""


class Unpacked(NamedTuple):
    """``size``: bytes of the files; ``digest``: of the uncompressed stream, empty if that is the blob itself and nobody
    asked."""

    size: int
    digest: str


class Inflated(NamedTuple):
    size: int
    digest: str


class Workers:
    """Jobs for confined processes. Thread-safe: jobs of several threads go on at the same time.

    ``patience``: seconds that a job may go without a sign of life.
    """

    def __init__(self, limits: Limits = DEFAULT, patience: float = 120.0) -> None:
        self.limits = limits
        self._patience = patience
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """There will be something to do soon: it takes a moment to start."""
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                self._let_go()
            if self._control is None:
                self._start()

    def unpack(
        self,
        blob: int,
        directory: Path,
        whiteouts: Literal["in-place", "overlay"],
        *,
        hashed: bool = True,
        ids: IdMap = SAME,
        growth: Growth | None = None,
        second: Second = None,
    ) -> Unpacked:
        """Fill a layer's directory from a blob, compressed or not, from where it is read next.

        ``hashed``: what is not compressed is hashed as well, for nobody else did. ``growth``: somebody still writes the
        blob, and tells so there. ``second``: what a second process does meanwhile.
        ``Invalid`` names what is hostile or damaged, or says which limit was passed; ``Exhausted`` if there is no
        room; ``Unavailable`` if the process died or stood still. What was unpacked so far stays.
        """
        order = {
            "job": "unpack",
            "helped": second == "fills",
            "piped": second == "inflates",
            "whiteouts": whiteouts,
            "hashed": hashed,
            "ids": [[tuple(each) for each in side] for side in (ids.uids, ids.gids)],
        }
        grows = [growth.fileno()] if growth else []
        with _jail(directory) as root:
            if second == "inflates":
                return self._unpack_inflated(order, blob, root, grows)
            with self._helper(blob, wanted=second == "fills") as helper:
                done = self._run(order, [blob, root, *grows, *helper], lambda path: _make_opaque(root, path))
        return Unpacked(done["size"], done["digest"])

    def _unpack_inflated(self, order: dict[str, Any], blob: int, root: int, grows: list[int]) -> Unpacked:
        """If both fail, it is because the one that inflates did."""
        failed: SampanError | None = None
        reading, writing = os.pipe2(os.O_CLOEXEC)
        with contextlib.ExitStack() as stack:
            with contextlib.ExitStack() as ends:
                ends.callback(os.close, reading)
                ends.callback(os.close, writing)
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE)
                inflating = self._begin({"job": "inflate", "kept": False}, [blob, writing, *grows])
                stack.callback(inflating.close)
                unpacking = self._begin(order, [reading, root])
            try:
                with contextlib.closing(unpacking):
                    done = self._follow(unpacking, lambda path: _make_opaque(root, path))
            except SampanError as error:
                failed = error
            digest = self._follow(inflating, _no_path)["digest"]
            if failed:
                raise failed
            return Unpacked(done["size"], digest)

    @contextlib.contextmanager
    def _helper(self, blob: int, *, wanted: bool) -> Iterator[list[int]]:
        """Where one is reached; it lives no longer than the block."""
        if not wanted:
            yield []
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                job = self._begin({"job": "help"}, [blob, theirs.fileno()])
            with contextlib.closing(job):
                yield [ours.fileno()]

    def inflate(self, source: int, out: int, *, kept: bool = True) -> Inflated:
        """Write what is in something compressed to ``out``. ``kept``: that is a file on a disk which must not fill up.

        ``Invalid`` and the others as for :meth:`unpack`.
        """
        done = self._run({"job": "inflate", "kept": kept}, [source, out], _no_path)
        return Inflated(done["size"], done["digest"])

    @contextlib.contextmanager
    def inflating(self, source: int) -> Iterator[BinaryIO]:
        """What is in something compressed, as a stream. Whatever is wrong with it is raised where the stream has
        ended, or would seem to."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        stream = open(reading, "rb", buffering=0)  # noqa: PTH123, SIM115
        with contextlib.ExitStack() as stack:
            stack.callback(stream.close)
            try:
                job = self._begin({"job": "inflate", "kept": False}, [source, writing])
            finally:
                os.close(writing)
            stack.callback(job.close)
            yield cast(BinaryIO, _Inflating(stream, lambda: self._follow(job, _no_path)))

    def close(self) -> None:
        """End the process and whatever goes on in it. It is started again when somebody wants it."""
        with self._lock:
            self._let_go()

    def _run(self, order: dict[str, Any], fds: list[int], opaque: Callable[[bytes], None]) -> dict[str, Any]:
        with contextlib.closing(self._begin(order, fds)) as job:
            return self._follow(job, opaque)

    def _begin(self, order: dict[str, Any], fds: list[int]) -> socket.socket:
        order |= {"limits": tuple(self.limits), "largest": self.limits.size + MIB}
        for _ in range(3):  # it may be about to leave because it had nothing to do
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                self._send(order, [*fds, theirs.fileno()])
                theirs.close()
                ours.settimeout(_BEGINS)
                if ours.recv(_LONGEST, socket.MSG_PEEK):
                    return ours
            except OSError:
                pass
            theirs.close()
            ours.close()
        raise Unavailable("the process that unpacks archives does not start; see the daemon's log")

    def _follow(self, job: socket.socket, opaque: Callable[[bytes], None]) -> dict[str, Any]:
        job.settimeout(self._patience)
        end = time.monotonic() + _LONGEST_JOB
        while True:
            if time.monotonic() > end:
                raise Unavailable(f"unpacking took longer than {_LONGEST_JOB / 3600:g} hours, so it was given up")
            try:
                message = job.recv(_LONGEST)
            except TimeoutError:
                raise Unavailable(f"unpacking stood still for {self._patience:g} seconds, so it was given up") from None
            except OSError:
                message = b""
            kind, rest = message[:1], message[1:]
            if kind == b"d":
                return cast(dict[str, Any], json.loads(rest))
            if kind == b"f":
                name, text = json.loads(rest)
                raise KINDS.get(name, Internal)(text)
            if kind == b"o":
                opaque(rest)
            elif kind == b"k":
                raise Unavailable(f"the process that unpacked it was killed by signal {int(rest)}")
            elif not kind:
                raise Unavailable("the process that unpacked it died")

    def _send(self, order: dict[str, Any], fds: list[int]) -> None:
        with self._lock:
            if self._control is not None:
                try:
                    messages.send(self._control, order, fds)
                    return
                except OSError:
                    self._let_go()
            self._start()
            messages.send(cast(socket.socket, self._control), order, fds)

    def _start(self) -> None:
        from importlib.util import find_spec

        places = [Path(sampan.__file__).parents[1]]
        for name in ("isal", "zstandard"):
            spec = find_spec(name)
            places += [Path(spec.origin).parents[1]] if spec and spec.origin else []
        path = list(dict.fromkeys(map(str, places)))
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fd = theirs.fileno()
            nothing = subprocess.DEVNULL
            command = [sys.executable, "-I", "-S", "-c", _START.format(fd=fd, path=path)]
            self._process = subprocess.Popen(command, pass_fds=[fd], stdin=nothing, stdout=nothing, cwd="/", env={})

    def _let_go(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process = None


class _Inflating:
    """A pipe at whose end the job is asked how it went."""

    def __init__(self, stream: Any, end: Callable[[], object]) -> None:
        self._stream = stream
        self._end: Callable[[], object] | None = end

    def read(self, size: int = -1) -> bytes:
        data = cast(bytes, self._stream.read(size))
        if not data and size and self._end:
            end, self._end = self._end, None
            end()
        return data

    def seekable(self) -> bool:
        return False


@contextlib.contextmanager
def _jail(directory: Path) -> Iterator[int]:
    """A mount of nothing but that directory, out of which no ``..`` leads."""
    root = os.open(directory, DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC) if os.geteuid() else mounts.bind(directory)
    try:
        if not os.geteuid():
            mounts.set_attributes(root, _ATTRIBUTES)
        yield root
    finally:
        os.close(root)


def _make_opaque(root: int, path: bytes) -> None:
    try:
        fd = openat2(root, path, DIRECTORY, resolve=NO_LINKS)
    except OSError:
        return  # it was replaced meanwhile
    try:
        set_opaque(fd)
    finally:
        os.close(fd)


def _no_path(path: bytes) -> None:
    raise Internal("something was to be made opaque where there is no layer")
