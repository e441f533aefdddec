"""Network namespaces for tests, and packets between them: raw access that by-passes every driver.

The process's main thread can be moved into a namespace of its own (:func:`own_network`), which then plays the host:
whatever a test does to links and rules, the machine's own are never touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sampan.linux import mounts, netns, sysctl
from sampan.linux.namespaces import CLONE_NEWNET, setns, unshare

# The host of a test and its neighbour on a cable.
HOST_ADDRESS, OUTSIDE_ADDRESS = "198.51.100.1", "198.51.100.2"
HOST_ADDRESS_6, OUTSIDE_ADDRESS_6 = "2001:db8:ff::1", "2001:db8:ff::2"

PATIENCE = 3.0  # seconds until an answer that must come
SILENCE = 0.4  # seconds in which an answer that must not come would have come


class Namespace:
    """A network namespace with lo up. ``path`` names it for as long as it is open."""

    def __init__(self) -> None:
        self.fd = netns.create(lambda: _ip("link", "set", "lo", "up"))
        self.path = Path(f"/proc/{os.getpid()}/fd/{self.fd}")

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def ip(self, *args: str) -> Any:
        """What ``ip -j ARGS`` says inside."""
        return netns.inside(self.fd, lambda: _ip(*args))

    def socket(self, family: int, kind: int) -> socket.socket:
        return netns.inside(self.fd, lambda: socket.socket(family, kind))


class Host(Namespace):
    """The namespace that the test's thread is in."""

    def __init__(self) -> None:
        self.fd = netns.current()
        self.path = Path(f"/proc/{os.getpid()}/fd/{self.fd}")


@contextlib.contextmanager
def own_network() -> Iterator[Host]:
    """Move the calling thread into a new network namespace with lo up, and back at the end."""
    before = netns.current()
    try:
        unshare(CLONE_NEWNET)
        _ip("link", "set", "lo", "up")
        host = Host()
        try:
            yield host
        finally:
            host.close()
            setns(before, CLONE_NEWNET)
    finally:
        os.close(before)


def wire(host: Namespace, outside: Namespace, *, host_address: str, outside_address: str) -> None:
    """A cable between two namespaces; the outside has no route but to its own subnet."""
    name = f"wire{outside.fd}"
    host.ip("link", "add", name, "type", "veth", "peer", "name", "wire", "netns", str(outside.path))
    host.ip("address", "add", host_address, "dev", name, *_nodad(host_address))
    host.ip("link", "set", name, "up")
    outside.ip("address", "add", outside_address, "dev", "wire", *_nodad(outside_address))
    outside.ip("link", "set", "wire", "up")


class Server:
    """Answers each TCP connection and each UDP datagram on ``port`` with the address that it came from."""

    def __init__(self, namespace: Namespace, port: int, *, family: int = socket.AF_INET) -> None:
        self._stop = threading.Event()
        self._sockets = [namespace.socket(family, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
        for one in self._sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.settimeout(0.1)
            one.bind(("", port))
        self._sockets[0].listen()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._tcp, self._udp)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        for one in self._sockets:
            one.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tcp(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError):
                connection, peer = self._sockets[0].accept()
                with connection:
                    connection.sendall(str(peer[0]).encode())

    def _udp(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError):
                _, peer = self._sockets[1].recvfrom(64)
                self._sockets[1].sendto(str(peer[0]).encode(), peer)


def ask(namespace: Namespace, address: str, port: int, *, protocol: str = "tcp", patience: float = PATIENCE) -> str:
    """The address that a :class:`Server` there saw the namespace come from; ``""`` if there was no answer.

    It asks again and again: a new link takes the kernel up to a second to call usable.
    """
    deadline = time.monotonic() + patience
    while (left := deadline - time.monotonic()) > 0:
        if answer := _ask_once(namespace, address, port, protocol, min(left, SILENCE)):
            return answer
        time.sleep(0.02)
    return ""


def _ask_once(namespace: Namespace, address: str, port: int, protocol: str, patience: float) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with namespace.socket(family, kind) as client:
        client.settimeout(patience)
        try:
            client.connect((address, port))
            if protocol != "tcp":
                client.send(b"?")
            return client.recv(64).decode()
        except OSError:
            return ""


def silent(namespace: Namespace, address: str, port: int, *, protocol: str = "tcp") -> bool:
    """Is there no answer from there?"""
    return not ask(namespace, address, port, protocol=protocol, patience=SILENCE)


def send_loopback_by(namespace: Namespace, gateway: str) -> None:
    """Have the namespace send what is for 127.0.0.1 to a gateway: what a hostile neighbour would do."""

    def settings() -> None:
        for link in (sysctl.ROOT / "net/ipv4/conf").iterdir():
            sysctl.write(f"net/ipv4/conf/{link.name}/route_localnet", "1")

    netns.inside(namespace.fd, settings)
    if any(one["local"] == "127.0.0.1" for one in links(namespace)["lo"]["addr_info"]):
        namespace.ip("address", "delete", "127.0.0.1/8", "dev", "lo")
        namespace.ip("route", "add", "127.0.0.1/32", "via", gateway)


def let_go(directory: Path) -> None:
    """Detach whatever is mounted below the directory: namespaces that a test has left held."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        target = Path(line.split()[4])
        if directory in target.parents:
            mounts.detach(target)


def rules() -> str:
    """The whole rule set of the calling thread's namespace, in nft(8)'s words, without what was counted."""
    nft = shutil.which("nft")
    return (
        subprocess.run([nft, "--stateless", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
        if nft
        else ""
    )


def links(namespace: Namespace) -> dict[str, dict[str, Any]]:
    """The links of a namespace by name, as ``ip -j -d address`` describes them."""
    return {one["ifname"]: one for one in namespace.ip("-d", "address") if one.get("ifname")}


def _nodad(address: str) -> list[str]:
    return ["nodad"] if ":" in address else []


def _ip(*args: str) -> Any:
    """``ip -j``; fails loudly. Runs in the namespace of the calling thread."""
    done = subprocess.run(["ip", "-j", *args], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(args)}: {done.stderr.strip()}")
    return json.loads(done.stdout) if done.stdout.strip() else []
