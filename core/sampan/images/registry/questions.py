"""What is asked of a registry beside pulling and pushing: who am I, what have you, what is this."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec

from sampan.errors import SampanError, Unauthorized, Unsupported
from sampan.images.archive import JSON_LIMIT, decode
from sampan.images.references import DOMAIN
from sampan.images.registry.authorization import limited
from sampan.images.registry.documents import Index, PlatformOf
from sampan.images.registry.failures import Answered, shown
from sampan.images.registry.repository import Repository

SEARCH = "/v1/search"
CATALOG = "/v2/_catalog"


class Result(msgspec.Struct, kw_only=True):
    """One repository that was found."""

    name: str
    description: str | None = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _Page(msgspec.Struct):
    results: list[Result] | None = None


async def login(server: Repository) -> str:
    """An identity token, or nothing, where name and password will do. ``Unauthorized`` if they are wrong."""
    url = server.url("/v2/")
    try:
        async with server.ask("GET", url):
            return server.identity_token
    except Answered as error:
        if error.denied:
            words = error.message if error.codes else f"login attempt to {url} failed with status: 401 Unauthorized"
            raise Unauthorized(words if not error.codes else f'Get "{url}": {words}') from None
        raise


async def search(server: Repository, term: str, limit: int) -> list[Result]:
    """By the search of old, which Docker Hub has; or, where there is none, among the names of all repositories.

    ``Unsupported`` if the registry has neither.
    """
    try:
        return await _by_search(server, term, limit)
    except Answered as error:
        if error.denied or server.name.domain in (DOMAIN, "index.docker.io"):
            raise
    try:
        return await _by_catalog(server, term, limit)
    except Answered as error:
        raise Unsupported(f"{server.endpoint.base} cannot be searched: {error.message}") from None


async def inspect(server: Repository) -> dict[str, Any]:
    """``DistributionInspect``: what a name stands for there."""
    name = server.name
    document = await server.manifest(name.digest or name.tag)
    content = document.read()
    if isinstance(content, Index):
        found = [each.platform for each in content.manifests if each.platform is not None]
        platforms = [_platform(each) for each in found if each.os != "unknown"]
        kind = content.media_type
    else:
        config = await server.small(content.config)
        platforms = [_platform(decode(config, f"the configuration of {name.familiar()}", PlatformOf))]
        kind = content.media_type
    described = {"mediaType": kind or document.media_type, "digest": document.digest, "size": len(document.data)}
    return {"Descriptor": described, "Platforms": platforms}


async def _by_search(server: Repository, term: str, limit: int) -> list[Result]:
    url = server.url(f"{SEARCH}?{urlencode({'q': term, 'n': limit})}")
    async with server.ask("GET", url) as response:
        data = await limited(response, JSON_LIMIT, "the answer to a search")
    try:
        page: _Page = decode(data, "the answer to a search", _Page)
    except SampanError:
        raise Answered("the registry does not answer a search in JSON", 404) from None
    return [_clean(each) for each in (page.results or [])[:limit]]


async def _by_catalog(server: Repository, term: str, limit: int) -> list[Result]:
    names = await server.names(server.url(f"{CATALOG}?n=1000"), "the list of repositories")
    return [Result(name=shown(name)) for name in names if term in name][:limit]


def _clean(result: Result) -> Result:
    return msgspec.structs.replace(result, name=shown(result.name), description=shown(result.description or ""))


def _platform(platform: PlatformOf) -> dict[str, str]:
    found = {"architecture": platform.architecture, "os": platform.os}
    return {**found, **({"variant": platform.variant} if platform.variant else {})}
