"""What is done to images that exist: ``tag``, ``save``, ``rmi``."""

from __future__ import annotations

import io
import os
import sys

from sampan.cli.failures import Failure
from sampan.cli.flags import Args, Flag, command
from sampan.cli.image.platform import PLATFORM, as_json
from sampan.cli.image.pull import split
from sampan.cli.output import short_id
from sampan.cli.session import for_each, open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.cli.http import Response


@command("SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", least=2, most=2, examples=("sampan tag shell shell:old",))
def tag(args: Args) -> None:
    source, target = args.rest
    if "@" in target:
        raise Failure(f"{target} is a digest: a new name needs a tag")
    repository, tag = split(target)
    open_client(args).post(f"/images/{source}/tag", {"repo": repository, "tag": tag})


@command(
    "IMAGE [IMAGE...]",
    Flag("force", "Remove it even if a stopped container uses it", short="f"),
    Flag("no-prune", "Keep parents that have no name"),
    Flag("platform", "Only this platform", str, many=True),
    least=1,
    most=-1,
    examples=("sampan rmi shell:old", "sampan rmi $(sampan images -q --filter dangling=true)"),
)
def rm(args: Args) -> int:
    client = open_client(args)
    query = {"force": args.force or None, "noprune": args.no_prune or None}

    def one(name: str) -> None:
        for done in client.delete(f"/images/{name}", query):
            for word in ("Untagged", "Deleted"):
                if word in done:
                    print(f"{word}: {done[word]}")

    return for_each(args.rest, one, say=False, absent_is_fine=args.force)


@command(
    "IMAGE [IMAGE...]",
    Flag("output", "Write to this file, not to stdout", str, short="o", default=""),
    PLATFORM,
    least=1,
    most=-1,
    examples=("sampan save -o shell.tar shell", "sampan save shell | gzip > shell.tar.gz"),
)
def save(args: Args) -> None:
    if not args.output and sys.stdout.isatty():
        raise Failure("an archive does not belong on a terminal: use -o, or send it through a pipe")
    query = {"names": args.rest, "platform": as_json(args.platform)}
    response = open_client(args).request("GET", "/images/get", query)
    write_archive(response, args.output)


def write_archive(response: Response, path: str) -> None:
    """The body of an answer to a file, complete or not at all, or to stdout when ``path`` is empty. What is there and
    no file, such as a pipe, is written to and not replaced."""
    if not path:
        from sampan.cli.conversation import write

        for piece in response.pieces():
            write(1, piece)
        return
    path = os.path.realpath(path)  # a link stays one
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
        with _opened(path, "wb") as file:
            for piece in response.pieces():
                file.write(piece)
        return
    part = f"{path}.part-{os.getpid()}"
    try:
        with _opened(part, "xb") as file:
            for piece in response.pieces():
                file.write(piece)
        os.replace(part, path)  # noqa: PTH105
    except BaseException:
        if os.path.exists(part):  # noqa: PTH110
            os.unlink(part)  # noqa: PTH108
        raise


def _opened(path: str, mode: str) -> io.FileIO:
    try:
        return io.FileIO(path, mode)
    except OSError as why:
        shown = path.partition(".part-")[0]
        raise Failure(f"invalid output path: open {shown}: {(why.strerror or str(why)).lower()}") from None


@command("[IMAGE...]", most=-1, examples=("sampan image verify", "sampan image verify web:1"))
def verify(args: Args) -> None:
    rows = open_client(args).get("/sampan/images/verify", {"names": args.rest or None})
    for row in rows:
        names = ", ".join(row["RepoTags"]) or "<none>"
        print(f"{names} ({short_id(row['Id'])}): {'; '.join(row['Problems']) or 'whole'}")
    if any(row["Problems"] for row in rows):
        raise Failure("what is damaged must be pulled or loaded again", 1)
