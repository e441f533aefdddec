"""``sampan exec``: one more process in a container that runs."""

from __future__ import annotations

import os

from sampan.cli.client import Client
from sampan.cli.container.environment import variables
from sampan.cli.container.run import KEYS, status_of
from sampan.cli.conversation import Conversation
from sampan.cli.failures import DAEMON_FAILED, CannotConnect, Failure, Refused
from sampan.cli.flags import Args, Flag, command
from sampan.cli.session import open_client
from sampan.cli.signals import DEADLY, WINDOW_CHANGED, Signals
from sampan.cli.terminal import STDIN, Raw, keys, size


@command(
    "CONTAINER COMMAND [ARG...]",
    Flag("detach", "Do not wait for it", short="d"),
    KEYS,
    Flag("env", "Set an environment variable", str, short="e", many=True),
    Flag("env-file", "Read environment variables from a file", str, many=True),
    Flag("interactive", "Pass stdin on", short="i"),
    Flag("privileged", "Give it all rights on the host"),
    Flag("tty", "Give it a terminal", short="t"),
    Flag("user", "User to run as (name or uid[:group or gid])", str, short="u", default=""),
    Flag("workdir", "Working directory inside", str, short="w", default=""),
    least=2,
    most=-1,
    stops=True,
    examples=("sampan exec -it web sh", "sampan exec -u 1000 -w /tmp web id"),
)
def execute(args: Args) -> int:
    detach = keys(args.detach_keys)
    if args.tty and args.interactive and not args.detach and not os.isatty(STDIN):
        raise Failure("the input device is not a TTY")
    name, *words = args.rest
    client = open_client(args)
    streams = not args.detach
    body = {
        "Cmd": words,
        "AttachStdin": args.interactive and streams,
        "AttachStdout": streams,
        "AttachStderr": streams,
        "Tty": args.tty,
        "Env": variables(args.env_file, args.env),
        "User": args.user,
        "WorkingDir": args.workdir,
        "Privileged": args.privileged,
        "DetachKeys": args.detach_keys,
    }
    ident = client.post(f"/containers/{name}/exec", None, body)["Id"]
    if args.detach:
        client.post(f"/exec/{ident}/start", None, {"Detach": True, "Tty": args.tty})
        return 0
    return _converse(client, ident, args, detach)


def _converse(client: Client, ident: str, args: Args, detach: bytes) -> int:
    window = size() if args.tty else None

    def on_signal(number: int) -> None:
        if number != WINDOW_CHANGED:
            raise Failure("", 128 + number)
        if args.tty and (now := size()):
            _resize(client, ident, now)

    with Signals((*DEADLY, WINDOW_CHANGED)) as signals:
        body = {"Detach": False, "Tty": args.tty, **({"ConsoleSize": list(window)} if window else {})}
        try:
            connection = client.converse(f"/exec/{ident}/start", None, body)
        except Refused as refused:
            refused.code = _status_of_refusal(refused)
            raise
        if window:
            _resize(client, ident, window)
        conversation = Conversation(
            connection, signals, stdin=args.interactive, tty=args.tty, detach=detach, on_signal=on_signal
        )
        with Raw(wanted=args.tty and args.interactive):
            ended = conversation.hold()
    return int(client.get(f"/exec/{ident}/json").get("ExitCode") or 0) if ended else 0


def _status_of_refusal(refused: Refused) -> int:
    """126 or 127 when the command itself is at fault, 1 for all else, as docker does it."""
    code = status_of(refused.message)
    return code if code != DAEMON_FAILED and refused.status != 404 else 1


def _resize(client: Client, ident: str, window: tuple[int, int]) -> None:
    try:
        client.post(f"/exec/{ident}/resize", {"h": window[0], "w": window[1]})
    except (Refused, CannotConnect):
        return  # it has ended already
