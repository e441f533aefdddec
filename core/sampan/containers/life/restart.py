"""Restart policies: whether an ended container is to run again, and when."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sampan.containers.timestamps import nanoseconds
from sampan.errors import Invalid
from sampan.types import Container, ExitCause

FIRST, LONGEST = 0.1, 60.0  # seconds
STEADY = 10.0  # a container that ran this long has earned a fresh start


POLICIES = ("no", "always", "on-failure", "unless-stopped")


def validate(name: str, most: int) -> None:
    """A policy of a request. Raises ``Invalid`` with Docker's sentences."""
    if name and name not in POLICIES:
        names = ", ".join(f"'{each}'" for each in POLICIES[:-1])
        raise Invalid(f"invalid restart policy: unknown policy '{name}'; use one of {names}, or '{POLICIES[-1]}'")
    if most and name != "on-failure":
        more = " and cannot be negative" if most < 0 else ""
        raise Invalid(f"invalid restart policy: maximum retry count can only be used with 'on-failure'{more}")
    if most < 0:
        raise Invalid("invalid restart policy: maximum retry count cannot be negative")


def wanted(record: Container) -> bool:
    """After an exit that no user asked for."""
    policy: Mapping[str, Any] = record.host_config["RestartPolicy"]
    if record.state.stopped_by_user:
        return False
    if record.state.cause is ExitCause.HEALTH:
        return True
    match policy["Name"]:
        case "always" | "unless-stopped":
            return True
        case "on-failure":
            most = policy["MaximumRetryCount"]
            return record.state.exit_code != 0 and (not most or record.restart_count < most)
    return False


def wanted_at_boot(record: Container, *, was_alive: bool) -> bool:
    """When the daemon starts. ``was_alive``: it ran when the last daemon was last seen."""
    match record.host_config["RestartPolicy"]["Name"]:
        case "always":
            return bool(record.state.started_at)
        case "unless-stopped":
            return bool(record.state.started_at) and not record.state.stopped_by_user
    return was_alive and wanted(record)


def delay(before: float, record: Container) -> float:
    """Seconds to wait: doubled each time, from 0.1 to 60, and from the beginning after a steady run."""
    started = record.state.started_at
    ran = (time.time_ns() - nanoseconds(started)) / 1e9 if started else 0.0
    return FIRST if ran >= STEADY or not before else min(before * 2, LONGEST)
