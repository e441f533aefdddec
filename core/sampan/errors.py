"""Errors by kind. A kind says what sort of thing went wrong; the message says what, to a person.

    SampanError
    ├── Invalid        the request itself is wrong: bad value, bad option, bad archive
    ├── NotFound       the thing named does not exist
    ├── Conflict       it exists, but its state or somebody else's use forbids this
    ├── NotModified    it already is as asked
    ├── Unauthorized   somebody else's server does not believe who is asking, or wants to know it
    ├── Forbidden      this caller or this host does not permit it
    ├── Unsupported    a driver, the kernel or this version cannot do it
    ├── Unavailable    something needed does not answer now; trying again may help
    ├── Exhausted      no addresses, ports, space, or ids are left
    ├── StartFailed    the container's own command could not be started (exit status 126, 127 or 128)
    └── Internal       a bug of ours

Only ``sampan.api`` turns kinds into HTTP statuses and only ``sampan.cli`` turns them into exit codes.
A message is one sentence that names the thing, says what is wrong and, where that helps, what would be right.
Standard library only: the monitor imports this module.
"""

from __future__ import annotations


class SampanError(Exception):
    """Base of every error that is meant for a person to read."""

    kind = "internal"

    @property
    def message(self) -> str:
        return str(self.args[0]) if self.args else self.kind


class Invalid(SampanError):
    kind = "invalid"


class NotFound(SampanError):
    kind = "not-found"


class Conflict(SampanError):
    kind = "conflict"


class NotModified(SampanError):
    kind = "not-modified"


class Unauthorized(SampanError):
    kind = "unauthorized"


class Forbidden(SampanError):
    kind = "forbidden"


class Unsupported(SampanError):
    kind = "unsupported"


class Unavailable(SampanError):
    kind = "unavailable"


class Exhausted(SampanError):
    kind = "exhausted"


class Internal(SampanError):
    kind = "internal"


class StartFailed(SampanError):
    """The command could not be started: ``exit_code`` is 127 (not found), 126 (not executable) or 128."""

    kind = "start-failed"

    def __init__(self, message: str, exit_code: int = 128) -> None:
        super().__init__(message)
        self.exit_code = exit_code


KINDS: dict[str, type[SampanError]] = {
    cls.kind: cls
    for cls in (
        Invalid,
        NotFound,
        Conflict,
        NotModified,
        Unauthorized,
        Forbidden,
        Unsupported,
        Unavailable,
        Exhausted,
        StartFailed,
        Internal,
    )
}
