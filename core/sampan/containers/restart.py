"""Restart policies: whether an ended container is to run again, and when."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sampan.containers.timestamps import nanoseconds
from sampan.types import Container

FIRST, LONGEST = 0.1, 60.0  # seconds
STEADY = 10.0  # a container that ran this long has earned a fresh start


def wanted(record: Container) -> bool:
    """After an exit that nobody asked for."""
    policy: Mapping[str, Any] = record.host_config["RestartPolicy"]
    if record.state.stopped_by_user:
        return False
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
