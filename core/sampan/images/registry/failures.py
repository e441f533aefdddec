"""What goes wrong with registries, in Docker's words where it has some: clients match on them."""

from __future__ import annotations

import re

import msgspec

from sampan.errors import Forbidden, NotFound, SampanError, Unavailable
from sampan.images.references import Reference

SHOWN = 300  # characters of what a registry says


class Temporary(Unavailable):
    """Trying again may help, after ``pause`` seconds if the registry has named a time."""

    def __init__(self, message: str, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause


class Unreachable(Temporary):
    """There is no such registry, or nobody answers there, or not in this protocol."""


class Answered(Unavailable):
    """The registry answered, with an error: its HTTP status, and ``codes`` such as ``MANIFEST_UNKNOWN``."""

    def __init__(self, message: str, status: int, codes: frozenset[str] = frozenset()) -> None:
        super().__init__(message)
        self.status = status
        self.codes = codes

    @property
    def denied(self) -> bool:
        return self.status in (401, 403) or bool(self.codes & {"UNAUTHORIZED", "DENIED"})

    @property
    def absent(self) -> bool:
        return self.status == 404


class _Fault(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Faults(msgspec.Struct):
    errors: list[_Fault] = []
    details: str = ""


def answered(status: int, body: bytes, what: str) -> Answered:
    """The error of an answer: ``denied: requested access to the resource is denied``."""
    try:
        faults = msgspec.json.decode(body, type=_Faults)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        faults = _Faults()
    codes = frozenset(each.code.upper() for each in faults.errors)
    told = [": ".join(filter(None, (_words(each.code), each.message))) for each in faults.errors[:4]]
    text = "; ".join(filter(None, map(shown, told))) or shown(faults.details)
    return Answered(text or f"{what}: the registry answered with the status {status}", status, codes)


def shown(text: str) -> str:
    """What a stranger says, fit for a terminal."""
    clean = re.sub(r"[^\x20-\x7e\u00a0-\uffff]+", " ", text).strip()
    return clean if len(clean) <= SHOWN else clean[: SHOWN - 3] + "..."


def of_pull(error: SampanError, name: Reference) -> SampanError:
    """An error of a pull as dockerd tells it: docker-py, for one, knows "repository does not exist" and
    "does not exist or no pull access"."""
    if not isinstance(error, Answered):
        return error
    if "MANIFEST_UNKNOWN" in error.codes or (error.absent and not error.codes):
        return NotFound(f"manifest for {name.familiar()} not found: {error.message}")
    if "NAME_UNKNOWN" in error.codes:
        where = f"repository {name.familiar_name} not found"
        return NotFound(f"{where}: does not exist or no pull access: {error.message}")
    if error.denied:
        return NotFound(
            f"pull access denied for {name.familiar_name}, repository does not exist or may require 'docker login': "
            f"{error.message}"
        )
    return error


def of_push(error: SampanError) -> SampanError:
    return Forbidden(error.message) if isinstance(error, Answered) and error.denied else error


def _words(code: str) -> str:
    return code.replace("_", " ").lower()
