"""Names of images, read and written as Docker does.

A name that a person types is *familiar* (``busybox``, ``me/tool:1.2``, ``host:5000/x@sha256:…``); inside, every name
is *normalised*: it has a domain, a path and a tag or a digest (``docker.io/library/busybox:latest``). The grammar is
that of https://pkg.go.dev/github.com/distribution/reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sampan.errors import Invalid

DOMAIN = "docker.io"
LIBRARY = "library/"
LATEST = "latest"
NAME_LIMIT = 255  # characters of domain/path

_DOMAIN_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])"
_DOMAIN = re.compile(rf"{_HOST}(?::[0-9]+)?")
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_SHA256 = re.compile(r"sha256:[a-f0-9]{64}")
_HEX = re.compile(r"[a-f0-9]{64}")
_ID = re.compile(r"(?:sha256:)?([a-f0-9]{1,64})")


@dataclass(frozen=True, order=True)
class Reference:
    """A normalised name. ``tag`` and ``digest`` are ``""`` when absent; ``digest`` is ``sha256:…``."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The repository, whole: ``docker.io/library/busybox``."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as a person types it: ``busybox``."""
        if self.domain != DOMAIN:
            return self.name
        short = self.path.removeprefix(LIBRARY)
        return self.path if "/" in short else short

    def familiar(self) -> str:
        """``busybox:latest``: what Docker prints."""
        return self.familiar_name + self._suffix()

    def tagged(self) -> Reference:
        """The same, with the tag ``latest`` if it has neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=LATEST)

    def without_tag(self) -> Reference:
        return replace(self, tag="")

    def among(self, names: Iterable[str]) -> list[str]:
        """Those of some normalised names that are in the same repository."""
        return [name for name in names if parse(name).name == self.name]

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix()


def parse(text: str) -> Reference:
    """Read a familiar or normalised name. ``Invalid`` says what is wrong with it, in Docker's words first."""
    if _HEX.fullmatch(text):
        raise Invalid(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    rest, at, digest = text.partition("@")
    domain, rest = split_domain(rest)
    path, colon, tag = rest.partition(":")
    if domain == DOMAIN and "/" not in path:
        path = LIBRARY + path
    if path != path.lower():
        raise Invalid(f"invalid reference format: repository name ({_shown(path)}) must be lowercase")
    if not _PATH.fullmatch(path) or not _DOMAIN.fullmatch(domain) or (colon and not _TAG.fullmatch(tag)):
        raise Invalid(f'invalid reference format: "{_shown(text)}" is not [HOST[:PORT]/]NAME[:TAG]')
    if at and not _SHA256.fullmatch(digest):
        raise Invalid(f'invalid reference format: "{_shown(digest)}" is not a digest (sha256: and 64 hex digits)')
    if len(domain) + 1 + len(path) > NAME_LIMIT:
        raise Invalid(f"invalid reference format: repository name must not be more than {NAME_LIMIT} characters")
    return Reference(domain, path, tag, digest)


def familiar(text: str) -> str:
    """A normalised name as a person types it, tag and digest kept."""
    return parse(text).familiar()


def identifier(text: str) -> str | None:
    """The hex digits if ``text`` may be an image id or the beginning of one (``sha256:`` in front or not)."""
    match = _ID.fullmatch(text)
    return match.group(1) if match else None


def is_whole_identifier(text: str) -> bool:
    """``sha256:`` or nothing, and 64 hex digits: never a name."""
    return len(identifier(text) or "") == 64


def split_domain(text: str) -> tuple[str, str]:
    """The first component is a host if it looks like one: it has a dot, a colon or a capital, or is localhost."""
    first, slash, rest = text.partition("/")
    looks_like_host = "." in first or ":" in first or first == "localhost" or first != first.lower()
    if not slash or not looks_like_host:
        return DOMAIN, text
    return (DOMAIN if first == "index.docker.io" else first), rest


def _shown(text: str) -> str:
    cut = text if len(text) <= 80 else text[:77] + "..."
    return cut.encode("unicode_escape").decode("ascii")
