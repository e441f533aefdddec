"""Who asks: what clients send in ``X-Registry-Auth``.

https://docs.docker.com/reference/api/engine/#section/Authentication
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from sampan.errors import Invalid


class Credentials(msgspec.Struct, frozen=True, rename=lambda name: name.replace("_", "")):
    """Any of them may be missing. ``registry_token`` is sent to the registry as it is."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    server_address: str = ""
    auth: str = ""

    def __bool__(self) -> bool:
        return bool(self.username or self.identity_token or self.registry_token)

    def __repr__(self) -> str:  # they must not get into a log
        return f"<credentials of {self.username or 'nobody'}>"


NONE = Credentials()


def read(header: str) -> Credentials:
    """From the header: base64url, or plain base64, of JSON. ``Invalid`` for anything else; ``""`` is nobody."""
    if not header:
        return NONE
    try:
        text = header.strip().replace("+", "-").replace("/", "_").rstrip("=")
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return known(data) if data.strip() not in (b"", b"null") else NONE
    except (binascii.Error, ValueError, Invalid):
        raise Invalid("invalid X-Registry-Auth header: it is not the base64url of a JSON object") from None


def known(data: bytes) -> Credentials:
    """From JSON, the body of a login. A name and password may come together in ``auth``."""
    try:
        found = msgspec.json.decode(data, type=Credentials)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"invalid credentials: {error}") from None
    if found.auth and not found.username:
        try:
            name, _, password = base64.b64decode(found.auth, validate=True).decode().partition(":")
        except ValueError:
            raise Invalid('invalid credentials: "auth" is not the base64 of NAME:PASSWORD') from None
        found = msgspec.structs.replace(found, username=name, password=password)
    return found
