"""The log that a monitor writes: Docker's json-file format, rotated, never in the container's way."""

from __future__ import annotations

import json
import re
import resource
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from sampan.monitor.log import Log, open_log
from sampan.monitor.ring import Ring

STDOUT, STDERR = 1, 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "container.log"


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().removesuffix(b"\n").split(b"\n") if line]


def text(path: Path, stream: str = "stdout") -> str:
    return "".join(entry["log"] for entry in entries(path) if entry["stream"] == stream)


def log(path: Path, max_size: int = 0, max_file: int = 1) -> Log:
    return Log(str(path), max_size, max_file)


def test_a_line_becomes_an_entry_with_stream_and_time(path: Path) -> None:
    written = log(path)
    written.write(STDOUT, b"out\n")
    written.write(STDERR, b"err\n")
    out, err = entries(path)
    assert (out["log"], out["stream"]) == ("out\n", "stdout")
    assert (err["log"], err["stream"]) == ("err\n", "stderr")
    assert set(out) == {"log", "stream", "time"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", out["time"])


def test_several_lines_in_one_piece_are_several_entries(path: Path) -> None:
    log(path).write(STDOUT, b"a\n\nb\n")
    assert [entry["log"] for entry in entries(path)] == ["a\n", "\n", "b\n"]


def test_a_line_that_comes_in_pieces_is_one_entry(path: Path) -> None:
    written = log(path)
    for piece in (b"be", b"gin", b"ning\nre"):
        written.write(STDOUT, piece)
    assert [entry["log"] for entry in entries(path)] == ["beginning\n"]


def test_the_streams_pieces_are_kept_apart(path: Path) -> None:
    written = log(path)
    for stream, piece in ((STDOUT, b"o"), (STDERR, b"e"), (STDOUT, b"ut\n"), (STDERR, b"rr\n")):
        written.write(stream, piece)
    assert (text(path), text(path, "stderr")) == ("out\n", "err\n")


def test_a_last_line_without_an_end_is_logged_at_the_end(path: Path) -> None:
    written = log(path)
    written.write(STDOUT, b"prompt> ")
    assert entries(path) == []
    written.close()
    assert text(path) == "prompt> "


def test_a_long_line_is_cut_every_16_kib_and_nothing_is_lost(path: Path) -> None:
    written = log(path)
    long = b"x" * 40_000
    written.write(STDOUT, long[:20_000])
    written.write(STDOUT, long[20_000:] + b"\n")
    assert [len(entry["log"]) for entry in entries(path)] == [16384, 16384, 40_001 - 2 * 16384]
    assert text(path) == long.decode() + "\n"


@pytest.mark.parametrize(
    "data", [b'quote " backslash \\ \t\x00\x1b[0m', "ünïcödé \u2028 🚣".encode(), b"not utf-8 \xff\xfe"]
)
def test_any_bytes_are_a_valid_entry(path: Path, data: bytes) -> None:
    log(path).write(STDOUT, data + b"\n")
    assert text(path) == data.decode("utf-8", "replace") + "\n"


def test_a_full_log_is_rotated_and_the_oldest_goes(path: Path) -> None:
    written = log(path, max_size=300, max_file=3)
    for number in range(40):
        written.write(STDOUT, b"line %d\n" % number)
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, f"{path.name}.1", f"{path.name}.2"]
    newest_last = text(Path(f"{path}.2")) + text(Path(f"{path}.1")) + text(path)
    numbers = [int(word) for word in newest_last.split() if word != "line"]
    assert numbers == list(range(numbers[0], 40)), "in order, without a gap"
    assert all(each.stat().st_size < 400 for each in path.parent.iterdir())


def test_with_one_file_a_full_log_starts_anew(path: Path) -> None:
    written = log(path, max_size=200, max_file=1)
    for number in range(20):
        written.write(STDOUT, b"line %d\n" % number)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert path.stat().st_size < 300


def test_without_a_size_nothing_is_rotated(path: Path) -> None:
    written = log(path, max_size=0, max_file=3)
    for _ in range(1000):
        written.write(STDOUT, b"line\n")
    assert len(entries(path)) == 1000


def test_a_log_is_continued_and_its_size_counts(path: Path) -> None:
    first = log(path)
    first.write(STDOUT, b"first\n" * 10)
    first.close()
    second = log(path, max_size=path.stat().st_size + 10, max_file=2)
    second.write(STDOUT, b"second\n")
    assert Path(f"{path}.1").exists()
    assert entries(Path(f"{path}.1"))[-1]["log"] == "second\n"


@pytest.fixture
def small_files() -> Iterator[int]:
    """No file may grow beyond this, as on a full disk (setrlimit(2), RLIMIT_FSIZE; Python ignores SIGXFSZ)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield 1000
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_costs_lines_but_never_half_a_line(path: Path, small_files: int) -> None:
    written = log(path)
    for number in range(50):
        written.write(STDOUT, b"line %d\n" % number)
    found = entries(path)
    assert 5 < len(found) < 20
    assert [entry["log"] for entry in found] == [f"line {number}\n" for number in range(len(found))]


def test_a_log_that_cannot_be_rotated_goes_on(path: Path) -> None:
    """Its descriptor must stay its own meanwhile: a number that was closed may be a client's a moment later."""
    written = log(path, max_size=100, max_file=2)
    moved = path.parent.parent / "moved"
    path.parent.rename(moved)  # now there is no place for a new file
    for number in range(10):
        written.write(STDOUT, b"line %d\n" % number)
    assert len(entries(moved / path.name)) == 10


def test_no_log_is_wanted() -> None:
    assert open_log(None) is None


def test_a_log_is_wanted(path: Path) -> None:
    wanted = open_log({"driver": "json-file", "path": str(path), "max_size": 0, "max_file": 1})
    assert wanted is not None
    wanted.write(STDOUT, b"x\n")
    assert text(path) == "x\n"


class Slow:
    """A log on a disk that writes only when ``go`` is released."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.written = b""
        self.closed = False

    def write(self, stream: int, data: bytes) -> None:
        assert stream == STDOUT
        self.go.acquire()
        self.written += data

    def close(self) -> None:
        self.closed = True


def test_a_container_does_not_wait_for_a_slow_disk_and_what_is_too_much_is_lost() -> None:
    slow = Slow()
    ring = Ring(slow, 100)  # type: ignore[arg-type]
    for number in range(20):
        ring.write(STDOUT, b"line %04d\n" % number)
    slow.go.release(20)
    ring.close()
    assert slow.written == b"".join(b"line %04d\n" % number for number in range(10))
    assert slow.closed


def test_a_non_blocking_log_is_wanted(path: Path) -> None:
    wanted = open_log({"driver": "json-file", "path": str(path), "max_size": 0, "max_file": 1, "buffer": 1000})
    assert isinstance(wanted, Ring)
    wanted.write(STDOUT, b"x" * 5000 + b"\n")  # more than the buffer, but alone
    wanted.close()
    assert text(path) == "x" * 5000 + "\n"


def test_entries_have_what_else_is_wanted(path: Path) -> None:
    wanted = open_log({"path": str(path), "max_size": 0, "max_file": 1, "extra": ',"attrs":{"a":"b"}'})
    assert wanted
    wanted.write(STDOUT, b"one\ntwo\n")
    assert [entry["attrs"] for entry in entries(path)] == [{"a": "b"}] * 2


@settings(deadline=None)  # a machine may be busy
@given(data=some.lists(some.binary(max_size=50) | some.sampled_from([b"\n", b"\x7f", b"\\n", b'"', b"\xff", b"\xc3"])))
def test_any_bytes_are_kept_as_text(tmp_path_factory: pytest.TempPathFactory, data: list[bytes]) -> None:
    """Apart from what is no UTF-8."""
    path = tmp_path_factory.mktemp("log") / "log"
    written, whole = log(path), b"".join(data)
    for piece in data:
        written.write(STDOUT, piece)
    written.close()
    lines = whole.split(b"\n")
    expected = [(line + b"\n").decode("utf-8", "replace") for line in lines[:-1]]
    expected += [lines[-1].decode("utf-8", "replace")] if lines[-1] else []
    assert [entry["log"] for entry in entries(path)] == expected
