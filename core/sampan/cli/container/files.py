"""``diff`` and ``export``: the files of a container."""

from __future__ import annotations

import sys

from sampan.cli.failures import Failure
from sampan.cli.flags import Args, Flag, command
from sampan.cli.image.keep import write_archive
from sampan.cli.session import open_client

KINDS = "CAD"
"""Changed, added, deleted: the API's numbers for the kinds of change."""


@command("CONTAINER", least=1, most=1, examples=("sampan diff web",))
def diff(args: Args) -> None:
    for change in open_client(args).get(f"/containers/{args.rest[0]}/changes") or []:
        print(KINDS[change["Kind"]], change["Path"])


@command(
    "CONTAINER",
    Flag("output", "Write to this file, not to stdout", str, short="o", default=""),
    least=1,
    most=1,
    examples=("sampan export -o web.tar web",),
)
def export(args: Args) -> None:
    if not args.output and sys.stdout.isatty():
        raise Failure("an archive does not belong on a terminal: use -o, or send it through a pipe")
    write_archive(open_client(args).request("GET", f"/containers/{args.rest[0]}/export"), args.output)
