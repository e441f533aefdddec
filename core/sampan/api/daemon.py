"""The daemon's process: the engine, the server around it, signals, the pidfile, and an end in good order.

SIGTERM and SIGINT stop it, and containers live on. SIGHUP does nothing, so that closing a terminal does not matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sampan import __version__
from sampan.errors import Conflict, SampanError, Unavailable

if TYPE_CHECKING:
    from sampan.api.listen import Listener
    from sampan.api.workers import Workers
    from sampan.config import Config
    from sampan.engine import Engine

log = logging.getLogger(__name__)

WORKERS = 64  # calls of the services at once; a stop that waits for its container holds one
PATIENCE = 1.0  # seconds, at the end, for calls whose clients are gone

_SWITCH = 0.0005  # seconds


def run(config: Config) -> int:
    """Serve until told to stop. Returns the exit status: 0, or 1 after one sentence on standard error."""
    started = time.monotonic()
    _log_to_stderr(config.log_level)
    # How long a thread may keep the interpreter while another waits for it: Python's 5 ms are a tenth of ``run``.
    sys.setswitchinterval(_SWITCH)
    try:
        with _pidfile(Path(config.pidfile)):
            return _run(config, started)
    except SampanError as error:
        print(f"sampan daemon: {error.message}", file=sys.stderr)
        return 1


def _run(config: Config, started: float) -> int:
    from sampan.api.listen import listen
    from sampan.api.workers import Workers
    from sampan.engine import Engine
    from sampan.linux import openfiles

    openfiles.take_more()
    engine = Engine(config)
    engine.open()
    try:
        listeners = listen(config.hosts, config.socket_group)
        workers = Workers(WORKERS)
        asyncio.run(_serve(engine, workers, listeners, started))
        workers.shutdown()
        if not workers.settle(PATIENCE):
            log.warning("calls that take longer are left behind")
    finally:
        engine.close()
    log.info("stopped; containers live on")
    return 0


async def _serve(engine: Engine, workers: Workers, listeners: list[Listener], started: float) -> None:
    from sampan.api.app import App
    from sampan.api.server import Server

    loop = asyncio.get_running_loop()
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: log.info("SIGHUP is ignored: restart to read the configuration"))
    server = Server(App(engine, workers))
    await server.start(listeners)
    gc.freeze()  # what is there now stays: the collector need not walk through it again and again
    hosts = ", ".join(listener.host for listener in listeners)
    ready = f"sampan {__version__} is ready after {time.monotonic() - started:.2f} s on {hosts}"
    print(ready, file=sys.stderr, flush=True)
    await told_to_stop.wait()
    log.info("told to stop")
    await server.stop()


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    threading.excepthook = _log_thread


def _log_thread(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else "?"
    log.error("thread %s died: %s", name, args.exc_value, exc_info=args.exc_value)


@contextlib.contextmanager
def _pidfile(path: Path) -> Iterator[None]:
    """Ours while the daemon runs. One of a daemon that is dead is taken over."""
    try:
        other = int(path.read_text())
    except (OSError, ValueError):
        other = 0
    if other and other != os.getpid() and _is_daemon(other):
        raise Conflict(f"a daemon is already running with process id {other} ({path}); give this one another --pidfile")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise Unavailable(f"cannot write the pidfile {path}: {os.strerror(error.errno or errno.EIO)}") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            if int(path.read_text()) == os.getpid():
                path.unlink()


def _is_daemon(pid: int) -> bool:
    """A process id can have been given to somebody else since, a dbus-daemon for instance; ours say who they are."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"sampan" in command and b"daemon" in command
    except OSError:
        return False
