"""``image prune`` and ``system prune``: what nothing uses goes, and the room that it took is told."""

from __future__ import annotations

from sampan.cli.client import Client
from sampan.cli.failures import Usage
from sampan.cli.flags import Args, Flag, command
from sampan.cli.listing import filters
from sampan.cli.output import size
from sampan.cli.session import confirm, open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

FILTER = Flag("filter", "Only those that fit, e.g. until=24h, label=x", str, many=True)
FORCE = Flag("force", "Do not ask", short="f")


@command(
    "",
    Flag("all", "Also those with a name, if no container uses them", short="a"),
    FILTER,
    FORCE,
    examples=("sampan image prune -f", "sampan image prune -af --filter until=24h"),
)
def image(args: Args) -> int:
    what = "all images that no container uses" if args.all else "all images without a name that no container uses"
    if not args.force and not confirm(f"This removes {what}."):
        return 1
    _total([_images(open_client(args), args.filter, everything=args.all)])
    return 0


@command(
    "",
    Flag("all", "All images that no container uses, not just those without a name", short="a"),
    FILTER,
    FORCE,
    Flag("volumes", "Volumes that nobody named and no container uses, too"),
    examples=("sampan system prune -f", "sampan system prune -af --volumes"),
)
def system(args: Args) -> int:
    if args.volumes and any(word.startswith("until=") for word in args.filter):
        raise Usage('the "until" filter is not supported with "--volumes"', code=1)
    if not args.force and not confirm(_warning(args)):
        return 1
    client = open_client(args)
    query = {"filters": filters(args.filter)}
    containers = client.post("/containers/prune", query)
    _deleted("Containers", containers.get("ContainersDeleted"))
    _deleted("Networks", client.post("/networks/prune", query).get("NetworksDeleted"))
    answers = [containers]
    if args.volumes:
        answers.append(client.post("/volumes/prune", query))
        _deleted("Volumes", answers[-1].get("VolumesDeleted"))
    answers.append(_images(client, args.filter, everything=args.all))
    _total(answers)
    return 0


def _warning(args: Args) -> str:
    gone = ["all stopped containers", "all networks that no container uses"]
    gone += ["all volumes that nobody named and no container uses"] if args.volumes else []
    gone += ["all images that no container uses" if args.all else "all images without a name that no container uses"]
    lines = "".join(f"\n  - {each}" for each in gone)
    if args.filter:
        lines += f"\n\n  of these those that fit: {', '.join(args.filter)}"
    return f"This removes:{lines}\n"


def _images(client: Client, words: Sequence[str], *, everything: bool) -> dict[str, Any]:
    wanted = {**(filters(words) or {}), "dangling": {"false" if everything else "true": True}}
    answer: dict[str, Any] = client.post("/images/prune", {"filters": wanted})
    lines = [f"{word.lower()}: {gone[word]}" for gone in answer.get("ImagesDeleted") or [] for word in gone]
    _deleted("Images", lines)
    return answer


def _deleted(what: str, names: Sequence[str] | None) -> None:
    if names:
        print(f"Deleted {what}:", *names, sep="\n", end="\n\n")


def _total(answers: Sequence[dict[str, Any]]) -> None:
    print(f"Total reclaimed space: {size(sum(answer.get('SpaceReclaimed') or 0 for answer in answers), 4)}")
