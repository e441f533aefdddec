"""The runtime contract: how a container's init comes to life, and how it is acted on.

A runtime driver has two halves, because a container must not need the daemon:

- **The engine's half** is the class below. It lives in the daemon, knows everything and is allowed to import
  anything. It turns a bundle into an *order*.
- **The monitor's half** is the module named by ``monitor_module``. It is imported by the launcher, which forks a
  monitor per container, so it imports next to nothing: the standard library's smallest, ``sampan.linux`` and
  ``sampan.errors``. (Fork's cost and every idle container's memory grow with each import.)

::

    daemon                         launcher ──fork──► monitor                                    container
    bundle = spec + root
    order = driver.order(bundle) ────────────────────► module.start(order, root, stdio) ──────► init ──execve──►
                                                       (holds stdio, writes the log, reaps)
    driver.signal(), pause(), …  ────────────────────────────────────────────────────────────►
    driver.exec_order(process) ──────────────────────► module.exec(order, stdio) ─────────────► process in it
                                                       module.ended(order); exit is reported and kept
                                                       module.finish(order)
    driver.remove(container)

The monitor's half defines five functions::

    prepare() -> None
        Called once in the launcher, before any fork: resolve every C function that will be needed.
    start(order: dict, root: int, stdio: tuple[int, int, int]) -> tuple[int, int]
        Start the init with ``root`` (the storage driver's detached mount) as its root and ``stdio`` as its
        descriptors 0, 1 and 2, and return its pid, as seen from the host, when its execve has succeeded.
        The pid becomes the monitor's child, not the caller's: by CLONE_PARENT, or because the monitor is a
        subreaper until then, which a module with ``SUBREAPER = True`` asks for. With ``order["terminal"]`` true
        ``stdio`` is ignored: the runtime makes a terminal of the container's own devpts (so that ttyname(3) works
        inside), gives it to the init, of the size ``order["size"]`` (rows and columns, or None) if it can, and returns
        its master's descriptor as the second value; without a terminal that is -1. Raises ``StartFailed`` with the exit
        code 127 (command not found), 126 (cannot be executed) or 128 (anything else), and then has left nothing behind.
        A process that is to be the init's parent instead is its *keeper*: it is the monitor's child, ends when the
        init has ended, and is a third value, with a descriptor or -1, which ``exit_code`` gets.
    ready(usual: Any, slot: str) -> handle or None                                                         (optional)
        Make ahead what can be made before there is an order, typically an init that waits in its namespaces: a handle
        with its ``pid`` (the monitor's child, as above) and a ``close()`` that gives it up and leaves nothing behind.
        ``usual`` is what the driver's ``usual`` returned. Called in a starter that waits for its order; ``start`` then
        has two parameters more, what ``ready`` returned and a descriptor from which ``sampan.linux.messages.kept``
        reads the order once more. It uses the handle if it suits the order, or closes it. ``slot`` is a name that is
        nobody else's until then, and then another's: what a killed starter leaves, the slot's next one removes.
    warm() -> None                                                                                         (optional)
        Called in a starter that waits for the order of an exec, or of a start where there is no ``ready``: touch what
        these will touch, for a page's first change after a fork takes its time. Changes nothing else.
    exec(order: dict, stdio: tuple[int, int, int]) -> tuple[int, int]
        The same for one more process in a running container.
    exit_code(order: dict, keeper: tuple[int, int]) -> int                                                 (optional)
        For modules whose processes have keepers: what the process's end was, as a shell tells it. Called after
        ``ended``. The keeper may still be at work; ``finish`` waits for it.
    ended(order: dict) -> bool
        The init is dead and nothing was cleaned up yet: was it, or a process of it, killed for want of memory?
    finish(order: dict) -> None
        The init's exit has been reported: release what it needed in the kernel. Never raises.

``start`` and ``exec`` run in a *starter*, a child of the monitor that ends when they return: they may change the
process as they like, and what they touch costs an idle container nothing. The others run in the monitor.
``remove`` in the daemon repeats ``finish``'s work, for the case that the monitor was killed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import msgspec

from sampan.drivers.types import CONTRACT_VERSION, Bundle, Check, ExecProcess, Host, Order, RuntimeFeatures, Stats


class RuntimeDriver(ABC):
    """One way to run containers. Made once per daemon: ``Driver(host, options)``; the constructor touches nothing.

    ``Options`` is a ``msgspec.Struct`` with ``forbid_unknown_fields=True``: the keys under ``runtime.options.NAME``
    in ``config.yaml``. Every method takes the container's id (64 hex characters) and may be called from any thread.
    ``pid`` arguments are the init's pid as the monitor's half returned it.
    """

    contract: ClassVar[int] = CONTRACT_VERSION
    monitor_module: ClassVar[str]

    class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
        pass

    def __init__(self, host: Host, options: msgspec.Struct) -> None:
        self.host = host
        self.options = options

    @abstractmethod
    def check(self) -> Check:
        """Can this driver work on this machine? Changes nothing that outlives the call."""

    @abstractmethod
    def features(self) -> RuntimeFeatures:
        """What this driver can do; constant."""

    @abstractmethod
    def order(self, bundle: Bundle) -> Order:
        """Turn a bundle into what ``monitor_module.start`` needs. ``Unsupported`` names what this runtime cannot do.

        Makes nothing in the kernel. ``order["terminal"]`` repeats the spec's ``process.terminal``.
        """

    def usual(self, spec: Mapping[str, Any]) -> Any:
        """What ``monitor_module.ready`` is given: whatever it needs to know of the containers that will most likely
        come, marshalled. ``spec`` is one of a container without wishes of its own. Makes nothing."""
        return None

    @abstractmethod
    def exec_order(self, process: ExecProcess, pid: int, spec: Mapping[str, Any]) -> Order:
        """The same for ``monitor_module.exec``; ``spec`` is the one that the container was started with."""

    @abstractmethod
    def signal(self, container: str, pid: int, signal: int) -> None:
        """Send a signal to the init. ``NotFound`` if it is gone."""

    @abstractmethod
    def processes(self, container: str, pid: int) -> list[int]:
        """The pids, as seen from the host, of all processes in the container; the init first."""

    @abstractmethod
    def pause(self, container: str) -> None:
        """Freeze all processes; returns when they are frozen. Idempotent. ``NotFound`` if it has ended."""

    @abstractmethod
    def resume(self, container: str) -> None:
        """Thaw all processes. Idempotent, and nothing happens if it has ended."""

    def frozen(self, container: str) -> bool:
        """Is it frozen, by :meth:`pause` or by anybody else? A runtime that cannot tell says no: then an exec in one
        that others have frozen fails when its time is over."""
        return False

    @abstractmethod
    def update(self, container: str, resources: Mapping[str, Any]) -> None:
        """Change the limits of a running container: ``resources`` is OCI's ``linux.resources``. All of them or none.

        -1 is no limit, for shares and weights 0 is the kernel's default, and an empty list of CPUs or memory nodes
        is all that there are. ``Conflict`` if a limit is below what is in use, ``Invalid`` if the kernel refuses one.
        """

    @abstractmethod
    def stats(self, container: str) -> Stats:
        """The container's counters now. ``NotFound`` if it does not run."""

    def starvation(self, container: str) -> int | None:
        """A new descriptor that polls readable when the kernel kills in the container for want of memory, at most a
        moment before ``stats().oom_kills`` has grown. The caller reads from it and closes it.

        None: this runtime cannot tell before the container's end. ``NotFound`` if it does not run.
        """
        return None

    @abstractmethod
    def remove(self, container: str) -> None:
        """Kill whatever is left of the container and remove all that was made in the kernel for it. Idempotent."""

    @abstractmethod
    def restore(self, running: Collection[str]) -> None:
        """After a crash: ``remove`` every container of this instance that is not named; leave the others alone."""
