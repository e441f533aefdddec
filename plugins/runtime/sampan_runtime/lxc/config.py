"""From an OCI runtime configuration to an order: LXC's configuration of the container, as far as the daemon knows it.

Where mounts go is found out when the root file system is there (``stage``). Everything else is worked out here, in the
words of lxc.container.conf(5), so that the monitor imports little.
"""

from __future__ import annotations

import os
import resource
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sampan.drivers.errors import Invalid, Unsupported
from sampan.drivers.types import INIT
from sampan.linux import capabilities
from sampan_runtime.control import limits
from sampan_runtime.lxc import text
from sampan_runtime.native import order as orders
from sampan_runtime.native import rootfs

NAMESPACES = {"mount": "mnt", "uts": "uts", "ipc": "ipc", "pid": "pid", "network": "net", "cgroup": "cgroup"}
"""What LXC calls the namespaces of the OCI specification."""

NO_HOST_CGROUPS = (
    "LXC gives a container that joins another namespace, such as its network's, a cgroup namespace of its own"
)

_HEAD = """\
Made by sampan for this run of the container, from what its engine, storage and network drivers gave. LXC's commands
know the container: lxc-info, lxc-attach, lxc-freeze, with -P {lxcpath} -n {name}.
To start it by hand, once sampan has stopped it: attach its root file system at lxc.rootfs.path (while sampan runs it,
it is there for lxc-start alone), take away mounts whose source has gone and lxc.namespace.share.net, and then
lxc-start -F -P {lxcpath} -n {name}"""


def head(container: str, lxcpath: str) -> list[bytes]:
    return [text.comment(each) for each in _HEAD.format(lxcpath=lxcpath, name=container).splitlines()]


def process(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """OCI's ``process``, as ``last`` needs it."""
    made = orders.process(wanted, None)
    if not capabilities.permitted() & capabilities.mask(["CAP_SYS_RESOURCE"]):
        made["rlimits"] = [(number, *_lowered(number, soft, hard)) for number, soft, hard in made["rlimits"]]
    return made


def _lowered(number: int, soft: int, hard: int) -> tuple[int, int]:
    """Raising a hard limit takes CAP_SYS_RESOURCE: as near as this machine lets us."""
    _, ceiling = resource.getrlimit(number)
    if ceiling == -1:
        return soft, hard
    return (ceiling if soft == -1 else min(soft, ceiling)), (ceiling if hard == -1 else min(hard, ceiling))


def lines(spec: Mapping[str, Any], made: Mapping[str, Any], seccomp: str) -> Iterator[bytes]:
    """All but root, cgroups and mounts. ``made`` is from :func:`process`, ``seccomp`` the path of the policy."""
    linux = spec.get("linux") or {}
    if spec.get("hostname"):
        yield text.line("lxc.uts.name", spec["hostname"])
    yield from _namespaces(linux.get("namespaces") or ())
    yield from _first_process(made)
    if powerful(made):
        yield text.comment("LXC leaves a user no capabilities: these are what sampan's own start gives them from.")
    yield text.line("lxc.cap.keep", " ".join(_names(made["capabilities"]["bounding"])) or "none")
    if made["no_new_privileges"]:
        yield text.line("lxc.no_new_privs", "1")
    if seccomp:
        yield text.line("lxc.seccomp.profile", seccomp)
    yield text.line("lxc.apparmor.profile", "unconfined")
    for number, soft, hard in made["rlimits"]:
        yield text.line(f"lxc.prlimit.{_LIMITS[number]}", f"{_limit(soft)}:{_limit(hard)}")
    if made["oom_score_adj"] is not None:
        yield text.comment(
            f"lxc.proc.oom_score_adj = {made['oom_score_adj']}: lxc-start was given it, and passes it on"
        )
    yield text.line("lxc.tty.max", "0")
    if not made["terminal"]:
        yield text.line("lxc.console.path", "none")
    for key, value in (linux.get("sysctl") or {}).items():
        yield text.comment(
            f"lxc.sysctl.{key} = {value}: set in another way, LXC would do it when /proc/sys is read-only"
        )


def powerful(made: Mapping[str, Any]) -> bool:
    """Does it get other capabilities than execve(2) gives it by itself?"""
    return bool(made["capabilities"]["ambient"] or made["capabilities"]["inheritable"])


_LIMITS = {
    number: name.removeprefix("RLIMIT_").lower()
    for name, number in vars(resource).items()
    if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"
} | {10: "locks"}


def _limit(value: int) -> str:
    return "unlimited" if value < 0 else str(value)


def _names(mask: int) -> list[str]:
    return [name.lower() for number, name in enumerate(capabilities.NAMES) if mask >> number & 1]


def _namespaces(wanted: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    own: list[Mapping[str, Any]] = []
    shared: list[Mapping[str, Any]] = []
    for each in wanted:
        if each["type"] not in NAMESPACES:
            raise Unsupported(f"the lxc runtime has no {each['type']!r} namespaces yet")
        (shared if each.get("path") else own).append(each)
    kinds = [NAMESPACES[each["type"]] for each in own]
    if "mnt" not in kinds:
        raise Unsupported("LXC gives every container a mount namespace of its own")
    if shared and "cgroup" not in kinds:
        raise Unsupported(NO_HOST_CGROUPS)
    yield text.line("lxc.namespace.clone", " ".join(kinds))
    for each in shared:
        yield text.line(f"lxc.namespace.share.{NAMESPACES[each['type']]}", each["path"])
    yield text.line("lxc.net.0.type", "empty" if "net" in kinds else "none")


def _first_process(made: Mapping[str, Any]) -> Iterator[bytes]:
    yield text.line("lxc.init.uid", str(made["uid"]))
    yield text.line("lxc.init.gid", str(made["gid"]))
    if made["groups"]:
        yield text.line("lxc.init.groups", ",".join(map(str, made["groups"])))
    yield text.comment("These are for a start by hand: sampan's own has them in another way, byte for byte.")
    yield text.command(made["args"]) or text.comment(f"lxc.init.cmd cannot be written. {_by_hand(made['args'])}")
    if text.writable(made["cwd"]):
        yield text.line("lxc.init.cwd", made["cwd"])
    for name, value in made["env"].items():
        if text.writable(name + value):
            yield text.line("lxc.environment", name + b"=" + value)
        else:
            yield text.comment(f"lxc.environment: LXC has no way to write the value of {os.fsdecode(name)!r}")


def _by_hand(args: list[bytes]) -> str:
    words = shlex.join(map(os.fsdecode, args))
    return f"By hand: lxc-start … -- {words}" if text.writable(os.fsencode(words)) else "It has line breaks."


def cgroups(writes: Iterable[tuple[str, str]], unified: str | None, rules: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """Limits: control files and their values, and rules for devices that version 2 has no file for."""
    made = []
    for path, value in writes:
        name = os.path.basename(path)  # noqa: PTH119
        second = unified is not None and path.startswith(f"{unified}/")
        if value.strip():
            made.append(text.line(f"lxc.cgroup{'2' if second else ''}.{name}", value))
    for rule in rules:
        key = f"lxc.cgroup2.devices.{'allow' if rule['allow'] else 'deny'}"
        made += [text.line(key, limits.device(rule))]
    return made


def mounts(spec: Mapping[str, Any]) -> list[tuple[bytes, str, bytes, list[str]]]:
    """``(target, kind, source, options)``; kind ``bind`` is a bind mount. ``Unsupported`` names what LXC cannot do."""
    made = []
    for each in spec.get("mounts") or ():
        options = [option for option in each.get("options") or () if option]
        if {"shared", "rshared"} & set(options):
            raise Unsupported(
                f"the lxc runtime cannot mount {each['destination']} with shared propagation: LXC makes all mounts "
                "of the host slaves, so that nothing that a container mounts is seen outside of it; rslave is possible"
            )
        kind = "bind" if {"bind", "rbind"} & set(options) else each.get("type") or "none"
        source = os.fsencode(each.get("source") or kind)
        made.append((os.fsencode(each["destination"]), kind, source, options))
    return made


def device_nodes(linux: Mapping[str, Any]) -> list[tuple[bytes, int, int, int, int]]:
    """Those that LXC would not make by itself: ``(path, mode with type, device number, uid, gid)``."""
    made = []
    for each in linux.get("devices") or ():
        mode = _DEVICE_TYPES[each["type"]] | each.get("fileMode", 0o666)
        number = os.makedev(each.get("major", 0), each.get("minor", 0))
        made.append((os.fsencode(each["path"]), mode, number, each.get("uid", 0), each.get("gid", 0)))
    return [each for each in made if each not in rootfs.DEVICES]


_DEVICE_TYPES = {"c": 0o020000, "u": 0o020000, "b": 0o060000, "p": 0o010000}  # S_IFCHR, S_IFBLK, S_IFIFO


def sysctls(spec: Mapping[str, Any]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Files under /proc/sys and their values: those of a network namespace that is there already, and the others."""
    linux = spec.get("linux") or {}
    values = {key: str(value) for key, value in (linux.get("sysctl") or {}).items()}
    if spec.get("domainname"):
        values["kernel.domainname"] = spec["domainname"]
    joined = any(each["type"] == "network" and each.get("path") for each in linux.get("namespaces") or ())
    early: list[tuple[str, str]] = []
    late: list[tuple[str, str]] = []
    for key, value in values.items():
        path = "/proc/sys/" + key.replace(".", "/")
        if not text.writable(os.fsencode(path)):
            raise Invalid(f"{key!r} is no name of a kernel setting")
        (early if joined and key.startswith("net.") else late).append((path, value))
    return early, late


def has_init(spec: Mapping[str, Any]) -> bool:
    return (spec.get("annotations") or {}).get(INIT) == "true"


def network(spec: Mapping[str, Any]) -> bytes:
    """The namespace that the container joins, if there is one."""
    linux = spec.get("linux") or {}
    found = (each.get("path") for each in linux.get("namespaces") or () if each["type"] == "network")
    return os.fsencode(next(found, "") or "")
