"""Errors into answers: the one table from kinds to HTTP statuses.

dockerd answers 400 when a container's command cannot be started; the docker CLI reads the exit code (126, 127) out
of the message's words.
"""

from __future__ import annotations

import errno
import logging

from sampan.api.wire.answer import Reply, json
from sampan.errors import SampanError

log = logging.getLogger(__name__)

STATUS = {
    "invalid": 400,
    "start-failed": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not-found": 404,
    "conflict": 409,
    "not-modified": 304,
    "internal": 500,
    "unsupported": 501,
    "unavailable": 503,
    "exhausted": 507,
}


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)


def message(error: Exception) -> str:
    if isinstance(error, SampanError):
        return error.message
    if _nothing_left(error):
        return f"this host has run out of something: {error}"
    return f"an error inside the engine: {type(error).__name__}; the daemon's log has the details"


def logged(error: Exception) -> str:
    """The same, and what is nobody's mistake but ours, or the host's, is in the log."""
    if _nothing_left(error):
        log.error("a request failed: %s", error)
    elif not isinstance(error, SampanError) or error.kind == "internal":
        log.error("a request failed: %s", error, exc_info=error)
    return message(error)


def reply(error: Exception) -> Reply:
    text = logged(error)
    if _nothing_left(error):
        return refuse(STATUS["exhausted"], text)
    return refuse(STATUS.get(error.kind, 500) if isinstance(error, SampanError) else 500, text)


def _nothing_left(error: Exception) -> bool:
    """Space, or descriptors: the host's trouble, told as such wherever it shows."""
    return isinstance(error, OSError) and error.errno in _FULL


def refuse(status: int, text: str) -> Reply:
    return json({"message": text}, status)
