"""A list of system calls as a program: what a process does between LXC's last act and the user's command.

LXC executes a container's command by itself, and then nobody could say why that failed, make its terminal the
controlling one, or set its mask for new files; ``lxc-attach`` knows neither groups nor a working directory. No
interpreter of ours is in a container. So LXC is given a program that is in no file system: a few instructions that
carry out a table of system calls, one after the other, the last of which is the execve. They are the same for
everybody; the table is data.

An entry of the table is eleven words: the call's number, six arguments, its result, the entry that follows if it
succeeds, the one that follows if it fails, and where its result is stored besides, which may be an argument of a later
entry. Sources: elf(5), syscall(2), and the manuals of the processors for the instructions.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


_PAGE = 0x1000
_CODE = 0x400000  # where the program is loaded: its head and instructions
_DATA = 0x500000  # and its table, with all that the entries point to
_WORD = 8
_WORDS = 11
_ENTRY = _WORDS * _WORD
_RESULT, _NEXT, _OTHERWISE, _STORE = 7, 8, 9, 10

# Each loads an entry's words into the registers of a call, stores the result twice, and goes on with word 8 or 9.
_INSTRUCTIONS = {
    "x86_64": bytes.fromhex(
        "bb00005000"  # mov ebx, _DATA
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
        "<14I",
        0xD2A00A13,  # movz x19, _DATA >> 16, lsl 16
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

MACHINES = frozenset(_INSTRUCTIONS)
"""As uname(2) names them."""


class Slot:
    """An argument that is the result of an earlier entry."""

    def __init__(self, entry: int) -> None:
        self.entry = entry


if TYPE_CHECKING:
    Argument = int | bytes | Sequence[bytes] | Slot


class Steps:
    """The table while it grows.

    A call that fails ends the program: it writes the table, with all results, to its descriptor 3.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[int, tuple[Argument, ...], int]] = []

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

    def fatal(self, entry: int) -> bool:
        """Does the program end if this one fails?"""
        return self._entries[entry][2] < 0

    def program(self, calls: Calls, machine: str) -> bytes:
        """The executable file."""
        count = len(self._entries)
        self.attempt(calls.write, 3, _DATA, count * _ENTRY)
        self.attempt(calls.exit_group, 128)
        data = _Data(len(self._entries) * _ENTRY)
        stores: dict[int, int] = {}
        words: list[list[int]] = []
        for at, (number, arguments, fails_to) in enumerate(self._entries):
            for position, argument in enumerate(arguments):
                if isinstance(argument, Slot):
                    stores[argument.entry] = _DATA + at * _ENTRY + (1 + position) * _WORD
            values = [0 if isinstance(each, Slot) else data.value(each) for each in arguments]
            otherwise = count if fails_to < 0 else fails_to
            words.append([number, *values, *[0] * (6 - len(values)), 0, *map(_address, (at + 1, otherwise)), 0])
        for at, entry in enumerate(words):
            entry[_STORE] = stores.get(at, _DATA + at * _ENTRY + _RESULT * _WORD)
        table = b"".join(struct.pack(f"<{_WORDS}Q", *(word & (1 << 64) - 1 for word in entry)) for entry in words)
        return _elf(_INSTRUCTIONS[machine], table + bytes(data.bytes), _ELF_MACHINES[machine])


def results(table: bytes) -> list[int]:
    """What each call of a table that came back gave: -errno where it failed, 0 where it was not reached."""
    return [
        struct.unpack_from("<q", table, at + _RESULT * _WORD)[0] for at in range(0, len(table) - _ENTRY + 1, _ENTRY)
    ]


class _Data:
    """What the entries point to, behind the table."""

    def __init__(self, offset: int) -> None:
        self._start = _DATA + offset
        self.bytes = bytearray()

    def value(self, argument: int | bytes | Sequence[bytes]) -> int:
        if isinstance(argument, int):
            return argument
        if isinstance(argument, bytes):
            return self._add(argument + b"\0")
        addresses = [self._add(each + b"\0") for each in argument]
        self.bytes += bytes(-len(self.bytes) % _WORD)
        return self._add(struct.pack(f"<{len(addresses) + 1}Q", *addresses, 0))

    def _add(self, content: bytes) -> int:
        at = self._start + len(self.bytes)
        self.bytes += content
        return at


def _address(entry: int) -> int:
    return _DATA + entry * _ENTRY


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


_MFD_EXEC = 0x10
