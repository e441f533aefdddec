"""``sampan network …``."""

from __future__ import annotations

from sampan.cli.failures import Usage
from sampan.cli.flags import Args, Flag, command
from sampan.cli.listing import filters, show
from sampan.cli.output import short_id
from sampan.cli.session import confirm, for_each, open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COLUMNS = {"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE"}


@command(
    "",
    Flag("filter", "Show only what fits, e.g. driver=bridge, name=web", str, short="f", many=True),
    Flag("format", "table, json, or a Go template such as '{{.Name}}'", str, default=""),
    Flag("no-trunc", "Do not cut ids short"),
    Flag("quiet", "Only print ids", short="q"),
    examples=("sampan network ls",),
)
def ls(args: Args) -> None:
    networks = open_client(args).get("/networks", {"filters": filters(args.filter)})
    rows = [_row(network, args.no_trunc) for network in sorted(networks, key=lambda network: network["Name"])]
    if args.quiet and not args.format:
        for row in rows:
            print(row["ID"])
        return
    show(rows, COLUMNS, args.format, headers={"CreatedAt": "CREATED AT"})


def _row(network: dict[str, Any], whole: bool) -> dict[str, Any]:
    labels = network.get("Labels") or {}
    return {
        "ID": network["Id"] if whole else short_id(network["Id"]),
        "Name": network["Name"],
        "Driver": network["Driver"],
        "Scope": network.get("Scope", "local"),
        "IPv4": str(network.get("EnableIPv4", True)).lower(),
        "IPv6": str(network.get("EnableIPv6", False)).lower(),
        "Internal": str(network.get("Internal", False)).lower(),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "Label": lambda key: labels.get(key, ""),
        "CreatedAt": network.get("Created", ""),
    }


@command(
    "NETWORK",
    Flag("attachable", "Kept for Docker's sake"),
    Flag("aux-address", "Address that is somebody else's (name=ip)", str, many=True),
    Flag("config-from", "Make it like this configuration-only network", str, default=""),
    Flag("config-only", "Only keep what it would be like, for others to be made of"),
    Flag("driver", "Network driver (left out: the engine's default)", str, short="d", default=""),
    Flag("gateway", "Address of the gateway", str, many=True),
    Flag("internal", "No way out"),
    Flag("ip-range", "Part of the subnet that containers get addresses from", str, many=True),
    Flag("ipam-driver", "Kept for Docker's sake", str, default="default"),
    Flag("ipv4", "Give IPv4 addresses", default=True),
    Flag("ipv6", "Give IPv6 addresses"),
    Flag("label", "Set a label (key=value)", str, many=True),
    Flag("opt", "Option of the driver (key=value)", str, short="o", many=True),
    Flag("scope", "Kept for Docker's sake", str, default=""),
    Flag("subnet", "Subnet such as 10.5.0.0/24 (left out: one is picked)", str, many=True),
    least=1,
    most=1,
    examples=("sampan network create web", "sampan network create -d internal --subnet 10.5.0.0/24 back"),
)
def create(args: Args) -> None:
    from sampan.cli.container.environment import pairs, strict_pairs

    body: dict[str, Any] = {
        "Name": args.rest[0],
        "Driver": args.driver,
        "Internal": args.internal,
        "ConfigOnly": args.config_only,
        "Attachable": args.attachable,
        "EnableIPv6": args.ipv6,
        "IPAM": {"Driver": args.ipam_driver, "Config": _subnets(args)},
        "Options": strict_pairs(args.opt, "opt"),
        "Labels": pairs(args.label),
    }
    if "ipv4" in args.given:
        body["EnableIPv4"] = args.ipv4
    if not args.driver:
        del body["Driver"]
    if args.config_from:
        body["ConfigFrom"] = {"Network": args.config_from}
    made = open_client(args).post("/networks/create", None, body)
    if made.get("Warning"):
        from sampan.cli.output import tell

        tell(f"WARNING: {made['Warning']}")
    print(made["Id"])


def _subnets(args: Args) -> list[dict[str, Any]]:
    """Docker's IPAM configuration: ranges, gateways and foreign addresses go to the subnet that holds them."""
    if not args.subnet:
        if args.gateway or args.ip_range or args.aux_address:
            raise Usage("every ip-range or gateway must have a corresponding subnet")
        return []
    import ipaddress

    def home(text: str) -> dict[str, Any]:
        try:
            address = ipaddress.ip_interface(text).ip
            for subnet in args.subnet:
                if address in ipaddress.ip_network(subnet, strict=False):
                    return found[subnet]
        except ValueError as why:
            raise Usage(str(why)) from None
        raise Usage(f"{text} is in none of the subnets")

    found: dict[str, dict[str, Any]] = {subnet: {"Subnet": subnet} for subnet in args.subnet}
    for text in args.ip_range:
        home(text)["IPRange"] = text
    for text in args.gateway:
        home(text)["Gateway"] = text
    for word in args.aux_address:
        name, _, text = word.partition("=")
        home(text).setdefault("AuxiliaryAddresses", {})[name] = text
    return list(found.values())


@command(
    "NETWORK [NETWORK...]",
    Flag("force", "Do not complain about one that does not exist", short="f"),
    least=1,
    most=-1,
    examples=("sampan network rm web",),
)
def rm(args: Args) -> int:
    client = open_client(args)
    return for_each(args.rest, lambda name: client.delete(f"/networks/{name}"), absent_is_fine=args.force)


@command(
    "NETWORK [NETWORK...]",
    Flag("format", "json, or a Go template such as '{{json .IPAM}}'", str, short="f", default=""),
    Flag("verbose", "Show more", short="v"),
    least=1,
    most=-1,
    examples=("sampan network inspect bridge",),
)
def inspect(args: Args) -> int:
    from sampan.cli.inspection import inspect_all

    client = open_client(args)
    return inspect_all(args.rest, lambda name: client.get(f"/networks/{name}"), args.format)


@command(
    "NETWORK CONTAINER",
    Flag("alias", "One more name on that network", str, many=True),
    Flag("driver-opt", "Option of the driver (key=value)", str, many=True),
    Flag("gw-priority", "The network with the highest one is the way out", int, default=0),
    Flag("ip", "IPv4 address", str, default=""),
    Flag("ip6", "IPv6 address", str, default=""),
    Flag("link-local-ip", "One more address, for this link alone", str, many=True),
    Flag("link", "Make another container known by name", str, many=True),
    least=2,
    most=2,
    examples=("sampan network connect --alias db back web",),
)
def connect(args: Args) -> None:
    from sampan.cli.container.environment import strict_pairs

    network, container = args.rest
    addresses = {"IPv4Address": args.ip, "IPv6Address": args.ip6, "LinkLocalIPs": args.link_local_ip}
    endpoint = {
        "IPAMConfig": {key: value for key, value in addresses.items() if value},
        "Aliases": args.alias,
        "Links": args.link,
        "DriverOpts": strict_pairs(args.driver_opt, "driver-opt"),
        "GwPriority": args.gw_priority,
    }
    body = {"Container": container, "EndpointConfig": {key: value for key, value in endpoint.items() if value}}
    open_client(args).post(f"/networks/{network}/connect", None, body)


@command(
    "NETWORK CONTAINER",
    Flag("force", "Do it even if the container cannot be asked", short="f"),
    least=2,
    most=2,
    examples=("sampan network disconnect back web",),
)
def disconnect(args: Args) -> None:
    network, container = args.rest
    body = {"Container": container, "Force": args.force}
    open_client(args).post(f"/networks/{network}/disconnect", None, body)


@command(
    "",
    Flag("filter", "Only those that fit, e.g. until=24h, label=x", str, many=True),
    Flag("force", "Do not ask", short="f"),
    examples=("sampan network prune -f",),
)
def prune(args: Args) -> int:
    if not args.force and not confirm("This removes all networks that no container uses."):
        return 1
    removed = open_client(args).post("/networks/prune", {"filters": filters(args.filter)}).get("NetworksDeleted") or []
    if removed:
        print("Deleted Networks:", *removed, sep="\n")
    return 0
