"""Layers that are unpacked while they are still coming in: before it is known what they are, or that they are sound.

A draft is a layer that was begun under an id that means nothing (``StorageDriver.place_layer``). It becomes a layer
when all of its blob is here, the digests are right and the layers below it are there; otherwise it goes as if it had
never been, and a crash leaves nothing of it, for what was not committed does not exist.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType

from sampan.drivers.storage import StorageDriver
from sampan.errors import SampanError, Unavailable
from sampan.images.confined.growing import Growth
from sampan.images.confined.workers import Unpacked

log = logging.getLogger(__name__)

AT_ONCE = 2
"""Drafts of one image that are unpacked at the same time; the others wait for their turn, and lose nothing by it."""

Fill = Callable[[FileIO, Path, Growth], Unpacked]


class Draft:
    """One of them. Tell its ``growth`` how far the blob is."""

    def __init__(self, driver: StorageDriver, fill: Fill, blob: FileIO, turns: threading.Semaphore) -> None:
        self.driver = driver
        self.ident = secrets.token_hex(32)
        self.growth = Growth()
        self._fill = fill
        self._blob = blob
        self._turns = turns
        self._begun = False
        self._done: Unpacked | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="draft", daemon=True)
        self._thread.start()

    def result(self) -> Unpacked:
        """Wait for its end. What went wrong is raised, as by ``Workers.unpack``."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        if self._done is None:
            raise Unavailable("it was given up before it was complete")
        return self._done

    def place(self, layer: str, parent: str | None) -> None:
        """Make it a layer that is begun."""
        self.driver.place_layer(self.ident, layer, parent)
        self._begun = False

    def close(self) -> None:
        """Give it up, unless it was placed. Idempotent."""
        self.growth.give_up()
        self._thread.join()
        self.growth.close()
        if self._begun:
            self._begun = False
            try:
                self.driver.remove_layer(self.ident)
            except (SampanError, OSError) as error:
                log.error("a half-made layer stays until the next start: %s", error)

    def _work(self) -> None:
        with self._turns, self._blob:
            if self.growth.given_up:
                return
            try:
                directory = self.driver.begin_layer(self.ident, None)
                self._begun = True
                self._done = self._fill(self._blob, directory, self.growth)
            except BaseException as error:
                self._error = error


class Drafts:
    """Those of one image on its way in. Leaving the ``with`` block gives up what was not placed.

    ``driver`` is None where drafts cannot be: then none is made, and layers are unpacked when all is here.
    """

    def __init__(self, driver: StorageDriver | None, fill: Fill) -> None:
        self._driver = driver
        self._fill = fill
        self._turns = threading.Semaphore(AT_ONCE)
        self._all: list[Draft] = []
        self._by_digest: dict[str, Draft] = {}

    def begin(self, path: Path) -> Draft | None:
        """Unpack the file at ``path``, which is still being written, as soon as it is its turn."""
        if self._driver is None:
            return None
        draft = Draft(self._driver, self._fill, FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC)), self._turns)
        self._all.append(draft)
        return draft

    def name(self, draft: Draft, digest: str) -> None:
        """It is known now which blob that is, and that all of it has this digest."""
        self._by_digest[digest] = draft

    def take(self, driver: StorageDriver, digest: str) -> Draft | None:
        """The draft of a blob for this driver, once."""
        draft = self._by_digest.get(digest)
        if draft is None or draft.driver is not driver or draft.growth.given_up:
            return None
        return self._by_digest.pop(digest)

    def __enter__(self) -> Drafts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for draft in self._all:
            draft.growth.give_up()
        for draft in self._all:
            with suppress(SampanError):
                draft.close()


NONE = Drafts(None, lambda blob, directory, growth: Unpacked(0, ""))
