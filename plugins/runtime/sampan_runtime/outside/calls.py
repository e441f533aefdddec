"""Running such a program in the daemon, which has threads, and for which time counts in milliseconds."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Sequence

import msgspec

from sampan.drivers.errors import Unavailable
from sampan_runtime.outside import places


class Answer(msgspec.Struct, frozen=True):
    """``status`` is 0 if all went well; ``error`` is what it wrote on its standard error."""

    status: int
    output: bytes
    error: str


def call(argv: Sequence[str], *, stdin: bytes = b"", hidden: Sequence[str] = (), patience: float = 30.0) -> Answer:
    """Run a program to its end, with what is mounted on the ``hidden`` paths out of its sight.

    ``Unavailable`` if it cannot be executed or takes longer than ``patience`` seconds.
    """
    if not hidden:
        return _run(argv, stdin, patience)
    result: list[Answer | Exception] = []

    def run() -> None:
        try:
            places.own_mounts(hidden=hidden)  # this thread's, and its children's
            result.append(_run(argv, stdin, patience))
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=run, name=f"call {argv[0]}", daemon=True)
    thread.start()
    thread.join()
    if isinstance(result[0], Exception):
        raise result[0]
    return result[0]


def _run(argv: Sequence[str], stdin: bytes, patience: float) -> Answer:
    pipe = subprocess.PIPE
    try:
        # In a session of its own, so that what it has started ends with it if it must be ended.
        started = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, cwd="/", start_new_session=True)
    except OSError as error:
        raise Unavailable(f"{argv[0]} cannot be executed: {(error.strerror or '').lower()}") from None
    with started:
        try:
            output, error_ = started.communicate(stdin, timeout=patience)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            raise Unavailable(f"{argv[0]} did not end within {patience:g} seconds") from None
    return Answer(started.returncode, output, error_.decode(errors="replace"))
