"""``-p`` and ``--expose``: Docker's ways to write ports."""

from __future__ import annotations

from sampan.cli.failures import Usage

PROTOCOLS = ("tcp", "udp", "sctp")


def published(words: list[str]) -> tuple[dict[str, object], dict[str, list[dict[str, str]]]]:
    """The exposed ports and the bindings of ``-p`` words. Raises Usage."""
    exposed: dict[str, object] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for word in words:
        address, outside, inside, kind = _parts(word)
        first, last = _range(inside, word, "container port")
        out = _range(outside, word, "host port") if outside else None
        if out and out[1] - out[0] != last - first and first != last:
            raise Usage(f"invalid port {word}: the ranges {outside} and {inside} differ in length")
        for number in range(first, last + 1):
            if out is None:
                host = ""
            elif first == last and out[0] != out[1]:
                host = outside  # any free port of the range
            else:
                host = str(out[0] + number - first)
            exposed[f"{number}/{kind}"] = {}
            bindings.setdefault(f"{number}/{kind}", []).append({"HostIp": address, "HostPort": host})
    return exposed, bindings


def exposed(words: list[str]) -> dict[str, object]:
    """The ports of ``--expose`` words. Raises Usage."""
    found: dict[str, object] = {}
    for word in words:
        numbers, _, kind = word.partition("/")
        first, last = _range(numbers, word, "port")
        found.update({f"{number}/{_protocol(kind, word)}": {} for number in range(first, last + 1)})
    return found


def _parts(word: str) -> tuple[str, str, str, str]:
    """Address, host port, container port, protocol of ``[ip:][host:]container[/protocol]``."""
    if "=" in word:
        return _long_form(word)
    rest, _, kind = word.partition("/")
    if rest.startswith("["):
        address, closed, rest = rest[1:].partition("]:")
        if not closed:
            raise Usage(f"invalid port {word}: write [IPv6 address]:host-port:port")
        outside, _, inside = rest.rpartition(":")
    else:
        rest, _, inside = rest.rpartition(":")
        address, _, outside = rest.rpartition(":")
    if address and not _is_address(address):
        raise Usage(f"invalid port {word}: {address} is no IP address")
    return address, outside, inside, _protocol(kind, word)


def _long_form(word: str) -> tuple[str, str, str, str]:
    fields = {}
    for part in word.split(","):
        key, _, value = part.partition("=")
        if key not in ("target", "published", "protocol", "mode"):
            raise Usage(f"invalid port {word}: {key} is none of target, published, protocol")
        fields[key] = value
    return "", fields.get("published", ""), fields.get("target", ""), _protocol(fields.get("protocol", ""), word)


def _protocol(kind: str, word: str) -> str:
    kind = (kind or "tcp").lower()
    if kind not in PROTOCOLS:
        raise Usage(f"invalid port {word}: {kind} is none of {', '.join(PROTOCOLS)}")
    return kind


def _range(text: str, word: str, what: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    last = last if dash else first
    if not (first.isdecimal() and first.isascii() and last.isdecimal() and last.isascii()):
        raise Usage(f"invalid port {word}: {what} {text or '(nothing)'} is no number")
    low, high = int(first), int(last)
    if not (0 <= low <= high <= 65535) or (what != "host port" and low == 0):
        raise Usage(f"invalid port {word}: {what} {text} is not between 1 and 65535")
    return low, high


def _is_address(text: str) -> bool:
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except OSError:
            continue
        return True
    return False
