"""What is done with registries: pulling, pushing, searching, logging in, asking about an image."""

from __future__ import annotations

from sampan.api.call import Call
from sampan.api.progress import Leaving, Progress, told
from sampan.api.wire.answer import Stream
from sampan.errors import Invalid
from sampan.images import references
from sampan.images.references import Reference
from sampan.images.registry import credentials, platforms
from sampan.images.registry.credentials import Credentials
from sampan.images.registry.wishes import Wish

AUTH = "x-registry-auth"


def pull(call: Call) -> Stream:
    """``docker pull``: without a tag and a digest, all tags."""
    query = call.query
    name, every = _named(query.needed("fromImage"), query.text("tag"))
    wish = Wish(name=name, every=every, platform=query.text("platform"), credentials=_who(call))
    platforms.parse(wish.platform)

    def work(progress: Progress, leaving: Leaving) -> None:
        call.engine.images.registries.pull(wish, progress, leaving)

    return Stream(told(call, work), guarded=True)


def _named(image: str, tag: str) -> tuple[Reference, bool]:
    """What ``fromImage`` and ``tag``, which may be a digest, mean together; and whether all tags are meant."""
    name = references.parse(image)
    if tag.startswith("sha256:") or "@" in tag:
        name = references.parse(f"{name.name}@{tag.rpartition('@')[2]}")
    elif tag:
        name = references.parse(f"{name.name}:{tag}")
    return name, not name.tag and not name.digest


def _who(call: Call, *, must: bool = False) -> Credentials:
    """Who asks. As with dockerd, a header that makes no sense is nobody's, unless there must be one."""
    try:
        return credentials.read(call.request.headers.get(AUTH, ""))
    except Invalid:
        if must:
            raise
        return credentials.NONE
