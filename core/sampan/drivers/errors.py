"""The kinds of error that a driver raises (see :mod:`sampan.errors`)."""

from sampan.errors import (
    Conflict,
    Exhausted,
    Forbidden,
    Invalid,
    NotFound,
    SampanError,
    StartFailed,
    Unavailable,
    Unsupported,
)

__all__ = [
    "Conflict",
    "Exhausted",
    "Forbidden",
    "Invalid",
    "NotFound",
    "SampanError",
    "StartFailed",
    "Unavailable",
    "Unsupported",
]
