"""Values that people write with a unit or in a notation of their own, checked where they are read.

Each is an ordinary ``int``, ``float``, ``str`` or ``Path`` for the code that uses it; ``parse`` makes one from what
stood in a file or on a command line, or raises ``ValueError``; ``allowed`` ends the sentence "expected …".
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Self

BYTES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Size(int):
    """Bytes. Written as Docker writes it: ``20m``, ``1.5g``, ``512kb``; units are powers of 1024, in any case."""

    allowed: ClassVar[str] = "a size such as 512k, 20m or 1g"

    @classmethod
    def parse(cls, value: Any) -> Self:
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([kmgt]?)i?b?", _text(value, int).lower())
        if not match:
            raise ValueError
        return cls(float(match[1]) * BYTES[match[2]])


class Duration(float):
    """Seconds. Written as Go writes it: ``10s``, ``1m30s``, ``500ms``; a bare number is seconds."""

    allowed: ClassVar[str] = "a duration such as 500ms, 10s or 1m30s"

    @classmethod
    def parse(cls, value: Any) -> Self:
        text = _text(value, int, float)
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            return cls(text)
        if not re.fullmatch(r"([0-9]+(\.[0-9]+)?(ms|s|m|h))+", text):
            raise ValueError
        return cls(sum(float(n) * SECONDS[unit] for n, unit in re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)", text)))


class AbsolutePath:
    """A normal ``Path``, absolute, without ``..``, and not ``/`` itself."""

    allowed: ClassVar[str] = "an absolute path without .."

    @classmethod
    def parse(cls, value: Any) -> Path:
        path = PurePosixPath(_text(value))
        if not path.is_absolute() or ".." in path.parts or len(path.parts) < 2 or "\0" in str(path):
            raise ValueError
        return Path(path)


class HostAddress(str):
    """Where the daemon listens: ``unix:///path/to.sock`` or ``tcp://ADDRESS:PORT``."""

    __slots__ = ()
    allowed: ClassVar[str] = "unix:///path/to.sock or tcp://ADDRESS:PORT"

    @classmethod
    def parse(cls, value: Any) -> Self:
        text = _text(value)
        scheme, separator, rest = text.partition("://")
        if not separator:
            raise ValueError
        if scheme == "unix":
            AbsolutePath.parse(rest)
        elif scheme == "tcp":
            _check_endpoint(rest)
        else:
            raise ValueError
        return cls(text)


class Address(str):
    """An IPv4 or IPv6 address in canonical form."""

    __slots__ = ()
    allowed: ClassVar[str] = "an IPv4 or IPv6 address"

    @classmethod
    def parse(cls, value: Any) -> Self:
        return cls(ipaddress.ip_address(_text(value)))


class SubnetAddress(str):
    """An address range, ``ADDRESS/PREFIX``, whose host bits are zero; ``""`` where nothing is asked for."""

    __slots__ = ()
    allowed: ClassVar[str] = "a subnet such as 172.30.0.0/16, its host bits zero"

    @classmethod
    def parse(cls, value: Any) -> Self:
        text = _text(value)
        if text and "/" not in text:
            raise ValueError
        return cls(ipaddress.ip_network(text) if text else "")


class LinkName(str):
    """The name of a network interface: 1 to 15 bytes, no slash, no white space (linux ``dev_valid_name``)."""

    __slots__ = ()
    allowed: ClassVar[str] = "an interface name of 1 to 15 characters without spaces, colons or slashes"

    @classmethod
    def parse(cls, value: Any) -> Self:
        text = _text(value)
        if not re.fullmatch(r"[^\s/:]{1,15}", text) or len(text.encode()) > 15 or text in (".", ".."):
            raise ValueError
        return cls(text)


def _text(value: Any, *also: type) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, *also)):
        raise ValueError
    return str(value)


def _check_endpoint(text: str) -> None:
    address, _, port = text.rpartition(":")
    if not re.fullmatch(r"\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+", address) or not re.fullmatch("[0-9]{1,5}", port):
        raise ValueError
    if not 0 < int(port) < 65536:
        raise ValueError
