"""``sampan inspect``: containers, images and networks by whatever name they have."""

from __future__ import annotations

from sampan.cli.client import Client
from sampan.cli.failures import Refused, Usage
from sampan.cli.flags import Args, Flag, command
from sampan.cli.inspection import inspect_all
from sampan.cli.session import open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMAT = Flag("format", "json, or a Go template such as '{{.State.Status}}'", str, short="f", default="")
SIZE = Flag("size", "Show the sizes of containers", short="s")

PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
}


@command(
    "CONTAINER [CONTAINER...]",
    FORMAT,
    SIZE,
    least=1,
    most=-1,
    examples=("sampan container inspect web", "sampan container inspect -f '{{.State.Pid}}' web"),
)
def inspect(args: Args) -> int:
    client = open_client(args)
    return inspect_all(args.rest, lambda name: _get(client, "container", name, args.size), args.format)


@command(
    "NAME|ID [NAME|ID...]",
    FORMAT,
    SIZE,
    Flag("type", "Only look among containers, images, networks or volumes", str, default=""),
    least=1,
    most=-1,
    examples=(
        "sampan inspect web",
        "sampan inspect -f '{{.State.Status}} {{.NetworkSettings.IPAddress}}' web",
        "sampan inspect -f '{{range $port, $at := .NetworkSettings.Ports}}{{$port}} {{end}}' web",
    ),
)
def inspect_any(args: Args) -> int:
    if args.type and args.type not in PATHS:
        raise Usage(f'"{args.type}" is not a valid value for --type: write {", ".join(PATHS)}', code=1)
    client = open_client(args)

    def get(name: str) -> Any:
        for noun in [args.type] if args.type else PATHS:
            try:
                return _get(client, noun, name, args.size)
            except Refused as refused:
                # 501: this engine has no such noun at all.
                if refused.status not in (404, 501) or args.type:
                    raise
        raise Refused(f"No such object: {name}", 404)

    return inspect_all(args.rest, get, args.format)


def _get(client: Client, noun: str, name: str, size: bool) -> Any:
    return client.get(PATHS[noun].format(name), {"size": 1} if size and noun == "container" else None)
