"""A terminal with a program on it, as a person has one: for clients that behave differently on terminals."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
import time

from harness import Engine

PATIENCE = 20.0


class Terminal:
    """``with Terminal(engine, "run", "-it", …) as terminal:`` runs the docker CLI on it."""

    def __init__(self, engine: Engine, *args: str, rows: int = 33, columns: int = 101) -> None:
        self._ours, theirs = os.openpty()
        self.resize(rows, columns)
        self.program = engine.popen("setsid", "--ctty", "docker", *args, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self._seen = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.program.poll() is None:
            self.program.kill()
        self.program.wait()
        os.close(self._ours)

    def resize(self, rows: int, columns: int) -> None:
        """The kernel tells the program."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def expect(self, text: str) -> str:
        """Everything up to and with ``text``, once it has appeared."""
        wanted = text.encode()
        deadline = time.monotonic() + PATIENCE
        while wanted not in self._seen:
            ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
            piece = self._read() if ready else b""
            if not piece:
                raise AssertionError(f"{text!r} never appeared, only {self._seen!r}")
            self._seen += piece
        end = self._seen.index(wanted) + len(wanted)
        said, self._seen = self._seen[:end], self._seen[end:]
        return said.decode(errors="replace")

    def ask(self, command: str) -> str:
        """What a shell answers to ``command``."""
        self.type(f"{command}; echo 'do''ne'\n")
        self.expect("do''ne'")
        return self.expect("done\r\n").removesuffix("done\r\n").strip()

    def code(self) -> int:
        """The exit status, once the program has ended."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self._ours], [], [], 0.05)
            if ready and not self._read():
                break
        return self.program.wait(max(0.1, deadline - time.monotonic()))

    def _read(self) -> bytes:
        try:
            return os.read(self._ours, 65536)
        except OSError:  # the last program has closed it
            return b""
