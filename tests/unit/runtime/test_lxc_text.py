"""No value can become another line of LXC's configuration: read back as LXC reads it."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.errors import Invalid
from sampan_runtime.lxc import text

_NASTY = st.text(alphabet="ab =#'\"\\\t\n\r\0${}:,;[]\udcffü").map(lambda value: os.fsencode(value))


def as_lxc_reads(config: bytes) -> list[tuple[bytes, bytes]]:
    """Its ``parse_line``: a comment begins with ``#``, a value loses white space and one pair of quotes around it."""
    found = []
    for line in config.split(b"\n"):
        stripped = line.lstrip(b" \t")
        if stripped.startswith(b"#") or not stripped.startswith(b"lxc."):
            continue
        key, _, value = stripped.partition(b"=")
        value = value.strip(b" \t")
        if len(value) > 1 and value[:1] in b"'\"" and value[-1:] == value[:1]:
            value = value[1:-1]
        found.append((key.rstrip(b" \t"), value))
    return found


@given(_NASTY)
def test_a_value_is_read_as_it_was_or_refused(value: bytes) -> None:
    if {b"\n"[0], b"\r"[0], 0} & set(value):
        with pytest.raises(Invalid, match="no way to write"):
            text.line("lxc.uts.name", value)
    else:
        assert as_lxc_reads(text.line("lxc.uts.name", value)) == [(b"lxc.uts.name", value)]


@given(_NASTY)
def test_a_comment_stays_one(value: bytes) -> None:
    assert as_lxc_reads(text.comment(os.fsdecode(value)) + b"\nlxc.tty.max = 0") == [(b"lxc.tty.max", b"0")]


def as_fstab_has_it(entry: bytes) -> list[bytes]:
    """getmntent(3): fields between blanks, with four escapes."""
    fields = entry.replace(b"\t", b" ").split(b" ")
    escapes = ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\"))
    for code, character in escapes:
        fields = [field.replace(code, character) for field in fields]
    return fields


@given(_NASTY, _NASTY)
def test_paths_of_a_mount_are_read_as_they_were_or_refused(source: bytes, target: bytes) -> None:
    try:
        written = text.mount(source, target, "none", ["rbind", "ro"])
    except Invalid:
        return
    [(key, value)] = as_lxc_reads(written)
    assert key == b"lxc.mount.entry"
    assert as_fstab_has_it(value) == [source, target, b"none", b"rbind,ro", b"0", b"0"]


@pytest.mark.parametrize("source", [b"#x", b"", b"a\0b"])
def test_a_mount_that_cannot_be_written_is_refused(source: bytes) -> None:
    with pytest.raises(Invalid):
        text.mount(source, b"data", "none", ["bind"])


def as_lxc_splits(value: bytes) -> list[bytes]:
    """Tried with lxc-start 5.0.2: quotes mean nothing to it."""
    return [word for word in value.split(b" ") if word]


@given(st.lists(_NASTY, min_size=1))
def test_a_command_for_those_who_start_it_by_hand_is_the_same(args: list[bytes]) -> None:
    written = text.command(args)
    if written is None:
        return
    [(key, value)] = as_lxc_reads(written)
    assert (key, as_lxc_splits(value)) == (b"lxc.init.cmd", args)


def test_a_command_that_cannot_be_written_is_none() -> None:
    assert text.command([b"sh", b"-c", b"echo a"]) is None
    assert text.command([b"echo", b""]) is None
    assert text.command([b"a\nlxc.cap.keep = sys_admin"]) is None
