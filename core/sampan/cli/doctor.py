"""``sampan doctor``: what is wrong with this host and engine; ``sampan doctor port``: why a port is not reachable."""

from __future__ import annotations

import os
import sys

from sampan.cli.failures import Usage
from sampan.cli.flags import Args, Flag, command
from sampan.cli.session import open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_MARKS = {"fine": ("✓", 32), "note": ("!", 33), "wrong": ("✗", 31)}
_FORMAT = Flag("format", "text or json", str, default="text")


@command(
    "",
    _FORMAT,
    Flag("quiet", "Only what is not fine", short="q"),
    examples=("sampan doctor", "sampan doctor port web:80"),
)
def doctor(args: Args) -> int:
    _check(args)
    found = open_client(args).get("/sampan/doctor")
    if args.format == "json":
        _json(found)
    else:
        shown = [one for one in found["Findings"] if one["Mark"] != "fine" or not args.quiet]
        _show(shown)
    return 0 if found["Healthy"] else 1


@command(
    "CONTAINER:PORT[/PROTOCOL]",
    _FORMAT,
    least=1,
    most=1,
    examples=("sampan doctor port web:80", "sampan doctor port dns:53/udp"),
)
def port(args: Args) -> int:
    _check(args)
    container, colon, number = args.rest[0].rpartition(":")
    if not colon or not container or not number:
        raise Usage(f"invalid port '{args.rest[0]}': write CONTAINER:PORT or CONTAINER:PORT/udp", code=1)
    found = open_client(args).get(f"/sampan/containers/{container}/doctor", {"port": number})
    if args.format == "json":
        _json(found)
    else:
        _show(found["Steps"])
        print(f"\n{found['Says']}")
        if found["Remedy"]:
            print(f"  → {found['Remedy']}")
    return 0 if found["Reachable"] else 1


def _check(args: Args) -> None:
    if args.format not in ("text", "json"):
        raise Usage(f"invalid format '{args.format}': text or json", code=1)


def _json(found: object) -> None:
    import json

    print(json.dumps(found, indent=2, ensure_ascii=False))


def _show(findings: Iterable[dict[str, Any]]) -> None:
    rows = list(findings)
    width = min(24, max((len(one["About"]) for one in rows), default=0))
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for one in rows:
        sign, number = _MARKS[one["Mark"]]
        sign = f"\x1b[{number}m{sign}\x1b[0m" if color else sign
        print(f"{sign} {one['About'].ljust(width)}  {one['Says']}")
        if one["Remedy"] and one["Mark"] != "fine":
            print(f"  {' ' * width}  → {one['Remedy']}")
