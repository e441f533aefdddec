"""The configuration: one typed tree, read once from ``config.yaml``, whose defaults are the defaults here.

``config.yaml`` at the top of the repository is this module's manual: every key, with its default and what it is for.
An unknown key or a wrong value is an error that names the file, the line, the key's path, the value and what is
allowed. The options of a driver are typed by the driver itself and checked when it is loaded (:mod:`sampan.plugins`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from sampan import decode
from sampan.errors import Invalid, NotFound
from sampan.quantities import (
    AbsolutePath,
    Address,
    HostAddress,
    LinkName,
    LogSize,
    MemorySize,
    OptionalPath,
    SubnetAddress,
    Url,
)

DEFAULT_FILE = Path("/etc/sampan/config.yaml")

Options = dict[str, dict[str, Any]]
"""Driver name → that driver's options."""


class _Section(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    pass


class Pool(_Section, frozen=True):
    """Addresses that networks get their subnets from: ``base`` cut into pieces with a prefix of ``size`` bits."""

    base: SubnetAddress
    size: Annotated[int, msgspec.Meta(ge=1, le=126)]

    def __post_init__(self) -> None:
        base = ipaddress.ip_network(self.base) if self.base else None
        if base is None:
            raise ValueError("base is empty; expected a subnet such as 172.30.0.0/16")
        longest = base.max_prefixlen - 2
        if not base.prefixlen <= self.size <= longest:
            raise ValueError(f"size {self.size} does not fit base {base}; expected {base.prefixlen} to {longest}")


def _pools() -> list[Pool]:
    sliced = [("172.17.0.0/16", 16), ("172.18.0.0/16", 16), ("172.19.0.0/16", 16), ("172.20.0.0/14", 16)]
    sliced += [("172.24.0.0/14", 16), ("172.28.0.0/14", 16), ("192.168.0.0/16", 20)]
    return [Pool(base=base, size=size) for base, size in sliced]


Patience = Annotated[float, msgspec.Meta(gt=0, le=86400)]
"""Seconds that one call of a driver that does not come with this package may take (see :mod:`sampan.guard`)."""


class StorageConfig(_Section, frozen=True):
    driver: str = "overlayfs"
    patience: Patience = 120.0
    options: Options = {}


class NetworkConfig(_Section, frozen=True):
    """``driver`` is for new networks; ``bridge_*`` describe the default network that is called ``bridge``.

    ``userland_proxy``: ports that name no address are published on ``::``, too, for containers that have only IPv4."""

    driver: str = "bridge"
    patience: Patience = 30.0
    bridge_name: LinkName = "sampan0"
    bridge_subnet: SubnetAddress = ""
    default_address_pools: list[Pool] = msgspec.field(default_factory=_pools)
    publish_address: Address = "0.0.0.0"
    userland_proxy: bool = True
    dns: list[Address] = []
    dns_search: list[str] = []
    options: Options = {}


class RuntimeConfig(_Section, frozen=True):
    """``userns_remap`` and the two files: see :mod:`sampan.subids`."""

    driver: str = "native"
    patience: Patience = 30.0
    userns_remap: str = ""
    subuid_file: AbsolutePath = Path("/etc/subuid")
    subgid_file: AbsolutePath = Path("/etc/subgid")
    options: Options = {}


class LogConfig(_Section, frozen=True):
    """Limits of a container's log, unless the container brings its own. ``max_size`` 0 means no limit."""

    driver: Literal["json-file", "local", "none"] = "json-file"
    max_size: LogSize = 20_000_000
    max_file: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 5


class HooksConfig(_Section, frozen=True):
    """``patience``: seconds that an amending hook gets (see :mod:`sampan.drivers.hooks`)."""

    patience: Annotated[float, msgspec.Meta(gt=0, le=60)] = 2.0


class ImagesConfig(_Section, frozen=True):
    """``layer_size`` (bytes), ``layer_entries``: of one layer or archive, unpacked. ``compression_ratio``: from 1 GiB
    on. ``reserve``: bytes left free on the disk. ``patience``: seconds without progress."""

    layer_size: MemorySize = 64 << 30
    layer_entries: Annotated[int, msgspec.Meta(ge=1, le=1 << 31)] = 2_000_000
    compression_ratio: Annotated[int, msgspec.Meta(ge=2, le=1_000_000)] = 200
    reserve: MemorySize = 256 << 20
    patience: Patience = 120.0


class RegistryHost(_Section, frozen=True):
    """How one registry is reached. ``mirrors`` are asked first when something is pulled."""

    mirrors: list[Url] = []
    insecure: bool = False
    ca_file: OptionalPath = ""


class RegistriesConfig(_Section, frozen=True):
    """``patience``: seconds of silence after which a registry is given up; ``attempts``: per blob or manifest, those
    that got further not counted; ``piece``: a larger blob is pushed in pieces of so many bytes. ``hosts``: by
    ``HOST[:PORT]``, as in the names of images."""

    downloads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 3
    uploads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 5
    attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    patience: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 30.0
    piece: MemorySize = 32 << 20
    certificates: AbsolutePath = Path("/etc/docker/certs.d")
    hosts: dict[str, RegistryHost] = {}


class Config(_Section, frozen=True):
    data_root: AbsolutePath = Path("/var/lib/sampan")
    exec_root: AbsolutePath = Path("/run/sampan")
    pidfile: AbsolutePath = Path("/run/sampan.pid")
    hosts: list[HostAddress] = msgspec.field(default_factory=lambda: ["unix:///run/sampan.sock"])
    socket_group: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    labels: list[str] = []
    storage: StorageConfig = msgspec.field(default_factory=StorageConfig)
    network: NetworkConfig = msgspec.field(default_factory=NetworkConfig)
    runtime: RuntimeConfig = msgspec.field(default_factory=RuntimeConfig)
    log: LogConfig = msgspec.field(default_factory=LogConfig)
    hooks: HooksConfig = msgspec.field(default_factory=HooksConfig)
    images: ImagesConfig = msgspec.field(default_factory=ImagesConfig)
    registries: RegistriesConfig = msgspec.field(default_factory=RegistriesConfig)


def load(path: Path | None = None) -> Config:
    """The configuration in ``path``, or in the default file, or the defaults if there is no default file.

    Raises ``NotFound`` if ``path`` is named and absent, ``Invalid`` with file, line, key, value and what is allowed.
    """
    file = path or DEFAULT_FILE
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        if path is None:
            return Config()
        raise NotFound(f"the configuration file {file} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"the configuration file {file} cannot be read: {error}") from None
    return parse(text, str(file))


def parse(text: str, name: str = "config.yaml") -> Config:
    """The configuration in ``text``; ``name`` is what errors call it."""
    from sampan.yamlfile import read

    data, lines = read(text, name)
    try:
        config = decode.struct({} if data is None else data, Config)
    except decode.InvalidKey as error:
        raise Invalid(f"{name}:{lines.of(error.path)}: {error.message}") from None
    _check_roots(config.data_root, config.exec_root)
    return config


def override(config: Config, settings: Mapping[str, Any]) -> Config:
    """``config`` with some keys replaced, as the daemon's flags do: ``{"network.bridge_name": "br7"}``.

    The values are checked like the file's. Raises ``Invalid``.
    """
    for path, value in settings.items():
        section, _, key = path.rpartition(".")
        read = decode.struct({section: {key: value}} if section else {key: value}, Config)
        if section:
            part = getattr(config, section)
            config = msgspec.structs.replace(
                config, **{section: msgspec.structs.replace(part, **{key: getattr(getattr(read, section), key)})}
            )
        else:
            config = msgspec.structs.replace(config, **{key: getattr(read, key)})
    _check_roots(config.data_root, config.exec_root)
    return config


def _check_roots(data: Path, run: Path) -> None:
    if data == run or data in run.parents or run in data.parents:
        raise Invalid(f"data_root {data} and exec_root {run} must lie apart, neither inside the other")
