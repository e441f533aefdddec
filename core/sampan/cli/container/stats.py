"""``sampan stats``: what containers use, as a table that is drawn again every second.

The counters of each container are asked for once in a round; what was used since the last one is worked out here.
"""

from __future__ import annotations

import sys

from sampan.cli.failures import Refused
from sampan.cli.flags import Args, Flag, command
from sampan.cli.listing import show
from sampan.cli.output import binary_size, short_id, size
from sampan.cli.session import open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sampan.cli.client import Client

INTERVAL = 1.0  # seconds
HOME, REST_OF_LINE, REST_OF_SCREEN = "\033[H", "\033[K", "\033[J"
COLUMNS = {
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
NOT_FOUND, CONFLICT = 404, 409


@command(
    "[CONTAINER...]",
    Flag("all", "Show those that do not run, too", short="a"),
    Flag("format", "table, json, or a Go template such as '{{.Name}} {{.CPUPerc}}'", str, default=""),
    Flag("no-stream", "Look once and end"),
    Flag("no-trunc", "Do not cut ids short"),
    most=-1,
    examples=("sampan stats", "sampan stats --no-stream web db", "sampan stats --format '{{.Name}}: {{.MemUsage}}'"),
)
def stats(args: Args) -> None:
    import time

    client = open_client(args)
    for name in args.rest:
        client.get(f"/containers/{name}/json")  # one that does not exist is an error now, and not later
    before = _look(client, args)
    terminal = sys.stdout.isatty() and not args.no_stream
    if terminal:
        _draw(before, {}, args, terminal=True)
    while True:
        time.sleep(INTERVAL)
        now = _look(client, args)
        _draw(now, before, args, terminal=terminal)
        if args.no_stream:
            return
        before = now


def _look(client: Client, args: Args) -> dict[str, dict[str, Any]]:
    """The counters of every container that was asked for and exists, by the name or id that it was asked for with."""
    names = args.rest or [each["Id"] for each in client.get("/containers/json", {"all": args.all or None})]
    found = {}
    for name in names:
        try:
            found[name] = client.get(f"/containers/{name}/stats", {"stream": 0, "one-shot": 1})
        except Refused as refused:
            if refused.status not in (NOT_FOUND, CONFLICT):  # it has gone meanwhile
                raise
    return {name: entry for name, entry in found.items() if entry}


def _draw(now: Mapping[str, Any], before: Mapping[str, Any], args: Args, *, terminal: bool) -> None:
    rows = [row(name, entry, before.get(name), args.no_trunc) for name, entry in now.items()]
    if not terminal:
        show(rows, COLUMNS, args.format, headers={"Container": "CONTAINER"})
        sys.stdout.flush()
        return
    from contextlib import redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()) as text:
        show(rows, COLUMNS, args.format, headers={"Container": "CONTAINER"})
    lines = text.getvalue().replace("\n", f"{REST_OF_LINE}\n")
    sys.stdout.write(f"{HOME}{lines}{REST_OF_SCREEN}")
    sys.stdout.flush()


def row(name: str, now: Mapping[str, Any], before: Mapping[str, Any] | None, whole: bool) -> dict[str, str]:
    """``now`` and ``before`` are entries of ``GET /containers/ID/stats``."""
    memory = now["memory_stats"]
    used, limit = _used(memory), memory.get("limit", 0)
    networks = (now.get("networks") or {}).values()
    return {
        "Container": name,
        "ID": now["id"] if whole else short_id(now["id"]),
        "Name": now["name"].removeprefix("/"),
        "CPUPerc": f"{_processors(now, before):.2f}%" if before else "--",
        "MemUsage": f"{binary_size(used)} / {binary_size(limit)}",
        "MemPerc": f"{used / limit * 100 if limit else 0:.2f}%",
        "NetIO": " / ".join(size(sum(each[f"{way}_bytes"] for each in networks)) for way in ("rx", "tx")),
        "BlockIO": f"{size(_blocks(now, 'r'))} / {size(_blocks(now, 'w'))}",
        "PIDs": str(now["pids_stats"].get("current", 0)),
    }


def _used(memory: Mapping[str, Any]) -> int:
    """Without what the kernel would give back at once: files that nobody has used for long."""
    used: int = memory.get("usage", 0)
    counters = memory.get("stats") or {}
    idle: int = counters.get("total_inactive_file", counters.get("inactive_file", 0))
    return used - idle if idle < used else used


def _processors(now: Mapping[str, Any], before: Mapping[str, Any]) -> float:
    """Percent of one processor since ``before``."""
    used = now["cpu_stats"]["cpu_usage"]["total_usage"] - before["cpu_stats"]["cpu_usage"]["total_usage"]
    passed = now["cpu_stats"].get("system_cpu_usage", 0) - before["cpu_stats"].get("system_cpu_usage", 0)
    if used <= 0 or passed <= 0:
        return 0.0
    return float(used / passed * now["cpu_stats"].get("online_cpus", 1) * 100)


def _blocks(now: Mapping[str, Any], letter: str) -> int:
    entries = now["blkio_stats"].get("io_service_bytes_recursive") or ()
    return sum(each["value"] for each in entries if each["op"][:1].lower() == letter)
