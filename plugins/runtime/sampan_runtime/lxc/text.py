"""Writing LXC's configuration so that no value can become more than one value (lxc.container.conf(5), fstab(5))."""

from __future__ import annotations

import os

from sampan.errors import Invalid

_FIELD = {b"\\": b"\\134", b" ": b"\\040", b"\t": b"\\011", b"\n": b"\\012"}
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:=@%+,-")


def line(key: str, value: str | bytes) -> bytes:
    """``key = "value"``. LXC cuts white space off a value, then one pair of quotes around it, and knows no other way to
    write what is special. ``Invalid`` if it has a line break or null byte, which cannot be written at all."""
    text = os.fsencode(value)
    if not writable(text):
        raise Invalid(f"{key} cannot be {os.fsdecode(text)!r}: LXC's configuration has no way to write a line break")
    quoted = text if _plain(text) else b'"' + text + b'"'
    return key.encode() + b" = " + quoted


def _plain(text: bytes) -> bool:
    return bool(text) and _PLAIN.issuperset(text)


def writable(text: bytes) -> bool:
    return not any(byte in text for byte in (b"\n", b"\r", b"\0"))


def comment(text: str) -> bytes:
    return b"# " + os.fsencode(" ".join(text.splitlines()))


def mount(source: bytes, target: bytes, kind: str, options: list[str]) -> bytes:
    """A ``lxc.mount.entry``: a line of fstab(5), with a target relative to the root file system."""
    if b"\0" in source + target:
        raise Invalid(f"the mount on {os.fsdecode(target)!r} has a null byte in a path")
    fields = (source, target, kind.encode(), os.fsencode(",".join(options) or "defaults"))
    return b"lxc.mount.entry = " + b" ".join(map(_field, fields)) + b" 0 0"


def _field(text: bytes) -> bytes:
    """getmntent(3) takes these escapes, and a line that begins with ``#`` for a comment."""
    for byte, written in _FIELD.items():
        text = text.replace(byte, written)
    if text.startswith(b"#") or not text or b"\r" in text:
        raise Invalid(f"LXC's configuration has no way to write {os.fsdecode(text)!r} as a part of a mount")
    return text


def command(args: list[bytes]) -> bytes | None:
    """``lxc.init.cmd``, for those who start a container by hand; None if LXC has no way to write it: it splits at white
    space, whatever quotes there are."""
    if any(arg.split() != [arg] or not writable(arg) for arg in args):
        return None
    return line("lxc.init.cmd", b" ".join(args))
