"""One more process in a running container: exec create, start, inspect, resize.

Execs are kept in memory. They end with their container at the latest, and are forgotten when it is started again or
removed.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sampan import bodies
from sampan.containers.bundle import capabilities, spec, users
from sampan.containers.life.starting import explained
from sampan.containers.life.transitions import ALIVE
from sampan.containers.monitors import Exit, Launch, Started
from sampan.containers.parts import Parts
from sampan.containers.registry import Entry
from sampan.containers.requests import request
from sampan.containers.streams import attach
from sampan.drivers.types import ExecProcess
from sampan.errors import Conflict, Invalid, NotFound, SampanError, StartFailed, Unavailable, Unsupported
from sampan.linux import paths
from sampan.types import Container, Exec, Status

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds for the news of an end that the kernel has already told
KEPT = 1000  # ended execs that can still be inspected


class Execs:
    """Thread-safe."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._execs: dict[str, Exec] = {}
        self._ended: dict[str, threading.Event] = {}
        self._awaited: dict[str, Callable[[int], object]] = {}

    def create(self, reference: str, body: Mapping[str, Any]) -> Exec:
        """``body`` is the Engine API's ``ExecConfig``. ``Conflict`` unless the container runs."""
        entry = self._active(reference)
        wanted = bodies.read(dict(body), request.ExecConfig)
        command = [wanted.Cmd] if isinstance(wanted.Cmd, str) else wanted.Cmd
        if not command or not command[0]:
            raise Invalid("No exec command specified")
        for variable in wanted.Env:
            if not variable.partition("=")[0]:
                raise Invalid(f"invalid environment variable: {variable}")
        runtime = self._parts.runtime(entry.record)
        if not runtime.features().exec:
            why = runtime.features().why.get("exec", "it has no such feature")
            raise Unsupported(f"the runtime {entry.record.runtime} cannot exec in a container: {why}")
        if runtime.frozen(entry.record.id):
            raise Unavailable(f"container {entry.record.id} was frozen, but not by this engine: thaw its cgroup first")
        wanted.Cmd = command
        made = Exec(
            id=secrets.token_hex(32),
            container=entry.record.id,
            config=_plain(wanted),
            detach_keys=wanted.DetachKeys,
        )
        with self._lock:
            self._prune()
            self._execs[made.id] = made
        self._announce(made, f"exec_create: {_said(command)}")
        return made

    def get(self, ident: str) -> Exec:
        """The exec now. When its process or its monitor is gone but its end was not told yet, waits for that, a moment:
        whoever has seen its streams end is to see its exit code, too."""
        found = self.known(ident)
        if found.running and found.pid and not self._lives(found):
            self._ended[ident].wait(PATIENCE)
        return found

    def _lives(self, found: Exec) -> bool:
        return Path(f"/proc/{found.pid}").exists() and self._parts.monitors.lives(found.id)

    def start(
        self, ident: str, *, detach: bool = False, framed: bool | None = None, size: tuple[int, int] | None = None
    ) -> socket.socket | None:
        """:meth:`begin` it and wait until it runs."""
        stream, finish = self.begin(ident, detach=detach, framed=framed, size=size)
        finish()
        return stream

    def begin(
        self, ident: str, *, detach: bool = False, framed: bool | None = None, size: tuple[int, int] | None = None
    ) -> tuple[socket.socket | None, Callable[[], None]]:
        """Have it started; our end of its streams, None if detached, and what is to be called to finish the start.
        ``framed`` says whether the client expects Docker's framing; by default it does, unless the process has a
        terminal.

        Attached, whatever keeps the command from running (it is not there, nor is its user, a driver fails) is told in
        the stream and by the exit code, as Docker does: its client shows of another answer nothing but the number.
        Detached, that is raised, now or at the finish. For both, one that was made for a run of its container that has
        ended is ``NotFound``, and a paused container a ``Conflict``.
        """
        made = self.get(ident)
        entry = self._still_active(made)  # while it is paused, nothing is used up
        with self._lock:
            if made.exit_code is not None:
                raise Conflict(f"exec command {ident} has already run")
            if made.running:
                raise Conflict(f"exec command {ident} is already running")
            made.running = True
            self._ended[ident] = threading.Event()
        config = made.config
        framed = not config["Tty"] if framed is None else framed
        ours, streams, last = None, [], None
        try:
            if not detach:
                ours, stream = self._parts.monitors.stream(
                    stdin=config["AttachStdin"], stdout=config["AttachStdout"], stderr=config["AttachStderr"]
                )
                streams, last = [stream], stream.theirs.dup()
            self._announce(made, f"exec_start: {_said(config['Cmd'])}")
            launch = self._launch(entry.record, made, streams, size)
            answer = self._parts.monitors.ask(launch)
        except Exception as error:
            if ours and last:
                ours.close()
                last.close()
            failure = self._failed(made, error)
            if detach or not isinstance(error, SampanError):
                raise
            return attach.said(failure + "\r\n", tty=not framed), lambda: None
        told = attach.recast(ours, framed=framed) if ours and framed == config["Tty"] else ours
        return told, lambda: self._finish(made, answer, last)

    def _finish(self, made: Exec, answer: Callable[[], Started], last: socket.socket | None) -> None:
        """``last``: where the client, if there is one, is told what went wrong; its streams end when that is closed."""
        try:
            made.pid = answer().pid
        except Exception as error:
            failure = self._failed(made, error)
            if last is None:
                raise
            text = f"{failure}\r\n".encode("utf-8", "replace")
            with suppress(OSError):  # nobody listens any more
                last.sendall(attach.frame("stdout", text, tty=made.config["Tty"]))
        finally:
            if last:
                last.close()

    def known(self, ident: str) -> Exec:
        """The exec as it is known here, without any waiting."""
        found = self._execs.get(ident)
        if found is None:
            raise NotFound(f"No such exec instance: {ident}")
        return found

    def detached(self, ident: str) -> None:
        """Whoever was attached has left by the detach keys; the process runs on."""
        if made := self._execs.get(ident):
            self._announce(made, "exec_detach")

    def resize(self, ident: str, rows: int, columns: int) -> None:
        made = self.get(ident)
        if not made.running:
            raise Conflict(f"exec {ident} is not running")
        self._parts.monitors.resize(ident, rows, columns)

    def exited(self, ident: str, exit_: Exit) -> bool:
        """A monitor has reported an end; False if it was no exec's."""
        made = self._execs.get(ident)
        if made is None:
            return False
        if exit_.lost:
            self._parts.cleaner.later(lambda: self._make_sure(made))
        made.exit_code, made.running = exit_.code, False
        self._ended[ident].set()
        self._announce(made, "exec_die", exitCode=str(exit_.code))
        self._tell(made, exit_.code)
        self._parts.cleaner.later(lambda: self._parts.monitors.forget(ident))
        return True

    def _make_sure(self, made: Exec) -> None:
        """Its monitor has died. Not every runtime sees to it that a process ends with that."""
        entry = self._parts.registry.known(made.container)
        if entry and made.pid:
            with suppress(SampanError):
                self._parts.runtime(entry.record).signal(made.container, made.pid, signal.SIGKILL)

    def when_ended(self, ident: str, call: Callable[[int], object]) -> None:
        """Call ``call`` with the exit code, -1 if it could not be started. To be asked before the start."""
        self._awaited[ident] = call

    def _tell(self, made: Exec, code: int) -> None:
        if call := self._awaited.pop(made.id, None):
            call(code)

    def drop(self, ident: str) -> None:
        """Nobody will ask for this one any more, if it has ended."""
        with self._lock:
            made = self._execs.get(ident)
            if made and not made.running:
                del self._execs[ident]
                self._ended.pop(ident, None)
        self._awaited.pop(ident, None)

    def end(self, ident: str) -> None:
        """Kill one that runs, at once. It is in a session of its own, so that what it has started goes with it, unless
        that has gone its own way."""
        made = self._execs.get(ident)
        if made and made.running and made.pid:
            with suppress(ProcessLookupError):
                os.killpg(os.getpgid(made.pid), signal.SIGKILL)

    def of(self, container: str) -> list[str]:
        """The ids of a container's execs that run."""
        with self._lock:
            return [made.id for made in self._execs.values() if made.container == container and made.running]

    def forget(self, container: str) -> None:
        """The container has gone, or begins anew."""
        with self._lock:
            mine = [made.id for made in self._execs.values() if made.container == container and not made.running]
            for ident in mine:
                del self._execs[ident]
                self._ended.pop(ident, None)

    def _active(self, reference: str) -> Entry:
        entry = self._parts.registry.find(reference)
        with entry.lock:  # one that is being started is waited for
            ident, status = entry.record.id, entry.record.state.status
        if status is Status.PAUSED:
            raise Conflict(f"Container {reference} is paused, unpause the container before exec")
        if status is Status.RESTARTING:
            raise Conflict(f"Container {ident} is restarting, wait until the container is running")
        if status not in ALIVE:
            raise Conflict(f"container {ident} is not running")
        return entry

    def _still_active(self, made: Exec) -> Entry:
        try:
            return self._active(made.container)
        except Conflict as error:
            if self._parts.registry.find(made.container).record.state.status not in ALIVE:
                raise NotFound(f"No such exec instance: {made.id}: {error.message}") from None
            raise

    def _launch(self, record: Container, made: Exec, streams: list[Any], size: tuple[int, int] | None) -> Launch:
        runtime = self._parts.runtime(record)
        process = ExecProcess(id=made.id, container=record.id, process=_process(record, made.config))
        given = size or made.config["ConsoleSize"]
        return Launch(
            key=made.id,
            kind="exec",
            module=runtime.monitor_module,
            order=runtime.exec_order(process, record.state.pid, record.spec),
            tty=made.config["Tty"],
            stdin=made.config["AttachStdin"],
            stdin_once=True,
            streams=streams,
            size=(given[0], given[1]) if given and all(given) else None,
        )

    def _failed(self, made: Exec, error: Exception) -> str:
        text = str(error)
        if isinstance(error, SampanError) and error.kind == "internal":
            log.error("%s", text, exc_info=error)
        if isinstance(error, StartFailed):
            text = explained(error.message, error.exit_code).replace("failed to create task for container", _FAILED)
            error.args = (text,)
        made.exit_code = error.exit_code if isinstance(error, StartFailed) else 126
        made.running = False
        self._ended[made.id].set()
        self._announce(made, "exec_die", exitCode=str(made.exit_code))
        self._tell(made, -1)
        return text

    def _announce(self, made: Exec, action: str, **attributes: str) -> None:
        entry = self._parts.registry.known(made.container)
        if entry:
            self._parts.announce(entry.record, action, execID=made.id, **attributes)

    def _prune(self) -> None:
        ended = [made.id for made in self._execs.values() if made.exit_code is not None]
        for ident in ended[: max(0, len(ended) - KEPT)]:
            del self._execs[ident]
            self._ended.pop(ident, None)


_FAILED = "OCI runtime exec failed: exec failed: unable to start container process"


def _said(command: Sequence[str]) -> str:
    """In an event: with a space behind a command without arguments, because dockerd writes one."""
    return f"{command[0]} {' '.join(command[1:])}"


def _plain(wanted: request.ExecConfig) -> dict[str, Any]:
    return {name: getattr(wanted, name) for name in wanted.__struct_fields__}


def _user(record: Container, text: str, more: tuple[str, ...] = ()) -> users.User:
    """Looked up in the root as the container's own init sees it now."""
    try:
        root = os.open(f"/proc/{record.state.pid}/root", paths.DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise Conflict(f"container {record.id} is not running") from None
    try:
        return users.find(root, text, more)
    finally:
        os.close(root)


def _process(record: Container, config: Mapping[str, Any]) -> dict[str, Any]:
    """OCI's ``process``: the container's own one, with what the exec says differently."""
    if config["WorkingDir"] and not config["WorkingDir"].startswith("/"):
        raise Invalid(f"{_FAILED}: Cwd must be an absolute path, not {config['WorkingDir']}")
    host = record.host_config
    own = record.spec["process"]
    groups = tuple(host["GroupAdd"] or ())
    user = _user(record, config["User"], groups) if config["User"] else None
    basis = own["env"] if user is None else [each for each in own["env"] if not each.startswith("HOME=")]
    if not any(each.startswith("TERM=") for each in record.config["Env"]):  # it is that of the process's own terminal
        basis = [each for each in basis if each != spec.TERM] + [spec.TERM] * config["Tty"]
    environment = spec.merged_environment(basis, config["Env"])
    process = {
        **own,
        "terminal": config["Tty"],
        "args": list(config["Cmd"]),
        "env": environment if user is None else spec.with_home(environment, user),
        "cwd": config["WorkingDir"] or own["cwd"],
    }
    if user:
        process["user"] = spec.oci_user(user)
    if user or config["Privileged"]:
        privileged = host["Privileged"] or config["Privileged"]
        granted = capabilities.chosen(host["CapAdd"], host["CapDrop"], privileged=privileged)
        process["capabilities"] = spec.capability_sets(granted, user or _Root)
    return process


_Root = users.User(0, 0, (0,), "/root")
