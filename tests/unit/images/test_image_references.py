"""Names are read, completed and shown as Docker does."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan.errors import Invalid
from sampan.images import references

DIGEST = "sha256:" + "a1" * 32

NORMALISED = [
    ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
    ("me/tool", "docker.io/me/tool:latest", "me/tool:latest"),
    ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("index.docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
    ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
    ("host.example/a/b/c", "host.example/a/b/c:latest", "host.example/a/b/c:latest"),
    ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
    ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
    (f"x@{DIGEST}", f"docker.io/library/x@{DIGEST}", f"x@{DIGEST}"),
    (f"x:1@{DIGEST}", f"docker.io/library/x:1@{DIGEST}", f"x:1@{DIGEST}"),
]


@pytest.mark.parametrize(("text", "whole", "familiar"), NORMALISED)
def test_normalises_and_shows(text: str, whole: str, familiar: str) -> None:
    name = references.parse(text).tagged()
    assert (str(name), name.familiar()) == (whole, familiar)


NO_NAMES = (
    *(
        "",
        " ",
        "a b",
        ":tag",
        "x:",
        "x:-a",
        "x:" + "a" * 129,
        "/x",
        "x/",
        "a//b",
        "-x",
        "x-",
        "a..b",
        "x@",
        "x@sha256:12",
    ),
    *(f"x@{DIGEST}0", "http://x", "x:y:z", "host:port/x", "x\n", "ü", f"@{DIGEST}", "x" * 300),
)


@pytest.mark.parametrize("text", NO_NAMES)
def test_refuses_what_is_no_name(text: str) -> None:
    with pytest.raises(Invalid, match="invalid reference format"):
        references.parse(text)


def test_says_that_capitals_are_the_trouble() -> None:
    with pytest.raises(Invalid, match=r"repository name \(library/BusyBox\) must be lowercase"):
        references.parse("BusyBox")


def test_an_id_is_no_name() -> None:
    with pytest.raises(Invalid, match="cannot specify 64-byte hexadecimal strings"):
        references.parse("ab" * 32)


@pytest.mark.parametrize("text", ["ab" * 32, "sha256:" + "ab" * 32, "a", "sha256:abc"])
def test_recognises_ids(text: str) -> None:
    assert references.identifier(text) == text.removeprefix("sha256:")


@pytest.mark.parametrize("text", ["", "xyz", "AB", "ab" * 33, "sha256:", "sha512:ab"])
def test_recognises_what_is_no_id(text: str) -> None:
    assert references.identifier(text) is None


PART = st.from_regex(r"[a-z0-9]{1,5}(([._]|__|-{1,2})[a-z0-9]{1,5})?", fullmatch=True)
HOST = st.from_regex(r"[a-z0-9]{1,5}\.[a-z]{2}(:[0-9]{1,4})?", fullmatch=True)
TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,10}", fullmatch=True)


@settings(suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy with other things
@given(host=st.one_of(st.just(""), HOST), parts=st.lists(PART, min_size=1, max_size=4), tag=st.one_of(st.just(""), TAG))
def test_what_is_shown_is_read_as_the_same(host: str, parts: list[str], tag: str) -> None:
    name = references.parse((f"{host}/" if host else "") + "/".join(parts) + (f":{tag}" if tag else "")).tagged()
    assert references.parse(name.familiar()) == name
    assert references.parse(str(name)) == name


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    with suppress(Invalid):
        name = references.parse(text)
        assert references.parse(str(name)) == name
        return
    with pytest.raises(Invalid) as caught:
        references.parse(text)
    assert caught.value.message.isprintable()
