"""The chroot runtime driver, the daemon's half. Isolation of the file system only: see the README before you use it."""

from __future__ import annotations

import logging
import os
import signal as signals
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

import msgspec

from sampan.drivers import RuntimeDriver
from sampan.drivers.types import Bundle, Check, ExecProcess, Order, RuntimeFeatures, Stats
from sampan.errors import NotFound, Unsupported
from sampan.linux import capabilities
from sampan_chroot import order as orders
from sampan_chroot import roots

log = logging.getLogger(__name__)

_NEEDED = ("SYS_CHROOT", "SETUID", "SETGID", "SETPCAP", "SYS_PTRACE")
_WHY = {
    "pause": "nothing holds the container's processes together, so they cannot be frozen",
    "update": "there are no limits that could be changed",
    "stats": "nothing counts what the container uses",
    "tty": "there is no devpts without a mount of its own",
    "join_namespaces": "there are no namespaces",
    "init": "process 1 is the host's",
    "user_namespaces": "there are no namespaces",
    "host_cgroups": "there are no control groups",
}


class Chroot(RuntimeDriver):
    contract = 1
    monitor_module = "sampan_chroot.monitor"

    class Options(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
        pass

    def check(self) -> Check:
        missing = [name for name in _NEEDED if not capabilities.permitted() >> capabilities.NAMES.index(name) & 1]
        if missing:
            return Check(False, f"it needs root: this process lacks CAP_{', CAP_'.join(missing)}")
        return Check(True, f"be warned: {orders.SHARED}")

    def features(self) -> RuntimeFeatures:
        off = dict.fromkeys(_WHY, False)
        return RuntimeFeatures(isolation="filesystem", **off, why=_WHY)

    def order(self, bundle: Bundle) -> Order:
        orders.check(bundle.spec)
        made = orders.process(bundle.spec["process"])
        files = orders.files(bundle.spec)
        log.warning("container %s runs under chroot: %s", bundle.id[:12], orders.SHARED)
        return {**made, "init": True, "files": files, "record": self._record(bundle.id)}

    def exec_order(self, process: ExecProcess, pid: int, spec: Mapping[str, Any]) -> Order:
        if pid not in self._pids(process.container):
            raise NotFound(f"container {process.container[:12]} is not running")
        return {**orders.process(process.process), "pid": pid, "record": self._record(process.container)}

    def signal(self, container: str, pid: int, signal: int) -> None:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            raise NotFound(f"container {container[:12]} is not running") from None
        try:
            if pid not in self._pids(container):
                raise NotFound(f"container {container[:12]} is not running")
            signals.pidfd_send_signal(fd, signal)
        except ProcessLookupError:
            raise NotFound(f"container {container[:12]} is not running") from None
        finally:
            os.close(fd)

    def processes(self, container: str, pid: int) -> list[int]:
        return sorted(self._pids(container), key=lambda each: (each != pid, each))

    def pause(self, container: str) -> None:
        _cannot("pause")

    def resume(self, container: str) -> None:
        _cannot("pause")

    def update(self, container: str, resources: Mapping[str, Any]) -> None:
        _cannot("update")

    def stats(self, container: str) -> Stats:
        _cannot("stats")

    def remove(self, container: str) -> None:
        roots.end(self._record(container))

    def restore(self, running: Collection[str]) -> None:
        if not self.host.exec_root.is_dir():
            return
        for path in self.host.exec_root.iterdir():
            if path.name not in running:
                roots.end(str(path))

    def _record(self, container: str) -> str:
        return str(self.host.exec_root / container)

    def _pids(self, container: str) -> list[int]:
        identity = roots.read(self._record(container))
        return roots.processes(identity) if identity else []


def _cannot(feature: str) -> NoReturn:
    raise Unsupported(f"the chroot runtime has no {feature}: {_WHY[feature]}")
