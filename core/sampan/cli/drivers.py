"""``sampan drivers``: every driver that was found, whether it can be used here, and why not."""

from __future__ import annotations

from sampan.cli.flags import Args, Flag, command
from sampan.cli.session import open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COLUMNS = {
    "family": "FAMILY",
    "name": "DRIVER",
    "default": "DEFAULT",
    "usable": "USABLE",
    "package": "PACKAGE",
    "reason": "REMARK",
}


@command(
    "",
    Flag("format", "table, json, or a Go template such as '{{.name}}'", str, default="table"),
    examples=(
        "sampan drivers",
        "sampan drivers --format json",
        "sampan drivers new storage mine    a project for a driver of one's own",
        "sampan drivers test overlayfs      is it what a driver promises to be?",
    ),
)
def drivers(args: Args) -> None:
    found: list[dict[str, Any]] = open_client(args).get("/sampan/drivers")
    if args.format == "json":
        import json

        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    from sampan.cli.listing import show

    tabular = args.format == "table"
    show([_row(driver) if tabular else driver for driver in found], COLUMNS, args.format)


def _row(driver: dict[str, Any]) -> dict[str, str]:
    return {
        "family": driver["family"],
        "name": driver["name"],
        "default": "*" if driver.get("default") else "",
        "usable": "yes" if driver.get("usable") else "no",
        "package": f"{driver.get('package', '')} {driver.get('version', '')}".strip(),
        "reason": driver.get("reason", ""),
    }
