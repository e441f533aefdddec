"""Values that people write with a unit or in a notation of their own, checked where they are read.

A :class:`Notation` says how to read one and what is allowed; the type next to it is what the code then gets: plain
``int``, ``str`` or ``Path``, which cross to the monitor and into SQLite like any other.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

_POWERS = " kmgtp".index


@dataclass(frozen=True)
class Notation:
    """``parse`` makes the value of what stood in a file or on a command line, or raises ``ValueError``;
    ``allowed`` ends the sentence "expected …"."""

    parse: Callable[[Any], Any]
    allowed: str


def size(value: Any, base: int = 1024) -> int:
    """Bytes of memory and of disks, as Docker writes them: ``20m``, ``1.5g``, ``512kb``, in any case; units are powers
    of 1024 (go-units' ``RAMInBytes``)."""
    match = re.fullmatch(r"([0-9]{1,30}(?:\.[0-9]+)?) ?([kmgtp]?)i?b?", _text(value, int).lower())
    if not match:
        raise ValueError
    return int(float(match[1]) * base ** _POWERS(match[2] or " "))


def log_size(value: Any) -> int:
    """Bytes of a log's file: the same with powers of 1000, for so Docker reads these (go-units' ``FromHumanSize``)."""
    return size(value, 1000)


def absolute_path(value: Any) -> Path:
    path = PurePosixPath(_text(value))
    if not path.is_absolute() or ".." in path.parts or len(path.parts) < 2 or "\0" in str(path):
        raise ValueError
    return Path(path)


def host(value: Any) -> str:
    text = _text(value)
    scheme, _, rest = text.partition("://")
    if scheme == "unix":
        absolute_path(rest)
    elif scheme == "tcp":
        address, _, port = rest.rpartition(":")
        if not re.fullmatch(r"\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+", address):
            raise ValueError
        if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
            raise ValueError
    else:
        raise ValueError
    return text


def address(value: Any) -> str:
    return str(ipaddress.ip_address(_text(value)))


def subnet(value: Any) -> str:
    text = _text(value)
    if text and "/" not in text:
        raise ValueError
    return str(ipaddress.ip_network(text)) if text else ""


def link_name(value: Any) -> str:
    """1 to 15 bytes, as linux's ``dev_valid_name`` has it."""
    text = _text(value)
    if not re.fullmatch(r"[^\s/:]{1,15}", text) or len(text.encode()) > 15 or text in (".", ".."):
        raise ValueError
    return text


def url(value: Any) -> str:
    """A registry's address with its scheme and without a path, such as ``https://mirror.example:5000``."""
    match = re.fullmatch(r"(https?)://([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?/?", _text(value))
    if not match:
        raise ValueError
    return match[0].rstrip("/")


def optional_path(value: Any) -> str:
    return str(absolute_path(value)) if _text(value) else ""


def _text(value: Any, *also: type) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, *also)):
        raise ValueError
    return str(value)


LogSize = Annotated[int, Notation(log_size, "a size such as 512k, 20m or 1g")]
MemorySize = Annotated[int, Notation(size, "a size such as 512k, 32m or 1g")]
AbsolutePath = Annotated[Path, Notation(absolute_path, "an absolute path without ..")]
HostAddress = Annotated[str, Notation(host, "unix:///path/to.sock or tcp://ADDRESS:PORT")]
Address = Annotated[str, Notation(address, "an IPv4 or IPv6 address")]
SubnetAddress = Annotated[str, Notation(subnet, "a subnet such as 172.30.0.0/16, its host bits zero")]
LinkName = Annotated[
    str, Notation(link_name, "an interface name of 1 to 15 characters without spaces, colons or slashes")
]
Url = Annotated[str, Notation(url, "a URL such as https://mirror.example:5000, without a path")]
OptionalPath = Annotated[str, Notation(optional_path, "an absolute path without .., or nothing")]
