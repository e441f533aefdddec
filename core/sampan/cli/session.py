"""A command's way to the daemon: the client for the host that was asked for, started by itself where that is right."""

from __future__ import annotations

import sys

from sampan.cli.client import Client
from sampan.cli.failures import Refused
from sampan.cli.hosts import find
from sampan.cli.output import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sampan.cli.flags import Args


def open_client(args: Args) -> Client:
    """A client of the daemon that ``args`` and the environment name. No connection is made yet."""
    host = find(args.server)

    def revive() -> bool:
        if host.chosen:
            return False
        from sampan.cli.selfstart import start

        start(host)
        return True

    return Client(host, revive)


def for_each(
    names: Iterable[str], act: Callable[[str], object], *, say: bool = True, absent_is_fine: bool = False
) -> int:
    """Does ``act`` to every name, prints those that it worked for, tells what went wrong with the others.

    Returns the exit status: 1 if anything went wrong; ``absent_is_fine``: what does not exist is told but no error.
    """
    code = 0
    for name in names:
        try:
            act(name)
        except Refused as refused:
            sys.stdout.flush()
            tell(f"sampan: {refused.message}")
            code = code if absent_is_fine and refused.status == 404 else 1
        else:
            if say:
                print(name)
    return code


def confirm(warning: str) -> bool:
    """Asks the user on the terminal; anything but yes is no."""
    print(f"WARNING! {warning}", end="\n", flush=True)
    try:
        return input("Are you sure you want to continue? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
