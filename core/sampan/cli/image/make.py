"""Everything that makes images here: ``image from-host``, ``import``, ``load``."""

from __future__ import annotations

import sys

from sampan.cli.failures import Failure
from sampan.cli.flags import Args, Flag, command
from sampan.cli.image.platform import PLATFORM, as_json
from sampan.cli.output import short_id, size
from sampan.cli.progress import follow
from sampan.cli.session import open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

TAR = "application/x-tar"


@command(
    "[PROGRAM...]",
    Flag("quiet", "Only print the id", short="q"),
    Flag("tag", "Name of the image", str, short="t", default="host:latest"),
    most=-1,
    examples=(
        "sampan image from-host                     a shell with the usual programs, called host",
        "sampan image from-host -t web python3      python3 with all that it needs to start",
    ),
)
def from_host(args: Args) -> None:
    body = {"programs": args.rest, "reference": args.tag}
    made = open_client(args).post("/sampan/images/from-host", None, body)
    if args.quiet:
        print(made["Id"])
        return
    names = ", ".join(made.get("RepoTags") or [args.tag])
    print(f"Made {names} ({short_id(made['Id'])}, {size(made.get('Size') or 0)})")


@command(
    "FILE|URL|- [REPOSITORY[:TAG]]",
    Flag("change", "Apply a Dockerfile instruction, e.g. 'CMD [\"sh\"]'", str, short="c", many=True),
    Flag("message", "Comment to keep with the image", str, short="m", default=""),
    Flag("platform", "Platform of the files, e.g. linux/amd64", str, default=""),
    least=1,
    most=2,
    examples=("tar -C rootfs -c . | sampan import - mine:1", "sampan import -c 'CMD [\"sh\"]' rootfs.tar mine:1"),
)
def import_(args: Args) -> None:
    name, *reference = args.rest
    query = {
        "fromSrc": "-",
        "repo": reference[0] if reference else None,
        "message": args.message or None,
        "platform": args.platform or None,
    }
    if args.change:
        query["changes"] = args.change
    client = open_client(args)
    if name.startswith(("http://", "https://")):
        response = client.request("POST", "/images/create", query | {"fromSrc": name})
        follow(response)
        client.release(response)
        return
    with _source(name, "import") as source:
        follow(client.send_file("POST", "/images/create", query, source, TAR))


@command(
    "",
    Flag("input", "Read this file, not stdin", str, short="i", default=""),
    PLATFORM,
    Flag("quiet", "Do not show progress", short="q"),
    examples=("sampan load -i images.tar", "zcat images.tar.gz | sampan load"),
)
def load(args: Args) -> None:
    client = open_client(args)
    query = {"quiet": 1 if args.quiet or not sys.stdout.isatty() else 0, "platform": as_json(args.platform)}
    with _source(args.input or "-", "load") as source:
        follow(client.send_file("POST", "/images/load", query, source, TAR), quiet=args.quiet)


def _source(name: str, verb: str) -> BinaryIO:
    """The archive to send: a file, or stdin for ``-``."""
    if name == "-":
        if sys.stdin.isatty():
            hint = "name a file with -i" if verb == "load" else "name a file"
            raise Failure(f"there is nothing to {verb} on stdin: {hint}, or send an archive through a pipe")
        return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
    try:
        return open(name, "rb", buffering=0)  # noqa: PTH123
    except OSError as why:
        raise Failure(f"open {name}: {(why.strerror or 'cannot be read').lower()}") from None
