"""Are the answers of other people's drivers answers at all? Looked at before anything is built on them."""

from __future__ import annotations

import marshal
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from sampan.drivers.types import (
    Change,
    ChangeKind,
    Check,
    Finding,
    NetworkFeatures,
    RuntimeFeatures,
    Stats,
    StorageFeatures,
)

FEATURES: dict[str, type[Any]] = {"storage": StorageFeatures, "network": NetworkFeatures, "runtime": RuntimeFeatures}

_SHOWN = 120  # characters of an answer in a sentence
_MOST = 10_000_000  # changes of one container: somebody who tells more of them does not come to an end


class Nonsense(Exception):
    """Says what was returned, and what was expected."""

    def __init__(self, answer: Any, expected: str) -> None:
        super().__init__(f"{_shown(answer)}, where {expected} was expected")


def check(answer: Any) -> Check:
    """``Nonsense`` unless it is a :class:`Check`, down to its fields."""
    believed: Check = _struct(answer, Check)
    return believed


def features(answer: Any, family: str) -> Any:
    """The same for the features of a driver of ``family``."""
    return _struct(answer, FEATURES[family])


def _struct(answer: Any, kind: type[Any]) -> Any:
    if isinstance(answer, kind):
        try:
            msgspec.convert(msgspec.to_builtins(answer), kind)
            return answer
        except (TypeError, ValueError, RecursionError):  # ValidationError is a ValueError
            pass
    raise Nonsense(answer, f"a {kind.__name__}")


def _layers(answer: Any) -> set[str]:
    if not isinstance(answer, (set, frozenset)) or not all(isinstance(each, str) for each in answer):
        raise Nonsense(answer, "a set of layers' ids")
    return set(answer)


def _directory(answer: Any) -> Path:
    if not isinstance(answer, Path) or not answer.is_absolute() or answer.is_symlink() or not answer.is_dir():
        raise Nonsense(answer, "the Path of a directory")
    return answer


def _root(answer: Any) -> int:
    if _is_number(answer) and answer > 2:
        try:
            if stat.S_ISDIR(os.fstat(answer).st_mode):
                return int(answer)
        except OSError:
            pass
    raise Nonsense(answer, "the descriptor of a directory")


def _changes(answer: Any) -> Iterator[Change]:
    found: list[Change] = []
    try:
        for each in answer:
            if not isinstance(each, Change) or not isinstance(each.path, str) or not isinstance(each.kind, ChangeKind):
                raise Nonsense(each, "a Change")
            found.append(each)
            if len(found) > _MOST:
                raise Nonsense(f"more than {_MOST} changes", "an end of them")
    except TypeError:
        raise Nonsense(answer, "an iterator of Changes") from None
    return iter(found)


def _bytes(answer: Any) -> int:
    if not _is_number(answer) or answer < 0:
        raise Nonsense(answer, "a number of bytes")
    return int(answer)


def _words(answer: Any) -> dict[str, str]:
    try:
        return msgspec.convert(dict(answer), dict[str, str])
    except (TypeError, ValueError):
        raise Nonsense(answer, "a mapping of words") from None


def _addresses(answer: Any) -> list[str] | None:
    if answer is not None and not (isinstance(answer, (list, tuple)) and all(isinstance(each, str) for each in answer)):
        raise Nonsense(answer, "a list of addresses with their prefixes, or None,")
    return None if answer is None else list(answer)


def _findings(answer: Any) -> list[Finding]:
    if not isinstance(answer, (list, tuple)):
        raise Nonsense(answer, "a list of Findings")
    return [_struct(each, Finding) for each in answer]


def _order(answer: Any) -> Mapping[str, Any]:
    try:
        order = dict(answer) if isinstance(answer, Mapping) else None
        marshal.dumps(order)
    except (TypeError, ValueError):
        order = None
    if order is None or not all(isinstance(key, str) for key in order):
        raise Nonsense(answer, "an order, a dict of plain values,")
    if not isinstance(order.get("terminal"), bool):
        raise Nonsense(answer, "an order that says whether there is a terminal")
    return order


def _usual(answer: Any) -> Any:
    try:
        marshal.dumps(answer)
    except ValueError:
        raise Nonsense(answer, "something of plain values") from None
    return answer


def _pids(answer: Any) -> list[int]:
    if not isinstance(answer, (list, tuple)) or not all(_is_number(each) and each > 0 for each in answer):
        raise Nonsense(answer, "a list of process ids")
    return list(answer)


def _truth(answer: Any) -> bool:
    if not isinstance(answer, bool):
        raise Nonsense(answer, "True or False")
    return answer


def _maybe_descriptor(answer: Any) -> int | None:
    if answer is None:
        return None
    if _is_number(answer) and answer > 2:
        try:
            os.fstat(answer)
            return int(answer)
        except OSError:
            pass
    raise Nonsense(answer, "a descriptor or None")


BELIEVED: dict[str, Callable[[Any], Any]] = {
    "layers": _layers,
    "begin_layer": _directory,
    "mount": _root,
    "changes": _changes,
    "usage": _bytes,
    "describe": _words,
    "join": _addresses,
    "examine": _findings,
    "order": _order,
    "exec_order": _order,
    "usual": _usual,
    "processes": _pids,
    "frozen": _truth,
    "stats": lambda answer: _struct(answer, Stats),
    "starvation": _maybe_descriptor,
}
"""By call: the answer, if it is one, or ``Nonsense``. The other calls return nothing that anybody looks at."""


def _is_number(answer: Any) -> bool:
    return isinstance(answer, int) and not isinstance(answer, bool)


def _shown(answer: Any) -> str:
    try:
        text = " ".join(repr(answer).split())
    except Exception:
        text = f"something of type {type(answer).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
