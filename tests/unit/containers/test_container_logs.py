"""Reading logs as Docker's json-file driver writes them: rotation, tail, bounds in time, following."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from sampan.containers import timestamps
from sampan.containers.streams.logformats import LogEntry
from sampan.containers.streams.logs import Wanted, follow, read
from sampan.monitor.log import open_log

START = 1_700_000_000


def line(number: int, stream: str = "stdout") -> str:
    stamp = timestamps.text((START + number) * 1_000_000_000)
    return json.dumps({"log": f"line {number}\n", "stream": stream, "time": stamp}) + "\n"


def numbers(entries: list[LogEntry]) -> list[int]:
    return [int(entry.data.split()[1]) for entry in entries]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Ten lines in three files; odd ones on stderr."""
    path = tmp_path / "x-json.log"
    parts = {".2": range(3), ".1": range(3, 6), "": range(6, 10)}
    for suffix, chosen in parts.items():
        path.with_name(path.name + suffix).write_text("".join(line(n, ("stdout", "stderr")[n % 2]) for n in chosen))
    return path


def test_all_of_it_in_order(log: Path) -> None:
    assert numbers(list(read(log, Wanted()))) == list(range(10))
    assert numbers(list(read(log, Wanted(stdout=False)))) == [1, 3, 5, 7, 9]


@pytest.mark.parametrize("tail", [0, 1, 3, 4, 5, 7, 10, 99])
def test_tail(log: Path, tail: int) -> None:
    assert numbers(list(read(log, Wanted(tail=tail)))) == list(range(10))[10 - min(tail, 10) :]
    mine = [number for number in range(10 - min(tail, 10), 10) if not number % 2]
    assert numbers(list(read(log, Wanted(tail=tail, stderr=False)))) == mine


def test_bounds_in_time(log: Path) -> None:
    since, until = (START + 3) * 1_000_000_000, (START + 6) * 1_000_000_000
    assert numbers(list(read(log, Wanted(since=since, until=until)))) == [3, 4, 5, 6]
    assert numbers(list(read(log, Wanted(since=since, until=until, tail=5)))) == [5, 6]
    assert numbers(list(read(log, Wanted(since=since, until=until, tail=2)))) == []


def test_what_is_no_entry_is_passed_over(log: Path) -> None:
    with log.open("ab") as file:
        file.write(b'{"log":1}\nnonsense\n\xff\xfe\n{"log":"x","stream":"keyboard","time":""}\n' + line(10).encode())
        file.write(line(11).rstrip("\n").encode())  # still being written
    assert numbers(list(read(log, Wanted()))) == list(range(11))
    assert numbers(list(read(log, Wanted(tail=1)))) == [10]


def test_no_log_yet(tmp_path: Path) -> None:
    assert list(read(tmp_path / "none", Wanted(tail=5))) == []


@given(lengths=some.lists(some.integers(0, 70_000), max_size=6), tail=some.integers(0, 8))
def test_tail_of_long_lines(tmp_path_factory: pytest.TempPathFactory, lengths: list[int], tail: int) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    entries = [{"log": "x" * length + "\n", "stream": "stdout", "time": "2026-01-01T00:00:00Z"} for length in lengths]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    found = [len(entry.data) - 1 for entry in read(path, Wanted(tail=tail))]
    assert found == lengths[len(lengths) - min(tail, len(lengths)) :]


def rotate(log: Path) -> None:
    log.rename(log.with_name(log.name + ".1"))
    log.touch()


def empty(log: Path) -> None:
    log.write_text("")


def test_follow(log: Path) -> None:
    """Lines that are added, the file rotated, another one emptied in place: nothing is lost, and it ends."""

    async def run() -> list[int]:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        following = follow(log, Wanted(tail=1), ended)
        found = numbers(await anext(following))

        async def grow(text: str) -> None:
            with log.open("a") as file:
                file.write(text)
            found.extend(numbers(await asyncio.wait_for(anext(following), 10)))

        await grow(line(10))
        rotate(log)
        await grow(line(11))
        empty(log)
        await grow(line(1))
        with log.open("a") as file:
            file.write(line(13))
        ended.set_result(None)
        async for several in following:
            found.extend(numbers(several))
        return found

    assert asyncio.run(run()) == [9, 10, 11, 1, 13]


def test_follow_until(log: Path) -> None:
    """It ends when the time has come, and takes what was written up to then, though somebody goes on writing."""

    async def run() -> list[int]:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        until = time.time_ns() + 200_000_000
        task = asyncio.ensure_future(_all(follow(log, Wanted(tail=0, until=until), ended)))
        number = 10
        while not task.done():
            with log.open("a") as file:
                entry = {"log": f"line {number}\n", "stream": "stdout", "time": timestamps.now()}
                file.write(json.dumps(entry) + "\n")
            number += 1
            await asyncio.wait([task], timeout=0.02)
        assert timestamps.nanoseconds(task.result()[-1].time) <= until
        return numbers(task.result())

    found = asyncio.run(run())
    assert found == list(range(found[0], found[-1] + 1))


def test_follow_until_a_time_when_nothing_is_written(log: Path) -> None:
    async def run() -> list[LogEntry]:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        wanted = Wanted(tail=1, until=time.time_ns() + 50_000_000)
        return await asyncio.wait_for(_all(follow(log, wanted, ended)), 10)

    assert numbers(asyncio.run(run())) == [9]


async def _all(several: AsyncIterator[list[LogEntry]]) -> list[LogEntry]:
    return [entry async for entries in several for entry in entries]


@pytest.mark.parametrize("max_file", [1, 2, 5])
@pytest.mark.parametrize("driver", ["json-file", "local"])
@pytest.mark.parametrize("compress", [False, True])
def test_following_a_log_that_is_rotated_all_the_time(
    tmp_path: Path, max_file: int, driver: str, compress: bool
) -> None:
    """A follower that keeps up loses nothing and gets nothing twice."""
    path = tmp_path / "log"
    lines = 1000 if compress else 2000  # each file is compressed by a process of its own
    wanted = {"driver": driver, "path": str(path), "max_size": 2000, "max_file": max_file, "compress": compress}

    async def run() -> list[int]:
        written = open_log(wanted)
        assert written
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        following = follow(path, Wanted(), ended, driver)
        found: list[int] = []
        for number in range(0, lines, 10):
            written.write(1, b"".join(b"line %d\n" % each for each in range(number, number + 10)))
            while not found or found[-1] < number + 9:
                found += numbers(await asyncio.wait_for(anext(following), 10))
        written.close()
        await following.aclose()
        return found

    assert asyncio.run(run()) == list(range(lines))
    names = [f"log.{number}{'.gz' if compress else ''}" for number in range(1, max_file)]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log", *names]


@pytest.mark.parametrize("driver", ["json-file", "local"])
@pytest.mark.parametrize("buffer", [0, 1 << 20])
def test_a_log_whose_older_files_are_compressed(tmp_path: Path, driver: str, buffer: int) -> None:
    path = tmp_path / "log"
    files = {"path": str(path), "max_size": 4000, "max_file": 4}
    written = open_log({"driver": driver, **files, "compress": True, "buffer": buffer})
    assert written
    for number in range(400):
        written.write(1, b"line %d\n" % number)
    written.close()
    assert {each.name for each in tmp_path.iterdir()} == {"log", "log.1.gz", "log.2.gz", "log.3.gz"}
    told = numbers(list(read(path, Wanted(), driver)))
    assert told == list(range(told[0], 400))
    assert len(told) > 100
    for tail in (0, 1, 30, len(told), 1000):
        assert numbers(list(read(path, Wanted(tail=tail), driver))) == told[max(0, len(told) - tail) :][: tail or 0]
    whole = gzip.decompress((tmp_path / "log.1.gz").read_bytes())  # by a reader that is not ours
    assert len(whole) >= 4000


@pytest.mark.parametrize("left", ["log.1.gz.new", "log.2.gz.new", "log.1.gz"])
def test_compressing_that_was_cut_short(tmp_path: Path, left: str) -> None:
    """The file is there until its compressed form is whole; who finds both takes the file."""
    path = tmp_path / "log"
    path.with_name("log.1").write_text("".join(map(line, range(5))))
    path.with_name(left).write_bytes(b"\x1f\x8b\x08\x10half")
    path.write_text(line(5))
    assert numbers(list(read(path, Wanted()))) == list(range(6))
    log = open_log({"path": str(path), "max_size": 100, "max_file": 3, "compress": True})
    assert log
    log.write(1, b"line 6\n")
    log.write(1, b"line 7\n")
    log.close()
    assert numbers(list(read(path, Wanted()))) == list(range(8))
    assert not list(tmp_path.glob("*.new"))


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_what_the_monitor_writes_is_read(tmp_path: Path, driver: str) -> None:
    said = [b"plain\n", b"\n", b'"quoted" \\n \x7f\x00\n', "grün \ufdd0\n".encode(), b"x" * 20_000 + b"\n", b"no end"]
    path = tmp_path / "log"
    written = open_log({"driver": driver, "path": str(path), "max_size": 0, "max_file": 1})
    assert written
    for each in said:
        written.write(1, each)
    written.write(2, b"error\n")
    written.close()
    entries = list(read(path, Wanted(), driver))
    assert b"".join(entry.data for entry in entries if entry.stream == "stdout") == b"".join(said)
    assert [entry.data for entry in entries if entry.stream == "stderr"] == [b"error\n"]
    assert all(timestamps.nanoseconds(entry.time) for entry in entries)
    for tail in range(len(entries) + 2):
        assert list(read(path, Wanted(tail=tail), driver)) == entries[max(0, len(entries) - tail) :]


def test_a_local_log_whose_last_entry_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written = open_log({"driver": "local", "path": str(path), "max_size": 0, "max_file": 1})
    assert written
    written.write(1, b"one\ntwo\nthree\n")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 3)
    assert [entry.data for entry in read(path, Wanted(), "local")] == [b"one\n", b"two\n"]
    assert [entry.data for entry in read(path, Wanted(tail=1), "local")] == [b"two\n"]


@given(some.binary(max_size=200))
def test_any_bytes_are_read_as_a_log(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_bytes(data)
    for driver in ("json-file", "local"):
        list(read(path, Wanted(), driver))
        list(read(path, Wanted(tail=3), driver))


def test_the_tail_of_a_large_log_is_read_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole that nobody can read through
        file.seek(0, 2)
        file.write(("\n" + line(1) + line(2)).encode())
    assert numbers(list(read(path, Wanted(tail=2)))) == [1, 2]
