"""What can go wrong for a person at the prompt, and the exit status that goes with it.

125, 126 and 127 are Docker's: the daemon refused, the command is not executable, the command was not found
(https://docs.docker.com/engine/containers/run/#exit-status).
"""

from __future__ import annotations

DAEMON_FAILED = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127


class Failure(Exception):
    """A sentence for stderr and an exit status. An empty message says nothing: the status is all there is to say."""

    code = 1

    def __init__(self, message: str = "", code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class Usage(Failure):
    """The command line itself is wrong. ``hint`` says how to go on; it is printed below the sentence."""

    code = DAEMON_FAILED

    def __init__(self, message: str, hint: str = "", code: int | None = None) -> None:
        super().__init__(message, code)
        self.hint = hint


class CannotConnect(Failure):
    """Nobody listens, or the socket may not be used by this user."""


class Refused(Failure):
    """The daemon answered with an error. ``status`` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
