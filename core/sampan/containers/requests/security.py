"""``SecurityOpt``: no-new-privileges, seccomp, and what has no meaning here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from sampan.containers.bundle.seccomp import check as check_profile
from sampan.errors import Invalid

_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


class Security(msgspec.Struct, kw_only=True):
    """``seccomp``: ``default``, ``unconfined``, or a profile in Docker's format."""

    no_new_privileges: bool = False
    seccomp: Literal["default", "unconfined"] | dict[str, Any] = "default"
    writable_cgroups: bool | None = None


def warnings(options: Sequence[str] | None) -> list[str]:
    """What is passed over, as Docker does where the kernel has neither SELinux nor AppArmor."""
    told = []
    for option in options or ():
        key, _, value = option.partition("=" if "=" in option else ":")
        module = {"label": "SELinux", "apparmor": "AppArmor"}.get(key)
        if module and value not in ("disable", "unconfined", ""):
            told.append(f"{module} is not used by this engine: --security-opt {option} is ignored.")
    return told


def parse(options: Sequence[str] | None) -> Security:
    """Raises ``Invalid`` for an option that is none."""
    security = Security()
    for option in options or ():
        separator = "=" if "=" in option else ":"
        key, given, value = option.partition(separator)
        if option in ("no-new-privileges", "writable-cgroups"):
            given, value = separator, "true"
        if not given and key != "disable":
            raise Invalid(f'invalid --security-opt 1: "{option}"')
        _apply(security, key, value, option)
    return security


def _apply(security: Security, key: str, value: str, option: str) -> None:
    match key:
        case "no-new-privileges":
            security.no_new_privileges = _flag(value, option)
        case "writable-cgroups":
            security.writable_cgroups = _flag(value, option)
        case "seccomp":
            security.seccomp = _profile(value)
        case "label" | "disable" | "apparmor":
            return  # see warnings()
        case "systempaths":  # the CLI turns it into MaskedPaths and ReadonlyPaths by itself
            if value != "unconfined":
                raise Invalid(f'invalid --security-opt 2: "{option}"')
        case _:
            raise Invalid(f'invalid --security-opt 2: "{option}"')


def _flag(value: str, option: str) -> bool:
    if value.lower() not in _TRUE + _FALSE:
        raise Invalid(f'invalid --security-opt 2: "{option}"')
    return value.lower() in _TRUE


def _profile(value: str) -> Literal["default", "unconfined"] | dict[str, Any]:
    if value == "unconfined":
        return "unconfined"
    if value in ("builtin", "default", ""):
        return "default"
    try:
        profile = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"opening seccomp profile failed: the profile is not JSON: {error}") from None
    check_profile(profile)
    return profile  # type: ignore[no-any-return]
