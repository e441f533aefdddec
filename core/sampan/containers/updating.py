"""``update``: other limits, published ports and another restart policy for a container that exists, running or not.

Nothing is left half-changed. The kernel changes all limits or none (:class:`sampan.drivers.RuntimeDriver` promises it),
and all ports or none; the record is written last, and what a crash left between the two is put right by the next
daemon, which gives every running container the limits and the ports of its record.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from msgspec.structs import fields

from sampan import bodies
from sampan.containers.bundle import resources
from sampan.containers.life import restart
from sampan.containers.life.transitions import ALIVE
from sampan.containers.parts import Parts
from sampan.containers.registry import Entry
from sampan.containers.requests import limits, request
from sampan.errors import Conflict, Invalid, SampanError, Unsupported
from sampan.types import Container, Status
from sampan.undo import Undo

log = logging.getLogger(__name__)

_FIXED = frozenset({"MemorySwappiness", "OomKillDisable", "BlkioWeightDevice", *resources.THROTTLES})
"""What a container keeps from its beginning to its end."""

CHANGEABLE = tuple(
    field.name
    for field in fields(request.Resources)
    if field.name not in _FIXED
    and field.name not in ("CpuPercent", "IOMaximumIOps", "IOMaximumBandwidth", "KernelMemory", "KernelMemoryTCP")
)


def update(parts: Parts, entry: Entry, body: Mapping[str, Any]) -> list[str]:
    """``body`` is the Engine API's; what it leaves out stays as it is. Returns Docker's warnings.

    ``Invalid`` for limits that cannot be; ``Conflict`` for those that do not go with what the container has, or if it
    is being removed; ``Unsupported`` if its runtime cannot change it while it runs.
    """
    wanted = bodies.read(dict(body), request.Update)
    given = {name for name in _FIXED if getattr(wanted, name)}
    warnings = limits.check_resources(wanted, update=True)
    warnings += [f"{name} cannot be changed after a container was made. Discarded." for name in sorted(given)]
    policy = wanted.RestartPolicy
    restart.validate(policy.Name, policy.MaximumRetryCount)
    if wanted.PortBindingsAdd and entry.record.host_config["NetworkMode"] == "host":
        warnings.append("Published ports are discarded when using host network mode")
    with entry.lock:
        record = entry.record
        try:
            if entry.gone or record.state.status in (Status.REMOVING, Status.DEAD):
                raise Conflict('container is marked for removal and cannot be "update"')
            _change(parts, record, wanted)
        except SampanError as error:
            error.args = (f"Cannot update container {record.id}: {error.message}",)
            raise
        parts.announce(record, "update")
    return warnings


def _change(parts: Parts, record: Container, wanted: request.Update) -> None:
    old, new = record.host_config, merged(record.host_config, wanted)
    add, remove = wanted.PortBindingsAdd, wanted.PortBindingsRemove
    if add or remove:
        new["PortBindings"] = parts.networks.ports_of(record, add, remove)
    with Undo() as undo:
        if record.state.status in ALIVE:
            _limit(undo, parts, record, new)
            if add or remove:
                parts.networks.republish(undo, record, new, remove)
        undo.push(setattr, record, "host_config", old)
        record.host_config = new
        parts.save(record)


def _limit(undo: Undo, parts: Parts, record: Container, new: Mapping[str, Any]) -> None:
    """Change what the kernel lets a running container have."""
    before, after = resources.changeable(record.host_config), resources.changeable(new)
    if before == after:
        return
    runtime = parts.runtime(record)
    if not runtime.features().update:
        why = runtime.features().why.get("update", "it has no such feature")
        raise Unsupported(f"the runtime {record.runtime} cannot change limits: {why}")
    runtime.update(record.id, after)
    undo.push(runtime.update, record.id, before)


def merged(old: Mapping[str, Any], wanted: request.Update) -> dict[str, Any]:
    """The container's ``HostConfig`` as it will be."""
    _check_together(old, wanted)
    new = dict(old)
    for name in CHANGEABLE:
        if value := getattr(wanted, name):
            new[name] = value
    if wanted.PidsLimit is not None:
        new["PidsLimit"] = max(0, wanted.PidsLimit)
    if 0 < new["MemorySwap"] < new["Memory"]:
        raise Invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
    if new["MemorySwap"] > 0 and not new["Memory"]:
        raise Invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
    if wanted.RestartPolicy.Name:
        if old["AutoRemove"] and wanted.RestartPolicy.Name != "no":
            raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
        policy = wanted.RestartPolicy
        new["RestartPolicy"] = {"Name": policy.Name, "MaximumRetryCount": policy.MaximumRetryCount}
    return new


def _check_together(old: Mapping[str, Any], wanted: request.Update) -> None:
    """``--cpus`` and a quota are two words for one thing: whoever began with one goes on with it."""
    for new, name, has, had in (
        (wanted.NanoCpus, "Nano CPUs", old["CpuPeriod"], "CPU Period"),
        (wanted.NanoCpus, "Nano CPUs", old["CpuQuota"], "CPU Quota"),
        (wanted.CpuPeriod, "CPU Period", old["NanoCpus"], "NanoCPUs"),
        (wanted.CpuQuota, "CPU Quota", old["NanoCpus"], "NanoCPUs"),
    ):
        if new > 0 and has > 0:
            raise Conflict(f"Conflicting options: {name} cannot be updated as {had} has already been set")
    if not wanted.MemorySwap and 0 < old["MemorySwap"] < wanted.Memory:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )


def apply(parts: Parts, record: Container) -> None:
    """Give a running container the limits of its record: the last daemon may have died while it changed them."""
    runtime = parts.runtime(record)
    if not runtime.features().update:
        return
    try:
        runtime.update(record.id, resources.changeable(record.host_config))
    except (SampanError, OSError) as error:
        log.warning("container %s could not be given its limits again: %s", record.name, error)
