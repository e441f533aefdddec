"""What is done with registries: pulling, pushing, searching, logging in, asking about an image."""

from __future__ import annotations

from typing import Any

import msgspec

from sampan.api import platform
from sampan.api.call import Call
from sampan.api.nouns import routes
from sampan.api.progress import Leaving, Progress, told
from sampan.api.query import Filters
from sampan.api.wire.answer import Stream
from sampan.errors import Forbidden, Invalid
from sampan.images import references
from sampan.images.references import Reference
from sampan.images.registry import credentials, platforms
from sampan.images.registry.credentials import Credentials
from sampan.images.registry.wishes import Wish

AUTH = "x-registry-auth"
SEARCHED = 25  # results, unless more are wanted


def pull(call: Call) -> Stream:
    """``docker pull``: without a tag and a digest, all tags."""
    query = call.query
    name, every = _named(query.needed("fromImage"), query.text("tag"))
    wish = Wish(name=name, every=every, platform=query.text("platform"), credentials=_who(call))
    platforms.parse(wish.platform)
    if name.familiar_name == "scratch":
        raise Forbidden("'scratch' is a reserved name: it stands for no image at all")

    def work(progress: Progress, leaving: Leaving) -> None:
        call.engine.images.registries.pull(wish, progress, leaving)

    return Stream(told(call, work), guarded=True)


@routes.post("/images/{name}/push")
def push(call: Call) -> Stream:
    """``docker push``: without a tag, all tags of the repository."""
    name, _ = _named(call.name, call.query.text("tag"))
    if name.digest:
        raise Invalid("cannot push a digest reference")
    images, who = call.engine.images, _who(call)
    if wanted := call.query.text("platform"):
        for image, _ in images.to_push(name):
            platform.check(image, wanted, name.familiar())

    def work(progress: Progress, leaving: Leaving) -> None:
        progress({"status": f"The push refers to repository [{name.name}]"})
        images.registries.push(name, images.to_push(name), who, progress, leaving)

    return Stream(told(call, work), guarded=True)


@routes.post("/auth")
def login(call: Call) -> Any:
    """Is this somebody whom the registry knows? What for is the client's business: nothing is remembered here."""
    token = call.engine.images.registries.login(credentials.known(call.content))
    return {"Status": "Login Succeeded", "IdentityToken": token}


@routes.get("/images/search")
def search(call: Call) -> Any:
    filters = call.query.filters("is-automated", "is-official", "stars")
    limit = call.query.number("limit") or SEARCHED
    if not 1 <= limit <= 100:
        raise Invalid(f"limit {limit} is outside the range of [1, 100]")
    for each in filters.get("stars"):
        if not each.isdecimal():
            raise Invalid(f"invalid filter 'stars={each}': a number is expected")
    domain, term = references.split_domain(call.query.needed("term"))
    found = call.engine.images.registries.search(domain, term, limit, _who(call))
    return [msgspec.to_builtins(each) for each in found if _wanted(each, filters)]


@routes.get("/distribution/{name}/json")
def distribution(call: Call) -> Any:
    return call.engine.images.registries.inspect(references.parse(call.name).tagged(), _who(call))


def _wanted(found: Any, filters: Filters) -> bool:
    for name, value in (("is-automated", found.is_automated), ("is-official", found.is_official)):
        if filters.flag(name) not in (None, value):
            return False
    return all(found.star_count >= int(each) for each in filters.get("stars"))


def _named(image: str, tag: str) -> tuple[Reference, bool]:
    """What ``fromImage`` and ``tag``, which may be a digest, mean together; and whether all tags are meant."""
    name = references.parse(image)
    if tag.startswith("sha256:") or "@" in tag:
        name = references.parse(f"{name.name}@{tag.rpartition('@')[2]}")
    elif tag:
        name = references.parse(f"{name.name}:{tag}")
    return name, not name.tag and not name.digest


def _who(call: Call) -> Credentials:
    """Who asks. As with dockerd, a header that makes no sense is nobody's: clients send one where there must be one."""
    try:
        return credentials.read(call.request.headers.get(AUTH, ""))
    except Invalid:
        return credentials.NONE
