"""nftables: transactions in nft(8)'s own language, through libnftables, or through the nft command.

libnftables (libnftables(3)) does a transaction in 0.2 ms where starting
the command takes 7. Each call of :meth:`Nftables.run` is one transaction: the kernel does all of it or nothing.
No policy here: tables, chains and rules are the caller's.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import socket
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from sampan.errors import Conflict, Exhausted, Forbidden, Internal, NotFound, SampanError, Unavailable, Unsupported

MISSING = (
    "the firewall needs libnftables or the nft command, and neither is here: "
    "install the package libnftables1 or nftables (apt-get install nftables)"
)
_LIBRARY = "libnftables.so.1"
_LIBC = ctypes.CDLL(None)
_STATELESS, _JSON = 1 << 2, 1 << 4  # NFT_CTX_OUTPUT_STATELESS, NFT_CTX_OUTPUT_JSON
_PR_SET_NAME, _PR_GET_NAME, _NAME_ROOM = 15, 16, 16  # prctl(2)
_TIMEOUT = 30.0  # seconds for the nft command
_FD_SETSIZE, _SPARE, _TRIES = 1024, 4, 100
_NETLINK_NETFILTER = 12

_KINDS: tuple[tuple[str, type[SampanError]], ...] = (
    ("No such file or directory", NotFound),
    ("File exists", Conflict),
    ("Device or resource busy", Conflict),
    ("Operation not permitted", Forbidden),
    ("Operation not supported", Unsupported),
    ("Cannot allocate memory", Exhausted),
    ("syntax error", Internal),
)


class Nftables(ABC):
    """The rules of the network namespace of the thread that made this. Thread-safe. Made by :func:`open_nftables`."""

    @abstractmethod
    def _do(self, commands: str, *, json_output: bool) -> tuple[bool, str, str]:
        """Whether it worked, what it printed, what it complained of."""

    def run(self, commands: str) -> None:
        """One transaction. ``NotFound`` if it names what is not there, ``Conflict`` if it makes what is there."""
        worked, _, complaint = self._do(commands, json_output=False)
        if not worked:
            raise _failure(complaint)

    def list(self, what: str) -> list[dict[str, Any]]:
        """What ``list WHAT`` gives, as libnftables-json(5) describes it, without the header."""
        worked, output, complaint = self._do(f"list {what}", json_output=True)
        if not worked:
            raise _failure(complaint)
        found: list[dict[str, Any]] = json.loads(output)["nftables"] if output else []
        return [one for one in found if "metainfo" not in one]

    def text(self, what: str) -> str:
        """The same in nft(8)'s own words, without counters: what :meth:`run` understands."""
        worked, output, complaint = self._do(f"list {what}", json_output=False)
        if not worked:
            raise _failure(complaint)
        return output

    @property
    def signs(self) -> bool:
        """Do its transactions carry the name that it was opened with?"""
        return False

    def close(self) -> None:
        return


_ONE_AT_A_TIME = threading.Lock()
"""libnftables keeps state outside its contexts (parser, xtables, symbol tables) and promises nothing of threads: what
two of them do to it at once can end the whole process. So all contexts of a process take turns."""


_kept: list[int] = []
"""Low descriptors, for the time when all others are in use (:func:`_context`)."""


class _Library(Nftables):
    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        self._lock = _ONE_AT_A_TIME
        self._name = name
        self._library = library
        with self._lock:
            self._context = _context(library)
            library.nft_ctx_buffer_output(self._context)
            library.nft_ctx_buffer_error(self._context)

    def _do(self, commands: str, *, json_output: bool) -> tuple[bool, str, str]:
        with self._lock, signed(self._name):
            library = self._library
            if not self._context:
                raise Unavailable("the firewall was closed")
            library.nft_ctx_output_set_flags(self._context, _JSON if json_output else _STATELESS)
            code = library.nft_run_cmd_from_buffer(self._context, commands.encode())
            output = library.nft_ctx_get_output_buffer(self._context) or b""
            complaint = library.nft_ctx_get_error_buffer(self._context) or b""
        return code == 0, output.decode(errors="replace"), complaint.decode(errors="replace")

    @property
    def signs(self) -> bool:
        return bool(self._name)

    def close(self) -> None:
        with self._lock:
            self._library.nft_ctx_free(self._context)
            self._context = ctypes.c_void_p()
            _keep()


class _Command(Nftables):
    def __init__(self, path: str) -> None:
        self._path = path

    def _do(self, commands: str, *, json_output: bool) -> tuple[bool, str, str]:
        # With -j the command would read JSON from its input: what is listed is named by arguments.
        order = [self._path, "-j", *commands.split()] if json_output else [self._path, "-s", "-f", "-"]
        try:
            done = subprocess.run(order, input=commands, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{self._path} could not be run: {error}") from None
        return done.returncode == 0, done.stdout, done.stderr


def available() -> bool:
    """Can :func:`open_nftables` work here? Opens nothing."""
    return _load() is not None or shutil.which("nft") is not None


def open_nftables(name: str = "") -> Nftables:
    """The library if it is here, else the command; ``Unavailable`` says what to install.

    The library's transactions are told to those who watch (:mod:`sampan.linux.rulewatch`) as those of ``name``, of
    which the kernel takes 15 bytes.
    """
    library = _load()
    if library is not None:
        try:
            return _Library(library, name)
        except Exhausted:
            if not shutil.which("nft"):
                raise
    command = shutil.which("nft")
    if command is None:
        raise Unavailable(MISSING)
    return _Command(command)


def _context(library: ctypes.CDLL) -> ctypes.c_void_p:
    """One whose socket has a low descriptor. libnftables waits with select(2), and the C library ends a process that
    does so with FD_SETSIZE or more (select(2), "BUGS"). ``Exhausted`` if there is none."""
    _keep()
    for _ in range(_TRIES):
        place = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.close(place)
        if place >= _FD_SETSIZE:
            if not _kept:
                break
            place = _kept.pop()
            os.close(place)
        context = ctypes.c_void_p(library.nft_ctx_new(0))
        if not context:
            raise Unavailable("libnftables could not be set up: the kernel refused a netlink socket")
        if _speaks_netfilter(place):
            return context
        library.nft_ctx_free(context)  # another thread was quicker: who knows which descriptor this one has
        _keep()
    raise Exhausted(f"libnftables needs a descriptor below {_FD_SETSIZE}, and all of them are in use")


def _keep() -> None:
    while len(_kept) < _SPARE:
        place = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        if place >= _FD_SETSIZE:
            os.close(place)
            return
        _kept.append(place)


def _speaks_netfilter(descriptor: int) -> bool:
    try:
        found = socket.socket(fileno=descriptor)
    except OSError:
        return False
    try:
        return found.family == socket.AF_NETLINK and found.proto == _NETLINK_NETFILTER
    finally:
        found.detach()


@contextlib.contextmanager
def signed(name: str) -> Iterator[None]:
    """Let the calling thread have another name for a moment: it is what the kernel tells of whoever changes rules."""
    if not name:
        yield
        return
    libc, before = _LIBC, ctypes.create_string_buffer(_NAME_ROOM)
    libc.prctl(_PR_GET_NAME, before)
    libc.prctl(_PR_SET_NAME, name.encode())
    try:
        yield
    finally:
        libc.prctl(_PR_SET_NAME, before)


def _load() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    context = ctypes.c_void_p
    library.nft_ctx_new.restype = context
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_free.argtypes = [context]
    library.nft_ctx_free.restype = None
    library.nft_ctx_output_set_flags.argtypes = [context, ctypes.c_uint]
    library.nft_run_cmd_from_buffer.argtypes = [context, ctypes.c_char_p]
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = [context]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [context]
        getattr(library, name).restype = ctypes.c_char_p
    return library


def _failure(complaint: str) -> SampanError:
    """nft says ``Error: …`` and then quotes the command with a marker under it: the first line is the sentence."""
    lines = [line for line in complaint.splitlines() if line.strip()] or ["nft failed and did not say why"]
    said = next((line for line in lines if "Error:" in line), lines[0])
    said = said[said.index("Error:") + len("Error:") :].strip() if "Error:" in said else said.strip()
    where = lines[1].strip() if len(lines) > 1 else ""
    kind = next((kind for text, kind in _KINDS if text in said), Unavailable)
    return kind(f"the firewall refused {where!r}: {said}" if where else f"the firewall refused: {said}")
