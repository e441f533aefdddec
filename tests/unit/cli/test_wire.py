"""The short way to JSON gives what the long way gives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.cli import wire

VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_there_and_back(value: object) -> None:
    assert json.loads(wire.dumps(value)) == value
    assert wire.loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize("text", ["", "nope", "{", '{"a": 1}x', "[1,]", '"\x01"'])
def test_what_is_not_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own words
        wire.loads(text)


def test_what_json_cannot_say_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="set is not JSON"):
        wire.dumps({"a": {1}})
