"""Starting a container: root, network and files are made ready, the runtime starts the init, the record says so.

If any step fails, what was done is undone and the container stays as it was, with the reason in ``State.Error``.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import msgspec

from sampan.containers import links, sharing, timestamps
from sampan.containers.bundle import mounts, remapping, spec, users
from sampan.containers.explaining import Account
from sampan.containers.files import hostfiles
from sampan.containers.files.ours import leave_marks
from sampan.containers.life import keeping
from sampan.containers.life.transitions import move
from sampan.containers.monitors import Launch, Started
from sampan.containers.parts import TABLE, Parts
from sampan.containers.registry import Entry
from sampan.containers.requests import logconfig
from sampan.drivers.steps import step
from sampan.drivers.types import Bundle
from sampan.errors import Conflict, Invalid, NotModified, SampanError, StartFailed, Unavailable
from sampan.linux import paths
from sampan.networks.sandbox import Users
from sampan.types import Container, ExitCause, State, Status
from sampan.undo import Undo

PATIENCE = 30.0  # seconds for what is left of an earlier run to go away
_NOT_FOUND, _NOT_EXECUTABLE, _OTHER = 127, 126, 128
_HINTS = {_NOT_FOUND: "no such file or directory", _NOT_EXECUTABLE: "permission denied"}
_SAYS_NOT_FOUND = ("executable file not found", "no such file or directory")


class Starter:
    """Starts containers, with the network joined in a thread beside. ``begun`` hears of each that runs."""

    def __init__(self, parts: Parts, begun: Callable[[Entry], None] = lambda entry: None) -> None:
        self._parts = parts
        self._begun = begun
        self._threads = ThreadPoolExecutor(16, thread_name_prefix="join")

    def close(self) -> None:
        self._threads.shutdown(wait=False)

    def start(self, entry: Entry) -> None:
        """Returns when the init's execve has succeeded and the record is durable.

        ``NotModified`` if it runs, ``Conflict`` if its state forbids it, ``StartFailed`` if its command could not be
        started; other kinds come from the drivers. Call with the entry's lock held.
        """
        record = entry.record
        self.check(entry)
        try:
            with self._parts.explanations.account(record.id, "start") as account, Undo() as undo:
                self._start(entry, account, undo)
        except Exception as error:
            self._failed(entry, error)
            raise
        self._begun(entry)
        links.moved(self._parts, record)
        self._parts.announce(record, "start")

    def check(self, entry: Entry) -> None:
        """Refuse what its state forbids, before anything has happened to the container."""
        status = entry.record.state.status
        if status is Status.PAUSED:
            raise Conflict("cannot start a paused container, try unpause instead")
        if status is Status.RUNNING:
            raise NotModified(f"container {entry.record.id} is already running")
        if entry.gone or status in (Status.REMOVING, Status.DEAD):
            raise Conflict("container is marked for removal and cannot be started")
        if not entry.settled.wait(PATIENCE):
            raise Unavailable(f"the last run of container {entry.record.name} is still being cleaned up")
        if not entry.unseen.wait(PATIENCE):
            raise Unavailable(f"files of container {entry.record.name} are still being copied: try again later")

    def _start(self, entry: Entry, account: Account, undo: Undo) -> None:
        parts, record = self._parts, entry.record
        bundle = parts.bundle(record.id)
        undo.push(sharing.remove_bundle, bundle)
        if bundle.exists():  # what an earlier run left would be taken for news of this one
            sharing.remove_bundle(bundle)
        (bundle / "rootfs").mkdir(parents=True, exist_ok=True)
        chosen = remapping.users(parts, record)
        joining = self._join(record, chosen, account, undo)
        storage = parts.storage(record)
        with step("mount the root, attached to nothing", "mount", record.layer, record.storage_driver):
            root = storage.mount(record.root)
        undo.push(storage.unmount, record.root)
        try:
            with step("leave /.dockerenv and /etc/mtab", "file"):
                leave_marks(root, parts.ids_of(record).root)
            with step("make its volumes and bound directories ready", "volume", " ".join(keeping.names(record))):
                mounts.prepare(record.mounts, parts.ids_of(record).root)
                keeping.mount(parts, record, undo)
            with step("look its user up in the image", "user", record.config["User"] or "root"):
                _check_directory(root, record.config["WorkingDir"])
                user = users.find(root, record.config["User"], record.host_config["GroupAdd"] or ())
            with step("wait for the network", "thread"):
                network = joining.result()
            with keeping.places(parts, record) as places, ExitStack() as held:
                linked = links.ready(parts, record)
                ipc, memory = sharing.ipc_namespace(parts, record, undo, held)
                around = spec.Surroundings(
                    rootfs=bundle / "rootfs",
                    user=user,
                    files=self._files(record, bundle, linked),
                    network=network,
                    own_network=record.host_config["NetworkMode"] != "host" and not _shares_network(record),
                    pid=sharing.pid_namespace(parts, record, held),
                    ipc=ipc,
                    memory=memory,
                    places=places,
                    ids=parts.ids_of(record),
                    users=remapping.place(parts, record, chosen),
                    linked=links.environment(record, linked),
                )
                with step("write the OCI specification", "file", "config.json"):
                    record.spec = self._amended(record, spec.build(record, around))
                self._run(entry, bundle, root, account, undo)
        finally:
            os.close(root)

    def _run(self, entry: Entry, bundle: Path, root: int, account: Account, undo: Undo) -> None:
        """Start the init while the record is being written: should the daemon die meanwhile, the next one finds a
        running container and asks its monitor, or finds none and says so."""
        state = entry.record.state
        before = msgspec.structs.replace(state)
        undo.push(_put_back, state, before)
        move(state, Status.RUNNING)
        state.started_at = timestamps.now()
        state.exit_code, state.error, state.oom_killed, state.ending = 0, "", False, ""
        state.stopped_by_user = False
        started = self._launch(entry, bundle, root, account, undo)
        state.pid, state.monitor, state.started_at = started.pid, started.monitor, timestamps.text(started.at)
        entry.ended.clear()
        undo.push(entry.ended.set)

    def _save(self, record: Container) -> None:
        with step("write the record down", "record", TABLE):
            self._parts.save(record)

    def _join(self, record: Container, chosen: Users, account: Account, undo: Undo) -> Future[Path | None]:
        networks = self._parts.networks
        joined: Future[Path | None] = Future()
        if _shares_network(record):
            joined.set_result(self._shared_network(record))
            return joined
        if record.host_config["NetworkMode"] == "host":  # nothing is made for it: a thread would take longer
            joined.set_result(networks.attach(record, chosen))
            undo.push(networks.detach, record)
            return joined
        joining = self._threads.submit(account.trail.run, networks.attach, record, chosen)

        def leave() -> None:
            if joining.exception() is None:
                networks.detach(record)

        undo.push(leave)
        return joining

    def _shared_network(self, record: Container) -> Path | None:
        other = sharing.running(self._parts, record.host_config["NetworkMode"], "network")
        if other.host_config["NetworkMode"] == "host":
            return None
        if _shares_network(other):
            return self._shared_network(other)
        return self._parts.networks.sandbox(other.id)

    def _files(self, record: Container, bundle: Path, linked: Sequence[links.Link]) -> dict[str, Path]:
        """``/etc/hosts`` and its like: the container's own, or those of the one whose network it shares."""
        if _shares_network(record):
            other = self._parts.registry.find(record.host_config["NetworkMode"].partition(":")[2]).record
            if not record.config["Hostname"]:
                record.config["Hostname"] = other.config["Hostname"]
            return self._files_of(other)
        network = self._parts.config.network
        with step("write hosts, hostname, resolv.conf", "file", str(bundle)):
            hostfiles.write(
                record,
                bundle,
                gateway=self._parts.networks.gateway(record),
                defaults={"dns": network.dns, "dns_search": network.dns_search},
                linked=links.entries(linked),
                named=self._parts.networks.has_names(record),
                owner=self._parts.ids_of(record).root,
            )
        return hostfiles.places(bundle)

    def _files_of(self, other: Container) -> dict[str, Path]:
        if _shares_network(other):
            return self._files_of(self._parts.registry.find(other.host_config["NetworkMode"].partition(":")[2]).record)
        return hostfiles.places(self._parts.bundle(other.id))

    def _amended(self, record: Container, written: dict[str, object]) -> dict[str, object]:
        self._parts.drivers.hooks.starting(self._parts.about(record), written)
        return written

    def _launch(self, entry: Entry, bundle: Path, root: int, account: Account, undo: Undo) -> Started:
        record, host = entry.record, entry.record.host_config
        runtime = self._parts.runtime(record)
        limits = self._parts.config.log
        wanted = logconfig.order(record, (limits.max_size, limits.max_file))
        with step("turn it into an order", "order", driver=record.runtime):
            order = runtime.order(Bundle(id=record.id, path=bundle, spec=record.spec))
        streams = [stream for _, stream in entry.streams]
        entry.streams.clear()
        entry.cause, entry.detail = None, ""
        entry.sent.clear()
        undo.push(runtime.remove, record.id)
        size = tuple(host["ConsoleSize"])
        launch = Launch(
            key=record.id,
            kind="start",
            module=runtime.monitor_module,
            order=order,
            root=root,
            tty=record.config["Tty"],
            stdin=record.config["OpenStdin"],
            stdin_once=record.config["StdinOnce"],
            log=wanted,
            streams=streams,
            size=(size[0], size[1]) if all(size) else None,
            directory=bundle,
            landings=self._parts.networks.landings(record),
        )
        with step("have a monitor start the init", "process", driver=record.runtime) as here:
            asked = time.monotonic_ns()
            started = self._parts.monitors.start(launch, meanwhile=lambda: self._save(record))
            here.object = str(started.pid)
        account.started(started, asked, record.runtime)
        return started

    def _failed(self, entry: Entry, error: Exception) -> None:
        """Keep why, for ``inspect``; whoever attached before the start sees the end."""
        record = entry.record
        if isinstance(error, StartFailed):
            error.args = (explained(error.message, error.exit_code),)
        record.spec = {}
        state = record.state
        state.exit_code = error.exit_code if isinstance(error, StartFailed) else _OTHER
        state.error = error.message if isinstance(error, SampanError) else str(error)
        state.cause, state.cause_detail = ExitCause.NOT_STARTED, state.error
        for ours, stream in entry.streams:
            del ours
            stream.theirs.close()
        entry.streams.clear()
        if state.status is Status.RESTARTING:
            move(state, Status.EXITED)
        try:
            self._parts.save(record)
        except SampanError as problem:
            error.add_note(f"and while keeping why: {problem}")
        entry.tell("not-running")


def _check_directory(root: int, path: str) -> None:
    """The runtime makes a working directory that is missing; it cannot make one of a file."""
    try:
        fd = paths.open_in_root(root, path, os.O_PATH)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            raise Invalid(f"Cannot mkdir: {path} is not a directory")
    finally:
        os.close(fd)


def _put_back(state: State, before: State) -> None:
    for field in state.__struct_fields__:
        setattr(state, field, getattr(before, field))


def _shares_network(record: Container) -> bool:
    mode: str = record.host_config["NetworkMode"]
    return mode.startswith("container:")


def explained(message: str, code: int) -> str:
    """As dockerd says it. The docker CLI takes its exit status from the words: 127 for "executable file not found"
    and "no such file or directory", 126 for "permission denied" (docker/cli, cli/command/container/run.go)."""
    text = f"failed to create task for container: {message}"
    if code == _NOT_FOUND and not any(words in text for words in _SAYS_NOT_FOUND):
        text += f": {_HINTS[code]}"
    if code == _NOT_EXECUTABLE and _HINTS[code] not in text:
        text += f": {_HINTS[code]}"
    return f"{text}: unknown"
