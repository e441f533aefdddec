"""HTTP with one server: redirects, proxies, certificates, and a bound for every wait. Nothing of registries.

A server may be anybody's: it gets no cookies back, no content is decompressed because it says so, a redirect never
takes secrets to another server, and never from HTTPS to plain HTTP.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

import aiohttp
from yarl import URL

from sampan import __version__
from sampan.errors import Invalid
from sampan.images.registry.endpoints import Endpoint, Trust
from sampan.images.registry.failures import Temporary, Unreachable
from sampan.images.registry.proxies import proxy_for

HOPS = 10  # redirects, as Go's client follows
CONNECTING = 15.0  # seconds
BUFFER = 1 << 18  # bytes that may wait to be read
REDIRECTS = (301, 302, 303, 307, 308)

_UNKNOWN, _PAST = "certificate signed by unknown authority: ", "certificate has expired or is not yet valid: "
_GOS_WORDS = {9: _PAST, 10: _PAST, 18: _UNKNOWN, 19: _UNKNOWN, 20: _UNKNOWN, 21: _UNKNOWN}
"""By OpenSSL's numbers (X509_V_ERR_…, openssl-verification-options(1))."""

Body = Callable[[], Any]
"""Gives what is sent, anew for each attempt."""


class Http:
    """One server. Leave it with ``close``."""

    def __init__(self, endpoint: Endpoint, patience: float) -> None:
        self.endpoint = endpoint
        self._patience = patience
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None = None,
        patience: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, redirects followed. ``Unreachable`` or ``Temporary`` if there is none. ``patience``: seconds of
        silence, if not as many as usual."""
        response = await self._follow(method, URL(url, encoded=True), dict(headers), body, patience)
        try:
            encoding = response.headers.get("Content-Encoding", "identity")
            if encoding not in ("identity", ""):
                raise Invalid(f"{response.url.host} answers in the encoding {encoding[:40]!r}, which nobody asked for")
            with told(method, response.url, self._patience):
                yield response
        finally:
            response.close()

    async def _follow(
        self, method: str, url: URL, headers: dict[str, str], body: Body | None, patience: float | None
    ) -> Any:
        for _ in range(HOPS + 1):
            self._check(url)
            response = await self._once(method, url, headers, body, patience)
            if response.status not in REDIRECTS or "Location" not in response.headers:
                return response
            response.close()
            target = joined(url, response.headers["Location"])
            if target.origin() != url.origin():
                headers.pop("Authorization", None)
            if response.status in (301, 302, 303) and method not in ("GET", "HEAD"):
                method, body = "GET", None
            url = target
        raise Invalid(f'{method} "{shown(url)}": stopped after {HOPS} redirects')

    async def _once(
        self, method: str, url: URL, headers: Mapping[str, str], body: Body | None, patience: float | None
    ) -> Any:
        if self._session is None:
            self._session = await self._open()
        with told(method, url, self._patience):
            more = _proxy(url) | ({"timeout": self._timeout(patience)} if patience else {})
            data = body() if body else None
            return await self._session.request(method, url, headers=headers, data=data, allow_redirects=False, **more)

    def _timeout(self, patience: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=None, sock_connect=min(CONNECTING, self._patience), sock_read=patience)

    def _check(self, url: URL) -> None:
        secure = self.endpoint.base.startswith("https:") and not self.endpoint.trust.insecure
        if url.scheme not in ("https", "http") or not url.host or url.user or (secure and url.scheme == "http"):
            raise Invalid(f'{self.endpoint.base} leads to "{shown(url)}", where nobody is sent')

    async def _open(self) -> aiohttp.ClientSession:
        context = await asyncio.get_running_loop().run_in_executor(None, trusting, self.endpoint.trust)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout(self._patience),
            headers={"User-Agent": f"sampan/{__version__}", "Accept-Encoding": "identity"},
            read_bufsize=BUFFER,
        )


def joined(base: URL, location: str) -> URL:
    """Where a ``Location`` leads. ``Invalid`` if nowhere."""
    try:
        target = base.join(URL(location, encoded=True))
        target.origin()
        return target
    except ValueError:
        raise Invalid(f"{base.host} leads to {location[:100]!r}, which is no URL") from None


def shown(url: URL) -> str:
    """Without a query, which may hold secrets, and without a name and password."""
    return str(url.with_user(None).with_query(None).with_fragment(None))[:200] if url.host else str(url)[:200]


@lru_cache(maxsize=32)
def trusting(trust: Trust) -> ssl.SSLContext:
    """``Invalid`` names a certificate that cannot be read."""
    context = ssl.create_default_context()
    try:
        for path in trust.authorities:
            context.load_verify_locations(path)
        for certificate, key in trust.clients:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise Invalid(f"the certificates {', '.join(map(str, trust.authorities))} cannot be read: {error}") from None
    if trust.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class told:
    """aiohttp's failures inside the block are told as ours, with what was asked for."""

    def __init__(self, method: str, url: URL, patience: float) -> None:
        self._what = f'{method.capitalize()} "{shown(url)}"'
        self._host = f"{url.host}:{url.port}"
        self._patience = patience

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, asyncio.TimeoutError):
            connecting = isinstance(error, aiohttp.ConnectionTimeoutError)
            seconds = min(CONNECTING, self._patience) if connecting else self._patience
            failure = Unreachable if connecting else Temporary
            raise failure(f"{self._what}: {self._host} has been silent for {seconds:g} seconds: i/o timeout") from None
        if isinstance(error, aiohttp.ClientConnectorError):
            raise self._unreachable(error) from None
        if isinstance(error, aiohttp.ClientHttpProxyError):
            raise Unreachable(f"{self._what}: the proxy answers with the status {error.status}") from None
        if isinstance(error, aiohttp.InvalidURL):
            raise Invalid(f"{self._what}: this is no URL") from None
        if isinstance(error, aiohttp.ClientResponseError):
            raise Invalid(f"{self._what}: malformed HTTP response: {error.message[:100]!r}") from None
        if isinstance(error, aiohttp.ClientError | ConnectionError):
            raise Temporary(f"{self._what}: unexpected EOF: {self._host} closed the connection half-way") from None

    def _unreachable(self, error: aiohttp.ClientConnectorError) -> Exception:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            reason = _distrust(error.certificate_error)
            return Unreachable(f"{self._what}: tls: failed to verify certificate: x509: {reason}")
        if isinstance(error, aiohttp.ClientConnectorSSLError):
            reason = getattr(error.os_error, "reason", "") or str(error)
            if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
                return Unreachable(f"{self._what}: http: server gave HTTP response to HTTPS client")
            return Unreachable(f"{self._what}: tls: {reason}")
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return Unreachable(f"{self._what}: dial tcp: lookup {self._host.rpartition(':')[0]}: no such host")
        reason = (error.os_error.strerror or str(error.os_error)).rpartition("[")[2].rstrip("]").lower()
        reason = _reason(error.os_error) or reason
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            return Unreachable(f"{self._what}: proxyconnect tcp: dial tcp {error.host}:{error.port}: connect: {reason}")
        return Unreachable(f"{self._what}: dial tcp {self._host}: connect: {reason}")


def _distrust(error: Exception) -> str:
    """Why a certificate is no good, in Go's words where OpenSSL's reasons are the same: clients match on them."""
    reason = getattr(error, "verify_message", str(error))
    return f"{_GOS_WORDS.get(getattr(error, 'verify_code', 0), '')}{reason}"


def _reason(error: OSError) -> str:
    import os

    return os.strerror(error.errno).lower() if error.errno and error.errno > 0 else ""


def _proxy(url: URL) -> dict[str, Any]:
    found = proxy_for(str(url))
    if found is None:
        return {}
    proxy = URL(found)
    if proxy.user is None:
        return {"proxy": proxy}
    auth = aiohttp.BasicAuth(proxy.user, proxy.password or "")
    return {"proxy": proxy.with_user(None), "proxy_auth": auth}
