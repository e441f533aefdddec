"""``pull`` and ``push``, and the pull that ``run`` and ``create`` ask for."""

from __future__ import annotations

import sys

from sampan.cli.flags import Args, Flag, command
from sampan.cli.output import tell
from sampan.cli.progress import follow
from sampan.cli.session import open_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.cli.client import Client

QUIET = Flag("quiet", "Only print what was pulled or pushed", short="q")
ALL = Flag("all-tags", "All tags of the repository", short="a")
PLATFORM = Flag("platform", "Of several, the one for this platform, e.g. linux/arm64", str, default="")


@command(
    "NAME[:TAG|@DIGEST]",
    ALL,
    Flag("disable-content-trust", "Kept for Docker's sake", default=True),
    PLATFORM,
    QUIET,
    least=1,
    most=1,
    examples=("sampan pull debian:12", "sampan pull --platform linux/arm64 registry.example:5000/tool"),
)
def pull_command(args: Args) -> None:
    [reference] = args.rest
    named = "@" in reference or ":" in reference.rpartition("/")[2]
    if args.all_tags and named:
        from sampan.cli.failures import Failure

        raise Failure("tag can't be used with --all-tags/-a")
    client = open_client(args)
    if not named and not args.all_tags and not args.quiet:
        print("Using default tag: latest")
    _pull(client, reference, quiet=args.quiet, platform=args.platform, every=args.all_tags)
    print(normalised(reference if args.all_tags else whole(reference)))


@command(
    "NAME[:TAG]",
    ALL,
    Flag("disable-content-trust", "Kept for Docker's sake", default=True),
    QUIET,
    least=1,
    most=1,
    examples=("sampan push registry.example:5000/tool:1", "sampan push -a registry.example:5000/tool"),
)
def push(args: Args) -> None:
    from sampan.cli.failures import Failure

    [reference] = args.rest
    if "@" in reference:
        raise Failure("cannot push a digest reference")
    name, tag = split(reference)
    named = ":" in reference.rpartition("/")[2]
    if args.all_tags and named:
        raise Failure("tag can't be used with --all-tags/-a")
    if not named and not args.all_tags and not args.quiet:
        print("Using default tag: latest")
    client = open_client(args)
    query = {"tag": None if args.all_tags else tag}
    response = client.request("POST", f"/images/{name}/push", query, headers=_who(reference))
    follow(response, quiet=args.quiet)
    client.release(response)
    if args.quiet:
        print(name if args.all_tags else f"{name}:{tag}")


def pull(client: Client, reference: str, *, quiet: bool = False, platform: str = "", missing: bool = True) -> None:
    """Shows the progress on stderr: stdout belongs to the container. Raises Refused."""
    if missing:
        tell(f"Unable to find image '{whole(reference)}' locally")
    _pull(client, reference, quiet=quiet, platform=platform, to_stderr=True)


def _pull(
    client: Client, reference: str, *, quiet: bool, platform: str, every: bool = False, to_stderr: bool = False
) -> None:
    name, tag = (reference, None) if every else split(reference)
    query = {"fromImage": name, "tag": tag, "platform": platform or None}
    response = client.request("POST", "/images/create", query, headers=_who(reference))
    follow(response, quiet=quiet, out=sys.stderr if to_stderr else sys.stdout)
    client.release(response)


def _who(reference: str) -> dict[str, str]:
    from sampan.cli.credentials import header, registry_of

    return header(registry_of(reference))


def normalised(reference: str) -> str:
    """With the registry and the directory that are meant."""
    from sampan.cli.credentials import HUB, registry_of

    if registry_of(reference) != HUB:
        return reference
    path = reference.removeprefix("index.").removeprefix("docker.io/")
    return f"docker.io/{path if '/' in path else 'library/' + path}"


def whole(reference: str) -> str:
    """With the tag or digest that is meant."""
    name, tag = split(reference)
    return f"{name}{'@' if tag.startswith('sha256:') else ':'}{tag}"


def split(reference: str) -> tuple[str, str]:
    """Name and tag (``latest`` when there is none), or name and digest."""
    name, at, digest = reference.partition("@")
    if at:
        return name, digest
    head, colon, tag = reference.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (reference, "latest")
