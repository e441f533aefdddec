"""Signals as something that can be waited for together with streams (set_wakeup_fd of :mod:`signal`)."""

from __future__ import annotations

import os

try:  # the C module: signal itself spends milliseconds on enums
    import _signal as signals  # type: ignore[import-not-found]
except ImportError:  # pragma: no cover - CPython has it
    import signal as signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

WINDOW_CHANGED = signals.SIGWINCH
DEADLY = (signals.SIGHUP, signals.SIGINT, signals.SIGTERM)
PROXIED = (
    *DEADLY,
    signals.SIGQUIT,
    signals.SIGUSR1,
    signals.SIGUSR2,
    signals.SIGALRM,
    signals.SIGTSTP,
    signals.SIGCONT,
)
"""What a foreground container gets in our stead: not what is about us (CHLD, PIPE, WINCH, TTIN, TTOU)."""


class Signals:
    """While it is entered, the signals of ``numbers`` do nothing but make :meth:`fileno` readable."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self._numbers = numbers
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._wakeup = signals.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = signals.signal(number, lambda number, frame: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signals.signal(number, handler)
        signals.set_wakeup_fd(self._wakeup)
        os.close(self._read)
        os.close(self._write)

    def fileno(self) -> int:
        return self._read

    def arrived(self) -> list[int]:
        """The signals since the last time, oldest first."""
        try:
            return [number for number in os.read(self._read, 256) if number in self._numbers]
        except BlockingIOError:
            return []
