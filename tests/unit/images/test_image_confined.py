"""The process that takes archives apart: what it does, what it may not, and what becomes of the daemon if it dies."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import signal
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from sampan.errors import Exhausted, Invalid, Unavailable
from sampan.images.confined import workers as confined_workers
from sampan.images.confined.limits import Limits
from sampan.images.confined.workers import Workers
from sampan.images.content import digest_of
from sampan.linux import mounts
from sampan.testing.archives import Archive
from unit.images.image_archives import tar_of

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    made = Workers()
    yield made
    made.close()


@contextlib.contextmanager
def given(data: bytes) -> Iterator[int]:
    fd = os.memfd_create("blob", os.MFD_CLOEXEC)
    try:
        os.write(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


PACKED = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("form", PACKED)
def test_a_layer_is_unpacked_and_hashed(workers: Workers, tmp_path: Path, form: str) -> None:
    tar = tar_of({"etc": None, "etc/motd": b"aboard"})
    with given(PACKED[form](tar)) as blob:
        done = workers.unpack(blob, tmp_path, "overlay")
    assert done.digest == digest_of(tar)
    assert done.size == 6
    assert (tmp_path / "etc/motd").read_bytes() == b"aboard"


def test_what_needs_the_daemons_rights_is_done_by_the_daemon(workers: Workers, tmp_path: Path) -> None:
    tar = tar_of({"a/b": None, "a/b/.wh..wh..opq": b"", "c/.wh.gone": b"", "d/.wh.e": b"", "d/e/f": b"new"})
    with given(tar) as blob:
        workers.unpack(blob, tmp_path, "overlay")
    assert os.getxattr(tmp_path / "a/b", "trusted.overlay.opaque") == b"y"
    assert os.getxattr(tmp_path / "d/e", "trusted.overlay.opaque") == b"y"
    assert (tmp_path / "c/gone").is_char_device()


def test_devices_owners_and_capabilities_are_content(workers: Workers, tmp_path: Path) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    pax = {"SCHILY.xattr.security.capability": capability.decode("latin-1")}
    archive = Archive(format=tarfile.PAX_FORMAT, encoding="latin-1").device("null", 1, 3, uid=5)
    with given(archive.file("ping", b"x", mode=0o4755, uid=7, gid=8, pax_headers=pax).bytes()) as blob:
        workers.unpack(blob, tmp_path, "in-place")
    assert (tmp_path / "null").stat().st_rdev == os.makedev(1, 3)
    status = (tmp_path / "ping").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (7, 8, 0o4755)
    assert os.getxattr(tmp_path / "ping", "security.capability") == capability


def test_a_hostile_archive_is_told_in_the_same_words(workers: Workers, tmp_path: Path) -> None:
    with given(tar_of({"../../etc/passwd": b"x"})) as blob, pytest.raises(Invalid, match="outside of the image"):
        workers.unpack(blob, tmp_path, "overlay")
    with given(gzip.compress(os.urandom(4096))[:-100]) as blob, pytest.raises(Invalid, match="truncated"):
        workers.unpack(blob, tmp_path, "overlay")


@pytest.mark.parametrize("form", ["gzip", "zstd", "bzip2", "xz"])
def test_bombs_are_refused_with_the_setting_that_would_let_them_in(tmp_path: Path, form: str) -> None:
    workers = Workers(Limits(size=1 << 20))
    bomb = PACKED[form](bytes(8 << 20))
    with contextlib.closing(workers), given(bomb) as blob, (tmp_path / "out").open("wb") as out:
        with pytest.raises(Invalid, match=r"more than 1048576 bytes, the limit that images\.layer_size sets"):
            workers.inflate(blob, out.fileno())
        assert os.fstat(out.fileno()).st_size <= 2 << 20


def test_what_grows_too_much_is_refused_whatever_the_size_may_be(workers: Workers) -> None:
    """``images.compression_ratio``, which is asked from 1 GiB on."""
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    bomb = b"".join([*(packer.compress(bytes(16 << 20)) for _ in range(66)), packer.flush()])
    refused = pytest.raises(Invalid, match=r"it is a bomb: .* 200 times its size, .* images\.compression_ratio sets")
    with given(bomb) as blob, Path("/dev/null").open("wb") as out, refused:
        workers.inflate(blob, out.fileno(), kept=False)


@pytest.mark.parametrize(
    ("packed", "unpacked", "fits"), [(1, 1 << 30, True), (6 << 20, 5 << 28, False), (7 << 20, 5 << 28, True)]
)
def test_what_grows_too_much(packed: int, unpacked: int, fits: bool) -> None:
    with contextlib.nullcontext() if fits else pytest.raises(Invalid):
        Limits().check_ratio(packed, unpacked)


def test_what_would_fill_the_disk_is_refused_before() -> None:
    workers = Workers()
    disk = mounts.filesystem("tmpfs", {"size": "8m"})
    place = Path(f"/proc/self/fd/{disk}")
    try:
        bomb = given(gzip.compress(bytes(64 << 20)))
        refused = pytest.raises(Exhausted, match=r"images\.reserve")
        with contextlib.closing(workers), bomb as blob, (place / "out").open("wb") as out, refused:
            workers.inflate(blob, out.fileno())
        room = os.statvfs(place)
        assert room.f_bavail > room.f_blocks // 20
    finally:
        os.close(disk)


def children_of(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *children_of(child)]
    return found


class Stuck:
    """A job that waits for more of its archive."""

    def __init__(self, workers: Workers, directory: Path) -> None:
        self.reading, self.writing = os.pipe()
        self._feeder = threading.Thread(target=self._feed)
        self._feeder.start()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(workers, directory))
        self._thread.start()
        deadline = time.monotonic() + 10
        while not (directory / "a").exists():
            assert time.monotonic() < deadline, self.error
            time.sleep(0.01)
        outer = workers._process
        assert outer is not None
        self.outer = outer.pid
        while len(found := children_of(outer.pid)) != 2:  # who did the job before may not have gone yet
            assert time.monotonic() < deadline, found
            time.sleep(0.01)
        self.mother, self.child = found

    def _feed(self) -> None:
        data = tar_of({"a": bytes(3 << 20)})[: 2 << 20]
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self.writing, data) :]

    def _run(self, workers: Workers, directory: Path) -> None:
        try:
            workers.unpack(self.reading, directory, "overlay")
        except BaseException as error:
            self.error = error

    def join(self) -> BaseException | None:
        self._thread.join(10)
        os.close(self.reading)
        self._feeder.join(10)
        os.close(self.writing)
        return self.error


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGSYS])
def test_its_death_is_told_and_the_next_job_works(workers: Workers, tmp_path: Path, number: int) -> None:
    stuck = Stuck(workers, tmp_path)
    os.kill(stuck.child, number)
    error = stuck.join()
    assert isinstance(error, Unavailable)
    assert f"killed by signal {int(number)}" in error.message
    with given(tar_of({"b": b"y"})) as blob:
        workers.unpack(blob, tmp_path, "overlay")


@pytest.mark.parametrize("who", ["outer", "mother"])
def test_the_death_of_its_mother_is_told_too(workers: Workers, tmp_path: Path, who: str) -> None:
    stuck = Stuck(workers, tmp_path)
    os.kill(getattr(stuck, who), signal.SIGKILL)
    assert isinstance(stuck.join(), Unavailable)
    with given(tar_of({"b": b"y"})) as blob:
        workers.unpack(blob, tmp_path, "overlay")


def test_it_is_given_up_when_it_stands_still_and_killed(tmp_path: Path) -> None:
    workers = Workers(patience=0.5)
    stuck = Stuck(workers, tmp_path)
    error = stuck.join()
    assert isinstance(error, Unavailable)
    assert "stood still for 0.5 seconds" in error.message
    deadline = time.monotonic() + 10
    while Path(f"/proc/{stuck.child}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{stuck.child}").exists()
    workers.close()
    assert not Path(f"/proc/{stuck.mother}").exists()


def test_signs_of_life_do_not_count_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a process that somebody has taken over."""
    monkeypatch.setattr(confined_workers, "_LONGEST_JOB", 0.05)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def live() -> None:
        with contextlib.suppress(OSError):
            while True:
                theirs.send(b"a")

    thread = threading.Thread(target=live)
    thread.start()
    with theirs, ours, pytest.raises(Unavailable, match="took longer than"):
        Workers()._follow(ours, lambda path: None)
    thread.join(10)


def test_it_is_confined(workers: Workers, tmp_path: Path) -> None:
    stuck = Stuck(workers, tmp_path)
    proc = Path(f"/proc/{stuck.child}")
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
    for kind in ("mnt", "net", "pid", "ipc", "uts", "cgroup"):
        assert (proc / "ns" / kind).readlink() != Path("/proc/self/ns", kind).readlink()
    assert [each.name for each in (proc / "root").iterdir()] == ["proc"]
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0x8800001B
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    files = {str(each.readlink()) for each in (proc / "fd").iterdir()}
    assert not any(each.startswith(("/home", "/etc", "/var", "/usr", "/tmp")) for each in files), files
    os.kill(stuck.child, signal.SIGKILL)
    stuck.join()


def test_several_jobs_go_on_at_once(workers: Workers, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    stuck = Stuck(workers, tmp_path / "one")
    (tmp_path / "two").mkdir()
    with given(tar_of({"b": b"y"})) as blob:
        workers.unpack(blob, tmp_path / "two", "overlay")
    os.kill(stuck.child, signal.SIGKILL)
    stuck.join()


def test_a_stream_is_inflated_and_its_damage_told_at_the_end(workers: Workers) -> None:
    data = os.urandom(3 << 20)
    with given(gzip.compress(data)) as blob, workers.inflating(blob) as stream:
        assert b"".join(iter(lambda: stream.read(65536), b"")) == data
    damaged = given(gzip.compress(data)[:-9])
    with damaged as blob, workers.inflating(blob) as stream, pytest.raises(Invalid, match="truncated"):
        list(iter(lambda: stream.read(65536), b""))
    with given(gzip.compress(data)) as blob, workers.inflating(blob) as stream:
        assert io.BytesIO(data).read(10) == stream.read(10)
