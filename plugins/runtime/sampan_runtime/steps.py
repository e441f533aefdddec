"""A list of system calls as a program: what a process does before the user's command, without an interpreter.

A few instructions carry out a table of system calls, one after the other, the last of which is the execve. They are the
same for everybody; the table is data. They come in two forms.

A *file* that can be executed, for LXC: it executes a container's command by itself, and then nobody could say why that
failed, make its terminal the controlling one, or set its mask for new files; ``lxc-attach`` knows neither groups nor a
working directory.

A *function* that makes a process which shares the caller's memory until it executes its program (clone3(2), CLONE_VM
and CLONE_VFORK): an interpreter could not run in it, which has but one stack and one state for the two. These
instructions need neither stack nor memory of their own, and where memory is shared, none is copied.

An entry of the table is eleven words: the call's number, six arguments, its result, the entry that follows if it
succeeds, the one that follows if it fails, and where its result is stored besides, which may be an argument of a later
entry. Sources: elf(5), syscall(2), and the manuals of the processors for the instructions.
"""

from __future__ import annotations

import ctypes
import os
import struct

from sampan.linux import process
from sampan.linux.suppress import suppress
from sampan.linux.syscalls import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PAGE = 0x1000
_CODE = 0x400000  # where the program is loaded: its head and instructions
_DATA = 0x500000  # and its table, with all that the entries point to
_WORD = 8
_WORDS = 11
_ENTRY = _WORDS * _WORD
_RESULT, _STORE = 7, 10
_ZEROS = (0,) * 7  # arguments that a call does not have, and a result
_MASK = (1 << 64) - 1
_CLONE_VM, _CLONE_VFORK = 0x100, 0x4000
_EVERYTHING = 0xFFFFFFFF
_POLLIN = 1

# The table's address is loaded, in a file,
_FILE_BEGINS = {
    "x86_64": bytes.fromhex("bb00005000"),  # mov ebx, _DATA
    "aarch64": struct.pack("<I", 0xD2A00A13),  # movz x19, _DATA >> 16, lsl 16
}
# or it is the last argument of a function, the others being those of clone3, from which the caller returns at once.
_FUNCTION_BEGINS = {
    "x86_64": bytes.fromhex(
        "b8b3010000"  # mov eax, SYS_clone3
        "4989d0"  # mov r8, rdx
        "0f05"  # syscall
        "4885c0"  # test rax, rax
        "7401"  # jz child
        "c3"  # ret
        "4c89c3"  # child: mov rbx, r8
    ),
    "aarch64": struct.pack(
        "<5I",
        0xD2803668,  # movz x8, SYS_clone3
        0xD4000001,  # svc 0
        0xB4000040,  # cbz x0, child
        0xD65F03C0,  # ret
        0xAA0203F3,  # child: mov x19, x2
    ),
}
# Each turn loads an entry's words into the registers of a call, stores the result twice, and goes on with word 8 or 9.
_TURNS = {
    "x86_64": bytes.fromhex(
        "488b03"  # again: mov rax, [rbx]
        "488b7b08"  # mov rdi, [rbx+8]
        "488b7310"  # mov rsi, [rbx+16]
        "488b5318"  # mov rdx, [rbx+24]
        "4c8b5320"  # mov r10, [rbx+32]
        "4c8b4328"  # mov r8, [rbx+40]
        "4c8b4b30"  # mov r9, [rbx+48]
        "0f05"  # syscall
        "48894338"  # mov [rbx+56], rax
        "488b4b50"  # mov rcx, [rbx+80]
        "488901"  # mov [rcx], rax
        "488b4b40"  # mov rcx, [rbx+64]
        "4885c0"  # test rax, rax
        "7904"  # jns succeeded
        "488b4b48"  # mov rcx, [rbx+72]
        "4889cb"  # succeeded: mov rbx, rcx
        "ebc6"  # jmp again
    ),
    "aarch64": struct.pack(
        "<13I",
        0xF9400268,  # again: ldr x8, [x19]
        0xA9408660,  # ldp x0, x1, [x19, 8]
        0xA9418E62,  # ldp x2, x3, [x19, 24]
        0xA9429664,  # ldp x4, x5, [x19, 40]
        0xD4000001,  # svc 0
        0xF9001E60,  # str x0, [x19, 56]
        0xF9402A69,  # ldr x9, [x19, 80]
        0xF9000120,  # str x0, [x9]
        0xF9402269,  # ldr x9, [x19, 64]
        0xF940266A,  # ldr x10, [x19, 72]
        0xF100001F,  # cmp x0, 0
        0x9A8AA133,  # csel x19, x9, x10, ge
        0x17FFFFF4,  # b again
    ),
}
_ELF_MACHINES = {"x86_64": 62, "aarch64": 183}

MACHINES = frozenset(_TURNS)
"""As uname(2) names them."""


class Slot:
    """An argument that is the result of an earlier entry."""

    def __init__(self, entry: int) -> None:
        self.entry = entry


if TYPE_CHECKING:
    Argument = int | bytes | Sequence[bytes] | Slot


class Steps:
    """The table while it grows.

    A call that fails ends the program: as a file, it writes the table, with all results, to its descriptor 3.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[int, tuple[Argument, ...], int]] = []
        self._pidfd = -1

    def __len__(self) -> int:
        return len(self._entries)

    def call(self, number: int, *arguments: Argument, fails_to: int = -1) -> Slot:
        """Add an entry. Bytes and lists of them are passed by address; ``fails_to`` is the number of the entry that
        follows if the call fails, -1 ends the program."""
        self._entries.append((number, arguments, fails_to))
        return Slot(len(self._entries) - 1)

    def attempt(self, number: int, *arguments: Argument) -> Slot:
        """The same, and whether it succeeds does not matter."""
        return self.call(number, *arguments, fails_to=len(self._entries) + 1)

    def close_all(self, calls: Calls, *, unless_dead: int) -> None:
        """Close all descriptors but 0, 1 and 2, and end if the process ``unless_dead`` has died: its death may have
        come before this process could ask to hear of it (PR_SET_PDEATHSIG(2const))."""
        # If it has, its pidfd can be read, and ppoll gives 1, which are no flags for close_range(2).
        self._pidfd = os.pidfd_open(unless_dead)
        asked = struct.pack("=ihh", self._pidfd, _POLLIN, 0)
        news = self.call(calls.ppoll, asked, 1, bytes(16), 0, _WORD)
        self.call(calls.close_range, 3, _EVERYTHING, news)

    def fatal(self, entry: int) -> bool:
        """Does the program end if this one fails?"""
        return self._entries[entry][2] < 0

    def program(self, calls: Calls, machine: str) -> bytes:
        """The executable file."""
        code = _FILE_BEGINS[machine] + _TURNS[machine]
        return _elf(code, self._table(calls, _DATA, 3), _ELF_MACHINES[machine])

    def spawn(self, cgroup: int | None = None, *, sibling: bool = True) -> tuple[int, bool]:
        """Make a process, as :func:`sampan.linux.process.clone` does, or a child of the caller's, that carries out the
        table in our memory. Its pid, and whether it has executed a program; if not, it has come back and ended.

        Only where :func:`prepare` has found that it is possible.
        """
        assert shared.enter
        count = len(self._entries)
        room = self._lay_out()
        at = ctypes.addressof(room)
        asked = process.clone_args(_CLONE_VM | _CLONE_VFORK, cgroup, sibling=sibling)
        pid = shared.enter(ctypes.addressof(asked), ctypes.sizeof(asked), at)
        self._close()
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid), "clone3")
        return pid, ctypes.string_at(at + count * _ENTRY + _RESULT * _WORD, _WORD) == bytes(_WORD)

    def rehearse(self) -> None:
        """Do all that comes before a :meth:`spawn`."""
        self._lay_out()
        self._close()

    def _close(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def _lay_out(self) -> ctypes.Array[ctypes.c_char]:
        """The table in our memory."""
        room = ctypes.create_string_buffer(self._most())
        at = ctypes.addressof(room)
        table = self._table(shared.calls, at, -1)
        ctypes.memmove(at, table, len(table))
        return room

    def _most(self) -> int:
        """Bytes that are enough for a table with all that its entries point to."""
        texts = [each for _, arguments, _ in self._entries for each in arguments if not isinstance(each, int | Slot)]
        return sum(
            len(each) + 1 if isinstance(each, bytes) else sum(map(len, each)) + (len(each) + 2) * (_WORD + 1)
            for each in texts
        ) + _ENTRY * (len(self._entries) + 2)

    def _table(self, calls: Calls, base: int, report: int) -> bytes:
        """For the address ``base``, with all that its entries point to behind it. ``report``: where it is written to
        when it comes back, -1 if it can be looked at."""
        count = len(self._entries)
        self.attempt(calls.write, report, base, count * _ENTRY)
        self.attempt(calls.exit_group, 128)
        data = _Data(base + len(self._entries) * _ENTRY)
        stores: dict[int, int] = {}
        words: list[int] = []
        here, end = base, base + count * _ENTRY
        for number, arguments, fails_to in self._entries:
            words.append(number)
            for position, argument in enumerate(arguments, 1):
                if isinstance(argument, Slot):
                    stores[argument.entry] = here + position * _WORD
                    words.append(0)
                else:
                    words.append(argument & _MASK if isinstance(argument, int) else data.place(argument))
            following = here + _ENTRY
            words += _ZEROS[len(arguments) :]
            words += (following, end if fails_to < 0 else base + fails_to * _ENTRY, here + _RESULT * _WORD)
            here = following
        for entry, address in stores.items():
            words[entry * _WORDS + _STORE] = address
        return struct.pack(f"<{len(words)}Q", *words) + bytes(data.bytes)


def results(table: bytes) -> list[int]:
    """What each call of a table that came back gave: -errno where it failed, 0 where it was not reached."""
    return [
        struct.unpack_from("<q", table, at + _RESULT * _WORD)[0] for at in range(0, len(table) - _ENTRY + 1, _ENTRY)
    ]


class _Data:
    """What the entries point to, from the address ``start`` on."""

    def __init__(self, start: int) -> None:
        self._start = start
        self.bytes = bytearray()

    def place(self, argument: bytes | Sequence[bytes]) -> int:
        """Its address."""
        if isinstance(argument, bytes):
            return self._add(argument + b"\0")
        addresses = [self._add(each + b"\0") for each in argument]
        self.bytes += bytes(-len(self.bytes) % _WORD)
        return self._add(struct.pack(f"<{len(addresses) + 1}Q", *addresses, 0))

    def _add(self, content: bytes) -> int:
        at = self._start + len(self.bytes)
        self.bytes += content
        return at


def _elf(code: bytes, data: bytes, machine: int) -> bytes:
    """A static executable: one segment of instructions, one of data, and a stack that is not executable."""
    head = 64 + 3 * 56
    ident = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)  # 64 bits, little endian, version 1
    start = _CODE + head
    made = ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, start, 64, 0, 0, 64, 56, 3, 0, 0, 0)
    text = head + len(code)
    made += struct.pack("<IIQQQQQQ", 1, 5, 0, _CODE, _CODE, text, text, _PAGE)
    made += struct.pack("<IIQQQQQQ", 1, 6, _PAGE, _DATA, _DATA, len(data), len(data), _PAGE)
    made += struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)  # PT_GNU_STACK
    return (made + code).ljust(_PAGE, b"\0") + data


class Calls:
    """Numbers of system calls on this machine (asm/unistd.h)."""

    def __init__(self, machine: str) -> None:
        for name, numbers in _NUMBERS.items():
            setattr(self, name, numbers[machine == "aarch64"])

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> int: ...


_NUMBERS = {
    "read": (0, 63),
    "write": (1, 64),
    "openat": (257, 56),
    "dup3": (292, 24),
    "close_range": (436, 436),
    "ioctl": (16, 29),
    "umask": (95, 166),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "chdir": (80, 49),
    "setgroups": (116, 159),
    "setresgid": (119, 149),
    "setresuid": (117, 147),
    "fchown": (93, 55),
    "capset": (126, 91),
    "execve": (59, 221),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "setsid": (112, 157),
    "ppoll": (271, 73),
    "seccomp": (317, 277),
    "fcntl": (72, 25),
    "exit_group": (231, 94),
}


def file(program: bytes) -> int:
    """The program in a file of memory, as a descriptor that can be executed through ``/proc/self/fd``."""
    try:
        fd = os.memfd_create("steps", os.MFD_CLOEXEC | _MFD_EXEC)
    except OSError:  # before Linux 6.3 there is no such flag, and all of them can be executed
        fd = os.memfd_create("steps", os.MFD_CLOEXEC)
    os.write(fd, program)
    readable = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)  # nothing is executed while it can be written
    os.close(fd)
    return readable


class Shared:
    """What the processes that come of this one share: the instructions where they can be called, if that is possible,
    and the numbers for their tables."""

    enter: Callable[[int, int, int], int] | None = None
    calls: Calls


shared = Shared()


def prepare() -> None:
    """Once, before the others are forked."""
    machine = os.uname().machine
    if shared.enter is None and machine in MACHINES:
        shared.calls = Calls(machine)
        with suppress(OSError):  # there are hosts where nothing is executed that is in no file
            shared.enter = _mapped(_FUNCTION_BEGINS[machine] + _TURNS[machine])


def _mapped(code: bytes) -> Callable[[int, int, int], int]:
    fd = file(code)
    try:
        address = _mmap(None, len(code), _PROT_READ | _PROT_EXEC, _MAP_PRIVATE, fd, 0)
    finally:
        os.close(fd)
    if address == _MAP_FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "mmap")
    return ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_size_t)(address)


_mmap = libc.mmap
_mmap.restype = ctypes.c_size_t
_mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_PROT_READ, _PROT_EXEC, _MAP_PRIVATE = 1, 4, 2
_MAP_FAILED = ctypes.c_size_t(-1).value
_MFD_EXEC = 0x10
