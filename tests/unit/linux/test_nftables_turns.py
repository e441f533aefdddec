"""libnftables as a guest in a process with threads and files: one thread at a time, and low descriptors for it."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from typing import Any

import pytest

from sampan.errors import Exhausted
from sampan.linux import nftables

MANY = 1024  # FD_SETSIZE


class Library:
    """Notes how many are in it at once."""

    def __init__(self) -> None:
        self._real = nftables._load()
        self.inside = self.most = 0
        if self._real is None:
            pytest.skip("there is no libnftables here")

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            self.inside += 1
            self.most = max(self.most, self.inside)
            time.sleep(0.001)
            try:
                return getattr(self._real, name)(*args)
            finally:
                self.inside -= 1

        return call


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    found = Library()
    monkeypatch.setattr(nftables, "_load", lambda: found)
    return found


def test_all_contexts_of_a_process_take_turns(library: Library) -> None:
    """Two threads at once corrupt its memory."""

    def use() -> None:
        context = nftables.open_nftables()
        with contextlib.suppress(Exception):  # of who may not list them
            context.text("tables")
        context.close()

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert library.most == 1


@pytest.fixture
def full(library: Library, many_files: int) -> Any:
    """All low descriptors are in use but those that were kept for libnftables."""
    nftables.open_nftables().close()
    with contextlib.ExitStack() as stack:
        while (fd := os.open(os.devnull, os.O_RDONLY)) < MANY:
            stack.callback(os.close, fd)
        os.close(fd)
        yield


@pytest.mark.root
def test_a_process_with_very_many_files(full: None) -> None:
    """The C library would end it at the first order to a context with a high descriptor."""
    for _ in range(2 * nftables._SPARE):
        context = nftables.open_nftables()
        assert isinstance(context, nftables._Library)
        context.list("tables")
        context.close()


def test_more_contexts_than_there_is_room_for(full: None, monkeypatch: pytest.MonkeyPatch) -> None:
    contexts = [nftables.open_nftables() for _ in range(nftables._SPARE)]
    if shutil.which("nft"):
        assert isinstance(nftables.open_nftables(), nftables._Command)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(Exhausted, match="needs a descriptor below 1024"):
        nftables.open_nftables()
    for each in contexts:
        each.close()
    nftables.open_nftables().close()


def test_another_thread_takes_the_descriptor(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    made = library.nft_ctx_new

    def late(flags: int) -> Any:
        if len(taken) < 2:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        return made(flags)

    monkeypatch.setattr(library, "nft_ctx_new", late, raising=False)
    context = nftables.open_nftables()
    assert isinstance(context, nftables._Library)
    assert len(taken) == 2
    context.close()
    for fd in taken:
        os.close(fd)
