"""Reading logs as Docker's json-file driver writes them: rotation, tail, bounds in time, following."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from sampan.containers import timestamps
from sampan.containers.logs import LogEntry, Wanted, follow, read

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
    mine = [0, 2, 4, 6, 8]
    assert numbers(list(read(log, Wanted(tail=tail, stderr=False)))) == mine[5 - min(tail, 5) :]


def test_bounds_in_time(log: Path) -> None:
    since, until = (START + 3) * 1_000_000_000, (START + 6) * 1_000_000_000
    assert numbers(list(read(log, Wanted(since=since, until=until)))) == [3, 4, 5, 6]
    assert numbers(list(read(log, Wanted(since=since, until=until, tail=2)))) == [5, 6]


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
        found = numbers([await anext(following)])

        async def grow(text: str) -> None:
            with log.open("a") as file:
                file.write(text)
            found.extend(numbers([await asyncio.wait_for(anext(following), 10)]))

        await grow(line(10))
        rotate(log)
        await grow(line(11))
        empty(log)
        await grow(line(1))
        with log.open("a") as file:
            file.write(line(13))
        ended.set_result(None)
        async for entry in following:
            found.extend(numbers([entry]))
        return found

    assert asyncio.run(run()) == [9, 10, 11, 1, 13]


def test_follow_until(log: Path) -> None:
    async def run() -> list[int]:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        wanted = Wanted(tail=0, until=(START + 11) * 1_000_000_000)
        following = follow(log, wanted, ended)
        task = asyncio.ensure_future(_all(following))
        while not task.done():
            with log.open("a") as file:
                file.write("".join(line(n) for n in (10, 11, 12)))
            await asyncio.wait([task], timeout=0.05)
        return numbers(task.result())

    assert set(asyncio.run(run())) == {10, 11}


async def _all(entries: object) -> list[LogEntry]:
    return [entry async for entry in entries]  # type: ignore[attr-defined]
