"""An image of this host's own programs: a first container on a machine without a registry.

Taken are the programs, the scripts' interpreters, the libraries and the dynamic loader, all with the links and
directories that lead to them, and the few files without which programs do not know a user, a host or a terminal.
The same files make the same image: entries are sorted, files keep their times, and the image is as old as its newest
file. Accounts of people (uid 1000 and up) stay at home.
"""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from sampan.errors import Invalid, NotFound
from sampan.images import host_runtimes
from sampan.images.content import Ingest
from sampan.images.host_tree import HostTree
from sampan.images.linker import CACHE, Linker

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
USEFUL = (
    *("sh", "bash", "[", "awk", "basename", "cat", "chgrp", "chmod", "chown", "clear", "cp", "cut", "date", "dd", "df"),
    *("dirname", "du", "echo", "egrep", "env", "expr", "false", "fgrep", "find", "free", "grep", "gunzip", "gzip"),
    *("head", "hostname", "id", "ip", "kill", "ln", "ls", "md5sum", "mkdir", "mknod", "mktemp", "more", "mount", "mv"),
    *("nc", "nproc", "od", "pgrep", "ping", "printenv", "printf", "ps", "pwd", "readlink", "realpath", "rm", "rmdir"),
    *("sed", "seq", "sha256sum", "sleep", "sort", "stat", "stty", "sync", "tail", "tar", "tee", "test", "timeout"),
    *("top", "touch", "tr", "true", "truncate", "tty", "umount", "uname", "uniq", "wc", "which", "whoami", "xargs"),
    *("yes", "zcat", "busybox"),
)
SHELLS = ("bash", "sh")  # the first that is there is the image's command
TERMINALS = (
    *("ansi", "dumb", "linux", "rxvt", "screen", "screen-256color", "tmux", "tmux-256color"),
    *("vt100", "vt220", "xterm", "xterm-256color", "xterm-color"),
)
TERMINFO = ("/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo")
LOADED_AT_RUN_TIME = ("libnss_files.so.2", "libnss_dns.so.2", "libgcc_s.so.1")  # glibc's own dlopen(3)s
TOP_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
EMPTY = ("/dev", "/etc", "/home", "/mnt", "/opt", "/proc", "/run", "/srv", "/sys", "/usr", "/var", "/var/log")
PERSON = 1000  # the first uid and gid of people; 65534 is nobody
SCRIPTS_IN_A_ROW = 4

_WHERE = f"names are looked up in {PATH}, others are given by their absolute path"
_APPLET = re.compile(r"[A-Za-z0-9._\[-]+")


class Packed(NamedTuple):
    """Beside the layer: the ``config`` object of the image, its date and its step of history."""

    config: dict[str, Any]
    created: str
    step: dict[str, Any]


def pack(programs: Sequence[str], out: Ingest) -> Packed:
    """Write the layer of an image of these programs (names, or absolute paths; none: a useful set).

    ``NotFound`` names programs that this host does not have, or libraries that it lacks for one.
    """
    gathering = _Gathering()
    if programs:
        gathering.named(programs)
    else:
        gathering.useful()
    gathering.surroundings()
    gathering.tree.write(cast(BinaryIO, out))
    created = datetime.fromtimestamp(gathering.tree.newest(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    command = next((shell for shell in SHELLS if shell in gathering.names), None) or gathering.first
    config = {"Cmd": [command], "Env": [f"PATH={PATH}"], "WorkingDir": "/"}
    step = {"created": created, "created_by": " ".join(["sampan image from-host", *programs])}
    return Packed(config, created, step)


def which(program: str) -> str | None:
    """The path of a program: an absolute path as it is, a name looked up where distributions put programs."""
    if program.startswith("/"):
        candidates = [posixpath.normpath(program)]
    elif "/" in program or not program:
        return None
    else:
        candidates = [f"{directory}/{program}" for directory in PATH.split(":")]
    return next((each for each in candidates if Path(each).is_file() and os.access(each, os.X_OK)), None)


class _Gathering:
    """One image in the making."""

    def __init__(self) -> None:
        self.tree = HostTree()
        self.names: set[str] = set()
        self.first = ""
        self._linker = Linker()
        self._libraries: set[str] = set()
        self._reads_zones = False  # by any name
        self._glibc: str | None = None  # some program that runs with glibc's loader

    def named(self, programs: Sequence[str]) -> None:
        missing = [program for program in programs if which(program) is None]
        if missing:
            raise NotFound(f"this host has no program {', '.join(map(repr, missing))} that can be executed ({_WHERE})")
        for program in programs:
            path = cast(str, which(program))
            self._program(path)
            self.first = self.first or (program if program.startswith("/") else posixpath.basename(path))
            if posixpath.basename(path) == "busybox":
                self._applets(path)

    def useful(self) -> None:
        """The default set; what this host does not have is left out."""
        for program in USEFUL:
            path = which(program)
            if path is not None:
                with suppress(NotFound):
                    self._program(path)
                    self.first = self.first or program

    def surroundings(self) -> None:
        """What programs expect of any system."""
        self.tree.add_all(path for path in TOP_LINKS if Path(path).is_symlink())
        for path in EMPTY:
            self.tree.directory(path, 0o555 if path in ("/proc", "/sys") else 0o755)
        self.tree.directory("/root", 0o700)
        for path in ("/tmp", "/var/tmp"):
            self.tree.directory(path, 0o1777)
        self.tree.file("/etc/passwd", _accounts(Path("/etc/passwd"), "root:x:0:0:root:/root:/bin/sh"))
        self.tree.file("/etc/group", _accounts(Path("/etc/group"), "root:x:0:"))
        self.tree.file("/etc/hosts", b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
        self.tree.file("/etc/nsswitch.conf", b"passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n")
        if self._glibc is not None:
            self._run_time_libraries(self._glibc)
        self._read_by_many()
        if self._linker.used_cache:
            self.tree.add_all([str(CACHE)])
        if any(posixpath.basename(each).startswith(("libtinfo", "libncurses")) for each in self._libraries):
            names = [f"{root}/{name[0]}/{name}" for root in TERMINFO for name in TERMINALS]
            self.tree.add_all(names)

    def _read_by_many(self) -> None:
        """Names of services, the locale that every system has, the time zone, and whom to trust."""
        read = [*host_runtimes.SERVICES, *host_runtimes.LOCALES, *host_runtimes.zones(self._reads_zones)]
        if host_runtimes.speaks_tls(self._libraries):
            read += host_runtimes.CERTIFICATES
        for path in read:
            for file in host_runtimes.below(path):
                self._data(file)

    def _program(self, path: str, depth: int = 0) -> None:
        """A program and what it needs to start. ``NotFound`` names what is missing."""
        real = self.tree.add(path)
        self.names.add(posixpath.basename(path))
        interpreter = _interpreter(real)
        if interpreter and depth < SCRIPTS_IN_A_ROW:
            for each in interpreter:
                self._program(each, depth + 1)
        libraries, missing = self._linker.closure(real)
        if missing:
            raise NotFound(f"this host lacks the libraries {', '.join(missing)}, which {path} needs")
        for library in libraries:
            self.tree.add(library)
        self._libraries.update(libraries)
        if any(posixpath.basename(each).startswith(("ld-linux", "ld64")) for each in libraries):
            self._glibc = self._glibc or real
        for tree in host_runtimes.trees(path, real):
            self._reads_zones = self._reads_zones or host_runtimes.is_python(real)
            for file in host_runtimes.below(tree):
                self._data(file)

    def _data(self, path: str) -> None:
        """A file that a program reads later, with the libraries that it needs itself; what is not there is left out."""
        with suppress(NotFound, Invalid):
            real = self.tree.add(path)
            if ".so" in posixpath.basename(real) or os.access(real, os.X_OK):
                libraries = self._linker.closure(real)[0]
                self.tree.add_all(libraries)
                self._libraries.update(libraries)

    def _run_time_libraries(self, program: str) -> None:
        headers = self._linker.elf(program)
        for name in LOADED_AT_RUN_TIME if headers else ():
            found = self._linker.find(name, headers, program)  # type: ignore[arg-type]
            if found:
                self.tree.add_all([found, *self._linker.closure(found)[0]])

    def _applets(self, busybox: str) -> None:
        """busybox does the work of all the names that it lists, wherever nothing else is called so."""
        here = posixpath.dirname(self.tree.add(busybox))
        for name in _list_applets(busybox):
            self.names.add(name)
            if f"{here}/{name}" not in self.tree:
                self.tree.link(f"{here}/{name}", posixpath.basename(busybox))


def _interpreter(path: str) -> list[str]:
    """The programs that a script's first line names: the interpreter, and what ``env`` is to look up."""
    with Path(path).open("rb") as script:
        line = script.read(256).partition(b"\n")[0]
    if not line.startswith(b"#!"):
        return []
    words = os.fsdecode(line[2:]).split()
    named = words[:1]
    if words and posixpath.basename(words[0]) == "env":
        wanted = next((word for word in words[1:] if not word.startswith("-") and "=" not in word), "")
        named += [found] if (found := which(wanted)) else []
    return named


def _list_applets(busybox: str) -> Iterable[str]:
    try:
        listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, timeout=10, check=True, env={})
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return []
    return [name for name in listed.stdout.split() if _APPLET.fullmatch(name) and name not in (".", "..")]


def _accounts(path: Path, fallback: str) -> bytes:
    """The system's lines of ``/etc/passwd`` or ``/etc/group``; members of groups are people, too."""
    kept = []
    for line in path.read_text("utf-8", "replace").splitlines() if path.is_file() else []:
        fields = line.split(":")
        if len(fields) >= 4 and fields[2].isdigit() and (int(fields[2]) < PERSON or int(fields[2]) == 65534):
            kept.append(":".join([*fields[:3], ""] if len(fields) == 4 else fields))
    return ("\n".join(kept or [fallback]) + "\n").encode()
