"""Letter case: Go clients may spell JSON keys in any case, the rest of the engine knows one spelling.

A *shape* names the keys of an object and the shapes below them. Keys that no shape names stay as they are; so do the
keys of mappings, which are the user's own words (labels, ports, names of networks).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Shape:
    """The keys of an object; ``below`` has the shapes of those whose values are objects, or lists of objects."""

    def __init__(self, names: str, **below: Shape | MapOf) -> None:
        self.spelling = {name.lower(): name for name in (*names.split(), *below)}
        self.below: Mapping[str, Shape | MapOf] = below


class MapOf:
    """A mapping from the user's own words to objects (or lists of objects) of one shape."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape


def canonical(value: Any, shape: Shape | MapOf | None) -> Any:
    """``value`` with its keys in the Engine API's spelling."""
    if shape is None:
        return value
    if isinstance(value, list):
        return [canonical(item, shape) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(shape, MapOf):
        return {key: canonical(item, shape.shape) for key, item in value.items()}
    result = {}
    for key, item in value.items():
        name = shape.spelling.get(str(key).lower(), str(key))
        result[name] = canonical(item, shape.below.get(name))
    return result


_HEALTH = Shape("Test Interval Timeout Retries StartPeriod StartInterval")

_CONFIG: dict[str, Shape | MapOf] = {"Healthcheck": _HEALTH}
_CONFIG_NAMES = (
    "Hostname Domainname User AttachStdin AttachStdout AttachStderr ExposedPorts Tty OpenStdin StdinOnce Env Cmd "
    "ArgsEscaped Image Volumes WorkingDir Entrypoint NetworkDisabled MacAddress OnBuild Labels StopSignal StopTimeout "
    "Shell"
)

_RATE = Shape("Path Rate")
_RESOURCES: dict[str, Shape | MapOf] = {
    "BlkioWeightDevice": Shape("Path Weight"),
    "BlkioDeviceReadBps": _RATE,
    "BlkioDeviceWriteBps": _RATE,
    "BlkioDeviceReadIOps": _RATE,
    "BlkioDeviceWriteIOps": _RATE,
    "Devices": Shape("PathOnHost PathInContainer CgroupPermissions"),
    "DeviceRequests": Shape("Driver Count DeviceIDs Capabilities Options"),
    "Ulimits": Shape("Name Soft Hard"),
}
_RESOURCE_NAMES = (
    "CpuShares Memory CgroupParent BlkioWeight CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus "
    "CpusetMems DeviceCgroupRules KernelMemory KernelMemoryTCP MemoryReservation MemorySwap MemorySwappiness NanoCpus "
    "OomKillDisable Init PidsLimit CpuCount CpuPercent IOMaximumIOps IOMaximumBandwidth"
)

_MOUNT = Shape(
    "Target Source Type ReadOnly Consistency",
    BindOptions=Shape("Propagation NonRecursive CreateMountpoint ReadOnlyNonRecursive ReadOnlyForceRecursive"),
    VolumeOptions=Shape("NoCopy Labels Subpath", DriverConfig=Shape("Name Options")),
    ImageOptions=Shape("Subpath"),
    TmpfsOptions=Shape("SizeBytes Mode Options"),
)
_RESTART = Shape("Name MaximumRetryCount")
_PORTS = MapOf(Shape("HostIp HostPort"))
HOST_CONFIG = Shape(
    _RESOURCE_NAMES + " Binds ContainerIDFile NetworkMode AutoRemove VolumeDriver VolumesFrom ConsoleSize Annotations "
    "CapAdd CapDrop CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode Cgroup Links OomScoreAdj PidMode "
    "Privileged PublishAllPorts ReadonlyRootfs SecurityOpt StorageOpt Tmpfs UTSMode UsernsMode ShmSize Sysctls Runtime "
    "Isolation MaskedPaths ReadonlyPaths StorageDriver",
    LogConfig=Shape("Type Config"),
    PortBindings=_PORTS,
    RestartPolicy=_RESTART,
    Mounts=_MOUNT,
    **_RESOURCES,
)
ENDPOINT = Shape(
    "Links MacAddress Aliases DriverOpts GwPriority NetworkID EndpointID Gateway IPAddress IPPrefixLen IPv6Gateway "
    "GlobalIPv6Address GlobalIPv6PrefixLen DNSNames",
    IPAMConfig=Shape("IPv4Address IPv6Address LinkLocalIPs"),
)
CONTAINER_CREATE = Shape(
    _CONFIG_NAMES,
    HostConfig=HOST_CONFIG,
    NetworkingConfig=Shape("", EndpointsConfig=MapOf(ENDPOINT)),
    **_CONFIG,
)
CONTAINER_UPDATE = Shape(
    _RESOURCE_NAMES, RestartPolicy=_RESTART, PortBindingsAdd=_PORTS, PortBindingsRemove=_PORTS, **_RESOURCES
)
CONTAINER_CONFIG = Shape(_CONFIG_NAMES, **_CONFIG)
EXEC_CREATE = Shape(
    "User Privileged Tty ConsoleSize AttachStdin AttachStderr AttachStdout Detach DetachKeys Env WorkingDir Cmd"
)
EXEC_START = Shape("Detach Tty ConsoleSize")
NETWORK_CREATE = Shape(
    "Name CheckDuplicate Driver Scope Internal Attachable Ingress ConfigOnly EnableIPv4 EnableIPv6 Options Labels",
    ConfigFrom=Shape("Network"),
    IPAM=Shape("Driver Options", Config=Shape("Subnet IPRange Gateway AuxiliaryAddresses")),
)
VOLUME_CREATE = Shape("Name Driver DriverOpts Labels ClusterVolumeSpec")
NETWORK_CONNECT = Shape("Container", EndpointConfig=ENDPOINT)
NETWORK_DISCONNECT = Shape("Container Force")
