"""What was added and is not yet deleted: one file per endpoint, for CNI's plugins want to be told on DEL what they did.

A record is on disk before the first plugin runs, so that whatever a crash leaves behind is found and deleted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path
from typing import Any

import msgspec

from sampan.drivers.types import PortBinding
from sampan.linux.files import sync_directory
from sampan_network.cni.configuration import Configuration

log = logging.getLogger(__name__)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """``result`` is what the last plugin answered to ADD, None until then;
    ``mac`` and the addresses ``wanted`` were asked for."""

    network: str
    container: str
    interface: str
    configuration: Configuration
    result: dict[str, Any] | None = None
    ports: tuple[PortBinding, ...] = ()
    mac: str = ""
    wanted: tuple[str, ...] = ()


class Records:
    """By the endpoints' ids. Thread-safe; the directory is read at the first use."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._read: dict[str, Record] | None = None

    def get(self, endpoint: str) -> Record | None:
        with self._lock:
            return self._all().get(endpoint)

    def all(self) -> dict[str, Record]:
        with self._lock:
            return dict(self._all())

    def put(self, endpoint: str, record: Record) -> None:
        with self._lock:
            known = self._all()
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = self._directory / f"{endpoint}.json"
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                file.write(msgspec.json.encode(record))
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            sync_directory(self._directory)
            known[endpoint] = record

    def remove(self, endpoint: str) -> None:
        with self._lock:
            self._all().pop(endpoint, None)
            (self._directory / f"{endpoint}.json").unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._directory.rmdir()

    def _all(self) -> dict[str, Record]:
        if self._read is None:
            self._read = {}
            for path in sorted(self._directory.glob("*")) if self._directory.exists() else ():
                if path.suffix == ".part":
                    path.unlink(missing_ok=True)
                    continue
                try:
                    self._read[path.stem] = msgspec.json.decode(path.read_bytes(), type=Record)
                except (OSError, msgspec.DecodeError) as error:
                    log.error("the record %s of a CNI endpoint cannot be read and is left alone: %s", path, error)
        return self._read
