"""What a client asks of a new volume (Engine API, ``VolumeCreateOptions``), checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from sampan.errors import Invalid, NotFound, Unsupported
from sampan.volumes import device

LOCAL = "local"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", re.ASCII)
_LONGEST = 255 - len(".0123456789abcdef")  # a file name, with what places.py adds to it


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """``name`` is ``""`` for an anonymous volume."""

    name: str = ""
    driver: str = LOCAL
    options: dict[str, str] = {}
    labels: dict[str, str] = {}


def read(body: Mapping[str, Any]) -> Request:
    """``Invalid``, ``NotFound`` (its driver) or ``Unsupported`` say what cannot be."""
    if body.get("ClusterVolumeSpec"):
        raise Unsupported("cluster volumes are for swarms, and this engine has none")
    request = Request(
        name=_text(body, "Name"),
        driver=_text(body, "Driver") or LOCAL,
        options=_texts(body, "DriverOpts"),
        labels=_texts(body, "Labels"),
    )
    check(request)
    return request


def check(request: Request) -> None:
    """Raises as :func:`read` does."""
    if request.name:
        check_name(request.name)
    if request.driver != LOCAL:
        what = f"create {request.name}: " if request.name else ""
        raise NotFound(f'{what}error looking up volume plugin {request.driver}: plugin "{request.driver}" not found')
    device.check(request.options, request.name)


def check_name(name: str) -> None:
    """Docker's rule and words. Raises ``Invalid``."""
    if len(name) == 1:
        raise Invalid(f"create {name}: volume name is too short, names should be at least two alphanumeric characters")
    if not _NAME.fullmatch(name):
        raise Invalid(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )
    if len(name) > _LONGEST:
        raise Invalid(f"create {name}: a volume's name has at most {_LONGEST} characters")


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key) or ""
    if not isinstance(value, str):
        raise Invalid(f"invalid value for {key}: must be a string")
    _check_text(value, key)
    return value


def _texts(body: Mapping[str, Any], key: str) -> dict[str, str]:
    value = body.get(key) or {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise Invalid(f"invalid value for {key}: must be an object whose values are strings")
    for name, item in value.items():
        _check_text(name, key)
        _check_text(item, key)
    return dict(value)


def _check_text(text: str, key: str) -> None:
    """Neither the kernel nor the database keeps these."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise Invalid(f"invalid value for {key}: it contains a NUL character or text that is not valid Unicode")
