"""The storage contract: layers that never change, and one writable layer per container on top of them.

The life of a **layer** (the engine calls, in this order)::

    begin_layer(id, parent) ──► a directory ──(the engine unpacks a tar stream into it)──► commit_layer(id)
    ...                                                                                    remove_layer(id)

The engine never asks a driver to read an archive: the driver gives a directory, the engine fills it, following the
driver's ``features().whiteouts``:

- ``in-place``: the directory already looks like the parent (copied, snapshotted), whiteouts delete in it;
- ``overlay``: the directory is empty, whiteouts become overlayfs's own marks (a character device 0:0, and the
  ``trusted.overlay.opaque`` attribute).

A layer whose place is not known yet is begun under an id that means nothing, without a parent, and filled; then
``place_layer`` gives it its id and its parent, and ``commit_layer`` follows. The engine does so only with drivers that
have the feature ``places``.

A layer that was begun but not committed does not exist: after a crash it is gone (``restore``), and ``begin_layer``
may be called again for it at any time, which starts afresh. A committed layer survives the loss of power and is
never changed again. Committing or removing twice is not an error.

The life of a **container's root**::

    create(container, layer) ──► mount(container) ──► a descriptor ──► unmount(container) ──► remove(container)
                                      ▲                                        │
                                      └──────────── any number of times ◄──────┘

``mount`` returns the descriptor of a *detached* mount (fsmount(2) or open_tree(2) with OPEN_TREE_CLONE): nothing
appears in the host's mount table, and the mount lives exactly as long as someone holds the descriptor or has attached
it somewhere. The monitor holds it for a running container; when the container's mount namespace and the monitor are
gone, so is the mount, whoever was killed at whatever line. ``sampan.linux.mounts`` makes such descriptors.
A driver that must keep something on the host meanwhile (a loop device, say) lets go of it in ``unmount``.

The engine serialises calls that name the same container or layer; calls that name different ones come at once from
several threads. ``restore`` is called once, before anything else, each time the daemon starts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import msgspec

from sampan.drivers.types import CONTRACT_VERSION, Change, Check, Host, StorageFeatures
from sampan.errors import Unsupported


class StorageDriver(ABC):
    """One way to keep layers and containers' roots. Made once per daemon: ``Driver(host, options)``.

    ``Options`` is a ``msgspec.Struct`` with ``forbid_unknown_fields=True``: the keys under ``storage.options.NAME``
    in ``config.yaml``, with their defaults. The constructor touches neither disk nor kernel.
    Layer ids and container ids are 64 lower-case hex characters.
    """

    contract: ClassVar[int] = CONTRACT_VERSION

    class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
        pass

    def __init__(self, host: Host, options: msgspec.Struct) -> None:
        self.host = host
        self.options = options

    @abstractmethod
    def check(self) -> Check:
        """Can this driver work under ``host.data_root`` on this machine? Changes nothing that outlives the call."""

    @abstractmethod
    def features(self) -> StorageFeatures:
        """What this driver can do; constant."""

    @abstractmethod
    def restore(self, layers: Collection[str], containers: Collection[str]) -> None:
        """Make disk and kernel agree with what the engine knows, after any crash.

        Everything that is not named (half-made layers, roots of removed containers, temporary files) is removed;
        what is named is left as it is. A named thing that is missing is the engine's to notice, not an error.
        """

    @abstractmethod
    def layers(self) -> set[str]:
        """The ids of the committed layers."""

    @abstractmethod
    def begin_layer(self, layer: str, parent: str | None) -> Path:
        """A directory for the engine to fill, owned by root, mode 0755. ``NotFound`` if the parent is missing;
        ``Conflict`` if the layer is committed already."""

    def place_layer(self, begun: str, layer: str, parent: str | None) -> None:
        """What was begun as ``begun``, without a parent, is from now on begun as ``layer`` on top of ``parent``, with
        all that was filled in; what may have been begun as ``layer`` before is gone. ``begun`` names nothing any more.

        Only with the feature ``places``, and for others ``Unsupported``. ``NotFound`` if ``begun`` was not begun or the
        parent is missing; ``Conflict`` if the layer is committed already. What is refused changes nothing.
        """
        raise Unsupported("this storage driver cannot fill a layer before its parent is known")

    @abstractmethod
    def commit_layer(self, layer: str) -> None:
        """Make the layer exist, durably and at once. ``NotFound`` if it was not begun and does not exist."""

    @abstractmethod
    def remove_layer(self, layer: str) -> None:
        """Remove the layer, committed or only begun. Absent is fine. ``Conflict`` if a layer or a container
        stands on it."""

    @abstractmethod
    def create(self, container: str, layer: str | None, *, ephemeral: bool = False, size: int | None = None) -> None:
        """Make a container's writable root on top of ``layer`` (None: empty).

        ``ephemeral``: nothing of it needs to survive a crash of the machine (a container that is removed when it
        ends), so the driver may leave out syncing. ``size``: a limit in bytes, beyond which writes fail with ENOSPC
        (``Unsupported`` without the quota feature). ``Conflict`` if it exists; ``NotFound`` if the layer does not.
        """

    @abstractmethod
    def mount(self, container: str) -> int:
        """The container's root as a new descriptor of a detached mount, close-on-exec; the caller closes it.

        May be called while an earlier descriptor is still open. ``NotFound`` if it was not created.
        """

    def unmount(self, container: str) -> None:
        """Nobody uses the descriptors of ``mount`` any more: let go of what they needed on the host. Idempotent."""
        return

    @abstractmethod
    def remove(self, container: str) -> None:
        """Remove the writable root and all that is in it. Absent is fine."""

    @abstractmethod
    def changes(self, container: str) -> Iterator[Change]:
        """What the container changed against its layer, sorted by path; a changed directory's own entry included.

        ``NotFound`` if it was not created.
        """

    @abstractmethod
    def usage(self, container: str) -> int:
        """Bytes that the writable root takes on disk by itself, without the layers below."""

    def describe(self, container: str) -> Mapping[str, str]:
        """Where the root's parts are on the host, for people who look: ``GraphDriver.Data`` of Docker's inspect.
        ``NotFound`` if it was not created. Drivers that have nothing to tell leave it out."""
        return {}
