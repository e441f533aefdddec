"""``sampan network graph``."""

from __future__ import annotations

from sampan.cli.failures import Usage
from sampan.cli.flags import Args, Flag, command
from sampan.cli.session import open_client

FORMATS = ("text", "dot", "svg", "json")


@command(
    "[NETWORK...]",
    Flag("all", "Show containers that do not run, too", short="a"),
    Flag("format", "text, dot (for Graphviz), svg or json", str, default="text"),
    most=-1,
    examples=("sampan network graph", "sampan network graph --format svg > networks.svg"),
)
def graph(args: Args) -> None:
    if args.format not in FORMATS:
        raise Usage(f"invalid format '{args.format}': {', '.join(FORMATS[:-1])} or {FORMATS[-1]}", code=1)
    from sampan.cli.graph.picture import chosen, read

    client = open_client(args)
    containers = client.get("/containers/json", {"all": args.all})
    picture = chosen(read(client.get("/networks"), containers), args.rest)
    if args.format == "json":
        import json

        print(json.dumps(picture.plain(), indent=2, ensure_ascii=False))
    elif args.format == "dot":
        from sampan.cli.graph.dot import dot

        print(dot(picture))
    elif args.format == "svg":
        from sampan.cli.graph.svg import svg

        print(svg(picture))
    else:
        from sampan.cli.graph.text import colorful, text

        print(text(picture, color=colorful()))
