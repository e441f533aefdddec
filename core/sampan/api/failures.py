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


def reply(error: Exception) -> Reply:
    if _nothing_left(error):
        log.error("a request failed: %s", error)
        return refuse(STATUS["exhausted"], message(error))
    if not isinstance(error, SampanError):
        log.error("a request failed: %s", error, exc_info=error)
        return refuse(500, message(error))
    if error.kind == "internal":
        log.error("%s", error, exc_info=error)
    return refuse(STATUS.get(error.kind, 500), error.message)


def _nothing_left(error: Exception) -> bool:
    """Space, or descriptors: the host's trouble, told as such wherever it shows."""
    return isinstance(error, OSError) and error.errno in _FULL


def refuse(status: int, text: str) -> Reply:
    return json({"message": text}, status)
