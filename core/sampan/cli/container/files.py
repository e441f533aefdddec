"""``diff``, ``export`` and ``cp``: the files of a container."""

from __future__ import annotations

import sys

from sampan.cli.failures import Failure, Usage
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


@command(
    "CONTAINER:SOURCE - | - CONTAINER:TARGET",
    Flag("archive", "Keep owners", short="a"),
    Flag("follow-link", "Follow a symbolic link in the source", short="L"),
    Flag("quiet", "Do not show progress", short="q"),
    least=2,
    most=2,
    examples=("sampan cp web:/etc/hosts - | tar -t", "tar -c page.html | sampan cp - web:/srv"),
)
def cp(args: Args) -> None:
    source, target = args.rest
    client = open_client(args)
    if source != "-" and target == "-":
        name, path = _place(source)
        response = client.request("GET", f"/containers/{name}/archive", {"path": path})
        write_archive(response, "")
    elif source == "-":
        name, path = _place(target)
        query = {"path": path, "noOverwriteDirNonDir": "true"}
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as stdin:
            client.send_file("PUT", f"/containers/{name}/archive", query, stdin, "application/x-tar").body()
    else:
        raise Usage("this version copies tar archives only: write - for one side", code=1)


def _place(word: str) -> tuple[str, str]:
    name, colon, path = word.partition(":")
    if not colon or not name or not path:
        raise Usage(f"{word} names no file in a container: write CONTAINER:/path", code=1)
    return name, path
