"""What a health check is: the command, the times, and what its results mean (Engine API, ``HealthConfig``, ``Health``).

The rules are Docker's: within the start period failures do not count until the first success; ``retries`` failures in
a row mean unhealthy; one success means healthy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sampan.containers import timestamps
from sampan.containers.requests.request import Config, Healthcheck
from sampan.errors import Invalid
from sampan.types import Container, Health, HealthResult

SECOND = 1_000_000_000
LEAST = 1_000_000  # nanoseconds
KEPT = 5  # results
OUTPUT = 4096  # bytes of a result's output
SHELL = ("/bin/sh", "-c")
LABEL = "sampan.restart-unhealthy"
_TIMES = ("Interval", "Timeout", "StartPeriod", "StartInterval")
_KINDS = ("NONE", "CMD", "CMD-SHELL")


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A check to carry out; times in seconds."""

    command: list[str]
    interval: float
    timeout: float
    start_period: float
    start_interval: float
    retries: int


def validate(health: Healthcheck | None) -> None:
    """Raises ``Invalid`` with Docker's sentences."""
    if health is None:
        return
    for name in _TIMES:
        if 0 != getattr(health, name) < LEAST:
            raise Invalid(f"{name} in Healthcheck cannot be less than 1ms")
    if health.Retries < 0:
        raise Invalid("Retries in Healthcheck cannot be negative")
    kind = health.Test[0] if health.Test else "NONE"
    if kind not in _KINDS:
        raise Invalid(f"unknown type in Healthcheck: {kind}, expected CMD, CMD-SHELL or NONE")
    if kind != "NONE" and not any(health.Test[1:2]):
        raise Invalid(f"no command is given in Healthcheck after {kind}")


def validate_label(config: Config, *, removed: bool) -> None:
    """The label that asks for a restart of unhealthy containers. ``removed``: with ``--rm``. Raises ``Invalid``."""
    value = config.Labels.get(LABEL, "false")
    if value not in ("true", "false"):
        raise Invalid(f"invalid label {LABEL}={value}: true or false is expected")
    if value == "true" and removed:
        raise Invalid("can't create 'AutoRemove' container that is to be restarted when it is unhealthy")


def merged(own: Healthcheck | None, image: Mapping[str, Any] | None) -> Healthcheck | None:
    """What the request leaves open is the image's. Raises ``Invalid`` if the image's check is malformed."""
    if not image:
        return own
    own = own or Healthcheck()
    for name in Healthcheck.__struct_fields__:
        setattr(own, name, getattr(own, name) or image.get(name) or getattr(own, name))
    try:
        found = msgspec.convert(msgspec.to_builtins(own), Healthcheck)
        validate(found)
    except (msgspec.ValidationError, Invalid) as error:
        raise Invalid(f"the image's health check cannot be used: {error}") from None
    return found


def of(record: Container) -> Check | None:
    """The container's check, None if it has none."""
    config = record.config.get("Healthcheck") or {}
    test = config.get("Test") or ["NONE"]
    if test[0] == "NONE":
        return None
    shell = record.config.get("Shell") or SHELL
    return Check(
        command=[*shell, *test[1:]] if test[0] == "CMD-SHELL" else list(test[1:]),
        interval=(config.get("Interval") or 30 * SECOND) / SECOND,
        timeout=(config.get("Timeout") or 30 * SECOND) / SECOND,
        start_period=(config.get("StartPeriod") or 0) / SECOND,
        start_interval=(config.get("StartInterval") or 5 * SECOND) / SECOND,
        retries=config.get("Retries") or 3,
    )


def restarts(record: Container) -> bool:
    """Is it to be restarted when it is unhealthy?"""
    return bool(record.config["Labels"].get(LABEL) == "true")


def pause(check: Check, record: Container, now: int) -> float:
    """Seconds from one check to the next; ``now`` in nanoseconds since 1970."""
    health = record.state.health
    starting = health is not None and health.status == "starting"
    return check.start_interval if starting and _in_start(check, record, now) else check.interval


def judge(check: Check, record: Container, result: HealthResult) -> bool:
    """Take a result into the container's health; whether its status has changed."""
    health = record.state.health
    assert health is not None
    before = health.status
    health.log = [*health.log, result][-KEPT:]
    if result.exit_code == 0:
        health.failing_streak, health.status = 0, "healthy"
    elif before != "starting" or not _in_start(check, record, timestamps.nanoseconds(result.start)):
        health.failing_streak += 1
        if health.failing_streak >= check.retries:
            health.status = "unhealthy"
    return health.status != before


def begun(record: Container) -> None:
    """A run begins: nothing is known of it; what was seen before is kept, as Docker does."""
    kept = record.state.health.log if record.state.health else []
    record.state.health = Health(log=kept)


def told(health: Health) -> dict[str, Any]:
    """As ``inspect`` shows it."""
    return {
        "Status": health.status,
        "FailingStreak": health.failing_streak,
        "Log": [
            {"Start": each.start, "End": each.end, "ExitCode": each.exit_code, "Output": each.output}
            for each in health.log
        ],
    }


def _in_start(check: Check, record: Container, now: int) -> bool:
    return now - timestamps.nanoseconds(record.state.started_at) < check.start_period * SECOND
