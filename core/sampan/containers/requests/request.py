"""The body of ``POST /containers/create``, typed: msgspec checks names, types and ranges of plain values.

The classes have the keys of the Engine API's ``ContainerConfig``, ``HostConfig``, ``Mount``… in its spelling.
What the values mean is checked elsewhere (:mod:`sampan.containers.requests.checks`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Natural = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Words = list[str]
Console = Annotated[list[Annotated[int, Meta(ge=0, le=2**16 - 1)]], Meta(min_length=2, max_length=2)]
"""Rows and columns."""
PortMap = dict[str, list[dict[str, str | None]] | None]
"""``{"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}``"""


class Healthcheck(Struct, kw_only=True):
    Test: Words = []
    Interval: Int64 = 0
    Timeout: Int64 = 0
    StartPeriod: Int64 = 0
    StartInterval: Int64 = 0
    Retries: Int64 = 0


class Config(Struct, kw_only=True):
    Hostname: str = ""
    Domainname: str = ""
    User: str = ""
    AttachStdin: bool = False
    AttachStdout: bool = False
    AttachStderr: bool = False
    ExposedPorts: dict[str, Any] = {}
    Tty: bool = False
    OpenStdin: bool = False
    StdinOnce: bool = False
    Env: Words = []
    Cmd: Words | str | None = None
    Healthcheck: Healthcheck | None = None
    ArgsEscaped: bool = False
    Image: str = ""
    Volumes: dict[str, Any] = {}
    WorkingDir: str = ""
    Entrypoint: Words | str | None = None
    NetworkDisabled: bool = False
    MacAddress: str = ""
    OnBuild: Words = []
    Labels: dict[str, str] = {}
    StopSignal: str = ""
    StopTimeout: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    Shell: Words = []


class RestartPolicy(Struct, kw_only=True):
    Name: str = "no"
    MaximumRetryCount: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] = 0


class LogConfig(Struct, kw_only=True):
    Type: str = ""
    Config: dict[str, str] = {}


class Ulimit(Struct, kw_only=True):
    Name: str
    Soft: Int64 = 0
    Hard: Int64 = 0


class BindOptions(Struct, kw_only=True, omit_defaults=True):
    Propagation: str = ""
    NonRecursive: bool = False
    CreateMountpoint: bool = False
    ReadOnlyNonRecursive: bool = False
    ReadOnlyForceRecursive: bool = False


class TmpfsOptions(Struct, kw_only=True, omit_defaults=True):
    SizeBytes: Natural = 0
    Mode: Annotated[int, Meta(ge=0, le=0o7777)] = 0
    Options: list[Words] = []


class DriverConfig(Struct, kw_only=True, omit_defaults=True):
    Name: str = ""
    Options: dict[str, str] = {}


class VolumeOptions(Struct, kw_only=True, omit_defaults=True):
    NoCopy: bool = False
    Labels: dict[str, str] = {}
    Subpath: str = ""
    DriverConfig: DriverConfig | None = None


class Mount(Struct, kw_only=True, omit_defaults=True):
    Type: str
    Target: str = ""
    Source: str = ""
    ReadOnly: bool = False
    Consistency: str = ""
    BindOptions: BindOptions | None = None
    TmpfsOptions: TmpfsOptions | None = None
    VolumeOptions: VolumeOptions | None = None
    ImageOptions: dict[str, Any] | None = None


class Device(Struct, kw_only=True):
    """``CgroupPermissions`` are some of r, w and m; nothing is all of them."""

    PathOnHost: str = ""
    PathInContainer: str = ""
    CgroupPermissions: str = ""


class DeviceRequest(Struct, kw_only=True):
    Driver: str = ""
    Count: Int64 = 0
    DeviceIDs: Words = []
    Capabilities: list[Words] = []
    Options: dict[str, str] = {}


class WeightDevice(Struct, kw_only=True):
    Path: str = ""
    Weight: Annotated[int, Meta(ge=0, le=65535)] = 0


class ThrottleDevice(Struct, kw_only=True):
    """``Rate`` is bytes or operations in a second; 0 is no limit."""

    Path: str = ""
    Rate: Natural = 0


class Resources(Struct, kw_only=True):
    """The limits that can be given to a container when it is made, and (most of them) changed later."""

    CpuShares: Int64 = 0
    Memory: Int64 = 0
    NanoCpus: Int64 = 0
    BlkioWeight: Annotated[int, Meta(ge=0, le=65535)] = 0
    BlkioWeightDevice: list[WeightDevice] = []
    BlkioDeviceReadBps: list[ThrottleDevice] = []
    BlkioDeviceWriteBps: list[ThrottleDevice] = []
    BlkioDeviceReadIOps: list[ThrottleDevice] = []
    BlkioDeviceWriteIOps: list[ThrottleDevice] = []
    CpuPeriod: Int64 = 0
    CpuQuota: Int64 = 0
    CpuRealtimePeriod: Int64 = 0
    CpuRealtimeRuntime: Int64 = 0
    CpusetCpus: str = ""
    CpusetMems: str = ""
    KernelMemory: Int64 = 0
    KernelMemoryTCP: Int64 = 0
    MemoryReservation: Int64 = 0
    MemorySwap: Int64 = 0
    MemorySwappiness: Int64 | None = None
    OomKillDisable: bool | None = None
    PidsLimit: Int64 | None = None
    CpuPercent: Int64 = 0
    IOMaximumIOps: Int64 = 0
    IOMaximumBandwidth: Int64 = 0


class HostConfig(Resources, kw_only=True):
    Binds: Words | None = None
    ContainerIDFile: str = ""
    LogConfig: LogConfig = msgspec.field(default_factory=LogConfig)
    NetworkMode: str = ""
    PortBindings: dict[str, list[dict[str, str | int | None] | None] | None] = {}
    RestartPolicy: RestartPolicy = msgspec.field(default_factory=RestartPolicy)
    AutoRemove: bool = False
    VolumeDriver: str = ""
    VolumesFrom: Words | None = None
    ConsoleSize: Console = msgspec.field(default_factory=lambda: [0, 0])
    Annotations: dict[str, str] = {}
    CapAdd: Words | None = None
    CapDrop: Words | None = None
    CgroupnsMode: Literal["", "private", "host"] = ""
    Dns: Words = []
    DnsOptions: Words = []
    DnsSearch: Words = []
    ExtraHosts: Words | None = None
    GroupAdd: Words | None = None
    IpcMode: str = ""
    Cgroup: str = ""
    Links: Words | None = None
    OomScoreAdj: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] = 0
    PidMode: str = ""
    Privileged: bool = False
    PublishAllPorts: bool = False
    ReadonlyRootfs: bool = False
    SecurityOpt: Words | None = None
    StorageOpt: dict[str, str] = {}
    Tmpfs: dict[str, str] = {}
    UTSMode: str = ""
    UsernsMode: str = ""
    ShmSize: Int64 = 0
    Sysctls: dict[str, str] = {}
    Runtime: str = ""
    StorageDriver: str = ""  # ours: a storage driver for this container alone
    Isolation: Literal["", "default", "process", "hyperv"] = ""
    CgroupParent: str = ""
    Devices: list[Device] = []
    DeviceCgroupRules: Words | None = None
    DeviceRequests: list[DeviceRequest] | None = None
    Init: bool | None = None
    Ulimits: list[Ulimit] = []
    CpuCount: Int64 = 0
    Mounts: list[Mount] = []
    MaskedPaths: Words | None = None
    ReadonlyPaths: Words | None = None


class EndpointIpam(Struct, kw_only=True):
    IPv4Address: str = ""
    IPv6Address: str = ""
    LinkLocalIPs: Words = []


class EndpointSettings(Struct, kw_only=True):
    """What a client may say of an endpoint; the rest is what an inspect told it."""

    IPAMConfig: EndpointIpam | None = None
    Links: Words = []
    Aliases: Words = []
    MacAddress: str = ""
    DriverOpts: dict[str, str] = {}
    GwPriority: Int64 = 0


class Update(Resources, kw_only=True):
    """The body of ``POST /containers/{id}/update``. ``PortBindings…`` are ours: what is published besides, or no
    longer, written like ``HostConfig.PortBindings``."""

    RestartPolicy: RestartPolicy = msgspec.field(default_factory=lambda: RestartPolicy(Name=""))
    PortBindingsAdd: PortMap = {}
    PortBindingsRemove: PortMap = {}


class ExecConfig(Struct, kw_only=True):
    AttachStdin: bool = False
    AttachStdout: bool = False
    AttachStderr: bool = False
    ConsoleSize: Console | None = None
    DetachKeys: str = ""
    Tty: bool = False
    Env: Words = []
    Cmd: Words | str = []
    Privileged: bool = False
    User: str = ""
    WorkingDir: str = ""
