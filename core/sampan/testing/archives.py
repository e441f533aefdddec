"""Small tar archives for tests, made by the standard library so that nothing of ours vouches for itself."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

from sampan.drivers.storage import StorageDriver


class Archive:
    """Entries are added in the order of the calls, however odd their names are. All calls return the archive."""

    def __init__(self, **options: Any) -> None:
        self._out = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._out, mode="w", **options)  # noqa: SIM115 - closed by stream()

    def add(self, name: str, kind: bytes, data: bytes = b"", **attributes: Any) -> Archive:
        info = tarfile.TarInfo(name)
        info.type = kind
        info.size = len(data)
        info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
        for key, value in attributes.items():
            setattr(info, key, value)
        self._tar.addfile(info, io.BytesIO(data))
        return self

    def file(self, name: str, data: bytes = b"", **attributes: Any) -> Archive:
        return self.add(name, tarfile.REGTYPE, data, **attributes)

    def directory(self, name: str, **attributes: Any) -> Archive:
        return self.add(name, tarfile.DIRTYPE, **attributes)

    def symlink(self, name: str, target: str, **attributes: Any) -> Archive:
        return self.add(name, tarfile.SYMTYPE, linkname=target, **attributes)

    def hard_link(self, name: str, target: str, **attributes: Any) -> Archive:
        return self.add(name, tarfile.LNKTYPE, linkname=target, **attributes)

    def device(self, name: str, major: int, minor: int, **attributes: Any) -> Archive:
        return self.add(name, tarfile.CHRTYPE, devmajor=major, devminor=minor, **attributes)

    def fifo(self, name: str, **attributes: Any) -> Archive:
        return self.add(name, tarfile.FIFOTYPE, **attributes)

    def bytes(self) -> bytes:
        self._tar.close()
        return self._out.getvalue()

    def stream(self) -> io.BytesIO:
        return io.BytesIO(self.bytes())

    def unpack(self, driver: StorageDriver, directory: Path) -> int:
        """Fill a begun layer as the engine does."""
        from sampan.images.unpack import unpack

        return unpack(self.stream(), directory, driver.features().whiteouts)
