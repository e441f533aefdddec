"""``diff``, ``export`` and ``commit``: the files of a container."""

from __future__ import annotations

import sys

from sampan.cli.failures import Failure
from sampan.cli.flags import Args, Flag, command
from sampan.cli.image.keep import write_archive
from sampan.cli.image.pull import split
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
    "CONTAINER [REPOSITORY[:TAG]]",
    Flag("author", "Author to keep with the image", str, short="a", default=""),
    Flag("change", "Apply a Dockerfile instruction, e.g. 'CMD [\"sh\"]'", str, short="c", many=True),
    Flag("message", "Comment to keep with the image", str, short="m", default=""),
    Flag("pause", "Freeze the container meanwhile", short="p", default=True),
    least=1,
    most=2,
    examples=("sampan commit web web:patched", "sampan commit -c 'CMD [\"sh\"]' web mine:1"),
)
def commit(args: Args) -> None:
    name, *reference = args.rest
    repository, tag = split(reference[0]) if reference else (None, None)
    query = {
        "container": name,
        "repo": repository,
        "tag": tag,
        "author": args.author or None,
        "comment": args.message or None,
        "changes": args.change or None,
        "pause": args.pause,
    }
    print(open_client(args).post("/commit", query)["Id"])
