"""What is done to containers that exist: stop, kill, restart, pause, rename, wait, rm."""

from __future__ import annotations

from sampan.cli.failures import Failure
from sampan.cli.flags import Args, Flag, command
from sampan.cli.output import size
from sampan.cli.quantities import integer
from sampan.cli.session import confirm, for_each, open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SEVERAL = "CONTAINER [CONTAINER...]"
SIGNAL = Flag("signal", "Signal that asks it to end", str, short="s")


def _grace(verb: str) -> tuple[Flag, Flag]:
    return (
        Flag("timeout", f"Seconds to wait before it is killed, to {verb} it (-1: for ever)", integer, short="t"),
        Flag("time", "The same as --timeout", integer),
    )


def _timeout(args: Args) -> int | None:
    found: int | None = args.timeout if args.timeout is not None else args.time
    return found


@command(
    SEVERAL, *_grace("stop"), SIGNAL, least=1, most=-1, examples=("sampan stop web", "sampan stop -t 1 $(sampan ps -q)")
)
def stop(args: Args) -> int:
    client, query = open_client(args), {"t": _timeout(args), "signal": args.signal}
    return for_each(args.rest, lambda name: client.post(f"/containers/{name}/stop", query))


@command(SEVERAL, *_grace("restart"), SIGNAL, least=1, most=-1, examples=("sampan restart -t 3 web",))
def restart(args: Args) -> int:
    client, query = open_client(args), {"t": _timeout(args), "signal": args.signal}
    return for_each(args.rest, lambda name: client.post(f"/containers/{name}/restart", query))


@command(
    SEVERAL,
    Flag("signal", "Signal to send, by name or number", str, short="s", default="KILL"),
    least=1,
    most=-1,
    examples=("sampan kill web", "sampan kill -s HUP web"),
)
def kill(args: Args) -> int:
    client = open_client(args)
    return for_each(args.rest, lambda name: client.post(f"/containers/{name}/kill", {"signal": args.signal}))


@command(SEVERAL, least=1, most=-1, examples=("sampan pause web",))
def pause(args: Args) -> int:
    client = open_client(args)
    return for_each(args.rest, lambda name: client.post(f"/containers/{name}/pause"))


@command(SEVERAL, least=1, most=-1, examples=("sampan unpause web",))
def unpause(args: Args) -> int:
    client = open_client(args)
    return for_each(args.rest, lambda name: client.post(f"/containers/{name}/unpause"))


@command("CONTAINER NEW_NAME", least=2, most=2, examples=("sampan rename web old-web",))
def rename(args: Args) -> None:
    old, new = args.rest
    if not new.strip():
        raise Failure("the new name is empty")
    open_client(args).post(f"/containers/{old}/rename", {"name": new})


@command(SEVERAL, least=1, most=-1, examples=("sampan wait job && sampan logs job",))
def wait(args: Args) -> int:
    client = open_client(args)

    def one(name: str) -> None:
        answer = client.post(f"/containers/{name}/wait")
        if answer is None:
            raise Failure("the daemon hung up before the container ended")
        print(answer["StatusCode"], flush=True)

    return for_each(args.rest, one, say=False)


@command(
    SEVERAL,
    Flag("force", "Kill it first if it runs", short="f"),
    Flag("link", "Remove a link, not the container", short="l"),
    Flag("volumes", "Remove its anonymous volumes too", short="v"),
    least=1,
    most=-1,
    examples=("sampan rm old", "sampan rm -f $(sampan ps -aq)"),
)
def rm(args: Args) -> int:
    client = open_client(args)
    query = {"force": args.force or None, "v": args.volumes or None, "link": args.link or None}

    def one(name: str) -> None:
        if not name.strip("/ "):
            raise Failure("container name cannot be empty")
        client.delete(f"/containers/{name.strip('/')}", query)

    return for_each(args.rest, one, absent_is_fine=args.force)


@command(
    "",
    Flag("filter", "Only those that fit, e.g. until=24h, label=x", str, many=True),
    Flag("force", "Do not ask", short="f"),
    examples=("sampan container prune -f",),
)
def prune(args: Args) -> int:
    from sampan.cli.listing import filters

    if not args.force and not confirm("This removes all stopped containers."):
        return 1
    answer: dict[str, Any] = open_client(args).post("/containers/prune", {"filters": filters(args.filter)})
    removed = answer.get("ContainersDeleted") or []
    if removed:
        print("Deleted Containers:", *removed, sep="\n", end="\n\n")
    print(f"Total reclaimed space: {size(answer.get('SpaceReclaimed') or 0, 4)}")
    return 0
