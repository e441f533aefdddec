"""At the border to other people's drivers: what they raise or return that no contract knows is told with their name.

The built-in drivers are not guarded: they are held to the contracts by types and tests, and a call costs less.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sampan.drivers.types import NetworkFeatures, RuntimeFeatures, Stats, StorageFeatures
from sampan.errors import Internal, SampanError

FEATURES: dict[str, type[Any]] = {"storage": StorageFeatures, "network": NetworkFeatures, "runtime": RuntimeFeatures}

_RETURNS: dict[str, type[Any]] = {
    "layers": set,
    "begin_layer": Path,
    "mount": int,
    "changes": Iterable,
    "usage": int,
    "order": Mapping,
    "exec_order": Mapping,
    "processes": list,
    "stats": Stats,
    "examine": Sequence,
}
"""By call; the others return nothing that anybody looks at."""

_BOUNDED = {"check", "features", "restore"}
"""Whoever makes these calls bounds them in time, and tells what went wrong in words of its own."""


def guard(driver: Any, contract: type[Any], who: str) -> None:
    """Wrap the driver's calls: ``Internal`` names ``who`` and the call, whatever went wrong in there.

    Kinds of errors, and the operating system's, pass as they are.
    """
    for name, member in vars(contract).items():
        if callable(member) and name[0] != "_" and name not in _BOUNDED and not isinstance(member, type):
            setattr(driver, name, _guarded(getattr(driver, name), name, who))


def _guarded(call: Callable[..., Any], name: str, who: str) -> Callable[..., Any]:
    expected = _RETURNS.get(name)

    @functools.wraps(call)
    def guarded(*args: Any, **options: Any) -> Any:
        try:
            answer = call(*args, **options)
        except (SampanError, OSError):
            raise
        except Exception as error:
            raise Internal(f"{who}: {name}() failed: {type(error).__name__}: {error}") from error
        if expected is not None and not isinstance(answer, expected):
            raise Internal(f"{who}: {name}() returned {answer!r}, where {expected.__name__} was expected")
        return answer

    return guarded
