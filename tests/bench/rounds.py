"""Taking turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reporting import Times

from sampan.errors import SampanError

WARM_UP = 2


def take_turns(
    subjects: Mapping[str, Callable[[], float]], runs: int, complain: Callable[[str], None]
) -> dict[str, Times]:
    """Seconds of every run of each subject. Each round starts with another one, so that nobody always follows the same.

    A subject that fails is told of and left out.
    """
    times: dict[str, Times] = {}
    going = dict(subjects)
    for number in range(-WARM_UP, runs):
        names = list(going)
        at = number % len(names) if names else 0
        for name in names[at:] + names[:at]:
            try:
                seconds = going[name]()
            except (RuntimeError, OSError, SampanError) as error:
                complain(f"{name} failed: {error}")
                times.pop(name, None)
                del going[name]
                continue
            if number >= 0:
                times.setdefault(name, []).append(seconds)
    return times
