"""``sampan volume …``."""

from __future__ import annotations

from sampan.cli.flags import Args, Flag, command
from sampan.cli.listing import filters, show
from sampan.cli.session import confirm, for_each, open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COLUMNS = {"Driver": "DRIVER", "Name": "VOLUME NAME"}
ALL = "This removes all volumes that no container uses."
ANONYMOUS = "This removes all anonymous volumes that no container uses."


@command(
    "[VOLUME]",
    Flag("driver", "Volume driver", str, short="d", default="local"),
    Flag("label", "Set a label (key=value)", str, many=True),
    Flag("name", "The same as VOLUME", str, default=""),
    Flag("opt", "Option of the driver (key=value): type, o and device, as for mount(8)", str, short="o", many=True),
    most=1,
    examples=(
        "sampan volume create data",
        "sampan volume create -o type=tmpfs -o device=tmpfs -o o=size=100m scratch",
    ),
)
def create(args: Args) -> None:
    from sampan.cli.container.environment import pairs, strict_pairs
    from sampan.cli.failures import Usage

    if args.rest and args.name:
        raise Usage("conflicting options: cannot specify a volume-name through both --name and as a positional arg")
    body: dict[str, Any] = {
        "Name": args.rest[0] if args.rest else args.name,
        "Driver": args.driver,
        "DriverOpts": strict_pairs(args.opt, "opt"),
        "Labels": pairs(args.label),
    }
    print(open_client(args).post("/volumes/create", None, body)["Name"])


@command(
    "",
    Flag("filter", "Show only what fits, e.g. dangling=true, name=data, label=x", str, short="f", many=True),
    Flag("format", "table, json, or a Go template such as '{{.Name}}'", str, default=""),
    Flag("quiet", "Only print names", short="q"),
    examples=("sampan volume ls", "sampan volume ls -q --filter dangling=true"),
)
def ls(args: Args) -> None:
    answer = open_client(args).get("/volumes", {"filters": filters(args.filter)})
    rows = [_row(volume) for volume in sorted(answer.get("Volumes") or [], key=lambda volume: volume["Name"])]
    if args.quiet and not args.format:
        for row in rows:
            print(row["Name"])
        return
    show(rows, COLUMNS, args.format)


def _row(volume: dict[str, Any]) -> dict[str, Any]:
    labels = volume.get("Labels") or {}
    return {
        "Name": volume["Name"],
        "Driver": volume["Driver"],
        "Scope": volume.get("Scope", "local"),
        "Mountpoint": volume.get("Mountpoint", ""),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "Label": lambda key: labels.get(key, ""),
        "Links": "N/A",
        "Size": "N/A",
    }


@command(
    "VOLUME [VOLUME...]",
    Flag("format", "json, or a Go template such as '{{.Mountpoint}}'", str, short="f", default=""),
    least=1,
    most=-1,
    examples=("sampan volume inspect data",),
)
def inspect(args: Args) -> int:
    from sampan.cli.inspection import inspect_all

    client = open_client(args)
    return inspect_all(args.rest, lambda name: client.get(f"/volumes/{name}"), args.format)


@command(
    "VOLUME [VOLUME...]",
    Flag("force", "Do not complain about one that does not exist", short="f"),
    least=1,
    most=-1,
    examples=("sampan volume rm data",),
)
def rm(args: Args) -> int:
    client, query = open_client(args), {"force": 1} if args.force else None
    return for_each(args.rest, lambda name: client.delete(f"/volumes/{name}", query))


@command(
    "",
    Flag("all", "Named ones, too", short="a"),
    Flag("filter", "Only those that fit, e.g. label=x", str, many=True),
    Flag("force", "Do not ask", short="f"),
    examples=("sampan volume prune -f",),
)
def prune(args: Args) -> int:
    from sampan.cli.output import size

    if not args.force and not confirm(ALL if args.all else ANONYMOUS):
        return 1
    words = [*args.filter, *(["all=true"] if args.all else [])]
    answer = open_client(args).post("/volumes/prune", {"filters": filters(words)})
    removed = answer.get("VolumesDeleted") or []
    if removed:
        print("Deleted Volumes:", *removed, sep="\n", end="\n\n")
    print(f"Total reclaimed space: {size(answer.get('SpaceReclaimed') or 0)}")
    return 0
