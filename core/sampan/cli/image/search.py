"""``search``: what a registry knows by a name."""

from __future__ import annotations

from sampan.cli.flags import Args, Flag, command
from sampan.cli.listing import filters, show
from sampan.cli.output import ellipsis
from sampan.cli.session import open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COLUMNS = {"Name": "NAME", "Description": "DESCRIPTION", "StarCount": "STARS", "IsOfficial": "OFFICIAL"}


def integer(text: str) -> int:
    return int(text)


@command(
    "TERM",
    Flag("filter", "Only what fits, e.g. stars=3, is-official=true", str, short="f", many=True),
    Flag("format", "A Go template such as '{{.Name}}'", str, default=""),
    Flag("limit", "At most so many", integer, default=0),
    Flag("no-trunc", "Do not cut descriptions short"),
    least=1,
    most=1,
    examples=("sampan search debian", "sampan search registry.example:5000/tool"),
)
def search(args: Args) -> None:
    from sampan.cli.credentials import header, registry_of

    query = {"term": args.rest[0], "limit": args.limit or None, "filters": filters(args.filter) or None}
    client = open_client(args)
    response = client.request("GET", "/images/search", query, headers=header(registry_of(args.rest[0])))
    show([_row(found, args.no_trunc) for found in client.decoded(response)], COLUMNS, args.format)


def _row(found: dict[str, Any], whole: bool) -> dict[str, Any]:
    about = " ".join((found.get("description") or "").split())
    return {
        "Name": found.get("name", ""),
        "Description": about if whole else ellipsis(about, 45),
        "StarCount": str(found.get("star_count", 0)),
        "IsOfficial": "[OK]" if found.get("is_official") else "",
        "IsAutomated": "",
    }
