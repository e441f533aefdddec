"""The program that is a list of system calls: carried out by this machine's processor."""

from __future__ import annotations

import errno
import os
import struct
import subprocess

import pytest

from sampan_runtime import steps

MACHINE = os.uname().machine
pytestmark = pytest.mark.skipif(MACHINE not in steps.MACHINES, reason=f"there is no such program for {MACHINE}")
CALLS = steps.Calls(MACHINE)
AT_FDCWD = -100


def run(made: steps.Steps) -> tuple[int, bytes, list[int]]:
    """Its exit status, what it wrote on its standard output, and its results if it came back with them."""
    program = steps.file(made.program(CALLS, MACHINE))
    read, write = os.pipe()
    apart = os.dup(write)  # a number that is not 3

    def connect() -> None:
        os.dup2(apart, 3)

    try:
        done = subprocess.run(
            [f"/proc/self/fd/{program}"], capture_output=True, pass_fds=[program, apart, 3], preexec_fn=connect
        )
    finally:
        for fd in (write, apart, program):
            os.close(fd)
    with os.fdopen(read, "rb") as pipe:
        return done.returncode, done.stdout, steps.results(pipe.read())


def test_it_executes_with_arguments_and_environment_as_they_are() -> None:
    made = steps.Steps()
    script = b'printf "[%s]" "$@" "$ODD"'
    made.call(CALLS.execve, b"/bin/sh", [b"sh", b"-c", script, b"sh", b"", b"a b", b"\xff\n"], [b"ODD=a=b\nc"])
    assert run(made) == (0, b"[][a b][\xff\n][a=b\nc]", [])


def test_the_first_of_several_programs_that_can_be_executed_is() -> None:
    made = steps.Steps()
    for path in (b"/no/such/program", b"/etc/passwd", b"/bin/echo", b"/bin/false"):
        made.attempt(CALLS.execve, path, [b"echo", b"here"], [])
    assert run(made)[:2] == (0, b"here\n")


def test_it_comes_back_with_the_result_of_every_call() -> None:
    made = steps.Steps()
    made.call(CALLS.umask, 0o027)
    made.call(CALLS.umask, 0o022)
    made.attempt(CALLS.execve, b"/no/such/program", [b"x"], [])
    made.attempt(CALLS.execve, b"/etc", [b"x"], [])
    code, _, results = run(made)
    assert code == 128
    assert results[1:] == [0o027, -errno.ENOENT, -errno.EACCES]


def test_a_call_that_fails_is_the_last_one() -> None:
    made = steps.Steps()
    made.call(CALLS.chdir, b"/no/such/directory")
    made.call(CALLS.write, 1, b"never", 5)
    code, out, results = run(made)
    assert (code, out, results) == (128, b"", [-errno.ENOENT, 0])
    assert made.fatal(0)


def test_results_become_arguments() -> None:
    made = steps.Steps()
    fd = made.call(CALLS.openat, AT_FDCWD, b"/dev/null", os.O_RDWR, 0)
    made.call(CALLS.dup3, fd, 1, 0)
    made.call(CALLS.write, 1, b"lost", 4)
    code, out, results = run(made)
    assert (code, out) == (128, b"")
    assert results[1:] == [1, 4]


@pytest.mark.parametrize("machine", sorted(steps.MACHINES))
def test_it_is_an_executable_file_whose_stack_and_table_are_not_executed(machine: str) -> None:
    made = steps.Steps()
    calls = steps.Calls(machine)
    made.call(calls.write, 1, b"x", 1)
    program = made.program(calls, machine)
    assert program[:4] == b"\x7fELF"
    heads = [struct.unpack_from("<IIQQQQQQ", program, 64 + at * 56) for at in range(3)]
    assert [flags for _, flags, *_ in heads] == [5, 6, 6], "instructions, data, stack"
    assert all(offset + size <= len(program) for _, _, offset, _, _, size, *_ in heads)


def spawned(made: steps.Steps) -> int:
    """The exit status of the process that a child of ours has had made for us; -1 if it came back."""
    steps.prepare()
    read, write = os.pipe()
    starter = os.fork()
    if starter == 0:
        pid, executed = made.spawn()
        os.write(write, b"%d" % (pid if executed else 0))
        os._exit(0)
    os.waitpid(starter, 0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        pid = int(pipe.read())
    _, status = os.waitpid(pid or -1, 0)
    return os.waitstatus_to_exitcode(status) if pid else -1


def test_it_is_carried_out_in_the_memory_of_who_asks_for_it() -> None:
    made = steps.Steps()
    long = b"x" * 100_000
    made.call(CALLS.umask, 0o027)
    script = b'test "$(umask)" = 0027 && test ${#1} = 100000 && test "$ODD" = "a=b" && exit 7'
    made.call(CALLS.execve, b"/bin/sh", [b"sh", b"-c", script, b"sh", long], [b"ODD=a=b"])
    assert spawned(made) == 7


def test_who_asked_hears_that_it_came_back() -> None:
    made = steps.Steps()
    made.call(CALLS.chdir, b"/no/such/directory")
    made.call(CALLS.execve, b"/bin/true", [b"true"], [])
    assert spawned(made) == -1
    made = steps.Steps()
    for path in (b"/no/such/program", b"/etc"):
        made.attempt(CALLS.execve, path, [b"x"], [])
    assert spawned(made) == -1


@pytest.mark.parametrize("machine", sorted(steps.MACHINES))
def test_a_file_and_a_function_have_the_same_turns(machine: str) -> None:
    made = steps.Steps()
    calls = steps.Calls(machine)
    made.call(calls.write, 1, b"x", 1)
    turns = steps._TURNS[machine]
    assert turns in made.program(calls, machine)
    assert not len(turns) % 4 or machine == "x86_64"
