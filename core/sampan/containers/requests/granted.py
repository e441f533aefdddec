"""What this machine will not grant, told when a container is created, for it runs all the same.

Raising a hard limit and lowering an OOM score take CAP_SYS_RESOURCE (getrlimit(2), proc_pid_oom_score_adj(5)), which an
engine that runs in a container itself may lack.
"""

from __future__ import annotations

import resource
from pathlib import Path

from sampan.containers.bundle.resources import amount
from sampan.containers.requests.request import HostConfig
from sampan.linux import capabilities

LOCKS = 10
"""RLIMIT_LOCKS, which Linux keeps without heeding it; Python has no name for it."""


def warnings(host: HostConfig) -> list[str]:
    if (not host.Ulimits and host.OomScoreAdj >= 0) or _may():
        return []
    told = []
    for limit in host.Ulimits:
        most = resource.getrlimit(getattr(resource, f"RLIMIT_{limit.Name.upper()}", LOCKS))[1]
        if most != resource.RLIM_INFINITY and most < max(amount(limit.Soft), amount(limit.Hard)):
            told.append(f"ulimit {limit.Name} is at most {most} instead of {limit.Hard}")
    least = _own_score()
    if host.OomScoreAdj < 0 and host.OomScoreAdj < least:
        told.append(f"the oom score adj is {least} instead of {host.OomScoreAdj}")
    return [f"This machine does not grant the engine CAP_SYS_RESOURCE: {each}." for each in told]


def _may() -> bool:
    return bool(capabilities.permitted() >> capabilities.NAMES.index("SYS_RESOURCE") & 1)


def _own_score() -> int:
    return int(Path("/proc/self/oom_score_adj").read_text())
