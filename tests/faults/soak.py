"""``python tests/faults/soak.py [CONTAINERS [CLIENTS]]``: many containers, and what is left of them. Needs root.

Clients create, use and remove containers side by side; then the daemon's descriptors, threads and memory and all that
the engine has made are compared with what they were. Exits 1 if anything is left.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from harness import Engine

IMAGE = "small:latest"
WARM = 40  # containers before the first look: pools and caches are filled by then
POOLS = 8  # threads that its pools may have made meanwhile: they make them as they are needed, up to a bound
GROWTH = 8 << 10  # KiB of memory that the daemon may have gained: its allocator keeps what it once needed


def main() -> int:
    containers, clients = (int(word) for word in [*sys.argv[1:], *("300", "4")[len(sys.argv) - 1 :]])
    with Engine() as engine:
        engine.sampan("image", "from-host", "-t", IMAGE, "busybox", "sh", "sleep").ok()
        work(engine, WARM, clients)
        before, things = settled(engine), engine.leftovers()
        took = work(engine, containers, clients)
        after = settled(engine)
        engine.assert_as_before(things, patience=30)
    print(f"{containers} containers by {clients} clients in {took:.1f} s ({containers / took:.1f} a second)")
    for what, limit in {"descriptors": 0, "threads": POOLS, "memory (KiB)": GROWTH}.items():
        print(f"{what:14} {before[what]:8} → {after[what]:8}")
        if after[what] > before[what] + limit:
            print(f"the daemon keeps {what}")
            return 1
    return 0


def work(engine: Engine, containers: int, clients: int) -> float:
    """Seconds that it took."""
    left = iter(range(containers))
    lock = threading.Lock()
    failures: list[Exception] = []

    def client() -> None:
        while not failures:
            with lock:
                number = next(left, None)
            if number is None:
                return
            try:
                LIVES[number % len(LIVES)](engine, number)
            except Exception as failure:
                failures.append(failure)

    begun = time.monotonic()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return time.monotonic() - begun


def ask(engine: Engine, method: str, path: str, body: Any = None) -> Any:
    status, told = engine.api(method, path, body)
    assert status < 400, f"{method} {path}: {status} {told}"
    return told


def made(engine: Engine, command: list[str], **host: Any) -> str:
    body = {"Image": IMAGE, "Cmd": command, "HostConfig": host, "ExposedPorts": {"80/tcp": {}}}
    ident = str(ask(engine, "POST", "/containers/create", body)["Id"])
    ask(engine, "POST", f"/containers/{ident}/start")
    return ident


def brief(engine: Engine, number: int) -> None:
    """Runs to its end, on another network each, and is removed."""
    network = ("bridge", "none", "host")[number % 3]
    ident = made(engine, ["sh", "-c", "echo words; exit 3"], NetworkMode=network)
    assert ask(engine, "POST", f"/containers/{ident}/wait")["StatusCode"] == 3
    assert b"words" in ask(engine, "GET", f"/containers/{ident}/logs?stdout=1")
    ask(engine, "DELETE", f"/containers/{ident}")


def passing(engine: Engine, _number: int) -> None:
    """Removes itself."""
    made(engine, ["true"], AutoRemove=True, PublishAllPorts=True)


def busy(engine: Engine, _number: int) -> None:
    """Is executed in, paused, restarted and stopped."""
    ident = made(engine, ["sleep", "1000"], PublishAllPorts=True)
    exec_ = ask(engine, "POST", f"/containers/{ident}/exec", {"Cmd": ["true"], "AttachStdout": True})["Id"]
    ask(engine, "POST", f"/exec/{exec_}/start", {})
    for verb in ("pause", "unpause", "restart?t=0", "stop?t=0"):
        ask(engine, "POST", f"/containers/{ident}/{verb}")
    ask(engine, "DELETE", f"/containers/{ident}")


def refused(engine: Engine, _number: int) -> None:
    """Cannot be started."""
    body = {"Image": IMAGE, "Cmd": ["no such program"]}
    ident = ask(engine, "POST", "/containers/create", body)["Id"]
    assert engine.api("POST", f"/containers/{ident}/start")[0] == 400
    ask(engine, "DELETE", f"/containers/{ident}")


LIVES: list[Callable[[Engine, int], None]] = [brief, passing, busy, refused]


def settled(engine: Engine) -> dict[str, int]:
    """The daemon's own things, once nothing changes any more."""
    assert engine.daemon is not None
    proc = Path(f"/proc/{engine.daemon.pid}")
    found: dict[str, int] = {}
    for _ in range(100):
        last, found = (
            found,
            {
                "descriptors": len(list((proc / "fd").iterdir())),
                "threads": len(list((proc / "task").iterdir())),
                "memory (KiB)": int((proc / "status").read_text().partition("VmRSS:")[2].split()[0]),
            },
        )
        if last == found and engine.leftovers().links == {"lo", "up0", engine.bridge}:
            break
        time.sleep(0.3)
    return found


if __name__ == "__main__":
    sys.exit(main())
