"""``sampan snapshot``: points in a container's files that one can go back to, or begin another container from."""

from __future__ import annotations

from sampan.cli.container.files import KINDS
from sampan.cli.flags import Args, Flag, command
from sampan.cli.listing import show
from sampan.cli.output import ago, local_time, short_id, size
from sampan.cli.session import for_each, open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COLUMNS = {"Name": "NAME", "ID": "SNAPSHOT ID", "CreatedSince": "CREATED", "Size": "SIZE", "Comment": "COMMENT"}


def _path(container: str, *rest: str) -> str:
    return "/".join(("/sampan/containers", container, "snapshots", *rest))


@command(
    "CONTAINER [NAME]",
    Flag("message", "Comment to keep with it", str, short="m", default=""),
    Flag("pause", "Freeze the container meanwhile", short="p", default=True),
    least=1,
    most=2,
    examples=("sampan snapshot create web", "sampan snapshot create -m 'all is well' web before-upgrade"),
)
def create(args: Args) -> None:
    container, *name = args.rest
    query = {"name": name[0] if name else None, "comment": args.message or None, "pause": args.pause}
    print(open_client(args).post(_path(container), query)["Name"])


@command(
    "CONTAINER",
    Flag("format", "table, json, or a Go template such as '{{.Name}} {{.Size}}'", str, default=""),
    Flag("no-trunc", "Do not cut ids short"),
    Flag("quiet", "Only print names", short="q"),
    least=1,
    most=1,
    examples=("sampan snapshot ls web",),
)
def ls(args: Args) -> None:
    rows = [_row(found, args.no_trunc) for found in open_client(args).get(_path(args.rest[0]))]
    if args.quiet and not args.format:
        for row in rows:
            print(row["Name"])
        return
    show(rows, COLUMNS, args.format, headers={"CreatedAt": "CREATED AT", "Container": "CONTAINER"})


def _row(found: dict[str, Any], whole: bool) -> dict[str, Any]:
    from sampan.cli.moments import seconds

    created = seconds(found["Created"])
    return {
        "Name": found["Name"],
        "ID": found["Id"] if whole else short_id(found["Id"]),
        "Container": found["Container"] if whole else short_id(found["Container"]),
        "CreatedSince": ago(created),
        "CreatedAt": local_time(created),
        "Size": size(found["Size"]),
        "Comment": found["Comment"],
    }


@command(
    "CONTAINER NAME [NAME]",
    least=2,
    most=3,
    examples=(
        "sampan snapshot diff web before-upgrade                  what web changed since",
        "sampan snapshot diff web before-upgrade after-upgrade    from the one to the other",
    ),
)
def diff(args: Args) -> None:
    container, name, *other = args.rest
    changes = open_client(args).get(_path(container, "changes"), {"snapshot": name, "to": other[0] if other else None})
    for change in changes or []:
        print(KINDS[change["Kind"]], change["Path"])


@command(
    "CONTAINER NAME",
    least=2,
    most=2,
    examples=("sampan stop web && sampan snapshot restore web before-upgrade && sampan start web",),
)
def restore(args: Args) -> None:
    container, name = args.rest
    open_client(args).post(_path(container, "restore"), {"snapshot": name})
    print(container)


@command("CONTAINER NAME [NAME...]", least=2, most=-1, examples=("sampan snapshot rm web before-upgrade",))
def rm(args: Args) -> int:
    client, (container, *names) = open_client(args), args.rest
    return for_each(names, lambda name: client.delete(_path(container), {"snapshot": name}))


@command(
    "CONTAINER NAME",
    Flag("name", "Name of the new container", str, default=""),
    Flag("start", "Start it, too", default=True),
    least=2,
    most=2,
    examples=("sampan snapshot run --name web-again web before-upgrade", "sampan snapshot run --start=false web sane"),
)
def run(args: Args) -> None:
    from sampan.cli.output import tell

    client, (container, name) = open_client(args), args.rest
    made = client.post(_path(container, "containers"), {"snapshot": name, "name": args.name or None})
    for warning in made["Warnings"]:
        tell(f"WARNING: {warning}")
    if args.start:
        client.post(f"/containers/{made['Id']}/start")
    print(made["Id"])
