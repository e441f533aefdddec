"""Patterns of names, as Go's ``path.Match`` takes them."""

from __future__ import annotations

import pytest

from sampan.api.patterns import compiled
from sampan.errors import Invalid


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("busy*", "busybox", True),
        ("busy*", "busy/box", False),
        ("*/*:1.?", "me/tool:1.2", True),
        ("t[l-p]ol", "tool", True),
        ("t[^l-p]ol", "tool", False),
        ("t[ab-]ol", "tool", None),
        ("[z-a]", "m", False),
        ("a.c", "abc", False),
        (r"a\*c", "a*c", True),
        (r"[\]]", "]", True),
        ("[a-", "a", None),
        ("[]", "a", None),
        ("a\\", "a", None),
    ],
)
def test_what_fits(pattern: str, name: str, fits: bool | None) -> None:
    if fits is None:
        with pytest.raises(Invalid, match=r"^syntax error in pattern"):
            compiled(pattern)
    else:
        assert bool(compiled(pattern).fullmatch(name)) is fits
