"""``sampan logs``."""

from __future__ import annotations

from sampan.cli.conversation import Frames, write
from sampan.cli.failures import Usage
from sampan.cli.flags import Args, Flag, command
from sampan.cli.session import open_client
from sampan.cli.terminal import STDOUT


@command(
    "CONTAINER",
    Flag("details", "Show what the log driver was told to add"),
    Flag("follow", "Go on until the container ends", short="f"),
    Flag("since", "From this time on (10m, 2024-05-01T10:00:00Z)", str, default=""),
    Flag("tail", "Only the last lines, or all", str, short="n", default="all"),
    Flag("timestamps", "Show when each line was written", short="t"),
    Flag("until", "Up to this time", str, default=""),
    least=1,
    most=1,
    examples=("sampan logs -f web", "sampan logs --tail 20 --since 10m web"),
)
def logs(args: Args) -> None:
    if args.tail != "all" and not args.tail.lstrip("-").isdigit():
        raise Usage(f"invalid --tail {args.tail}: write a number of lines or all", code=1)
    client = open_client(args)
    found = client.get(f"/containers/{args.rest[0]}/json")
    query = {
        "stdout": 1,
        "stderr": 1,
        "tail": args.tail,
        "follow": args.follow or None,
        "timestamps": args.timestamps or None,
        "details": args.details or None,
        "since": _time(args.since),
        "until": _time(args.until),
    }
    response = client.request("GET", f"/containers/{found['Id']}/logs", query)
    frames = Frames()
    for piece in response.pieces():
        write(STDOUT, piece) if found["Config"]["Tty"] else frames.feed(piece)


def _time(text: str) -> str | None:
    from sampan.cli.moments import timestamp

    return timestamp(text) or None
