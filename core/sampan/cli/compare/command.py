"""The command line of ``sampan compare``."""

from __future__ import annotations

import sys
from typing import Any

from sampan.cli.failures import Failure, Usage
from sampan.cli.flags import Args, Flag, command
from sampan.cli.output import tell
from sampan.cli.quantities import integer, size
from sampan.cli.session import open_client

_MOST = 1000  # rounds


@command(
    "IMAGE [COMMAND] [ARG...]",
    Flag("exec", "What is executed in a container that stays", str, default="true"),
    Flag("format", "text or json", str, default="text"),
    Flag("html", "Write a page with plots into this file as well", str, default=""),
    Flag("keep", "What a container runs that is to stay", str, default="sleep 3600"),
    Flag("network", "Network drivers, with commas between", str, default=""),
    Flag("rounds", "How often each combination runs", integer, short="n", default=5),
    Flag("runtime", "Runtime drivers, with commas between", str, default=""),
    Flag(
        "size", "How much is written to the disk and received, for the throughput (0: nothing)", size, default=32 << 20
    ),
    Flag("storage", "Storage drivers, with commas between", str, default=""),
    Flag("timeout", "Seconds for the command to end", integer, default=60),
    least=1,
    most=-1,
    stops=True,
    examples=(
        "sampan compare shell true",
        "sampan compare --storage overlayfs,vfs --network bridge,host -n 20 --html compare.html shell true",
    ),
)
def compare(args: Args) -> int:
    _check(args)
    from sampan.cli.compare import result, rounds, text
    from sampan.cli.compare.plan import Plan, combinations

    client = open_client(args)
    image, *words = args.rest
    client.get(f"/images/{image}/json")  # it is there, or that is the error
    plan = Plan(
        image=image,
        command=words or ["true"],
        keep=_words(args.keep),
        probe=_words(args.exec),
        rounds=args.rounds,
        timeout=args.timeout,
        size=args.size,
        combinations=combinations(client, args),
    )
    against = result.about(client, plan)
    found = result.result(against, rounds.run(client, plan, _progress))
    _progress("")
    if args.html:
        _write_page(found, args.html)
    if args.format == "json":
        import json

        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print(text.text(found))
    return 1 if all(row["error"] for row in found["rows"]) else 0


def _check(args: Args) -> None:
    if args.format not in ("text", "json"):
        raise Usage(f"invalid format '{args.format}': text or json", code=1)
    if not 1 <= args.rounds <= _MOST:
        raise Usage(f"invalid --rounds {args.rounds}: from 1 to {_MOST}", code=1)
    if args.timeout < 1:
        raise Usage(f"invalid --timeout {args.timeout}: at least 1 second", code=1)
    if args.size and args.size < 1 << 20:
        raise Usage(f"invalid --size {args.size}: at least 1m, or 0 to leave throughput out", code=1)


def _words(text: str) -> list[str]:
    import shlex

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Usage(f"invalid command '{text}': {error}", code=1) from None
    if not words:
        raise Usage("--keep and --exec need a command", code=1)
    return words


def _progress(line: str) -> None:
    """On a terminal, one line that is written over."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()


def _write_page(found: dict[str, Any], target: str) -> None:
    from sampan.cli.compare.page import page

    try:
        with open(target, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs the client its start
            file.write(page(found))
    except OSError as error:
        raise Failure(f"the page cannot be written to {target}: {(error.strerror or '').lower()}") from None
    tell(f"{target}: a page to open in a browser")
