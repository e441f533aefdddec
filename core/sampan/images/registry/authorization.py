"""Showing who asks: what a registry wants to see (``WWW-Authenticate``), and tokens of its token server.

https://distribution.github.io/distribution/spec/auth/token/ and /oauth/
"""

from __future__ import annotations

import base64
import re
import time
from typing import NamedTuple
from urllib.parse import urlencode

import msgspec

from sampan.errors import Invalid, Unavailable
from sampan.images.registry.credentials import Credentials
from sampan.images.registry.failures import Temporary, answered
from sampan.images.registry.http import Http

ANSWER_LIMIT = 1 << 20  # bytes of a token server's answer
LEAST = 60  # seconds that a token is good for, whatever is said
CLIENT = "sampan"
_PARAMETER = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))')


class Challenge(NamedTuple):
    """``scheme`` is ``bearer`` or ``basic``."""

    scheme: str
    parameters: dict[str, str]


def challenges(header: str) -> list[Challenge]:
    """What of a ``WWW-Authenticate`` header we can meet; several may stand in one."""
    found = []
    for part in re.split(r"(?:^|,)\s*(?=(?:basic|bearer)\b)", header, flags=re.IGNORECASE):
        scheme, _, rest = part.strip().partition(" ")
        if scheme.lower() in ("basic", "bearer"):
            found.append(Challenge(scheme.lower(), dict(map(_parameter, _PARAMETER.finditer(rest)))))
    return found


def _parameter(match: re.Match[str]) -> tuple[str, str]:
    return match[1].lower(), match[3] if match[2] is None else re.sub(r"\\(.)", r"\1", match[2])


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    refresh_token: str = ""
    expires_in: float = 0


class Authorization:
    """The ``Authorization`` of one client towards one server. ``scopes`` are what it will do."""

    def __init__(self, http: Http, credentials: Credentials, scopes: list[str]) -> None:
        self._http = http
        self._credentials = credentials
        self._scopes = scopes
        self._challenge: Challenge | None = None
        self._header = f"Bearer {credentials.registry_token}" if credentials.registry_token else ""
        self._until = 0.0
        self.identity_token = ""
        self.lacks_password = False
        """A name and a password were asked for, and there are none."""

    async def header(self) -> dict[str, str]:
        """To be sent along."""
        if self._until and time.monotonic() > self._until and self._challenge:
            await self._fetch(self._challenge)
        return {"Authorization": self._header} if self._header else {}

    async def meet(self, header: str) -> bool:
        """Be ready for what a 401 has asked for; False if there is no more that could be shown."""
        wanted = {each.scheme: each for each in challenges(header)}
        if self._credentials.registry_token:
            return False
        if "bearer" in wanted:
            self._challenge = wanted["bearer"]
            await self._fetch(self._challenge)
            return True
        if "basic" in wanted and self._credentials.username:
            self._header = _basic(self._credentials)
            return True
        self.lacks_password = "basic" in wanted
        return False

    async def _fetch(self, challenge: Challenge) -> None:
        realm = challenge.parameters.get("realm", "")
        if not realm.startswith(("https://", "http://")):
            raise Invalid(f"{self._http.endpoint.base} wants tokens of {realm[:100]!r}, which is no URL")
        given = challenge.parameters.get("scope", "")
        scopes = [*self._scopes, *([given] if given and given not in self._scopes and not self._scopes else [])]
        query = {"service": challenge.parameters.get("service", "")}
        token = await (self._refresh if self._credentials.identity_token else self._ask)(realm, query, scopes)
        text = token.token or token.access_token
        if not text or not text.isascii() or not text.isprintable():
            raise Unavailable(f"the token server {realm.partition('?')[0][:100]} gives no token")
        self.identity_token = token.refresh_token or self.identity_token
        self._header = f"Bearer {text}"
        self._until = time.monotonic() + max(token.expires_in, LEAST) * 0.9

    async def _ask(self, realm: str, query: dict[str, str], scopes: list[str]) -> _Token:
        pairs = [*query.items(), *(("scope", scope) for scope in scopes)]
        headers = {}
        if self._credentials.username:
            pairs += [("account", self._credentials.username), ("client_id", CLIENT)]
            headers["Authorization"] = _basic(self._credentials)
        if not self._scopes:
            pairs.append(("offline_token", "true"))
        joint = "&" if "?" in realm else "?"
        return await self._answer("GET", realm + joint + urlencode(pairs), headers, None)

    async def _refresh(self, realm: str, query: dict[str, str], scopes: list[str]) -> _Token:
        form = {**query, "grant_type": "refresh_token", "refresh_token": self._credentials.identity_token}
        form |= {"client_id": CLIENT, "scope": " ".join(scopes)}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._answer("POST", realm, headers, urlencode(form).encode())

    async def _answer(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> _Token:
        async with self._http.send(method, url, headers, (lambda: body) if body else None) as response:
            data = await limited(response, ANSWER_LIMIT, "the token server's answer")
            if response.status == 429 or response.status >= 500:
                raise Temporary(answered(response.status, data, f"the token server {response.url.host}").message)
            if response.status != 200:
                status = 403 if response.status == 404 else response.status  # not the image's
                raise answered(status, data, f"the token server {response.url.host}")
            try:
                return msgspec.json.decode(data, type=_Token)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                raise Unavailable(f"the token server {response.url.host} does not answer in JSON") from None


async def limited(response: object, limit: int, what: str) -> bytes:
    """The whole body of an answer. ``Invalid`` if it has more than ``limit`` bytes."""
    from aiohttp import ClientResponse

    assert isinstance(response, ClientResponse)
    data = bytearray()
    async for piece in response.content.iter_any():
        data += piece
        if len(data) > limit:
            raise Invalid(f"{what} has more than {limit} bytes: it is not read any further")
    return bytes(data)


def _basic(credentials: Credentials) -> str:
    return "Basic " + base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
