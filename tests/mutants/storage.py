"""Wrong storage drivers."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from mutants.judging import Mutants
from sampan.drivers.types import Change, ChangeKind, Check, Host, StorageFeatures
from sampan.errors import Conflict, Invalid, NotFound, SampanError
from sampan.linux import mounts
from sampan_storage.overlayfs import Overlayfs
from sampan_storage.vfs import Vfs

MUTANTS = Mutants("storage")
breaks = MUTANTS.breaks


# ── the driver as such ───────────────────────────────────────────────────────────────────────────────────────────


@breaks("it speaks this contract", call="check", caught_by="test_it_is_written_for_this_contract")
class SpeaksAnotherContract(Vfs):
    contract = 2


@breaks("the constructor touches nothing", call="check", caught_by="test_making_and_checking_a_driver_leaves_nothing")
class MakesItsRootAtOnce(Vfs):
    def __init__(self, host: Host, options: msgspec.Struct) -> None:
        super().__init__(host, options)
        host.data_root.mkdir(parents=True)


@breaks("check changes nothing", call="check", caught_by="test_making_and_checking_a_driver_leaves_nothing")
class LeavesWhatItChecked(Vfs):
    def check(self) -> Check:
        (self.host.data_root / "probe").mkdir(parents=True, exist_ok=True)
        return Check(True)


@breaks("features are constant", call="features", caught_by="test_features_are_constant")
class ChangesItsMind(Vfs):
    said = False

    def features(self) -> StorageFeatures:
        self.said = not self.said
        return StorageFeatures(whiteouts="in-place", quota=self.said)


@breaks("an unknown option is an error", call="check", caught_by="test_unknown_options_are_refused")
class TakesAnyOption(Vfs):
    class Options(msgspec.Struct, frozen=True):
        pass


@breaks("ids are 64 hex digits", call="begin_layer", caught_by="test_hostile_ids_are_invalid[..]")
class JoinsAnyIdToAPath(Vfs):
    def begin_layer(self, layer: str, parent: str | None) -> Path:
        with contextlib.suppress(Invalid):
            return super().begin_layer(layer, parent)
        return self.host.data_root / layer


@breaks("a refusal is a sentence", call="mount", caught_by="test_refusals_name_what_they_refuse")
class RefusesWithoutAWord(Vfs):
    def mount(self, container: str) -> int:
        try:
            return super().mount(container)
        except NotFound:
            raise NotFound from None


# ── layers ───────────────────────────────────────────────────────────────────────────────────────────────────────


@breaks(
    "a directory belongs to root, mode 0755",
    call="begin_layer",
    caught_by="test_a_layer_begins_as_an_empty_directory_of_root",
)
class BeginsWithAPrivateDirectory(Vfs):
    def begin_layer(self, layer: str, parent: str | None) -> Path:
        directory = super().begin_layer(layer, parent)
        directory.chmod(0o700)
        return directory


@breaks(
    "in-place: the directory looks like the parent", call="begin_layer", caught_by="test_upper_layers_hide_lower_ones"
)
class ForgetsTheParent(Vfs):
    def begin_layer(self, layer: str, parent: str | None) -> Path:
        directory = super().begin_layer(layer, parent)
        for entry in directory.iterdir() if parent else ():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        return directory


@breaks(
    "a committed layer is never changed again",
    call="begin_layer",
    caught_by="test_filling_a_layer_leaves_its_parent_alone",
)
class BeginsWithHardLinks(Vfs):
    def begin_layer(self, layer: str, parent: str | None) -> Path:
        directory = super().begin_layer(layer, parent)
        if parent is not None:
            shutil.rmtree(directory)
            shutil.copytree(
                self.host.data_root / "layers" / parent / "tree", directory, symlinks=True, copy_function=_link
            )
        return directory


def _link(source: str, target: str, **_: Any) -> None:
    os.link(source, target, follow_symlinks=False)


@breaks(
    "a refused root leaves nothing",
    call="create",
    caught_by="test_a_root_needs_its_layer",
)
class KeepsWhatItRefused(Vfs):
    def create(self, container: str, layer: str | None, **rest: Any) -> None:
        place = self.host.data_root / "refused" / container
        if place.exists():
            raise Conflict(f"container {container} was made already")
        if layer is not None and layer not in self.layers():
            place.mkdir(parents=True)
        super().create(container, layer, **rest)


@breaks(
    "a mount lives as long as its descriptor",
    call="mount",
    caught_by="test_a_mount_lives_by_its_descriptor_alone",
)
class HoldsItsMounts(Vfs):
    def mount(self, container: str) -> int:
        fd = super().mount(container)
        self.held = [*getattr(self, "held", ()), os.dup(fd)]
        return fd


@breaks("overlay: whiteouts are overlayfs's marks", call="features", caught_by="test_upper_layers_hide_lower_ones")
class SaysTheWrongWhiteouts(Overlayfs):
    def features(self) -> StorageFeatures:
        return StorageFeatures(whiteouts="in-place", quota=True)


@breaks("a begun layer does not exist", call="layers", caught_by="test_a_begun_layer_does_not_exist")
class CountsBegunLayers(Vfs):
    def layers(self) -> set[str]:
        begun = self.host.data_root / "begun"
        return super().layers() | ({each.name for each in begun.iterdir()} if begun.exists() else set())


@breaks("beginning again starts afresh", call="begin_layer", caught_by="test_beginning_again_starts_afresh")
class GoesOnWithWhatWasBegun(Vfs):
    def begin_layer(self, layer: str, parent: str | None) -> Path:
        tree = self.host.data_root / "begun" / layer / "tree"
        return tree if tree.exists() else super().begin_layer(layer, parent)


@breaks("a placed layer stands on its parent", call="place_layer", caught_by="test_a_filled_layer_is_given_its_place")
class PlacesOnNothing(Overlayfs):
    def place_layer(self, begun: str, layer: str, parent: str | None) -> None:
        super().place_layer(begun, layer, None)


@breaks(
    "a place is not taken from another layer",
    call="place_layer",
    caught_by="test_a_place_that_cannot_be_had_is_refused",
)
class PlacesTwice(Overlayfs):
    def place_layer(self, begun: str, layer: str, parent: str | None) -> None:
        with contextlib.suppress(Conflict):
            super().place_layer(begun, layer, parent)


@breaks("what was placed has one name", call="place_layer", caught_by="test_what_was_placed_is_begun_under_one_name")
class PlacesACopy(Overlayfs):
    def place_layer(self, begun: str, layer: str, parent: str | None) -> None:
        super().place_layer(begun, layer, parent)
        self.begin_layer(begun, None)


@breaks("a missing parent is not found", call="begin_layer", caught_by="test_a_layer_needs_its_parent")
class NeedsNoParent(Vfs):
    def begin_layer(self, layer: str, parent: str | None) -> Path:
        return super().begin_layer(layer, parent if parent in self.layers() else None)


@breaks("a committed layer cannot be begun", call="begin_layer", caught_by="test_a_committed_layer_cannot_be_begun")
class BeginsWhatExists(Vfs):
    def begin_layer(self, layer: str, parent: str | None) -> Path:
        self.remove_layer(layer)
        return super().begin_layer(layer, parent)


@breaks(
    "committing makes a layer exist",
    call="commit_layer",
    caught_by="test_committing_makes_a_layer_exist_and_may_be_repeated",
)
class RemembersLayersInMemory(Vfs):
    def __init__(self, host: Host, options: msgspec.Struct) -> None:
        super().__init__(host, options)
        self.known: set[str] = set()

    def commit_layer(self, layer: str) -> None:
        super().commit_layer(layer)
        self.known.add(layer)

    def layers(self) -> set[str]:
        return self.known


@breaks(
    "committing may be repeated",
    call="commit_layer",
    caught_by="test_committing_makes_a_layer_exist_and_may_be_repeated",
)
class CommitsOnlyOnce(Vfs):
    def commit_layer(self, layer: str) -> None:
        if layer in self.layers():
            raise NotFound(f"layer {layer} was not begun")
        super().commit_layer(layer)


@breaks(
    "what was not begun cannot be committed",
    call="commit_layer",
    caught_by="test_committing_what_was_not_begun_is_not_found",
)
class CommitsAnything(Vfs):
    def commit_layer(self, layer: str) -> None:
        with contextlib.suppress(NotFound):
            super().commit_layer(layer)


@breaks(
    "a crash leaves the whole layer or none",
    call="commit_layer",
    caught_by="test_a_killed_daemon_leaves_whole_layers_or_none",
)
class CommitsLittleByLittle(Vfs):
    def commit_layer(self, layer: str) -> None:
        begun, done = self.host.data_root / "begun" / layer, self.host.data_root / "layers" / layer
        if not begun.exists():
            return super().commit_layer(layer)
        (done / "tree").mkdir(parents=True)
        for entry in (begun / "tree").iterdir():
            time.sleep(0.01)
            entry.rename(done / "tree" / entry.name)
        return None


@breaks(
    "a committed layer is never changed again",
    call="create",
    caught_by="test_containers_change_neither_their_layer_nor_one_another",
)
class LendsOutTheLayerItself(Vfs):
    def mount(self, container: str) -> int:
        layer = self._shelves.container_layer(container)
        return mounts.bind(self._shelves.layer(layer) / "tree") if layer else super().mount(container)


@breaks("removing what is absent is fine", call="remove_layer", caught_by="test_removing_layers_is_idempotent")
class CannotRemoveNothing(Vfs):
    def remove_layer(self, layer: str) -> None:
        if layer not in self.layers():
            raise NotFound(f"No such layer: {layer}")
        super().remove_layer(layer)


@breaks("begun layers can be removed", call="remove_layer", caught_by="test_removing_layers_is_idempotent")
class KeepsWhatWasBegun(Vfs):
    def remove_layer(self, layer: str) -> None:
        if layer in self.layers():
            super().remove_layer(layer)


@breaks(
    "a layer that something stands on stays",
    call="remove_layer",
    caught_by="test_a_layer_that_something_stands_on_stays",
)
class PullsLayersAway(Vfs):
    def remove_layer(self, layer: str) -> None:
        shutil.rmtree(self.host.data_root / "layers" / layer, ignore_errors=True)
        super().remove_layer(layer)


@breaks("128 layers can be stacked", call="begin_layer", caught_by="test_many_layers_can_be_mounted")
class StacksAHundred(Vfs):
    def begin_layer(self, layer: str, parent: str | None) -> Path:
        if len(self.layers()) >= 100:
            raise Invalid("there are too many layers")
        return super().begin_layer(layer, parent)


# ── containers' roots ────────────────────────────────────────────────────────────────────────────────────────────


@breaks(
    "a root shows all attributes of its layer",
    call="create",
    caught_by="test_a_root_shows_its_layer_with_all_attributes",
)
class LosesSetUserId(Vfs):
    def create(self, container: str, layer: str | None, **rest: Any) -> None:
        super().create(container, layer, **rest)
        tool = self.host.data_root / "containers" / container / "tree/tool"
        if tool.exists():
            tool.chmod(0o755)


@breaks("hard links stay hard links", call="create", caught_by="test_a_root_shows_its_layer_with_all_attributes")
class CopiesHardLinks(Vfs):
    def create(self, container: str, layer: str | None, **rest: Any) -> None:
        super().create(container, layer, **rest)
        tree = self.host.data_root / "containers" / container / "tree"
        if (tree / "tool2").exists():
            (tree / "tool2").unlink()
            shutil.copy2(tree / "tool", tree / "tool2")


@breaks("a container exists only once", call="create", caught_by="test_creating_twice_is_a_conflict")
class MakesRootsAgain(Vfs):
    def create(self, container: str, layer: str | None, **rest: Any) -> None:
        self.remove(container)
        super().create(container, layer, **rest)


@breaks("a root needs its layer", call="create", caught_by="test_a_root_needs_its_layer")
class MakesDoWithoutALayer(Vfs):
    def create(self, container: str, layer: str | None, **rest: Any) -> None:
        super().create(container, layer if layer in self.layers() else None, **rest)


@breaks("without the feature a quota is refused", call="create", caught_by="test_a_quota_holds_or_is_refused")
class IgnoresQuotas(Vfs):
    def features(self) -> StorageFeatures:
        return StorageFeatures(whiteouts="in-place")

    def create(self, container: str, layer: str | None, *, ephemeral: bool = False, size: int | None = None) -> None:
        super().create(container, layer, ephemeral=ephemeral)


@breaks("a quota holds", call="create", caught_by="test_a_quota_holds_or_is_refused")
class OnlyClaimsQuotas(Vfs):
    def create(self, container: str, layer: str | None, *, ephemeral: bool = False, size: int | None = None) -> None:
        super().create(container, layer, ephemeral=ephemeral)


@breaks("an impossible quota is refused", call="create", caught_by="test_impossible_quotas_are_refused")
class RoundsQuotasUp(Vfs):
    def create(self, container: str, layer: str | None, *, ephemeral: bool = False, size: int | None = None) -> None:
        super().create(container, layer, ephemeral=ephemeral, size=None if size is None else max(size, 1 << 26))


@breaks(
    "an ephemeral root outlives the daemon", call="create", caught_by="test_what_was_written_is_there_at_the_next_mount"
)
class ForgetsEphemeralRoots(Vfs):
    def __init__(self, host: Host, options: msgspec.Struct) -> None:
        super().__init__(host, options)
        self.ephemeral: set[str] = set()

    def create(self, container: str, layer: str | None, *, ephemeral: bool = False, size: int | None = None) -> None:
        super().create(container, layer, ephemeral=ephemeral, size=size)
        if ephemeral:
            self.ephemeral.add(container)
            (self.host.data_root / "containers" / container / "ephemeral").touch()

    def mount(self, container: str) -> int:
        if (self.host.data_root / "containers" / container / "ephemeral").exists() and container not in self.ephemeral:
            raise NotFound(f"container {container} has no root file system here")
        return super().mount(container)


@breaks("what was not created cannot be mounted", call="mount", caught_by="test_what_was_not_created_is_not_found")
class MountsAnything(Vfs):
    def mount(self, container: str) -> int:
        with contextlib.suppress(Conflict):
            self.create(container, None)
        return super().mount(container)


@breaks("the descriptor is close-on-exec", call="mount", caught_by="test_a_mount_is_seen_by_nobody_else")
class GivesItsMountsToChildren(Vfs):
    def mount(self, container: str) -> int:
        fd = super().mount(container)
        os.set_inheritable(fd, True)
        return fd


@breaks("the host's mount table does not show it", call="mount", caught_by="test_a_mount_is_seen_by_nobody_else")
class MountsInTheOpen(Vfs):
    def mount(self, container: str) -> int:
        fd = super().mount(container)
        target = self.host.data_root / "containers" / container / "tree"
        mounts.attach(fd, target)
        return os.open(target, os.O_PATH | os.O_CLOEXEC)

    def unmount(self, container: str) -> None:
        with contextlib.suppress(OSError):
            mounts.detach(self.host.data_root / "containers" / container / "tree")


@breaks("the mount is a detached one", call="mount", caught_by="test_a_mount_is_a_detached_one")
class GivesADirectory(Vfs):
    def mount(self, container: str) -> int:
        os.close(super().mount(container))
        return os.open(self.host.data_root / "containers" / container / "tree", os.O_PATH | os.O_CLOEXEC)


@breaks("it may be mounted while it is mounted", call="mount", caught_by="test_two_mounts_at_once_show_the_same")
class MountsOnlyOnce(Vfs):
    busy = False

    def mount(self, container: str) -> int:
        if self.busy:
            raise Conflict(f"container {container} is mounted already")
        self.busy = True
        return super().mount(container)

    def unmount(self, container: str) -> None:
        self.busy = False


@breaks("unmounting may be repeated", call="unmount", caught_by="test_unmounting_is_idempotent")
class UnmountsOnlyOnce(Vfs):
    def unmount(self, container: str) -> None:
        marker = self.host.data_root / f"unmounted-{container}"
        if marker.exists():
            raise Conflict(f"container {container} is not mounted")
        marker.touch()


@breaks(
    "what was written is there at the next mount",
    call="unmount",
    caught_by="test_what_was_written_is_there_at_the_next_mount",
)
class ForgetsWhatWasWritten(Vfs):
    def unmount(self, container: str) -> None:
        for entry in (self.host.data_root / "containers" / container / "tree").glob("file*"):
            entry.unlink()


@breaks("removing may be repeated", call="remove", caught_by="test_removing_is_idempotent_and_complete")
class RemovesOnlyOnce(Vfs):
    def remove(self, container: str) -> None:
        self._shelves.container(container)
        super().remove(container)


@breaks("nothing of a removed root is left", call="remove", caught_by="test_removing_is_idempotent_and_complete")
class HidesWhatItShouldRemove(Vfs):
    def remove(self, container: str) -> None:
        with contextlib.suppress(NotFound):
            self._shelves.container(container).rename(self.host.data_root / f"old-{container}")


@breaks("roots of any depth can be removed", call="remove", caught_by="test_a_root_of_any_depth_can_be_removed")
class RemovesByPaths(Vfs):
    def remove(self, container: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.host.data_root / "containers" / container)


@breaks("where a root lies is told in words", call="describe", caught_by="test_where_a_root_lies_is_told_in_words")
class TellsOfWhatIsNotThere(Vfs):
    def describe(self, container: str) -> Mapping[str, str]:
        return {"Dir": str(self.host.data_root / container)}


# ── changes and usage ────────────────────────────────────────────────────────────────────────────────────────────


@breaks("an untouched root has no changes", call="changes", caught_by="test_an_untouched_root_has_no_changes")
class SeesChangesEverywhere(Vfs):
    def changes(self, container: str) -> Iterator[Change]:
        return iter([Change("/etc", ChangeKind.MODIFIED), *super().changes(container)])


@breaks("changes are sorted by path", call="changes", caught_by="test_changes_are_told_sorted_with_their_directories")
class TellsChangesInDisorder(Vfs):
    def changes(self, container: str) -> Iterator[Change]:
        return reversed(list(super().changes(container)))


@breaks(
    "a changed directory's own entry is told",
    call="changes",
    caught_by="test_changes_are_told_sorted_with_their_directories",
)
class LeavesDirectoriesOut(Vfs):
    def changes(self, container: str) -> Iterator[Change]:
        return (each for each in super().changes(container) if each != Change("/etc", ChangeKind.MODIFIED))


@breaks("what was deleted is told", call="changes", caught_by="test_changes_tell_of_a_directory_made_anew")
class MissesDeletions(Vfs):
    def changes(self, container: str) -> Iterator[Change]:
        return (each for each in super().changes(container) if each.kind != ChangeKind.DELETED)


@breaks(
    "a change of type is a modification",
    call="changes",
    caught_by="test_changes_tell_of_a_file_that_became_a_directory",
)
class CallsNewTypesNew(Vfs):
    def changes(self, container: str) -> Iterator[Change]:
        for each in super().changes(container):
            yield Change(each.path, ChangeKind.ADDED) if each.path == "/link" else each


@breaks("names need not be UTF-8", call="changes", caught_by="test_changes_keep_names_that_are_not_utf8")
class WantsUtf8(Vfs):
    def changes(self, container: str) -> Iterator[Change]:
        for each in super().changes(container):
            yield Change(os.fsencode(each.path).decode(errors="replace"), each.kind)


@breaks("changes of nothing are not found", call="changes", caught_by="test_what_was_not_created_is_not_found")
class TellsNoChangesOfNothing(Vfs):
    def changes(self, container: str) -> Iterator[Change]:
        try:
            return super().changes(container)
        except NotFound:
            return iter(())


@breaks("usage counts what was written", call="usage", caught_by="test_usage_grows_by_what_is_written")
class CountsNothing(Vfs):
    def usage(self, container: str) -> int:
        return super().usage(container) and 4096


@breaks("usage counts bytes", call="usage", caught_by="test_usage_grows_by_what_is_written")
class CountsBlocks(Vfs):
    def usage(self, container: str) -> int:
        return super().usage(container) // 512


@breaks("usage leaves the layers below out", call="usage", caught_by="test_usage_leaves_out_the_layers_below")
class CountsTheLayersBelow(Vfs):
    def usage(self, container: str) -> int:
        below = (self.host.data_root / "layers").rglob("*")
        return super().usage(container) + sum(each.lstat().st_blocks * 512 for each in below)


# ── crashes and crowds ───────────────────────────────────────────────────────────────────────────────────────────


@breaks(
    "restore leaves what is named", call="restore", caught_by="test_restore_keeps_what_is_named_and_removes_the_rest"
)
class StartsFromScratch(Vfs):
    def restore(self, layers: Collection[str], containers: Collection[str]) -> None:
        super().restore(layers, ())


@breaks(
    "restore removes what is not named",
    call="restore",
    caught_by="test_restore_keeps_what_is_named_and_removes_the_rest",
)
class KeepsOrphanedRoots(Vfs):
    def restore(self, layers: Collection[str], containers: Collection[str]) -> None:
        super().restore(layers, self._shelves.containers())


@breaks(
    "restore removes orphaned layers", call="restore", caught_by="test_restore_keeps_what_is_named_and_removes_the_rest"
)
class KeepsOrphanedLayers(Vfs):
    def restore(self, layers: Collection[str], containers: Collection[str]) -> None:
        super().restore(self.layers(), containers)


@breaks(
    "a half-made layer is gone after restore",
    call="restore",
    caught_by="test_restore_keeps_what_is_named_and_removes_the_rest",
)
class KeepsHalfMadeLayers(Vfs):
    def restore(self, layers: Collection[str], containers: Collection[str]) -> None:
        begun = self.host.data_root / "begun"
        kept = {each: secrets.token_hex(4) for each in begun.iterdir()} if begun.exists() else {}
        for each, name in kept.items():
            each.rename(self.host.data_root / name)
        super().restore(layers, containers)
        for each, name in kept.items():
            (self.host.data_root / name).rename(each)


@breaks(
    "a named thing that is missing is no error",
    call="restore",
    caught_by="test_restore_keeps_what_is_named_and_removes_the_rest",
)
class MissesWhatIsNamed(Vfs):
    def restore(self, layers: Collection[str], containers: Collection[str]) -> None:
        for layer in layers:
            self._shelves.layer(layer)
        super().restore(layers, containers)


@breaks(
    "restore comes before anything was made, too", call="restore", caught_by="test_restore_before_anything_was_made"
)
class RestoresOnlyWhatWasThere(Vfs):
    def restore(self, layers: Collection[str], containers: Collection[str]) -> None:
        os.listdir(self.host.data_root)  # noqa: PTH208
        super().restore(layers, containers)


@breaks(
    "different layers are made at once", call="begin_layer", caught_by="test_different_layers_and_containers_at_once"
)
class DoesOneThingAtATime(Vfs):
    working = 0

    def create(self, container: str, layer: str | None, **rest: Any) -> None:
        if self.working:
            raise SampanError("another container is being made")
        self.working += 1
        try:
            time.sleep(0.02)
            super().create(container, layer, **rest)
        finally:
            self.working -= 1


@breaks("different layers go at once", call="remove_layer", caught_by="test_different_layers_and_containers_at_once")
class RemovesOneAtATime(Vfs):
    going = 0

    def remove_layer(self, layer: str) -> None:
        if self.going:
            raise SampanError("another layer is being removed")
        self.going += 1
        try:
            time.sleep(0.02)
            super().remove_layer(layer)
        finally:
            self.going -= 1
