"""``images``, ``history`` and ``image inspect``."""

from __future__ import annotations

from sampan.cli.flags import Args, Flag, command
from sampan.cli.image.platform import PLATFORM, as_json
from sampan.cli.image.pull import split
from sampan.cli.listing import filters, show
from sampan.cli.output import ago, ellipsis, local_time, short_id, size
from sampan.cli.session import open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

COLUMNS = {"Repository": "REPOSITORY", "Tag": "TAG", "ID": "IMAGE ID", "CreatedSince": "CREATED", "Size": "SIZE"}
OTHERS = {"Digest": "DIGEST", "CreatedAt": "CREATED AT", "Containers": "CONTAINERS"}
NONE = "<none>"


@command(
    "[REPOSITORY[:TAG]]",
    Flag("all", "Show intermediate images too", short="a"),
    Flag("digests", "Show digests"),
    Flag("filter", "Show only what fits, e.g. dangling=true, label=x, reference=web*", str, short="f", many=True),
    Flag("format", "table, json, or a Go template such as '{{.ID}} {{.Repository}}'", str, default=""),
    Flag("no-trunc", "Do not cut ids short"),
    Flag("quiet", "Only print ids", short="q"),
    most=1,
    examples=("sampan images", "sampan images -q shell"),
)
def ls(args: Args) -> None:
    wanted = filters([*args.filter, *(f"reference={name}" for name in args.rest)])
    query = {"all": args.all or None, "digests": args.digests or None, "filters": wanted}
    images = open_client(args).get("/images/json", query)
    rows = [row for image in images for row in _rows(image, args.no_trunc)]
    if args.quiet and not args.format:
        for ident in dict.fromkeys(row["ID"] for row in rows):
            print(ident)
        return
    show(rows, _with_digest(COLUMNS) if args.digests else COLUMNS, args.format, headers=OTHERS)


def _with_digest(columns: dict[str, str]) -> dict[str, str]:
    items = list(columns.items())
    return dict([*items[:2], ("Digest", "DIGEST"), *items[2:]])


def _rows(image: dict[str, Any], whole: bool) -> Iterator[dict[str, Any]]:
    """One row per name, as docker shows them."""
    names = [name for name in image.get("RepoTags") or [] if name != f"{NONE}:{NONE}"]
    digests = {name.partition("@")[0]: name.partition("@")[2] for name in image.get("RepoDigests") or []}
    pairs = [split(name) for name in names] or [(name, NONE) for name in digests] or [(NONE, NONE)]
    for repository, tag in pairs:
        yield {
            "Repository": repository,
            "Tag": tag,
            "Digest": digests.get(repository, NONE),
            "ID": image["Id"] if whole else short_id(image["Id"]),
            "CreatedSince": ago(image["Created"]) if image["Created"] > 0 else "N/A",
            "CreatedAt": local_time(image["Created"]),
            "Size": size(image["Size"]),
            "VirtualSize": size(image["Size"]),
            "SharedSize": "N/A",
            "UniqueSize": "N/A",
            "Containers": "N/A" if image.get("Containers", -1) < 0 else str(image["Containers"]),
        }


@command(
    "IMAGE",
    Flag("format", "table, json, or a Go template", str, default=""),
    Flag("human", "Sizes and times in words", short="H", default=True),
    Flag("no-trunc", "Do not cut anything short"),
    PLATFORM,
    Flag("quiet", "Only print ids", short="q"),
    least=1,
    most=1,
    examples=("sampan history shell",),
)
def history(args: Args) -> None:
    layers = open_client(args).get(f"/images/{args.rest[0]}/history", {"platform": as_json(args.platform)})
    columns = {
        "ID": "IMAGE",
        "CreatedSince": "CREATED",
        "CreatedBy": "CREATED BY",
        "Size": "SIZE",
        "Comment": "COMMENT",
    }
    rows = [_layer(layer, args) for layer in layers]
    if args.quiet:
        for row in rows:
            print(row["ID"])
        return
    if not args.human:
        columns["CreatedSince"] = "CREATED AT"
    show(rows, columns, args.format)


def _layer(layer: dict[str, Any], args: Args) -> dict[str, Any]:
    ident, by = layer["Id"], layer.get("CreatedBy", "").replace("\t", " ")
    at = local_time(layer["Created"])
    return {
        "ID": ident if args.no_trunc else short_id(ident),
        "CreatedSince": (ago(layer["Created"]) if layer["Created"] > 0 else "N/A") if args.human else at,
        "CreatedAt": at,
        "CreatedBy": by if args.no_trunc else ellipsis(by, 45),
        "Size": size(layer["Size"]) if args.human else str(layer["Size"]),
        "Comment": layer.get("Comment", ""),
        "Tags": ",".join(layer.get("Tags") or []),
    }


@command(
    "IMAGE [IMAGE...]",
    Flag("format", "json, or a Go template such as '{{json .Config}}'", str, short="f", default=""),
    least=1,
    most=-1,
    examples=("sampan image inspect shell", "sampan image inspect -f '{{.Config.Cmd}}' shell"),
)
def inspect(args: Args) -> int:
    from sampan.cli.inspection import inspect_all

    client = open_client(args)
    return inspect_all(args.rest, lambda name: client.get(f"/images/{name}/json"), args.format)
