"""The paths of /proc and /sys that a container may not see or change, as Docker has them."""

from __future__ import annotations

import functools
from pathlib import Path

READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_MASKED = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)


def masked() -> list[str]:
    """With the thermal counters of each processor, which tell one tenant what another one does."""
    return [*_MASKED, *_thermal()]


@functools.cache
def _thermal() -> tuple[str, ...]:
    return tuple(map(str, sorted(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle"))))
