"""Plain values that cross the contracts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import msgspec

CONTRACT_VERSION = 1
"""Raised when a contract changes incompatibly; a driver states the one it was written for."""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine tells every driver about the instance that it serves.

    ``instance`` is 8 lower-case hex characters, unique per data root: whatever a driver makes in the kernel
    (links, tables, cgroups) carries it, so that two daemons on one host never touch each other's things.
    ``data_root`` and ``exec_root`` are directories of this driver's own: what must survive a reboot, and what need
    not. Neither exists before the driver makes it.
    """

    instance: str
    data_root: Path
    exec_root: Path


class Check(msgspec.Struct, frozen=True):
    """Is the driver usable on this host? ``reason`` is a sentence: what is missing and how to get it."""

    usable: bool
    reason: str = ""


# ── storage ────────────────────────────────────────────────────────────────────────────────────────────────────


class StorageFeatures(msgspec.Struct, frozen=True, kw_only=True):
    """``whiteouts`` says how the engine fills a layer directory (see ``StorageDriver.begin_layer``).

    ``places``: what a layer's directory holds does not depend on the layers below it, so the engine may fill one while
    it does not know them yet, and say later where its place is (``StorageDriver.place_layer``).
    """

    whiteouts: Literal["in-place", "overlay"]
    places: bool = False
    quota: bool = False
    shares_page_cache: bool = False


class ChangeKind(StrEnum):
    """Docker's three kinds of change; the API's numbers are 0, 1 and 2 in this order."""

    MODIFIED = "modified"
    ADDED = "added"
    DELETED = "deleted"


class Change(msgspec.Struct, frozen=True, order=True):
    """``path`` is absolute inside the container, as bytes decoded with ``os.fsdecode``."""

    path: str
    kind: ChangeKind


# ── network ────────────────────────────────────────────────────────────────────────────────────────────────────


class NetworkFeatures(msgspec.Struct, frozen=True, kw_only=True):
    """``sandbox``: ``own`` gives the container a network namespace, ``host`` leaves it in the host's.

    ``addresses``: the engine allocates addresses from pools and passes them in. ``publish``: ports can be published.
    ``names``: containers on a user-defined network of this driver find one another by name.
    ``single``: only the one network that the engine makes at its first start may exist (host, none).
    ``internal``: its networks lead nowhere, whether the user said so or not; other networks carry the way out.
    ``macs``: an endpoint's link has the MAC address that the engine gives; without it the engine gives none.
    ``parent``: the driver option by which a network names a link of the host to stand on. Its containers are in that
    link's network: their gateway is out there, and they and the host need not reach one another.
    ``isolates``: its networks are kept apart, and nobody outside reaches what was not published.
    ``filters``: its networks let out only what they choose. What the engine asks name servers on behalf of their
    containers, it asks from the containers' own network namespaces then, where that choice holds, not from the host.
    ``options``: the options of networks that the driver knows. Others are kept by the engine and told to users, as with
    Docker, and the driver never sees them; None: the driver sees all, and refuses what it does not know.
    """

    sandbox: Literal["own", "host"]
    addresses: bool = False
    publish: bool = False
    names: bool = False
    single: bool = False
    internal: bool = False
    macs: bool = True
    parent: str = ""
    isolates: bool = True
    filters: bool = False
    options: tuple[str, ...] | None = None


class Subnet(msgspec.Struct, frozen=True, kw_only=True):
    """One address range of a network; all strings in the notation of :mod:`ipaddress`.

    ``subnet`` and ``ip_range`` are ``address/prefix``; ``gateway`` and the values of ``reserved`` are addresses.
    """

    subnet: str
    gateway: str = ""
    ip_range: str = ""
    reserved: dict[str, str] = {}


class NetworkSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A network as its driver sees it. ``options`` are Docker's driver options as the user gave them."""

    id: str
    name: str
    driver: str
    subnets: tuple[Subnet, ...] = ()
    internal: bool = False
    default: bool = False
    options: dict[str, str] = {}


class EndpointSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A container's place on a network.

    ``addresses`` are ``address/prefix``, one per subnet, IPv4 first; ``link_local`` are more of them, for this link
    alone, which the user chose (``docker network connect --link-local-ip``): nothing is routed or published by them.
    ``mac`` is ``aa:bb:cc:dd:ee:ff``. ``interface`` is the name wanted inside the sandbox (``eth0``).
    ``default_route``: this endpoint carries the container's way out. ``id`` is 64 lower-case hex characters.
    """

    id: str
    container: str
    interface: str
    addresses: tuple[str, ...] = ()
    link_local: tuple[str, ...] = ()
    mac: str = ""
    default_route: bool = True
    options: dict[str, str] = {}


class PortBinding(msgspec.Struct, frozen=True, kw_only=True):
    """One published port. ``host_ip`` is an address, ``0.0.0.0`` or ``::``.

    ``host_port`` is 0 where the network's gateway mode (``com.docker.network.bridge.gateway_mode_ipv4``, ``…_ipv6``) is
    ``routed``: the port is open at the container's own address, and the host has none for it.
    """

    protocol: Literal["tcp", "udp", "sctp"]
    container_port: int
    host_ip: str
    host_port: int


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at one thing found: ``sampan doctor`` shows these.

    ``about`` names the thing in a few words (``bridge sampan0``), ``says`` is one sentence about it, ``remedy`` another
    one about what to do. ``note``: nothing is broken, but somebody may miss something; ``wrong``: something is.
    """

    about: str
    says: str
    mark: Literal["fine", "note", "wrong"] = "fine"
    remedy: str = ""


# ── runtime ────────────────────────────────────────────────────────────────────────────────────────────────────


INIT = "sampan.init"
"""Annotation of a bundle's spec: ``true`` asks for a process 1 that forwards signals to the command and reaps."""


class RuntimeFeatures(msgspec.Struct, frozen=True, kw_only=True):
    """What containers of this runtime can do; ``why`` gives a sentence for each feature that is off.

    ``user_namespaces``: it starts a container in the user namespace whose path the spec gives (with its mappings, in
    OCI's ``uidMappings`` and ``gidMappings``), so that the container's other namespaces belong to it. It owns the
    network namespace of the spec. ``host_cgroups``: it may see the host's cgroups, without a cgroup namespace.
    ``drives`` names a program from elsewhere that does the work, with its version (``crun 1.8.1``).
    """

    isolation: Literal["namespaces", "filesystem", "vm"] = "namespaces"
    exec: bool = True
    pause: bool = True
    update: bool = True
    stats: bool = True
    tty: bool = True
    join_namespaces: bool = True
    init: bool = False
    user_namespaces: bool = False
    host_cgroups: bool = True
    drives: str = ""
    why: dict[str, str] = {}


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """What a runtime starts: an OCI runtime bundle whose root file system is a descriptor.

    ``path`` is a directory of this container's own under the exec root, made by the engine and removed by it.
    ``spec`` is an OCI runtime configuration (runtime-spec ``config.json``) as plain dicts and lists; its
    ``root.path`` is ``path/"rootfs"``, an empty directory on which a runtime that needs a path attaches the root.
    The network namespace, when the container has one of its own, is the ``path`` of the spec's network namespace.
    The root's descriptor itself travels beside the order (see ``RuntimeDriver``).
    """

    id: str
    path: Path
    spec: dict[str, Any]


class ExecProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process to add to a running container. ``process`` is the ``process`` object of the OCI runtime spec."""

    id: str
    container: str
    process: dict[str, Any]


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of one container. Times in nanoseconds, memory in bytes; -1 where there is no limit."""

    cpu_ns: int = 0
    cpu_user_ns: int = 0
    cpu_system_ns: int = 0
    per_cpu_ns: tuple[int, ...] = ()
    periods: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0
    memory: int = 0
    memory_max: int = 0
    memory_limit: int = -1
    memory_failures: int = 0
    memory_stat: dict[str, int] = {}
    pids: int = 0
    pids_limit: int = -1
    block_io: dict[str, list[dict[str, Any]]] = {}
    oom_kills: int = 0


Order = Mapping[str, Any]
"""What a runtime's half in the daemon hands to its half in the monitor: only None, bool, int, float, str, bytes,
tuples, lists and dicts, for it travels through :mod:`marshal`."""
