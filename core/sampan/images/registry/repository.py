"""One repository of one registry, as the OCI distribution specification describes what can be asked of it.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import ClientResponse

from sampan.errors import Invalid, SampanError
from sampan.images.archive import JSON_LIMIT, decode
from sampan.images.content import digest_of, hex_of
from sampan.images.references import Reference
from sampan.images.registry.authorization import Authorization, limited
from sampan.images.registry.credentials import NONE, Credentials
from sampan.images.registry.documents import ACCEPTED, Descriptor, Document
from sampan.images.registry.endpoints import Endpoint
from sampan.images.registry.failures import Answered, Temporary, Unreachable, answered
from sampan.images.registry.http import Body, Http
from sampan.images.registry.persistence import persistently, retry_after

ERROR_LIMIT = 1 << 16  # bytes of an error that are read
NAMES = 100_000  # more than anybody has

_UNKNOWN = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
BUSY = (408, 429, 500, 502, 503, 504)


class _Page(msgspec.Struct):
    tags: list[str] | None = None
    repositories: list[str] | None = None


class Repository:
    """``name`` is one of its references. ``actions`` is ``pull`` or ``pull,push``; ``others`` are repositories of the
    same registry that blobs may be mounted from."""

    def __init__(
        self,
        endpoint: Endpoint,
        name: Reference,
        credentials: Credentials,
        *,
        patience: float,
        attempts: int,
        actions: str = "pull",
        others: tuple[str, ...] = (),
    ) -> None:
        self.endpoint = endpoint
        self.name = name
        self.attempts = attempts
        self._http = Http(endpoint, patience)
        self._asked_for = ""
        scopes = [f"repository:{name.path}:{actions}", *(f"repository:{other}:pull" for other in others)]
        # A registry's secrets are none of its mirrors' business.
        credentials = NONE if endpoint.is_mirror else credentials
        self._authorization = Authorization(self._http, credentials, scopes if name.path else [])

    @property
    def identity_token(self) -> str:
        return self._authorization.identity_token

    async def close(self) -> None:
        await self._http.close()

    async def connect(self) -> None:
        """Learn whether anybody is there, and who may enter. ``Unreachable`` if not."""
        try:
            async with self._http.send("GET", self.url("/v2/"), {}) as response:
                if response.status == 401:
                    self._asked_for = ", ".join(response.headers.getall("WWW-Authenticate", []))
        except Unreachable:
            raise
        except Temporary as error:
            raise Unreachable(error.message) from None

    def url(self, path: str) -> str:
        return self.endpoint.base + path

    def inside(self, path: str) -> str:
        return self.url(f"/v2/{self.name.path}/{path}")

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        *fine: int,
        patience: float | None = None,
    ) -> AsyncIterator[ClientResponse]:
        """One request of ours, shown who asks. ``Answered`` or ``Temporary`` if the status is none of those that are
        ``fine`` (200 if there are none)."""
        if self._asked_for and self._ours(url):
            asked_for, self._asked_for = self._asked_for, ""
            await self._authorization.meet(asked_for)
        for last in (False, True):
            mine = {**(headers or {}), **(await self._authorization.header() if self._ours(url) else {})}
            async with self._http.send(method, url, mine, body, patience) as response:
                challenge = ", ".join(response.headers.getall("WWW-Authenticate", []))
                if response.status == 401 and not last and challenge and await self._authorization.meet(challenge):
                    continue
                if response.status not in (fine or (200,)):
                    raise await self._refusal(method, response)
                yield response
                return

    async def manifest(self, reference: str, size: int | None = None) -> Document:
        """By tag or digest. ``Invalid`` if its digest, or ``size``, is another than it should be."""
        return await persistently(self.attempts, lambda: self._manifest(reference, size))

    async def _manifest(self, reference: str, size: int | None) -> Document:
        headers = {"Accept": ", ".join(ACCEPTED)}
        what = f"the manifest of {self.name.familiar()}"
        async with self.ask("GET", self.inside(f"manifests/{reference}"), headers) as response:
            data = await limited(response, JSON_LIMIT, what)
            _complete(response, data)
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
            said = response.headers.get("Docker-Content-Digest", "")
        digest = digest_of(data)
        wanted = reference if reference.startswith("sha256:") else said if said.startswith("sha256:") else digest
        if digest != wanted:
            raise Invalid(f"manifest verification failed for digest {wanted[:80]}: the registry sent {digest}")
        if size not in (None, len(data)):
            raise Invalid(f"{what} has {len(data)} bytes, but {size} were announced")
        return Document(data, kind, digest, self.name.familiar())

    async def put(self, reference: str, document: Document) -> None:
        """Put a manifest under a tag. ``Invalid`` if the registry has understood another one."""

        async def once() -> None:
            headers = {"Content-Type": document.media_type}
            url = self.inside(f"manifests/{reference}")
            async with self.ask("PUT", url, headers, lambda: document.data, 201, 200, 202) as response:
                said = response.headers.get("Docker-Content-Digest", document.digest)
            if said != document.digest:
                raise Invalid(f"the registry has another manifest than it was sent: {said[:80]}, not {document.digest}")

        await persistently(self.attempts, once)

    async def small(self, descriptor: Descriptor) -> bytes:
        """The content of a small blob, checked."""

        async def once() -> bytes:
            async with self.ask("GET", self.inside(f"blobs/{descriptor.digest}")) as response:
                data = await limited(response, descriptor.size, f"blob {descriptor.digest}")
                _complete(response, data)
                return data

        data = await persistently(self.attempts, once)
        hex_of(descriptor.digest)
        if digest_of(data) != descriptor.digest:
            raise Invalid(f"image config verification failed for digest {descriptor.digest}")
        return data

    async def tags(self) -> list[str]:
        """All tags of the repository."""
        return await self.names(self.inside("tags/list?n=1000"), f"the list of tags of {self.name.familiar_name}")

    async def names(self, url: str, what: str) -> list[str]:
        """A list of tags or of repositories, page by page."""
        found: list[str] = []
        while url and len(found) < NAMES:
            async with self.ask("GET", url) as response:
                page: _Page = decode(await limited(response, JSON_LIMIT, what), what, _Page)
                following = response.links.get("next")
            more = page.tags or page.repositories or []
            url = str(following["url"]) if following and more else ""
            found += more
        return found

    def _ours(self, url: str) -> bool:
        """Does it lead to the registry itself? Its uploads may be led elsewhere."""
        return url.startswith(self.endpoint.base + "/")

    async def _refusal(self, method: str, response: ClientResponse) -> SampanError:
        try:
            body = await limited(response, ERROR_LIMIT, "an error")
        except SampanError:
            body = b""
        if response.status == 401 and self._authorization.lacks_password:
            return Answered("no basic auth credentials", 401, frozenset({"UNAUTHORIZED"}))
        if response.status == 401 and not body:
            body = _UNKNOWN
        error = answered(response.status, body, f'{method.capitalize()} "{response.url.with_query(None)}"')
        if response.status == 429:
            text = error.message if error.codes else f"toomanyrequests: {error.message}"
            return Temporary(text, retry_after(response.headers.get("Retry-After", "")))
        if response.status in BUSY:
            return Temporary(error.message, retry_after(response.headers.get("Retry-After", "")))
        return error


def _complete(response: Any, data: bytes) -> None:
    length = response.content_length
    if length is not None and length != len(data):
        raise Temporary(f"{response.url.host} closed the connection half-way: unexpected EOF")
