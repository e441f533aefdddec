"""The engine's records: what it knows about images, containers, networks and execs.

They are stored as JSON in SQLite (:mod:`sampan.state`) and kept in memory by the services; ``sampan.api`` shapes them
into the Engine API's answers. Times are strings in RFC 3339 with nanoseconds and ``Z``; ``""`` means never.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from sampan.drivers.types import EndpointSpec, NetworkSpec, PortBinding, Subnet

__all__ = [
    "Container",
    "Endpoint",
    "Exec",
    "ExitCause",
    "Health",
    "HealthResult",
    "Image",
    "Layer",
    "Mount",
    "Network",
    "NetworkSpec",
    "PortBinding",
    "Snapshot",
    "State",
    "Status",
    "Subnet",
    "Volume",
]


class Status(StrEnum):
    """The states of a container's life; ``sampan.containers.life.transitions`` says which may follow which."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"


class ExitCause(StrEnum):
    """Why a container ended."""

    OWN = "own"  # it exited, or a signal of its own doing
    ASKED = "asked"  # stop, kill or remove through the API
    OUT_OF_MEMORY = "out-of-memory"
    HEALTH = "health"  # unhealthy, and to be restarted for that
    NOT_STARTED = "not-started"
    LOST = "lost"  # the machine or the monitor died with it


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """``diff_id`` is the digest of the uncompressed tar, ``digest`` of the blob as it is kept (``""``: not kept)."""

    diff_id: str
    digest: str = ""
    size: int = 0


class Image(msgspec.Struct, kw_only=True):
    """An image. ``id`` is the digest of its configuration (``sha256:…``), which is kept as a blob of that digest.

    ``config`` is the OCI image configuration as parsed. ``references`` are normalised (``docker.io/library/x:tag``).
    ``size`` is the sum of the unpacked layers' bytes. ``manifest`` is the digest of the one that it was pulled with,
    kept as a blob, so that it can be pushed as it came; ``pushed`` of the one that was made when an image of ours was
    first pushed. ``removed``: the user has removed it by force while a stopped
    container stands on its layers; it is shown nowhere and goes with the last such container.
    """

    id: str
    config: dict[str, Any]
    layers: list[Layer]
    created: str
    size: int
    references: list[str] = []
    repo_digests: list[str] = []
    parent: str = ""
    tagged_at: str = ""
    removed: bool = False
    manifest: str = ""
    pushed: str = ""


class Mount(msgspec.Struct, kw_only=True):
    """A mount that the user asked for; ``source`` is a path on the host, ``name`` a volume's name and ``driver`` its
    driver's; ``mode`` is what ``-v`` had behind the last colon. ``options`` are read by ``sampan.containers`` only."""

    type: str
    target: str
    source: str = ""
    name: str = ""
    driver: str = ""
    mode: str = ""
    read_only: bool = False
    propagation: str = ""
    options: dict[str, Any] = {}


class Endpoint(msgspec.Struct, kw_only=True):
    """A container's connection to a network. ``spec`` is filled while the container runs; the rest is the wish.

    ``link_local`` are addresses besides, with their prefix. ``links`` are ``NAME`` or ``NAME:ALIAS``; of several
    networks that lead out, the one with the highest ``gw_priority`` is the container's way."""

    network: str
    network_name: str
    aliases: list[str] = []
    requested_ipv4: str = ""
    requested_ipv6: str = ""
    requested_mac: str = ""
    link_local: list[str] = []
    driver_options: dict[str, str] = {}
    links: list[str] = []
    gw_priority: int = 0
    spec: EndpointSpec | None = None
    ports: list[PortBinding] = []


class HealthResult(msgspec.Struct, kw_only=True):
    """One health check: what its command printed, and its exit code (-1: it took too long, or could not be run)."""

    start: str
    end: str
    exit_code: int
    output: str


class Health(msgspec.Struct, kw_only=True):
    """What the health checks say: ``starting``, ``healthy`` or ``unhealthy``, and the last few results."""

    status: str = "starting"
    failing_streak: int = 0
    log: list[HealthResult] = []


class State(msgspec.Struct, kw_only=True):
    """Where a container is in its life. ``pid`` is 0 unless it runs; ``monitor`` is the monitor's pid.

    ``cause`` and ``cause_detail`` say why it ended the last time, like ``finished_at``. ``ending`` says why the engine
    itself is just ending it, for the case that another daemon has to finish that.
    """

    status: Status = Status.CREATED
    pid: int = 0
    monitor: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: str = ""
    finished_at: str = ""
    cause: ExitCause | None = None
    cause_detail: str = ""
    ending: str = ""
    stopped_by_user: bool = False
    health: Health | None = None


class Container(msgspec.Struct, kw_only=True):
    """A container. ``config`` and ``host_config`` are Docker's ``Config`` and ``HostConfig`` objects, complete:
    every key that the API promises is there, with Docker's defaults, in Docker's spelling. ``rerouting``: its way out
    is being moved from one network to another; a daemon that finds this makes its default routes right. ``root``: the
    name of its writable root in the storage driver, which is the container's id until it goes back to a snapshot."""

    id: str
    name: str
    created: str
    image: str
    image_reference: str
    layer: str
    config: dict[str, Any]
    host_config: dict[str, Any]
    path: str
    args: list[str]
    storage_driver: str
    runtime: str
    platform: str = "linux"
    endpoints: dict[str, Endpoint] = {}
    rerouting: bool = False
    mounts: list[Mount] = []
    state: State = msgspec.field(default_factory=State)
    restart_count: int = 0
    log_path: str = ""
    spec: dict[str, Any] = {}
    root: str = ""

    def __post_init__(self) -> None:
        self.root = self.root or self.id


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A point in a container's file system that has a name. ``id`` is also the name of a writable root in the
    container's storage driver: one that nobody writes to. ``size`` is what it takes on disk, in bytes."""

    id: str
    container: str
    name: str
    created: str
    size: int = 0
    comment: str = ""


class Network(msgspec.Struct, kw_only=True):
    """A network. ``spec`` is what its driver sees; the rest is bookkeeping. ``picked`` are those of its subnets that
    the engine chose, ``other_options`` are what its driver does not know. ``config_only``: it is there for other
    networks to be made of, which say so in ``config_from``, and has no more than this record."""

    spec: NetworkSpec
    created: str
    labels: dict[str, str] = {}
    ipv4: bool = True
    ipv6: bool = False
    picked: list[str] = []
    ipam_options: dict[str, str] | None = None
    other_options: dict[str, str] = {}
    config_only: bool = False
    config_from: str = ""
    attachable: bool = False


class Volume(msgspec.Struct, kw_only=True):
    """A volume. ``options`` are its driver's, as given.

    ``unclaimed``: made for a container that is not durable yet, or left by one that is gone. Should the daemon die now,
    the next one removes it, unless a container uses it.
    """

    name: str
    created: str
    driver: str = "local"
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    unclaimed: bool = False


class Exec(msgspec.Struct, kw_only=True):
    """One more process in a container; kept in memory until its container ends."""

    id: str
    container: str
    config: dict[str, Any]
    running: bool = False
    exit_code: int | None = None
    pid: int = 0
    detach_keys: str = ""
