"""The images service: everything that the engine does with images."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO

from msgspec.structs import replace

from sampan.errors import Invalid, NotFound, SampanError, Unsupported
from sampan.events import EventBus
from sampan.images import changes as instructions
from sampan.images import committing, configuration, describing, from_host, manifests, references, removal
from sampan.images import save as saving
from sampan.images.archive import Archive
from sampan.images.compression import NONE, looked_at
from sampan.images.confined.limits import Limits
from sampan.images.confined.workers import Workers
from sampan.images.content import ContentStore, Ingest
from sampan.images.intake import Intake
from sampan.images.layers import Layers
from sampan.images.leases import Lease, Leases
from sampan.images.records import Records, blobs_of, familiar_names
from sampan.images.references import Reference
from sampan.images.registry import platforms
from sampan.images.registry.partials import Partials
from sampan.images.registry.platforms import Platform
from sampan.images.registry.unfinished import Unfinished
from sampan.images.registry.unpacked import Unpacked
from sampan.images.registry.wishes import Remote
from sampan.images.tar_writer import Sink
from sampan.linux.idmaps import SAME, IdMap
from sampan.state import State
from sampan.types import Container, Image, Layer

if TYPE_CHECKING:
    from sampan.config import Config
    from sampan.images.registry.documents import Document
    from sampan.images.registry.service import Registries
    from sampan.plugins import Drivers

log = logging.getLogger(__name__)

Progress = Callable[[dict[str, Any]], None]
Rows = list[dict[str, Any]]
Names = list[str]
ImageList = list[Image]
Chosen = list[tuple[Image, list[str]]]


def _silent(message: dict[str, Any]) -> None:
    return


class Images:
    """Images by name and id. Synchronous and thread-safe.

    ``ids``: what owners in images are on disk. ``in_use`` is set by the engine: the containers made from an image id.
    It is called with this service's lock held, so it must not wait for anybody who waits for this service.
    """

    def __init__(
        self,
        config: Config,
        state: State,
        events: EventBus,
        drivers: Drivers,
        *,
        ids: IdMap = SAME,
        workers: Workers | None = None,
    ) -> None:
        limits = Limits(
            config.images.layer_size,
            config.images.layer_entries,
            config.images.compression_ratio,
            config.images.reserve,
        )
        self._workers = workers or Workers(limits, config.images.patience)
        self._content = ContentStore(config.data_root / "content", limits)
        self._layers = Layers(self._content, drivers, self._workers, ids)
        self._records = Records(state)
        self._leases = Leases(self._content, self._layers, self._records)
        self._intake = Intake(self._content, self._layers, self._records, self._workers)
        self._removal = removal.Removal(self._records, self._leases, lambda ident: self.in_use(ident), self._tell)
        self._partials = Partials(self._content)
        self._unpacked = Unpacked(self._content.root / "unpacked")
        self._unfinished = Unfinished(self._content.root / "uploads")
        self._config = config
        self._events = events
        self.in_use: Callable[[str], list[Container]] = lambda ident: []

    def open(self) -> None:
        """Load the records and remove what a crash left half-made. Called once, before any other method."""
        self._content.open()
        self._records.open()
        for image in self._records.every():
            self._layers.know(image.layers)
        self._layers.remember(self._unpacked.open())
        self._leases.sweep()
        self._partials.open()
        self._unfinished.open()

    def close(self) -> None:
        """Whatever is being unpacked is given up."""
        self._workers.close()

    @cached_property
    def registries(self) -> Registries:
        """Where images are pulled from and pushed to."""
        from sampan.images.registry.pull import Store
        from sampan.images.registry.push import Source
        from sampan.images.registry.service import Registries

        store = Store(
            self._content,
            self._partials,
            self._layers,
            self._leases,
            self._intake,
            self._records,
            self._unpacked,
            self._pulled,
        )
        source = Source(self._content, self._unfinished, self._leases, self._records, self._pushed)
        return Registries(self._config.registries, store, source)

    def to_push(self, name: Reference) -> list[tuple[Image, str]]:
        """The images of a repository here with their tags: the one that is named, or all of them."""
        tags = [(image, each) for image in self.list() for each in name.among(image.references)]
        found = [(image, references.parse(each).tag) for image, each in tags if not name.tag or each == str(name)]
        if not tags:
            raise NotFound(f"An image does not exist locally with the tag: {name.familiar_name}")
        if not found:
            raise NotFound(f"tag does not exist: {name.familiar()}")
        return sorted(found, key=lambda each: each[1])

    # ── looking ────────────────────────────────────────────────────────────────────────────────────────────────

    def get(self, reference: str) -> Image:
        """By ``name[:tag]``, ``name@digest``, id or the unique beginning of one.

        ``NotFound`` (``No such image: x:latest``) or ``Invalid`` (``invalid reference format…``).
        """
        return self._records.get(reference)

    def list(self) -> ImageList:
        """All images, the newest first."""
        return self._records.visible()

    def history(self, reference: str) -> Rows:
        """Docker's ``HistoryResponseItem`` for each step that made the image, the newest first. Steps have the ids and
        names of the images that they are here as."""
        image = self.get(reference)
        line = self._records.ancestry(image)
        made = [(each.id, familiar_names(each.references)) for each in line]
        return configuration.history(image.config, image.layers, made)

    def described(self, image: Image) -> describing.Described | None:
        """Its manifest and the size of its content; None if its blobs are not kept."""
        return describing.describe(self._content, image)

    # ── for containers ─────────────────────────────────────────────────────────────────────────────────────────

    def layer_for(self, image: Image, storage: str | None = None) -> str | None:
        """The chain id of an image's topmost layer, unpacked now for that storage driver (None: the default) if it
        was not yet; None for an image without layers. ``Unavailable`` if a blob is missing."""
        with self.holding(image):
            return self._layers.ensure(storage, image.layers)

    @contextmanager
    def plain(self, stream: BinaryIO) -> Iterator[BinaryIO]:
        """What is in a stream from outside, compressed or not: a confined process takes the compression off.

        Reading raises ``Invalid`` where that is damaged, or more comes of it than the limits allow."""
        compression, whole = looked_at(stream)
        if compression == NONE:
            yield whole
            return
        with self._content.ingest() as packed:
            packed.copy(whole)
            with packed.reader() as source, self._workers.inflating(source.fileno()) as inside:
                yield inside

    def holding(self, image: Image) -> AbstractContextManager[None]:
        """Nothing of the image goes away inside the block: make a container from it there, its record included.

        ``NotFound`` if the image was removed meanwhile.
        """
        return self._removal.holding(image)

    def collect(self) -> None:
        """Let go of images that were removed while a container stood on them, or by a daemon that did not come to the
        end of it. Called at the start, when containers are known, and after a container is removed."""
        for image in self._records.every():
            if image.removed:
                try:
                    self._removal.collect(image)
                except (SampanError, OSError) as error:  # a full disk, say: it keeps no daemon from starting
                    log.error("the removed image %s stays until the next time: %s", removal.short(image.id), error)

    def layers_in_use(self) -> set[str]:
        """Chain ids of all layers of all images, those of images removed under a container too, and those of pulls that
        a crash has broken off: what ``restore`` of every storage driver must keep."""
        return self._records.used().chains.union(self._unpacked.chains())

    # ── coming in ──────────────────────────────────────────────────────────────────────────────────────────────

    def load(self, stream: BinaryIO, progress: Progress = _silent) -> Names:
        """Take every image of a Docker archive or an OCI layout in a tar stream, compressed or not.

        Returns the names (or ids) loaded; ``progress`` gets the Engine API's messages. ``Invalid`` if anything about
        the archive is wrong: then nothing of it is kept.
        """

        def told(chain: str, layer: Layer) -> None:
            size = self._content.size(layer.digest)
            detail = {"current": size, "total": size}
            progress({"status": "Loading layer", "progressDetail": detail, "id": removal.short(chain)})

        self._workers.prepare()
        with (
            self._layers.drafts() as drafts,
            Archive(self._content, self._workers, drafts) as archive,
            self._leases.lease() as lease,
        ):
            archive.read(stream)
            found = manifests.images(archive)
            prepared = [(self._intake.found(each, lease, told, drafts), each.references) for each in found]
            with self._removal.lock:
                prepared = self._intake.descended(found, prepared)
                self._hold_what_was(lease, [image for image, _ in prepared])
                moved = self._intake.admit(prepared)
        for name, before in moved:
            old = f"renaming the old one with ID {before.id} to empty string"
            progress({"stream": f"The image {references.familiar(name)} already exists, {old}\n"})
        return [loaded for image, names in prepared for loaded in self._loaded(image, names, progress)]

    def import_(
        self,
        source: BinaryIO | Remote,
        *,
        reference: str | None = None,
        changes: Sequence[str] = (),
        message: str = "",
        platform: str = "",
    ) -> Image:
        """Make an image of one layer from the tar of a root file system (``docker import``), compressed or not.

        ``changes`` are Dockerfile instructions. ``Invalid`` if the tar or an instruction is wrong; for what goes wrong
        with a URL see :func:`sampan.images.registry.fetching.fetch`.
        """

        def fill(ingest: Ingest) -> None:
            self.registries.fetch(source, ingest.write) if isinstance(source, Remote) else ingest.copy(source)

        names = [_target(reference, "cannot import digest reference")] if reference else []
        config = instructions.apply({}, list(changes))
        machine = _machine(platform)
        created = configuration.now()
        step = {"created": created, "comment": message or f"Imported from {_place(source)}"}
        self._workers.prepare()
        with self._leases.lease() as lease:
            diff_id = self._intake.imported(fill, lease)
            data = configuration.compose(
                config,
                [diff_id],
                created=created,
                history=[step],
                machine=machine.architecture,
                variant=machine.variant,
            )
            return self._admitted(self._intake.made(data, lease), names, lease)

    def from_host(self, programs: Sequence[str] = (), reference: str = "host:latest") -> Image:
        """Make an image of this host's own programs (none: a useful set for a shell) and what they need to start.

        The same files give the same image. ``NotFound`` names a program that this host does not have.
        """
        name = _target(reference)
        with self._content.ingest() as ingest, self._leases.lease() as lease:
            packed = from_host.pack(programs, ingest)
            diff_id = self._intake.keep(ingest, lease)
            data = configuration.compose(packed.config, [diff_id], created=packed.created, history=[packed.step])
            return self._admitted(self._intake.made(data, lease), [name], lease)

    def commit(self, parent: Image, write: Callable[[Sink], int], wish: committing.Wish, reference: str = "") -> Image:
        """Make an image of ``parent`` and the layer that ``write`` writes. ``Invalid``: the name or an instruction."""
        names = [_target(reference)] if reference else []
        with self._leases.lease() as lease:
            image = committing.commit(self._content, self._intake, lease, parent, write, wish)
            made = self._admit(image, names, lease)
        self._tell_names(made, names)
        return made

    # ── going out, names ───────────────────────────────────────────────────────────────────────────────────────

    def select(self, names: Sequence[str]) -> Chosen:
        """The images that ``save`` means by these names, each with the normalised names that it is saved under.

        A name without a tag means all tags of that repository. An image named by its id is saved without a name.
        ``NotFound`` for a name that means none.
        """
        chosen: dict[str, tuple[Image, Names]] = {}
        for text in names:
            for image, kept in self._named(text):
                known = chosen.setdefault(image.id, (image, []))[1]
                known += [name for name in kept if name not in known]
        return list(chosen.values())

    def save(self, names: Sequence[str], out: BinaryIO) -> None:
        """Write what ``select`` finds to an archive for ``docker load``, skopeo, podman and ``load``, even if somebody
        removes it meanwhile."""
        chosen = [saving.Chosen(image, kept) for image, kept in self.select(names)]
        with self._leases.lease() as lease:
            for image, _ in chosen:
                lease.hold(blobs=blobs_of(image))
            saving.save(self._content, chosen, out)
        for image, _ in chosen:
            self._tell(image, "save")

    def sweep(self) -> int:
        """Remove what interrupted pulls have left to go on with; returns how many bytes that were."""
        chains = self._unpacked.chains()
        freed = {chain: self._layers.size(chain) for chain in chains}
        with self._leases.lease() as lease:
            lease.hold(chains=chains)
        self._unpacked.forget(lease.removed)
        return self._partials.sweep() + sum(freed[chain] for chain in lease.removed)

    def verify(self, names: Sequence[str] = ()) -> Rows:
        """Read every blob of these images (none: of all) and compare: a row for each image, with what is wrong."""
        rows = []
        for image in [self.get(name) for name in names] if names else self.list():
            problems = []
            for digest in dict.fromkeys(blobs_of(image)):
                try:
                    self._content.verify(digest)
                except (Invalid, NotFound) as error:
                    problems.append(error.message)
            rows.append({"Id": image.id, "RepoTags": familiar_names(image.references), "Problems": problems})
        return rows

    def tag(self, reference: str, target: str) -> None:
        """Make ``target`` a name of the image, whatever it named before."""
        name = _target(target)
        with self._removal.lock:
            image = self.get(reference)
            self._records.point(name, image.id)
        self._tell(image, "tag", references.familiar(name))

    def remove(self, reference: str, *, force: bool = False, prune: bool = True) -> Rows:
        """Remove a name, or with the last name the image; ``prune``: parents without a name as well.

        Returns Docker's ``ImageDeleteResponseItem``s. ``Conflict`` says who needs it and whether force would help.
        """
        return self._removal.remove(reference, force=force, prune=prune)

    # ── inside ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _admit(self, image: Image, names: Names, lease: Lease) -> Image:
        with self._removal.lock:
            self._hold_what_was(lease, [image])
            self._intake.admit([(image, names)])
            return self.get(image.id)

    def _admitted(self, image: Image, names: Names, lease: Lease) -> Image:
        made = self._admit(image, names, lease)
        self._tell(image, "import")
        self._tell_names(made, names)
        return made

    def _tell_names(self, image: Image, names: Names) -> None:
        for name in names:
            self._tell(image, "tag", references.familiar(name))

    def _hold_what_was(self, lease: Lease, images: ImageList) -> None:
        """The same images may be here already, of other blobs, which go with the lease if no record needs them then."""
        for image in images:
            known = self._records.by_id(image.id)
            lease.hold(blobs=blobs_of(known) if known else [])

    def _pulled(self, image: Image, name: Reference, digest: str, lease: Lease) -> bool:
        """Make it known under what it was pulled by. Was there anything new about that?"""
        with self._removal.lock:
            self._hold_what_was(lease, [image])
            with self._records.transaction():
                before = self._records.named(name)
                self._intake.admit([(image, [str(name)] if name.tag else [])])
                self._records.point_digest(f"{name.name}@{digest}", image.id)
        self._told_by_name(image, "pull", name)
        return before is None or before.id != image.id

    def _pushed(self, image: Image, name: Reference, document: Document) -> None:
        """Remember under which digest it is in a registry, and how it was made ready for that."""
        with self._removal.lock, self._records.transaction():
            current = self._records.by_id(image.id)
            if current is not None and not current.removed:
                if document.digest not in (current.manifest, current.pushed):
                    self._content.add(document.data)
                    self._records.put(replace(current, pushed=document.digest))
                self._records.point_digest(f"{name.name}@{document.digest}", image.id)
        self._told_by_name(image, "push", name)

    def _told_by_name(self, image: Image, action: str, name: Reference) -> None:
        labels = (image.config.get("config") or {}).get("Labels") or {}
        self._events.publish("image", action, name.familiar(), {**labels, "name": name.familiar_name})

    def _loaded(self, image: Image, names: Names, progress: Progress) -> Names:
        self._tell(image, "load")
        for name in familiar_names(names):
            progress({"stream": f"Loaded image: {name}\n"})
        if not names:
            progress({"stream": f"Loaded image ID: {image.id}\n"})
        return familiar_names(names) or [image.id]

    def _named(self, text: str) -> Chosen:
        """The images that ``save`` is asked for by one argument, each with the normalised names it is saved under."""
        if not references.is_whole_identifier(text):
            name = references.parse(text)
            if not name.tag and not name.digest:
                tags = [(image, name.among(image.references)) for image in self.list()]
                if any(kept for _, kept in tags):
                    return [(image, kept) for image, kept in tags if kept]
            elif (image := self._records.named(name)) is not None:
                return [(image, [str(name)] if str(name) in image.references else [])]
        return [(self.get(text), [])]

    def _tell(self, image: Image, action: str, name: str = "") -> None:
        labels = (image.config.get("config") or {}).get("Labels") or {}
        self._events.publish("image", action, image.id, {**labels, "name": name or image.id})


def _target(text: str, refusal: str = "refusing to create a tag with a digest reference") -> str:
    """A new name, normalised. ``Invalid``, with ``refusal`` if it has a digest, also if it would read as one."""
    name = references.parse(text)
    if name.digest:
        raise Invalid(refusal)
    if name.familiar_name == "sha256":
        raise Invalid("refusing to create an ambiguous tag using digest algorithm as name")
    return str(name.tagged())


def _place(source: BinaryIO | Remote) -> str:
    """For an image's history, which is no place for a password."""
    return re.sub(r"//[^/@]*@", "//", source.url) if isinstance(source, Remote) else "-"


def _machine(text: str) -> Platform:
    """``Unsupported`` for a platform that is not Linux; ``""`` is this machine's."""
    platform = platforms.parse(text)
    if platform.os != "linux":
        raise Unsupported(f'operating system is not supported: "{text[:80]}" is none of linux/ARCHITECTURE')
    return platform
