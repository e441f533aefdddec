"""Which files the dynamic loader would load for a program, found as ld.so(8) finds them, without running it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from sampan.images import elf
from sampan.images.elf import Elf

CACHE = Path("/etc/ld.so.cache")
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_CACHE_HEADER = struct.Struct("=20sII20x")
_CACHE_ENTRY = struct.Struct("=iIIIQ")  # flags, name, path, os version, hardware capabilities
_PLATFORMS = {62: "x86_64", 183: "aarch64", 3: "i686", 40: "armv7l", 243: "riscv64"}  # e_machine
_TRIPLETS = {62: "x86_64-linux-gnu", 183: "aarch64-linux-gnu", 3: "i386-linux-gnu", 243: "riscv64-linux-gnu"}


class Linker:
    """Finds libraries on this host. Made anew for each image, so that it sees the host as it is now."""

    def __init__(self) -> None:
        self._cache = _read_cache(CACHE)
        self._read: dict[str, Elf | None] = {}
        self.used_cache = False
        """Was any library found only by the loader's cache, so that an image needs the cache too?"""

    def elf(self, path: str) -> Elf | None:
        """The ELF headers of a file, None for anything else."""
        if path not in self._read:
            try:
                self._read[path] = elf.read(Path(path))
            except OSError:
                self._read[path] = None
        return self._read[path]

    def closure(self, program: str) -> tuple[list[str], list[str]]:
        """Paths of the interpreter and of all libraries that a program needs, and the names that were not found."""
        found: dict[str, None] = {}
        missing: list[str] = []
        waiting: list[tuple[str, tuple[str, ...]]] = [(program, ())]
        while waiting:
            path, inherited = waiting.pop(0)
            headers = self.elf(path)
            if headers is None:
                continue
            if headers.interpreter:
                found[headers.interpreter] = None
            rpath = inherited if headers.runpath else (*_expanded(headers.rpath, path, headers), *inherited)
            for name in headers.needed:
                library = self.find(name, headers, path, rpath)
                if library is None:
                    missing.append(name)
                elif library not in found:
                    found[library] = None
                    waiting.append((library, rpath))
        return list(found), missing

    def find(self, name: str, wanted_by: Elf, path: str, rpath: tuple[str, ...] = ()) -> str | None:
        """The library that the loader would take; ``rpath``: what the object and those that loaded it say."""
        if "/" in name:
            return name if self._fits(name, wanted_by) else None
        runpath = _expanded(wanted_by.runpath, path, wanted_by)
        for directory in (*(() if wanted_by.runpath else rpath), *runpath):
            if self._fits(candidate := f"{directory}/{name}", wanted_by):
                return candidate
        cached = next((each for each in self._cache.get(name, ()) if self._fits(each, wanted_by)), None)
        default = next((each for each in _default(name, wanted_by) if self._fits(each, wanted_by)), None)
        self.used_cache |= cached is not None and default is None
        return cached or default

    def _fits(self, path: str, wanted_by: Elf) -> bool:
        headers = self.elf(path)
        return headers is not None and headers.loads(wanted_by)


def _default(name: str, wanted_by: Elf) -> Iterator[str]:
    """Where the loader looks at last, wherever its distribution has it look."""
    triplet = _TRIPLETS.get(wanted_by.machine)
    directories = [f"/lib/{triplet}", f"/usr/lib/{triplet}"] if triplet else []
    directories += ["/lib64", "/usr/lib64"] if wanted_by.bits == 64 else ["/lib32", "/usr/lib32"]
    for directory in [*directories, "/lib", "/usr/lib"]:
        yield f"{directory}/{name}"


def _expanded(paths: tuple[str, ...], path: str, headers: Elf) -> tuple[str, ...]:
    """``$ORIGIN``, ``$LIB`` and ``$PLATFORM`` in the search paths of an object."""
    origin = str(Path(path).resolve().parent)
    library = f"lib/{_TRIPLETS[headers.machine]}" if headers.machine in _TRIPLETS else "lib"
    values = {"ORIGIN": origin, "LIB": library, "PLATFORM": _PLATFORMS.get(headers.machine, "")}
    expanded = []
    for each in paths:
        for key, value in values.items():
            each = each.replace("${" + key + "}", value).replace("$" + key, value)
        expanded.append(each)
    return tuple(expanded)


def _read_cache(path: Path) -> dict[str, list[str]]:
    """Name → paths of a glibc loader cache (sysdeps/generic/dl-cache.h); empty if there is none that we can read."""
    try:
        data = path.read_bytes()
        start = data.index(_CACHE_MAGIC)  # an older table may come first
        data = data[start:]
        _, count, _ = _CACHE_HEADER.unpack_from(data)
        libraries: dict[str, list[str]] = {}
        for at in range(_CACHE_HEADER.size, _CACHE_HEADER.size + count * _CACHE_ENTRY.size, _CACHE_ENTRY.size):
            _, name, value, _, capabilities = _CACHE_ENTRY.unpack_from(data, at)
            if not capabilities:  # builds for certain processors; the plain one is always there too
                libraries.setdefault(_text(data, name), []).append(_text(data, value))
        return libraries
    except (OSError, ValueError, struct.error):
        return {}


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("utf-8", "surrogateescape")
