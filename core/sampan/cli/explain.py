"""``sampan explain``: how a container was made, step by step, each with its driver, its kernel object and its time."""

from __future__ import annotations

from sampan.cli.failures import Failure, Usage
from sampan.cli.flags import Args, Flag, command
from sampan.cli.output import short_id
from sampan.cli.session import open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_HEADS = ("AT", "TOOK", "WHO", "DRIVER", "STEP", "OBJECT")
_MILLION = 1_000_000


@command(
    "CONTAINER",
    Flag("format", "text or json", str, default="text"),
    Flag("no-trunc", "Show ids and lists in full"),
    Flag("trace", "Write a trace for Perfetto (ui.perfetto.dev) into this file; - is standard output", str, default=""),
    least=1,
    most=1,
    examples=("sampan explain web", "sampan explain --trace web.json web"),
)
def explain(args: Args) -> None:
    if args.format not in ("text", "json"):
        raise Usage(f"invalid format '{args.format}': text or json", code=1)
    found = open_client(args).get(f"/sampan/containers/{args.rest[0]}/explain")
    if args.trace:
        _write_trace(found, args.trace)
        return
    if args.format == "json":
        import json

        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    print("\n\n".join([_head(found), *(_operation(each, full=args.no_trunc) for each in _operations(found))]))


def _operations(found: dict[str, Any]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = found["Operations"]
    if not made:
        name = found["Name"].lstrip("/")
        raise Failure(
            f"nothing is known of how {name} was made: an older daemon made it, or one that was killed right after"
        )
    return made


def _head(found: dict[str, Any]) -> str:
    drivers = found["Drivers"]
    networks = ", ".join(drivers["Networks"]) or "none of its own"
    return (
        f"{found['Name'].lstrip('/')} ({short_id(found['Id'])}) of {found['Image']}, {found['Status']}\n"
        f"storage {drivers['Storage']} · network {networks} · runtime {drivers['Runtime']}"
    )


def _operation(told: dict[str, Any], *, full: bool) -> str:
    ended = f", and failed: {told['Error']}" if told["Error"] else ""
    title = f"{told['Name']}: {_ms(told['Took'])} ms, at {told['At']}{ended}"
    steps = told["Steps"]
    main = next((step["Thread"] for step in steps if step["Who"] == "daemon"), "")
    rows = [_HEADS, *(_row(step, depth, main, full) for step, depth in zip(steps, depths(steps), strict=True))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if i < 2 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join([title, *(line.rstrip() for line in lines)])


def _row(step: dict[str, Any], depth: int, main: str, full: bool) -> tuple[str, ...]:
    beside = step["Who"] == "daemon" and step["Thread"] != main
    what = "  " * depth + step["What"] + (f" — failed: {step['Error']}" if step["Error"] else "")
    name = step["Object"] if full else _short(step["Object"])
    return (
        _ms(step["Begin"]),
        _ms(step["Took"]),
        "daemon, beside" if beside else step["Who"],
        step["Driver"],
        what,
        f"{step['Kind']} {name}".strip(),
    )


def depths(steps: Sequence[dict[str, Any]]) -> list[int]:
    """In how many others of its own thread each step lies; what another process did lies in what waited for it."""
    found = []
    for index, step in enumerate(steps):
        around = [each for each in steps[:index] if _lies_in(step, each)]
        found.append(len(around))
    return found


def _lies_in(inner: dict[str, Any], outer: dict[str, Any]) -> bool:
    if inner["Begin"] + inner["Took"] > outer["Begin"] + outer["Took"] or inner["Begin"] < outer["Begin"]:
        return False
    if outer["Who"] != "daemon":
        return False
    within = inner["Thread"] == outer["Thread"] if inner["Who"] == "daemon" else outer["Kind"] == "process"
    return bool(within)


def _ms(nanoseconds: int) -> str:
    return f"{nanoseconds / _MILLION:.2f}"


def _short(text: str) -> str:
    """Ids cut to twelve digits, and of a list the first: the others are mostly like it."""
    import re

    text = re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", text)
    paths = text.split(" /")
    return f"{paths[0]} and {len(paths) - 1} more" if len(paths) > 2 else text


def _write_trace(found: dict[str, Any], target: str) -> None:
    import json

    from sampan.cli.trace import events

    text = json.dumps({"displayTimeUnit": "ms", "traceEvents": events(found["Name"].lstrip("/"), _operations(found))})
    if target == "-":
        print(text)
        return
    try:
        with open(target, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs the client its start
            file.write(text)
    except OSError as error:
        raise Failure(f"the trace cannot be written to {target}: {(error.strerror or '').lower()}") from None
    print(f"{target}: open it at https://ui.perfetto.dev or in chrome://tracing")
