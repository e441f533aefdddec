"""The host: kernel, capabilities, control groups, room on the disk, user namespaces, forwarding, name servers."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from sampan.config import Config
from sampan.diagnosis.marks import fine, note, wrong
from sampan.drivers.types import Finding
from sampan.linux import abilities, capabilities, sysctl
from sampan.linux.idmaps import IdMap

_OLDEST = (5, 12)
_NEEDED = {
    "SYS_ADMIN": "mounts and namespaces",
    "NET_ADMIN": "links, routes and the firewall",
    "SETUID": "users of containers",
    "SETGID": "groups of containers",
    "SETPCAP": "taking capabilities away from containers",
    "CHOWN": "files of images",
    "DAC_OVERRIDE": "files of containers",
    "FOWNER": "files of images",
    "MKNOD": "devices of containers",
    "KILL": "stopping containers of other users",
    "SYS_CHROOT": "the roots of containers",
}
_USEFUL = {
    "SYS_RESOURCE": "limits (--ulimit) above the daemon's own and negative --oom-score-adj are refused by the kernel",
    "SYS_PTRACE": "processes of other users' containers cannot be looked at",
    "NET_RAW": "containers cannot ping",
    "NET_BIND_SERVICE": "containers' users cannot bind ports below 1024",
    "SETFCAP": "files of images lose their capabilities",
    "AUDIT_WRITE": "containers lack it, which they have by default",
    "SYS_NICE": "real-time limits cannot be given",
}
_LITTLE, _VERY_LITTLE = 0.10, 0.02  # of a disk
_ENOUGH = 20 * 1024**3  # bytes
_PORT = 53
_ANSWER = 1.0  # seconds for a name server
_WHO_ARE_THE_ROOTS = b"\x5a\x3b\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"  # RFC 1035 4.1: . NS IN


def look(config: Config, ids: IdMap) -> Iterator[Finding]:
    yield kernel(os.uname().release)
    yield from powers(capabilities.permitted())
    yield from control_groups(abilities.of_host())
    for name, path in (("data root", config.data_root), ("exec root", config.exec_root)):
        yield from room(name, path)
    yield user_namespaces(ids)
    yield from bridged_frames()
    yield name_servers(Path("/etc/resolv.conf"))


def kernel(release: str) -> Finding:
    match = re.match(r"(\d+)\.(\d+)", release)
    if match and (int(match[1]), int(match[2])) < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        return wrong("kernel", f"Linux {release} is too old", f"{wanted} or newer is needed")
    return fine("kernel", f"Linux {release}")


def powers(mask: int) -> Iterator[Finding]:
    """What the daemon may do (capabilities(7)): less than root may in a container, or under a service manager."""

    def lacking(names: dict[str, str]) -> dict[str, str]:
        return {name: why for name, why in names.items() if not mask >> capabilities.NAMES.index(name) & 1}

    for name, why in lacking(_NEEDED).items():
        yield wrong(f"CAP_{name}", f"the daemon lacks it, and needs it for {why}", f"give the daemon CAP_{name}")
    for name, why in lacking(_USEFUL).items():
        yield note(f"CAP_{name}", f"the daemon lacks it: {why}", f"give the daemon CAP_{name} if you need that")
    if not lacking(_NEEDED):
        yield fine("capabilities", "the daemon may do what it must")


def control_groups(able: abilities.Abilities) -> Iterator[Finding]:
    limits = {
        "memory": able.memory,
        "processors": able.cpu_quota,
        "processes": able.pids,
        "block I/O": able.block_weight,
    }
    missing = [name for name, can in limits.items() if not can]
    swap = ["swap"] if able.memory and not able.swap else []
    if missing:
        what = f"containers' {', '.join(missing)} cannot be limited: the kernel lacks the controllers"
        yield note("control groups", what, "see the kernel's command line (cgroup_enable=) and /proc/cgroups")
    if swap:
        yield note("control groups", "swap cannot be limited", "boot with swapaccount=1 if you need that")
    if not missing:
        yield fine("control groups", f"{', '.join(limits)} can be limited")


def room(name: str, path: Path) -> Iterator[Finding]:
    """Bytes and inodes that are left below ``path``."""
    try:
        found = os.statvfs(path)
    except OSError as error:
        yield wrong(name, f"{path} cannot be looked at: {error.strerror}", "make it, or choose another")
        return
    free, whole = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    told = f"{_gigabytes(free)} of {_gigabytes(whole)} are free in {path}"
    clean = "sampan system prune removes what nothing uses"
    if whole and free < whole * _VERY_LITTLE:
        yield wrong(name, f"the disk is nearly full: {told}", clean)
    elif whole and free < min(whole * _LITTLE, _ENOUGH):
        yield note(name, f"there is little room: {told}", clean)
    elif found.f_files and found.f_favail < found.f_files * _VERY_LITTLE:
        yield wrong(name, f"{found.f_favail} of {found.f_files} inodes are free in {path}", clean)
    else:
        yield fine(name, told)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.3g} GB"


def user_namespaces(ids: IdMap) -> Finding:
    about = "user namespaces"
    try:
        most = int(sysctl.read("user/max_user_namespaces"))
    except (OSError, ValueError):
        most = 0
    if most:
        used = "containers have their own" if ids else "they are possible; runtime.userns_remap turns them on"
        return fine(about, used)
    if ids:
        return wrong(
            about, "containers need them, and the kernel gives none", "sysctl -w user.max_user_namespaces=15000"
        )
    return note(about, "the kernel gives none: runtime.userns_remap cannot be used here")


def bridged_frames() -> Iterator[Finding]:
    try:
        on = sysctl.read("net/bridge/bridge-nf-call-iptables") == "1"
    except OSError:
        return
    if on:
        what = "frames between containers of one network pass the host's firewalls, too (br_netfilter)"
        yield note("net.bridge", what, "sysctl -w net.bridge.bridge-nf-call-iptables=0 if others' rules are in the way")


def name_servers(path: Path) -> Finding:
    """Do those of resolv.conf(5) answer? All are asked at once."""
    about = "name servers"
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    servers = [words[1] for line in lines if (words := line.split()) and words[0] == "nameserver" and len(words) > 1]
    if not servers:
        return note(about, f"{path} names none: containers ask public ones", "set network.dns in config.yaml")
    answers = _asked(servers)
    if not answers:
        what = f"none of the host's ({', '.join(servers)}) answers within {_ANSWER:g} second"
        return note(about, what, f"put {path} right, or set network.dns in config.yaml")
    silent = [server for server in servers if server not in answers]
    if silent:
        return note(about, f"{', '.join(silent)} of {path} does not answer; {', '.join(answers)} does")
    return fine(about, f"{', '.join(servers)}: answers")


def _asked(servers: list[str]) -> list[str]:
    answered: dict[str, bool] = {}
    threads = [threading.Thread(target=lambda s=s: answered.update({s: _answers(s)}), daemon=True) for s in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * _ANSWER)
    return [server for server in servers if answered.get(server)]


def _answers(server: str) -> bool:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(_ANSWER)
            client.connect((server.partition("%")[0], _PORT))
            client.send(_WHO_ARE_THE_ROOTS)
            return client.recv(512)[:2] == _WHO_ARE_THE_ROOTS[:2]
    except OSError:
        return False
