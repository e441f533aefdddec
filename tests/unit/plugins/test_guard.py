"""Other people's drivers: what hangs is given up, undone and not asked again; what is nonsense is told as such."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.drivers import NetworkDriver, RuntimeDriver, StorageDriver
from sampan.drivers.steps import Trail, step
from sampan.drivers.types import Change, ChangeKind, Finding, Stats
from sampan.errors import Conflict, Exhausted, Internal, SampanError, Unavailable
from sampan.guard import Guarded

WHO = "storage driver 'raft' (raft 1.0)"


class Raft:
    """Notes its calls; each does what it is told to."""

    monitor_module = "raft_half"

    def __init__(self, **does: Callable[..., Any]) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.does = does

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            self.calls.append((name, *args))
            return self.does.get(name, lambda *args, **options: None)(*args, **options)

        return call


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


def guarded(patience: float = 0.1, contract: type[Any] = StorageDriver, **does: Callable[..., Any]) -> tuple[Any, Raft]:
    raft = Raft(**does)
    return Guarded(raft, contract, WHO, patience), raft


def eventually(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


def hangs(driver: Any, name: str, *args: Any) -> None:
    with pytest.raises(Unavailable, match=rf"hangs: {name}\(\) did not come back within 0.1 seconds"):
        getattr(driver, name)(*args)


def test_what_it_says_otherwise_is_passed_on() -> None:
    driver, raft = guarded(usage=lambda container: 7)
    assert (driver.usage("a"), driver.monitor_module) == (7, "raft_half")
    assert raft.calls == [("usage", "a")]


def test_a_call_that_hangs_is_given_up_and_not_made_again(gate: threading.Event) -> None:
    driver, raft = guarded(create=lambda *args, **options: gate.wait(), usage=lambda container: 7)
    hangs(driver, "create", "a", None)
    assert driver.hanging().startswith("create() was called 0 seconds ago and has not come back")
    for name in ("create", "mount"):  # nothing new is begun
        with pytest.raises(Unavailable, match=rf"{name}\(\) is not called, for it hangs: create\(\) was called"):
            getattr(driver, name)("b")
    driver.remove("a")
    assert driver.usage("a") == 7
    assert [call[0] for call in raft.calls] == ["create", "remove", "usage"]


def test_what_comes_back_late_is_taken_away_before_anything_new_is_made(gate: threading.Event) -> None:
    undone = threading.Event()
    driver, raft = guarded(create=lambda *args, **options: gate.wait(), remove=lambda container: undone.wait())
    hangs(driver, "create", "a", None)
    gate.set()
    eventually(lambda: ("remove", "a") in raft.calls)
    assert driver.hanging()
    undone.set()
    eventually(lambda: not driver.hanging())
    driver.create("b", None)


def test_a_descriptor_that_comes_late_is_closed(gate: threading.Event) -> None:
    late: list[int] = []

    def mount(container: str) -> int:
        gate.wait()
        late.append(os.open("/", os.O_RDONLY))
        return late[0]

    driver, _ = guarded(mount=mount)
    hangs(driver, "mount", "a")
    gate.set()
    eventually(lambda: not driver.hanging())
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(late[0])


def test_a_sandbox_that_has_gone_meanwhile_is_not_named(gate: threading.Event, tmp_path: Path) -> None:
    driver, raft = guarded(contract=NetworkDriver, join=lambda *args: gate.wait())
    hangs(driver, "join", "network", "endpoint", tmp_path / "gone")
    gate.set()
    eventually(lambda: ("leave", "network", "endpoint", None) in raft.calls)


def test_who_only_looks_stands_in_nobodys_way(gate: threading.Event) -> None:
    driver, _ = guarded(usage=lambda container: gate.wait())
    hangs(driver, "usage", "a")
    driver.create("b", None)
    with pytest.raises(Unavailable, match="is not called"):
        driver.usage("b")


def test_the_end_of_the_engine_waits_for_nobody(gate: threading.Event) -> None:
    driver, _ = guarded(60.0, create=lambda *args: gate.wait())
    failures: list[SampanError] = []

    def create() -> None:
        try:
            driver.create("a")
        except SampanError as error:
            failures.append(error)

    thread = threading.Thread(target=create)
    thread.start()
    eventually(lambda: bool(driver._open))
    driver.close()
    thread.join(10)
    assert isinstance(failures[0], Unavailable)


def test_what_is_nearly_done_is_done_when_the_engine_ends(gate: threading.Event) -> None:
    done: list[str] = []

    def slow(container: str) -> None:
        gate.wait()
        done.append(container)

    driver, _ = guarded(60.0, remove=slow)
    thread = threading.Thread(target=driver.remove, args=["a"])
    thread.start()
    eventually(lambda: bool(driver._open))
    threading.Timer(0.05, gate.set).start()
    driver.close()
    assert done == ["a"]
    thread.join(10)


class Raft2(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("raised", "kind", "sentence"),
    [
        (KeyError("root"), Internal, f"{WHO}: create() failed: KeyError: 'root'"),
        (SystemExit(3), Internal, f"{WHO}: create() failed: SystemExit: 3"),
        (KeyboardInterrupt(), Internal, f"{WHO}: create() failed: KeyboardInterrupt"),
        (RuntimeError("two\nlines"), Internal, f"{WHO}: create() failed: RuntimeError: two lines"),
        (Raft2(), Internal, f"{WHO}: create() failed: Raft2"),
        (OSError(28, "No space left on device"), Exhausted, "create() failed: OSError: [Errno 28] No space"),
        (type("Leak", (Conflict,), {})("taken"), Conflict, "taken"),
        (type("Leak", (SampanError,), {})("wet"), Internal, "wet"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_whatever_it_raises_is_a_kind_and_a_sentence(raised: BaseException, kind: type[Any], sentence: str) -> None:
    def create(*args: Any) -> None:
        raise raised

    driver, raft = guarded(create=create)
    with pytest.raises(SampanError) as caught:
        driver.create("a")
    assert type(caught.value) is kind
    assert sentence in caught.value.message
    assert (("remove", "a") in raft.calls) == (not isinstance(raised, SampanError))  # it did not see that coming


NONSENSE = [
    (StorageDriver, "layers", ["a", {7}, None]),
    (StorageDriver, "begin_layer", ["/tmp", Path("here"), Path("/no/such/place"), None]),
    (StorageDriver, "mount", [None, True, -1, 1, 99_999, "3"]),
    (StorageDriver, "changes", [None, 7, ["/etc"], [Change("/etc", "modified")], [Change(b"/", ChangeKind.ADDED)]]),  # type: ignore[arg-type]
    (StorageDriver, "usage", [None, -1, "7", True, 1.5]),
    (StorageDriver, "describe", [None, 7, {"UpperDir": 7}, {7: "x"}]),
    (NetworkDriver, "join", ["10.0.0.2/24", [7], 7]),
    (NetworkDriver, "examine", [None, ["all is well"], [Finding(about="x", says="y", mark="bad")]]),  # type: ignore[arg-type]
    (RuntimeDriver, "order", [None, "go", {}, {"terminal": 1}, {"terminal": True, "x": object()}, {7: 7}]),
    (RuntimeDriver, "processes", [None, ["1"], [-1], 7]),
    (RuntimeDriver, "frozen", [None, "no", 0]),
    (RuntimeDriver, "stats", [None, {}, Stats(memory="much"), Stats(per_cpu_ns=7)]),  # type: ignore[arg-type]
    (RuntimeDriver, "starvation", [True, -1, 99_999, "3"]),
    (RuntimeDriver, "usual", [object()]),
]


@pytest.mark.parametrize(
    ("contract", "name", "answer"), [(contract, name, each) for contract, name, answers in NONSENSE for each in answers]
)
def test_answers_that_are_none(contract: type[Any], name: str, answer: Any) -> None:
    driver, _ = guarded(10.0, contract, **{name: lambda *args: answer})
    with pytest.raises(Internal) as caught:
        driver.__dict__[name]("a")
    assert caught.value.message.startswith(f"{WHO}: {name}() returned ")
    assert caught.value.message.endswith(" was expected")


def test_changes_that_never_end_are_given_up(gate: threading.Event) -> None:
    def endless() -> Iterator[Change]:
        while not gate.is_set():
            time.sleep(0.01)
            yield Change("/", ChangeKind.MODIFIED)

    driver, _ = guarded(changes=lambda container: endless())
    hangs(driver, "changes", "a")


def test_its_steps_are_the_callers() -> None:
    def create(*args: Any) -> None:
        with step("saw planks", "plank"):
            pass

    driver, _ = guarded(create=create)
    with Trail() as trail, step("build a raft", driver="raft"):
        driver.create("a")
    assert [(each.what, each.driver) for each in trail.steps()] == [("build a raft", "raft"), ("saw planks", "raft")]
