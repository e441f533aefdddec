"""Create requests that nobody would write: every key of the Engine API's, with values that may fit or not."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as some
from msgspec.structs import fields

from sampan.containers.requests import request

words = some.one_of(
    some.text(max_size=20),
    some.sampled_from(["data:/d", "data:/d:ro", "/d", "data", "..", "local", "a/b", "data:/d:nocopy"]),
    some.sampled_from(["", "host", "none", "container:x", "/a:/b", "/a:/b:ro", "A=1", "SIGTERM", "no", "NET_ADMIN"])
    | some.sampled_from(["0-1", "1.2.3.4", "x:1.2.3.4", "seccomp={}", "bind", "tmpfs", "/tmp", "size=1m", "\ud800"])
    | some.sampled_from(
        ["80/tcp", "80-90/udp", "/dev/null", "rwm", "rslave", "cmd", "bridge", "02:42:ac:11:00:02", "::1"]
    ),
)
numbers = some.integers() | some.sampled_from([0, -1, 1, 6 << 20, 2**31, 2**63, 2**64, -(2**63) - 1])
plain = some.none() | some.booleans() | numbers | some.floats() | words
anything = some.recursive(
    plain, lambda inner: some.lists(inner, max_size=3) | some.dictionaries(words, inner, max_size=3), max_leaves=8
)


loose = anything | words | numbers | some.lists(words, max_size=3)


def keyed(kind: type, **special: Any) -> Any:
    """Dictionaries with some keys of ``kind``, with values that may fit or not."""
    return _keyed([field.name for field in fields(kind)], **special)


def _keyed(names: list[str], **special: Any) -> Any:
    """Few keys at once: most of what has many would not get past the first check."""

    @some.composite
    def made(draw: Any) -> dict[str, Any]:
        chosen = draw(some.lists(some.sampled_from(names), max_size=4, unique=True))
        return {name: draw(special.get(name, loose)) for name in chosen}

    return made()


_texts = some.dictionaries(words, words, max_size=2)
_volume = keyed(request.VolumeOptions, DriverConfig=keyed(request.DriverConfig, Options=_texts), Labels=_texts)
_mount = keyed(
    request.Mount,
    Type=some.sampled_from(["bind", "tmpfs", "volume", "image", "x"]),
    Target=some.sampled_from(["/d", "/", "d", "/a/../b"]) | words,
    BindOptions=keyed(request.BindOptions),
    TmpfsOptions=keyed(request.TmpfsOptions),
    VolumeOptions=_volume,
)
_throttles = some.lists(keyed(request.ThrottleDevice), max_size=2)
_bindings = some.lists(_keyed(["HostIp", "HostPort"], HostPort=words | some.integers().map(str)), max_size=2)
_ports = some.dictionaries(words | some.sampled_from(["80/tcp", "81/udp", "82"]), _bindings | anything, max_size=2)
hosts = keyed(
    request.HostConfig,
    Mounts=some.lists(_mount, max_size=3),
    Ulimits=some.lists(keyed(request.Ulimit, Name=some.sampled_from(["nofile", "core", "x"])), max_size=2),
    RestartPolicy=keyed(request.RestartPolicy),
    LogConfig=keyed(request.LogConfig, Type=some.sampled_from(["json-file", "local", "none", "x"]), Config=_texts),
    Tmpfs=_texts,
    Sysctls=_texts,
    StorageOpt=_texts,
    Annotations=_texts,
    Devices=some.lists(keyed(request.Device), max_size=2),
    DeviceRequests=some.lists(keyed(request.DeviceRequest), max_size=2),
    BlkioWeightDevice=some.lists(keyed(request.WeightDevice), max_size=2),
    BlkioDeviceReadBps=_throttles,
    BlkioDeviceWriteBps=_throttles,
    BlkioDeviceReadIOps=_throttles,
    BlkioDeviceWriteIOps=_throttles,
    PortBindings=_ports,
)
_endpoint = _keyed(
    ["Links", "MacAddress", "Aliases", "DriverOpts", "GwPriority", "NetworkID", "IPAddress"],
    IPAMConfig=_keyed(["IPv4Address", "IPv6Address", "LinkLocalIPs"]),
)
_networking = some.fixed_dictionaries(
    {"EndpointsConfig": some.dictionaries(words | some.just("bridge"), _endpoint | anything, max_size=2)}
)
_bodies = keyed(
    request.Config,
    Healthcheck=keyed(
        request.Healthcheck, Test=some.lists(words | some.sampled_from(["CMD", "CMD-SHELL"]), max_size=3)
    ),
    Labels=_texts,
    Volumes=some.dictionaries(words, anything, max_size=2),
    ExposedPorts=_ports,
)


@some.composite
def bodies(draw: Any) -> dict[str, Any]:
    """Bodies of ``POST /containers/create`` on an image ``t:1``."""
    body = {"Cmd": ["true"], "HostConfig": draw(hosts | anything), **draw(_bodies), "Image": "t:1"}
    return {**body, "NetworkingConfig": draw(_networking | anything)} if draw(some.booleans()) else body
