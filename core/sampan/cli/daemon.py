"""``sampan daemon``: the engine itself. The one command that imports it, and late."""

from __future__ import annotations

import os

from sampan.cli.failures import Failure, Usage
from sampan.cli.flags import Args, Flag, command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.config import Config

SETTINGS = {
    "data-root": "data_root",
    "exec-root": "exec_root",
    "pidfile": "pidfile",
    "group": "socket_group",
    "bridge": "network.bridge_name",
    "bip": "network.bridge_subnet",
    "ip": "network.publish_address",
    "storage-driver": "storage.driver",
    "default-runtime": "runtime.driver",
    "userns-remap": "runtime.userns_remap",
    "log-driver": "log.driver",
    "log-level": "log_level",
}
"""Flag → key of the configuration file that it replaces."""

LEVELS = {"debug": "debug", "info": "info", "warn": "warning", "warning": "warning", "error": "error", "fatal": "error"}

TLS = ("tls", "tlsverify", "tlscacert", "tlscert", "tlskey")


@command(
    "",
    Flag("bip", "Subnet of the default bridge (10.5.0.1/24)", str, metavar="subnet"),
    Flag("bridge", "Name of the default bridge in the kernel", str, short="b"),
    Flag("config-file", "Configuration file (/etc/sampan/config.yaml)", str, default=""),
    Flag("data-root", "Directory of images and containers (/var/lib/sampan)", str),
    Flag("debug", "Log more", short="D"),
    Flag("default-runtime", "Runtime driver for containers that name none", str),
    Flag("dns", "DNS server for containers that name none", str, many=True),
    Flag("dns-search", "Search domain for containers that name none", str, many=True),
    Flag("exec-root", "Directory of what lives while things run (/run/sampan)", str),
    Flag("group", "Group that may use the socket", str, short="G"),
    Flag("host", "Where to listen: unix:///path or tcp://address:port", str, short="H", many=True),
    Flag("ip", "Address to publish ports at", str),
    Flag("label", "Label of this engine (key=value)", str, many=True),
    Flag("log-driver", "Where containers' output is kept", str),
    Flag("log-level", "debug, info, warn or error", str, short="l"),
    Flag("pidfile", "File for the process id (/run/sampan.pid)", str, short="p"),
    Flag("storage-driver", "Storage driver for containers that name none", str, short="s"),
    Flag("storage-opt", "Option of the storage driver (key=value)", str, many=True),
    Flag("tls", "Not built yet"),
    Flag("tlscacert", "Not built yet", str),
    Flag("tlscert", "Not built yet", str),
    Flag("tlskey", "Not built yet", str),
    Flag("tlsverify", "Not built yet"),
    Flag("userns-remap", "Whose subordinate ids containers get (default, USER, UID, USER:GROUP)", str),
    Flag("validate", "Check the configuration and end"),
    examples=(
        "sampan daemon",
        "sampan daemon --config-file ./config.yaml --validate",
        "sampan daemon -H unix:///tmp/s --data-root /tmp/data --exec-root /tmp/exec --pidfile /tmp/pid",
    ),
)
def daemon(args: Args) -> int:
    for name in TLS:
        if name in args.given and getattr(args, name):
            raise Failure(f"--{name}: TLS is not built yet; listen on a Unix socket, or put ssh in front of it")
    from sampan.errors import SampanError

    try:
        config = configuration(args)
        check(config)
        if args.validate:
            print("configuration OK")
            return 0
    except SampanError as error:
        raise Failure(error.message) from None
    if os.geteuid() != 0:
        raise Failure("the daemon needs to be started as root: it mounts file systems and makes namespaces")
    from sampan.api.daemon import run

    return run(config)


def configuration(args: Args) -> Config:
    """The file's configuration with the flags laid over it. Raises the kinds of sampan.errors."""
    from pathlib import Path

    from sampan import config

    found = config.load(Path(args.config_file) if args.config_file else None)
    return config.override(found, settings(args, found))


def settings(args: Args, config: Config) -> dict[str, Any]:
    """What the flags replace, as ``config.override`` wants it."""
    if args.log_level is not None and args.log_level not in LEVELS:
        raise Usage(f'invalid argument "{args.log_level}" for --log-level: write {", ".join(LEVELS)}', code=1)
    values = {flag: getattr(args, flag.replace("-", "_")) for flag in SETTINGS}
    found: dict[str, Any] = {SETTINGS[flag]: value for flag, value in values.items() if value is not None}
    if args.log_level is not None:
        found["log_level"] = LEVELS[args.log_level]
    if args.bip is not None:
        found[SETTINGS["bip"]] = _subnet(args.bip)
    if args.debug:
        found["log_level"] = "debug"
    hosts = args.host or [args.server] * bool(args.server)
    lists = {
        "hosts": [_listening(host) for host in hosts],
        "labels": args.label,
        "network.dns": args.dns,
        "network.dns_search": args.dns_search,
    }
    found.update({key: words for key, words in lists.items() if words})
    if args.storage_opt:
        found["storage.options"] = _storage_options(args, config)
    return found


def _subnet(bip: str) -> str:
    """Docker's ``--bip`` is the bridge's address; here the bridge always has the first address of its subnet."""
    import ipaddress

    try:
        interface = ipaddress.ip_interface(bip)
    except ValueError:
        return bip  # the configuration says what is allowed
    if interface.ip not in (interface.network.network_address, interface.network.network_address + 1):
        first = interface.network.network_address + 1
        raise Usage(f"--bip {bip}: the bridge gets the first address of its subnet, {first}", code=1)
    return str(interface.network)


def _listening(host: str) -> str:
    """A host as the configuration spells it: a bare path is a Unix socket's."""
    return host if "://" in host else f"unix://{host}" if host.startswith("/") else f"tcp://{host}"


def _storage_options(args: Args, config: Config) -> dict[str, dict[str, Any]]:
    from sampan.cli.container.environment import strict_pairs

    driver = args.storage_driver or config.storage.driver
    given = strict_pairs(args.storage_opt, "storage-opt")
    names = {key.removeprefix(f"{driver}."): value for key, value in given.items()}
    options = {name: dict(values) for name, values in config.storage.options.items()}
    options.setdefault(driver, {}).update(names)
    return options


def check(config: Config) -> None:
    """More than the file's form: the drivers that it names must exist and accept their options."""
    from sampan import subids
    from sampan.plugins import Drivers

    subids.find(config)
    Drivers(config, "00000000").validate()
