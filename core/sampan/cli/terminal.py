"""Our own terminal: raw while a process in a container uses it, as it was before whatever happens; and detach keys."""

from __future__ import annotations

import os

from sampan.cli.failures import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

STDIN, STDOUT = 0, 1


class Raw:
    """While it is entered, the terminal hands every key on as it is (cfmakeraw of termios(3)). Does nothing when
    ``wanted`` is false or stdin is no terminal."""

    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted and os.isatty(STDIN)
        self._before: list[Any] | None = None

    def __enter__(self) -> Raw:
        if self._wanted:
            import termios as t

            self._before = t.tcgetattr(STDIN)
            iflag, oflag, cflag, lflag, ispeed, ospeed, chars = t.tcgetattr(STDIN)
            iflag &= ~(t.IGNBRK | t.BRKINT | t.PARMRK | t.ISTRIP | t.INLCR | t.IGNCR | t.ICRNL | t.IXON)
            lflag &= ~(t.ECHO | t.ECHONL | t.ICANON | t.ISIG | t.IEXTEN)
            cflag = cflag & ~(t.CSIZE | t.PARENB) | t.CS8
            chars = [*chars]
            chars[t.VMIN], chars[t.VTIME] = 1, 0
            t.tcsetattr(STDIN, t.TCSANOW, [iflag, oflag & ~t.OPOST, cflag, lflag, ispeed, ospeed, chars])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is None:
            return
        import termios

        before, self._before = self._before, None
        try:
            termios.tcsetattr(STDIN, termios.TCSADRAIN, before)
        except termios.error:
            return  # the terminal is gone


def size() -> tuple[int, int] | None:
    """Rows and columns of our terminal, None when there is none."""
    for number in (STDOUT, STDIN):
        try:
            columns, rows = os.get_terminal_size(number)
        except OSError:
            continue
        if rows and columns:
            return rows, columns
    return None


def keys(text: str) -> bytes:
    """The bytes of a key sequence such as ``ctrl-p,ctrl-q`` (the default). Raises Usage."""
    found = bytearray()
    for key in (text or "ctrl-p,ctrl-q").split(","):
        name = key.lower().removeprefix("ctrl-")
        if name == key.lower() and len(key) == 1 and key.isascii():
            found += key.encode()
        elif name != key.lower() and len(name) == 1 and name in "abcdefghijklmnopqrstuvwxyz@[\\]^_":
            found.append(ord(name.upper()) & 0x1F)
        else:
            raise Usage(f"invalid detach keys {text}: write one character or ctrl- and a letter, separated by commas")
    return bytes(found)


class Detector:
    """Finds the detach keys in what is typed. What might be their beginning is held back until it is known."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._held = b""
        self.found = False

    def feed(self, typed: bytes) -> bytes:
        """What is to be sent on."""
        if not self._sequence:
            return typed
        out = bytearray()
        for at in range(len(typed)):
            self._held += typed[at : at + 1]
            if self._held == self._sequence:
                self.found = True
                break
            while self._held and not self._sequence.startswith(self._held):
                out += self._held[:1]
                self._held = self._held[1:]
        return bytes(out)
