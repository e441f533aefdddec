"""The cleaner's lanes: what hangs in one holds up no other."""

from __future__ import annotations

import threading

from sampan.containers.cleaner import WORKERS, Cleaner


def test_what_hangs_in_one_lane_holds_up_no_other() -> None:
    cleaner, gate, done = Cleaner(), threading.Event(), threading.Event()
    try:
        for _ in range(2 * WORKERS):
            cleaner.later(gate.wait, "raft")
        cleaner.later(done.set)
        assert done.wait(10)
        assert not cleaner.settle(0.01)
    finally:
        gate.set()
    assert cleaner.settle(10)
