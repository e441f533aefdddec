"""libnftables is used by one thread at a time, whichever context is its own: two at once corrupt its memory."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from sampan.linux import nftables


class Library:
    """Notes how many are in it at once."""

    def __init__(self) -> None:
        self.inside = self.most = 0

    def __getattr__(self, name: str) -> Any:
        def call(*_: object) -> int:
            self.inside += 1
            self.most = max(self.most, self.inside)
            time.sleep(0.001)
            self.inside -= 1
            return 0 if name == "nft_run_cmd_from_buffer" else 1 if name == "nft_ctx_new" else 0

        return call


def test_all_contexts_of_a_process_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(nftables, "_load", lambda: library)

    def use() -> None:
        context = nftables.open_nftables()
        context.run("add table ip t")
        context.close()

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert library.most == 1
