"""A container's limits: which values make sense, and which of them this kernel can keep.

What Docker refuses is refused in its words; what the kernel cannot do is discarded with Docker's warning, so that the
container's record says what holds. The same limits as OCI has them are :mod:`sampan.containers.bundle.resources`'.
"""

from __future__ import annotations

import os
import posixpath

from sampan.containers.bundle.resources import THROTTLES, amount, device_number
from sampan.containers.requests.request import HostConfig, Resources
from sampan.errors import Invalid
from sampan.linux import abilities
from sampan.linux.abilities import Abilities

LEAST_MEMORY = 6 << 20
MOST_PIDS = 4_194_304
_NO = "Your kernel does not support "
_NOT_MOUNTED = " or the cgroup is not mounted. "
_RLIMITS = "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack"
RLIMITS = frozenset(_RLIMITS.split())


def check(host: HostConfig, able: Abilities | None = None) -> list[str]:
    """Refuse limits that cannot be (``Invalid``); returns warnings. Fills in what follows from the others."""
    warnings = check_resources(host, able)
    if not -1000 <= host.OomScoreAdj <= 1000:
        raise Invalid(f"Invalid value {host.OomScoreAdj}, range for oom score adj is [-1000, 1000]")
    if host.ShmSize < 0:
        raise Invalid("SHM size can not be less than 0")
    for limit in host.Ulimits:
        if limit.Name not in RLIMITS:
            raise Invalid(f"invalid ulimit type: {limit.Name}, expected one of {', '.join(sorted(RLIMITS))}")
        if amount(limit.Soft) > amount(limit.Hard):
            raise Invalid(f"ulimit soft limit must be less than or equal to hard limit: {limit.Soft} > {limit.Hard}")
    _check_parent(host.CgroupParent)
    if host.Memory and not host.MemorySwap:
        host.MemorySwap = min(2 * host.Memory, 2**63 - 1)
    if host.PidsLimit is not None and host.PidsLimit <= 0:
        host.PidsLimit = None
    if host.OomKillDisable is None and (able or abilities.of_host()).oom_kill_disable:
        host.OomKillDisable = False
    return warnings


def check_resources(wanted: Resources, able: Abilities | None = None, *, update: bool = False) -> list[str]:
    """The part that an update has, too. ``able`` is what the kernel can do, found out if it is not said."""
    able = able or abilities.of_host()
    warnings = _check_memory(wanted, able, update=update)
    warnings += _check_pids(wanted, able)
    warnings += _check_cpu(wanted, able)
    warnings += _check_block_io(wanted, able)
    if wanted.IOMaximumBandwidth or wanted.IOMaximumIOps:
        raise Invalid("Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps")
    return warnings


def _check_memory(wanted: Resources, able: Abilities, *, update: bool) -> list[str]:
    warnings = []
    if wanted.Memory and wanted.Memory < LEAST_MEMORY:
        raise Invalid("Minimum memory limit allowed is 6MB")
    if wanted.Memory and not able.memory:
        warnings.append(f"{_NO}memory limit capabilities{_NOT_MOUNTED}Limitation discarded.")
        wanted.Memory, wanted.MemorySwap = 0, -1
    if wanted.MemorySwap < -1:
        raise Invalid(f"invalid memory swap limit {wanted.MemorySwap}, expected bytes, or -1 for no limit")
    if wanted.Memory and wanted.MemorySwap != -1 and not able.swap:
        warnings.append(f"{_NO}swap limit capabilities{_NOT_MOUNTED}Memory limited without swap.")
        wanted.MemorySwap = -1
    if 0 < wanted.MemorySwap < wanted.Memory:
        raise Invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
    if wanted.MemorySwap > 0 and not wanted.Memory and not update:
        raise Invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
    warnings += _check_swappiness(wanted, able)
    if wanted.MemoryReservation and not able.reservation:
        warnings.append(f"{_NO}memory soft limit capabilities{_NOT_MOUNTED}Limitation discarded.")
        wanted.MemoryReservation = 0
    if wanted.MemoryReservation and wanted.MemoryReservation < LEAST_MEMORY:
        raise Invalid("Minimum memory reservation allowed is 6MB")
    if 0 < wanted.Memory < wanted.MemoryReservation:
        raise Invalid("Minimum memory limit can not be less than memory reservation limit, see usage")
    return warnings + _check_kernel_memory(wanted, able)


def _check_swappiness(wanted: Resources, able: Abilities) -> list[str]:
    if wanted.MemorySwappiness == -1:  # what clients of old say for "the kernel's"
        wanted.MemorySwappiness = None
    if wanted.MemorySwappiness is not None and not able.swappiness:
        wanted.MemorySwappiness = None
        return [f"{_NO}memory swappiness capabilities{_NOT_MOUNTED}Memory swappiness discarded."]
    if wanted.MemorySwappiness is not None and not 0 <= wanted.MemorySwappiness <= 100:
        raise Invalid(f"Invalid value: {wanted.MemorySwappiness}, valid memory swappiness range is 0-100")
    return []


def _check_kernel_memory(wanted: Resources, able: Abilities) -> list[str]:
    """No kernel since 5.4 limits kernel memory by itself (commit 0158115f702b), and Docker gave it up."""
    warnings = []
    if wanted.KernelMemory > 0:
        warnings.append(f"{_NO}kernel memory limit capabilities{_NOT_MOUNTED}Limitation discarded.")
    if wanted.KernelMemoryTCP:
        warnings.append("a limit of kernel memory for TCP is not supported by this engine. Limitation discarded.")
    wanted.KernelMemory = wanted.KernelMemoryTCP = 0
    if wanted.OomKillDisable is not None and not able.oom_kill_disable:
        if wanted.OomKillDisable:
            warnings.append(f"{_NO}OomKillDisable. OomKillDisable discarded.")
        wanted.OomKillDisable = None
    if wanted.OomKillDisable and not wanted.Memory:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system "
            "running out of resources."
        )
    return warnings


def _check_pids(wanted: Resources, able: Abilities) -> list[str]:
    """0 and whatever is less are no limit."""
    limit = wanted.PidsLimit
    if limit is not None and limit > MOST_PIDS:
        raise Invalid(f"invalid pids limit {limit}, range is from 1 to {MOST_PIDS}, 0 or -1 for no limit")
    if limit is not None and not able.pids:
        wanted.PidsLimit = None
        if limit > 0:
            return [f"{_NO}PIDs limit capabilities{_NOT_MOUNTED}PIDs limit discarded."]
    return []


def _check_cpu(wanted: Resources, able: Abilities) -> list[str]:
    warnings = []
    _check_nano_cpus(wanted, able)
    if wanted.CpuShares < 0:
        raise Invalid(f"invalid CPU shares ({wanted.CpuShares}): value must be a positive integer")
    if wanted.CpuShares and not able.cpu_shares:
        warnings.append(f"{_NO}CPU shares{_NOT_MOUNTED}Shares discarded.")
        wanted.CpuShares = 0
    if (wanted.CpuPeriod or wanted.CpuQuota) and not able.cpu_quota:
        warnings.append(f"{_NO}CPU CFS scheduler. CPU period/quota discarded.")
        wanted.CpuPeriod = wanted.CpuQuota = 0
    if wanted.CpuPeriod and not 1000 <= wanted.CpuPeriod <= 1_000_000:
        raise Invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if wanted.CpuQuota < -1 or 0 < wanted.CpuQuota < 1000:
        raise Invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if wanted.CpuQuota > 2**44:
        raise Invalid(f"CPU cfs quota can not be larger than {2**44} microseconds")
    if wanted.CpuPercent:
        warnings.append("linux does not support CPU percent. Percent discarded.")
        wanted.CpuPercent = 0
    _check_realtime(wanted, able)
    return warnings + _check_cpuset(wanted, able)


def _check_nano_cpus(wanted: Resources, able: Abilities) -> None:
    if wanted.NanoCpus > 0 and wanted.CpuPeriod > 0:
        raise Invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if wanted.NanoCpus > 0 and wanted.CpuQuota > 0:
        raise Invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if wanted.NanoCpus > 0 and not able.cpu_quota:
        raise Invalid(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted"
        )
    count = os.cpu_count() or 1
    if wanted.NanoCpus and not 10_000_000 <= wanted.NanoCpus <= count * 1_000_000_000:
        raise Invalid(f"range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available")


def _check_realtime(wanted: Resources, able: Abilities) -> None:
    period, runtime = wanted.CpuRealtimePeriod, wanted.CpuRealtimeRuntime
    if (period or runtime) and not able.cpu_realtime:
        raise Invalid(f"{_NO}CPU real-time scheduler")
    if period < 0 or runtime < 0:
        raise Invalid("cpu real-time period and runtime must be positive numbers of microseconds")
    if period and runtime > period:
        raise Invalid("cpu real-time runtime cannot be higher than cpu real-time period")


def _check_cpuset(wanted: Resources, able: Abilities) -> list[str]:
    if (wanted.CpusetCpus or wanted.CpusetMems) and not able.cpuset:
        wanted.CpusetCpus = wanted.CpusetMems = ""
        return [f"{_NO}cpuset{_NOT_MOUNTED}Cpuset discarded."]
    for text, there, key, noun in (
        (wanted.CpusetCpus, able.cpus, "cpuset cpus", "CPUs"),
        (wanted.CpusetMems, able.nodes, "cpuset mems", "memory nodes"),
    ):
        if text and not numbers(text):
            raise Invalid(f"Invalid value {text} for {key}")
        if text and not numbers(text) <= numbers(there):
            raise Invalid(f"Requested {noun} are not available - requested {text}, available: {there}")
    return []


def numbers(text: str) -> frozenset[int]:
    """``0-2,7`` as a set (cpuset(7), "List format"); empty if it is none, or counts beyond 8191."""
    result: set[int] = set()
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        ends = (low, high or low)
        if not all(end.isascii() and end.isdigit() and len(end) < 5 and int(end) < 8192 for end in ends):
            return frozenset()
        if int(ends[0]) > int(ends[1]):
            return frozenset()
        result.update(range(int(ends[0]), int(ends[1]) + 1))
    return frozenset(result)


def _check_block_io(wanted: Resources, able: Abilities) -> list[str]:
    warnings = []
    if wanted.BlkioWeight and not able.block_weight:
        warnings.append(f"{_NO}Block I/O weight{_NOT_MOUNTED}Weight discarded.")
        wanted.BlkioWeight = 0
    if wanted.BlkioWeightDevice and not able.block_weight_device:
        warnings.append(f"{_NO}Block I/O weight_device{_NOT_MOUNTED}Weight-device discarded.")
        wanted.BlkioWeightDevice = []
    if any(w and not 10 <= w <= 1000 for w in [wanted.BlkioWeight, *(d.Weight for d in wanted.BlkioWeightDevice)]):
        raise Invalid("Range of blkio weight is from 10 to 1000")
    for key, what, short in _THROTTLES:
        if getattr(wanted, key) and not able.block_throttle:
            warnings.append(f"{_NO}{what} limit{_NOT_MOUNTED}Block I/O {short} limit discarded.")
            setattr(wanted, key, [])
    for key in ("BlkioWeightDevice", *THROTTLES):
        for each in getattr(wanted, key):
            device_number(each.Path)
    return warnings


_THROTTLES = (
    ("BlkioDeviceReadBps", "BPS Block I/O read", "BPS read"),
    ("BlkioDeviceWriteBps", "BPS Block I/O write", "BPS write"),
    ("BlkioDeviceReadIOps", "IOPS Block read", "IOPS read"),
    ("BlkioDeviceWriteIOps", "IOPS Block write", "IOPS write"),
)


def _check_parent(path: str) -> None:
    """A group below the hierarchy's root, or below the daemon's own group if the path is relative."""
    parts = path.split("/")
    if ".." in parts or any(not part.isprintable() or len(part.encode()) > 255 for part in parts):
        raise Invalid(f"invalid cgroup parent: {path!r} must be a path without '..', its parts at most 255 bytes long")
    if len(posixpath.normpath(path).encode()) > 1024:
        raise Invalid("invalid cgroup parent: the path is longer than 1024 bytes")
