"""Health checks: what the results mean, and when a container is checked, with dummies below the service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.containers import timestamps
from sampan.containers.health import healthcheck
from sampan.containers.health.probe import duration, unframed
from sampan.containers.monitors import Launch, Started
from sampan.containers.requests.request import Healthcheck
from sampan.containers.streams.attach import frame
from sampan.errors import Invalid, StartFailed
from sampan.types import Container, ExitCause, HealthResult, Status
from unit.containers.container_house import House, eventually, house

MS = 1_000_000


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as made:
        made.monitors.deadly = {15}
        yield made


class Checked:
    """Answers the execs of health checks: an exit code each, after saying something; None: it hangs."""

    def __init__(self, home: House, *codes: int | None, said: str = "") -> None:
        self.codes, self.said, self.seen = list(codes), said, 0
        self.hanging: list[Any] = []
        self.home, self.start = home, home.monitors.start
        home.monitors.start = self  # type: ignore[method-assign]

    def __call__(self, launch: Launch, **more: Any) -> Started:
        if launch.kind == "start":
            return self.start(launch, **more)
        self.seen += 1
        code = self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]
        theirs = launch.streams[0].theirs
        if code is None:
            self.hanging.append(theirs)
            return Started(0, 2, time.time_ns())
        theirs.sendall(frame("stdout", self.said.encode(), tty=False))
        started = self.start(launch, **more)
        self.home.monitors.end(launch.key, code)
        return started


def checked(home: House, *, labels: dict[str, str] | None = None, **health: Any) -> Container:
    times = {"Interval": 10 * MS, "Timeout": 5000 * MS, "Retries": 2}
    wanted = {"Test": ["CMD", "look"], **times, **health}
    record = home.create("one", Healthcheck=wanted, Labels=labels or {}, StopTimeout=5)
    home.containers.start("one")
    return record


def status(record: Container) -> str:
    assert record.state.health
    return record.state.health.status


def health_events(home: House) -> list[str]:
    return [event for event in home.events if event.startswith("health")]


def test_a_success_makes_healthy_and_failures_in_a_row_unhealthy(home: House) -> None:
    Checked(home, 1, 0, 1, 0, 1, 1, said="so")
    record = checked(home)
    assert status(record) == "starting"
    eventually(lambda: len(health_events(home)) == 2)
    assert health_events(home) == ["health_status: healthy", "health_status: unhealthy"]
    assert record.state.health
    assert len(record.state.health.log) == 5
    assert {each.output for each in record.state.health.log} == {"so"}
    assert home.recorded()[record.id].state.health
    assert "exec_create: look " in home.events


def test_a_check_that_takes_too_long_has_failed(home: House) -> None:
    Checked(home, None)
    record = checked(home, Timeout=5 * MS, Retries=1)
    eventually(lambda: status(record) == "unhealthy", 5)
    assert record.state.health
    result = record.state.health.log[0]
    assert (result.exit_code, result.output) == (-1, "Health check exceeded timeout (5ms)")


def test_one_that_cannot_be_started_has_failed(home: House) -> None:
    record = checked(home, Interval=100 * MS, Retries=1)
    home.failing["monitors.start exec"] = StartFailed("look: executable file not found in $PATH", 127)
    eventually(lambda: status(record) == "unhealthy")
    assert record.state.health
    assert record.state.health.log[0].exit_code == -1
    assert "executable file not found" in record.state.health.log[0].output


def test_nothing_is_checked_while_it_is_paused_and_after_its_end(home: House) -> None:
    checks = Checked(home, 0)
    record = checked(home)
    eventually(lambda: checks.seen > 2)
    home.containers.pause("one")
    time.sleep(0.03)  # one under way comes to its end
    seen = checks.seen
    time.sleep(0.05)
    assert checks.seen == seen
    home.containers.unpause("one")
    eventually(lambda: checks.seen > seen)
    home.end(record, 0)
    time.sleep(0.03)
    seen = checks.seen
    time.sleep(0.05)
    assert checks.seen == seen
    assert status(record) == "unhealthy"
    home.containers.start("one")
    assert status(record) == "starting"


def test_an_unhealthy_container_is_restarted_if_it_asks_for_that(home: House) -> None:
    Checked(home, 1, 1, 0, said="no answer")
    record = checked(home, labels={healthcheck.LABEL: "true"})
    eventually(lambda: record.restart_count == 1 and record.state.status is Status.RUNNING)
    assert (record.state.cause, record.state.cause_detail) == (
        ExitCause.HEALTH,
        "2 health checks failed in a row: no answer",
    )
    eventually(lambda: status(record) == "healthy")
    assert not record.state.stopped_by_user
    home.containers.stop("one")
    assert (record.state.status, record.state.cause) == (Status.EXITED, ExitCause.ASKED)


def test_without_the_label_it_is_left_alone(home: House) -> None:
    checks = Checked(home, 1)
    record = checked(home)
    eventually(lambda: checks.seen > 4)
    assert record.state.status is Status.RUNNING
    assert record.restart_count == 0


def test_failures_do_not_count_while_it_starts() -> None:
    record = _record()
    check = healthcheck.of(record)
    assert check
    now = timestamps.nanoseconds(record.state.started_at)
    for seconds in range(4):
        assert not healthcheck.judge(check, record, _result(now + seconds * 1_000_000_000, 1))
    assert healthcheck.pause(check, record, now) == 0.5
    assert healthcheck.pause(check, record, now + 6_000_000_000) == 2.0
    assert status(record) == "starting"
    assert healthcheck.judge(check, record, _result(now + 6_000_000_000, 1))
    assert status(record) == "unhealthy"


def test_after_a_success_failures_count_even_in_the_start_period() -> None:
    record = _record()
    check = healthcheck.of(record)
    assert check
    now = timestamps.nanoseconds(record.state.started_at)
    assert healthcheck.judge(check, record, _result(now, 0))
    assert healthcheck.pause(check, record, now) == 2.0
    assert healthcheck.judge(check, record, _result(now, 1))


def test_the_image_fills_what_the_request_leaves_open() -> None:
    image = {"Test": ["CMD-SHELL", "x"], "Interval": 7 * MS, "Retries": 4}
    own = healthcheck.merged(Healthcheck(Interval=9 * MS), image)
    assert own
    assert (own.Test, own.Interval, own.Retries) == (["CMD-SHELL", "x"], 9 * MS, 4)
    off = healthcheck.merged(Healthcheck(Test=["NONE"]), image)
    assert off
    assert off.Test == ["NONE"]
    assert healthcheck.merged(None, None) is None
    with pytest.raises(Invalid, match=r"the image's health check cannot be used: .*Interval"):
        healthcheck.merged(None, {"Test": ["CMD", "x"], "Interval": "often"})


@pytest.mark.parametrize(
    ("config", "command"),
    [
        ({"Healthcheck": {"Test": ["CMD", "a", "b"]}}, ["a", "b"]),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "a | b"]}}, ["/bin/sh", "-c", "a | b"]),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "a"]}, "Shell": ["/bin/bash", "-ec"]}, ["/bin/bash", "-ec", "a"]),
        ({"Healthcheck": {"Test": ["NONE"]}}, None),
        ({"Healthcheck": {"Interval": 5 * MS}}, None),
        ({}, None),
    ],
)
def test_what_is_run(config: dict[str, Any], command: list[str] | None) -> None:
    record = _record()
    record.config = config
    check = healthcheck.of(record)
    assert (check and check.command) == command


def test_output_is_cut_and_durations_are_told_as_go_does() -> None:
    assert unframed(frame("stdout", b"a", tty=False) + frame("stderr", b"b", tty=False)) == "ab"
    assert unframed(frame("stdout", b"x" * 5000, tty=False)) == "x" * 4096 + "..."
    assert unframed(frame("stdout", b"x" * 4096, tty=False)) == "x" * 4096
    assert [duration(each) for each in (0.2, 1.5, 30, 60, 90, 3600)] == [
        "200ms",
        "1.5s",
        "30s",
        "1m0s",
        "1m30s",
        "1h0m0s",
    ]


def _record() -> Container:
    nanoseconds = {"Interval": 2000 * MS, "StartPeriod": 5000 * MS, "StartInterval": 500 * MS, "Retries": 1}
    record = Container(
        id="c" * 64, name="one", created="", image="", image_reference="", layer="", host_config={}, path="", args=[],
        config={"Healthcheck": {"Test": ["CMD", "x"], **nanoseconds}}, storage_driver="", runtime="",
    )  # fmt: skip
    record.state.started_at = "2030-01-01T00:00:00.000000000Z"
    healthcheck.begun(record)
    return record


def _result(at: int, code: int) -> HealthResult:
    return HealthResult(start=timestamps.text(at), end=timestamps.text(at), exit_code=code, output="")
