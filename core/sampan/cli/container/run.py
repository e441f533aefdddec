"""``run``, ``create``, ``start`` and ``attach``: everything that begins a container or joins one."""

from __future__ import annotations

import os
import sys

from sampan.cli.container.foreground import Foreground
from sampan.cli.container.options import CREATE, RUN
from sampan.cli.failures import DAEMON_FAILED, NOT_EXECUTABLE, NOT_FOUND, CannotConnect, Failure, Refused, Usage
from sampan.cli.flags import Args, Flag, command
from sampan.cli.output import tell
from sampan.cli.session import for_each, open_client
from sampan.cli.terminal import STDIN, keys, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.cli.client import Client

KEYS = Flag("detach-keys", "Keys that leave it running (ctrl-p,ctrl-q)", str, default="")


@command(
    "IMAGE [COMMAND] [ARG...]",
    *RUN,
    least=1,
    most=-1,
    stops=True,
    examples=(
        "sampan run --rm -it shell                            a shell that is gone when you leave it",
        "sampan run -d --name web -p 8080:80 web              serve port 80 of it at port 8080 here",
        "sampan run --rm --network none -m 64m shell id       no network, little memory",
        "sampan run --rm --storage-driver vfs shell mount     another storage driver, for this one only",
    ),
)
def run(args: Args) -> int:
    try:
        return _detached(args) if args.detach else _foreground(args)
    except (Refused, CannotConnect) as failure:
        failure.code = status_of(failure.message)
        raise


def status_of(message: str) -> int:
    """Docker's exit status for a container that could not be started, told by the message as Docker tells it."""
    text = message.lower()
    if "executable file not found" in text or "no such file or directory" in text:
        return NOT_FOUND
    if "permission denied" in text or "is a directory" in text or "exec format error" in text:
        return NOT_EXECUTABLE
    return DAEMON_FAILED


def _detached(args: Args) -> int:
    if args.attach:
        raise Usage("conflicting options: cannot specify both --attach and --detach")
    client = open_client(args)
    ident = make(client, args, (False, False, False))
    client.post(f"/containers/{ident}/start")
    print(ident)
    return 0


def _foreground(args: Args) -> int:
    attach = _attached(args)
    detach = keys(args.detach_keys)
    if args.tty and attach[0] and not os.isatty(STDIN):
        raise Failure("the input device is not a TTY")
    client = open_client(args)
    ident = make(client, args, attach)
    condition = "removed" if args.rm else "next-exit"
    return Foreground(client, ident, attach, tty=args.tty, proxy=args.sig_proxy, detach=detach).start(condition)


def _attached(args: Args) -> tuple[bool, bool, bool]:
    """Whether stdin, stdout and stderr are joined to the container."""
    if not args.attach:
        return args.interactive, True, True
    wanted = {word.lower() for word in args.attach}
    if unknown := wanted - {"stdin", "stdout", "stderr"}:
        raise Usage(f"invalid --attach {unknown.pop()}: write stdin, stdout or stderr")
    return "stdin" in wanted, "stdout" in wanted, "stderr" in wanted


def make(client: Client, args: Args, attach: tuple[bool, bool, bool]) -> str:
    """Creates the container, tells warnings, writes the id file. Returns the id."""
    from sampan.cli.container.body import build

    if args.pull not in ("always", "missing", "never"):
        raise Usage(f"invalid --pull {args.pull}: write always, missing or never")
    body = build(args, attach=attach, size=size())
    if args.cidfile and os.path.exists(args.cidfile):  # noqa: PTH110
        raise Failure(
            f"container ID file found, make sure the other container isn't running or delete {args.cidfile}",
            DAEMON_FAILED,
        )
    made = _create(client, args, body)
    for warning in made.get("Warnings") or []:
        tell(f"WARNING: {warning}")
    if args.cidfile:
        with open(args.cidfile, "x", encoding="ascii") as file:  # noqa: PTH123
            file.write(made["Id"])
    return str(made["Id"])


def _is_of_image(message: str) -> bool:
    """Is it not here, or is what is here for another platform?"""
    return "No such image" in message or "does not match the specified platform" in message


def _create(client: Client, args: Args, body: dict[str, Any]) -> dict[str, Any]:
    from sampan.cli.image.pull import pull

    query = {"name": args.name or None, "platform": args.platform or None}
    if args.pull == "always":
        pull(client, body["Image"], quiet=args.quiet, platform=args.platform, missing=False)
    try:
        return dict(client.post("/containers/create", query, body))
    except Refused as refused:
        if refused.status != 404 or not _is_of_image(refused.message) or args.pull != "missing":
            raise
    pull(client, body["Image"], quiet=args.quiet, platform=args.platform)
    return dict(client.post("/containers/create", query, body))


@command(
    "IMAGE [COMMAND] [ARG...]",
    *CREATE,
    least=1,
    most=-1,
    stops=True,
    examples=("sampan create --name box -it shell", "sampan start -ai box"),
)
def create(args: Args) -> None:
    attach = _attached(args) if args.attach else (args.interactive, True, True)
    print(make(open_client(args), args, attach))


@command(
    "CONTAINER [CONTAINER...]",
    Flag("attach", "Show its output and pass signals on", short="a"),
    Flag("interactive", "Pass stdin on", short="i"),
    KEYS,
    least=1,
    most=-1,
    examples=("sampan start box", "sampan start -ai box"),
)
def start(args: Args) -> int:
    client = open_client(args)
    if not (args.attach or args.interactive):
        return for_each(args.rest, lambda name: client.post(f"/containers/{name}/start"))
    if len(args.rest) > 1:
        raise Failure("you cannot start and attach multiple containers at once")
    found = client.get(f"/containers/{args.rest[0]}/json")
    config = found["Config"]
    attach = (args.interactive and config["OpenStdin"], True, True)
    condition = "removed" if (found.get("HostConfig") or {}).get("AutoRemove") else "next-exit"
    foreground = Foreground(
        client, found["Id"], attach, tty=config["Tty"], proxy=not config["Tty"], detach=keys(args.detach_keys)
    )
    try:
        return foreground.start(condition)
    except Refused as refused:
        refused.code = 1
        raise


@command(
    "CONTAINER",
    KEYS,
    Flag("no-stdin", "Do not pass stdin on"),
    Flag("sig-proxy", "Pass signals on to it", default=True),
    least=1,
    most=1,
    examples=("sampan attach box          ctrl-p ctrl-q leaves it running",),
)
def attach(args: Args) -> int:
    client = open_client(args)
    name = args.rest[0]
    found = client.get(f"/containers/{name}/json")
    state, config = found["State"], found["Config"]
    if not state["Running"]:
        raise Failure(f"you cannot attach to a stopped container, start it first: {name}")
    for word, article in (("Paused", "paused"), ("Restarting", "restarting")):
        if state.get(word):
            raise Failure(f"you cannot attach to a {article} container: {name}")
    if config["Tty"] and config["OpenStdin"] and not args.no_stdin and not os.isatty(STDIN):
        raise Failure("the input device is not a TTY")
    streams = (config["OpenStdin"] and not args.no_stdin, True, True)
    sys.stdout.flush()
    return Foreground(
        client,
        found["Id"],
        streams,
        tty=config["Tty"],
        proxy=args.sig_proxy and not config["Tty"],
        detach=keys(args.detach_keys),
    ).join()
