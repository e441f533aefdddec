"""Asks the daemon to pull an image, for ``run`` and ``create``."""

from __future__ import annotations

import sys

from sampan.cli.client import Client
from sampan.cli.output import tell
from sampan.cli.progress import follow


def pull(client: Client, reference: str, *, quiet: bool = False, platform: str = "") -> None:
    """Shows the progress on stderr: stdout belongs to the container. Raises Refused."""
    name, tag = split(reference)
    query = {"fromImage": name, "tag": tag, "platform": platform or None}
    response = client.request("POST", "/images/create", query)
    tell(f"Unable to find image '{name}{'@' if tag.startswith('sha256:') else ':'}{tag}' locally")
    follow(response, quiet=quiet, out=sys.stderr)
    client.release(response)


def split(reference: str) -> tuple[str, str]:
    """Name and tag (``latest`` when there is none), or name and digest."""
    name, at, digest = reference.partition("@")
    if at:
        return name, digest
    head, colon, tag = reference.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (reference, "latest")
