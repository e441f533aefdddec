"""How many files this process may have open (getrlimit(2), RLIMIT_NOFILE)."""

from __future__ import annotations

import resource

GIVEN = resource.getrlimit(resource.RLIMIT_NOFILE)
"""What it was started with (soft, hard). The soft limit that shells and systemd give is meant for programs that wait
with select(2), as those in containers may be: it goes on to them."""

_MOST = 1 << 20


def take_more() -> None:
    """As many as the hard limit allows: each container takes up to six of the daemon's."""
    soft, hard = GIVEN
    most = _MOST if hard == resource.RLIM_INFINITY else min(_MOST, hard)
    if soft < most and soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
