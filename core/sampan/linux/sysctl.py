"""Kernel settings under ``/proc/sys`` (sysctl(8)); ``net`` is that of the calling thread's network namespace."""

from __future__ import annotations

from pathlib import Path

from sampan.errors import Unavailable

ROOT = Path("/proc/sys")


def read(name: str) -> str:
    """``name`` is a path below ``/proc/sys``. ``OSError`` if there is no such setting."""
    return (ROOT / name).read_text().strip()


def write(name: str, value: str) -> None:
    """Does not write what is so already: where settings are read-only, right ones are good enough."""
    try:
        if read(name) != value:
            (ROOT / name).write_text(value)
    except OSError as error:
        raise Unavailable(f"the kernel setting {name} could not be set to {value}: {error.strerror}") from None


def forward_ipv6() -> None:
    """Let the host forward IPv6, without losing the routes that it learnt from its router.

    A link with ``accept_ra`` 1 stops listening to its router once the host forwards; with 2 it goes on
    (Linux Documentation/networking/ip-sysctl.rst).
    """
    if read("net/ipv6/conf/all/forwarding") == "1":
        return
    for link in (ROOT / "net/ipv6/conf").iterdir():
        if link.name not in ("all", "lo") and read(f"net/ipv6/conf/{link.name}/accept_ra") == "1":
            write(f"net/ipv6/conf/{link.name}/accept_ra", "2")
    write("net/ipv6/conf/all/forwarding", "1")
