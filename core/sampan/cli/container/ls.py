"""``sampan ps``, and the two other views of what runs: ``top`` and ``port``."""

from __future__ import annotations

from sampan.cli.failures import Failure
from sampan.cli.flags import Args, Flag, command
from sampan.cli.listing import filters, show
from sampan.cli.output import ago, ellipsis, local_time, quoted, short_id, size, table
from sampan.cli.quantities import integer
from sampan.cli.session import open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

COLUMNS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
}
OTHERS = {"CreatedAt": "CREATED AT", "LocalVolumes": "LOCAL VOLUMES", "StorageDriver": "STORAGE DRIVER"}


@command(
    "",
    Flag("all", "Show all containers, not just those that run", short="a"),
    Flag("filter", "Show only what fits, e.g. status=exited, name=web, label=x", str, short="f", many=True),
    Flag("format", "table, json, or a Go template such as '{{.ID}} {{.Names}}'", str, default=""),
    Flag("last", "Show the n containers made last, in any state", integer, short="n", default=-1),
    Flag("latest", "Show the container made last, in any state", short="l"),
    Flag("no-trunc", "Do not cut anything short"),
    Flag("quiet", "Only print ids", short="q"),
    Flag("size", "Show how much each container takes on disk", short="s"),
    examples=("sampan ps -a", "sampan ps --filter status=exited -q", "sampan ps --format '{{.Names}}: {{.Status}}'"),
)
def ls(args: Args) -> None:
    last = 1 if args.latest and args.last < 1 else args.last
    query = {
        "all": args.all or None,
        "limit": last if last > 0 else None,
        "size": args.size or None,
        "filters": filters(args.filter),
    }
    found = open_client(args).get("/containers/json", query)
    if args.quiet and not args.format:
        for container in found:
            print(container["Id"] if args.no_trunc else short_id(container["Id"]))
        return
    columns = {**COLUMNS, "Size": "SIZE"} if args.size else COLUMNS
    show([_row(container, args.no_trunc) for container in found], columns, args.format, headers=OTHERS)


def _row(container: dict[str, Any], whole: bool) -> dict[str, Any]:
    labels = container.get("Labels") or {}
    mounts = [mount.get("Name") or mount.get("Source", "") for mount in container.get("Mounts") or []]
    text = container.get("Command", "")
    return {
        "ID": container["Id"] if whole else short_id(container["Id"]),
        "Image": _image(container, whole),
        "Command": quoted(text if whole else ellipsis(text, 20)),
        "CreatedAt": local_time(container.get("Created", 0)),
        "RunningFor": ago(container.get("Created", 0)),
        "State": container.get("State", ""),
        "Status": container.get("Status", ""),
        "Cause": container.get("Cause", ""),
        "Runtime": container.get("Runtime", ""),
        "StorageDriver": container.get("StorageDriver", ""),
        "Ports": ports(container.get("Ports") or []),
        "Names": ",".join(name.removeprefix("/") for name in container.get("Names") or []),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "Label": lambda key: labels.get(key, ""),
        "Mounts": ",".join(mount if whole else ellipsis(mount, 15) for mount in mounts),
        "LocalVolumes": str(sum(1 for mount in container.get("Mounts") or [] if mount.get("Driver") == "local")),
        "Networks": ",".join(sorted((container.get("NetworkSettings") or {}).get("Networks") or {})),
        "Size": f"{size(container.get('SizeRw') or 0)} (virtual {size(container.get('SizeRootFs') or 0)})",
    }


def _image(container: dict[str, Any], whole: bool) -> str:
    name = str(container.get("Image") or "<no image>")
    return name if whole or not name.startswith("sha256:") else short_id(name)


def ports(bindings: Sequence[dict[str, Any]]) -> str:
    """Docker's way to write ports: ``0.0.0.0:8080->80/tcp, 443/tcp``, neighbours joined into ranges."""
    groups: list[list[Any]] = []  # address, protocol, first and last public port, first and last private port
    seen: set[tuple[Any, ...]] = set()
    for port in sorted(bindings, key=_order):
        address, public, private = port.get("IP", ""), port.get("PublicPort", 0), port["PrivatePort"]
        if (key := (address, port["Type"], public, private)) in seen:
            continue
        seen.add(key)
        if groups and _next_to(groups[-1], address, port["Type"], public, private):
            groups[-1][3], groups[-1][5] = public, private
        else:
            groups.append([address, port["Type"], public, public, private, private])
    return ", ".join(_group(*group) for group in groups)


def _order(port: dict[str, Any]) -> tuple[Any, ...]:
    public = port.get("PublicPort", 0)
    return (public != 0, port.get("IP", ""), port["Type"], port["PrivatePort"], public)


def _next_to(group: list[Any], address: str, kind: str, public: int, private: int) -> bool:
    same = group[0] == address and group[1] == kind and group[5] + 1 == private
    return same and (group[3] + 1 == public if public else not group[3])


def _group(address: str, kind: str, public: int, public_end: int, private: int, private_end: int) -> str:
    inside = f"{private}" if private == private_end else f"{private}-{private_end}"
    if not public:
        return f"{inside}/{kind}"
    outside = f"{public}" if public == public_end else f"{public}-{public_end}"
    return f"{'[' + address + ']' if ':' in address else address}:{outside}->{inside}/{kind}"


@command(
    "CONTAINER [PS OPTIONS]",
    least=1,
    most=-1,
    stops=True,
    examples=("sampan top web", "sampan top web -o pid,cmd"),
)
def top(args: Args) -> None:
    name, *options = args.rest
    query = {"ps_args": " ".join(options) or None}
    found = open_client(args).get(f"/containers/{name}/top", query)
    print(table([found["Titles"], *(found.get("Processes") or [])]))


@command(
    "CONTAINER [PORT[/PROTOCOL]]",
    least=1,
    most=2,
    examples=("sampan port web", "sampan port web 80/tcp"),
)
def port(args: Args) -> None:
    name = args.rest[0]
    found = open_client(args).get(f"/containers/{name}/json")
    published = (found.get("NetworkSettings") or {}).get("Ports") or {}
    if len(args.rest) == 2:
        number, _, kind = args.rest[1].partition("/")
        wanted = f"{number}/{kind or 'tcp'}"
        if not published.get(wanted):
            raise Failure(f"no public port '{wanted}' published for {name}")
        for binding in published[wanted]:
            print(_address(binding))
        return
    for inside, bindings in sorted(published.items()):
        for binding in bindings or []:
            print(f"{inside} -> {_address(binding)}")


def _address(binding: dict[str, str]) -> str:
    address = binding.get("HostIp") or "0.0.0.0"
    return f"{'[' + address + ']' if ':' in address else address}:{binding.get('HostPort', '')}"
