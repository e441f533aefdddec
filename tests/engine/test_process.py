"""What a container's process is given: devices, namespaces, limits and rights, as it sees them itself."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import Engine, Result, runtimes

pytestmark = pytest.mark.root

Cli = Callable[..., Result]

_INIT = {"native": "sampan-init", "lxc": "lxc-execute"}.get(runtimes.chosen(), "init")
"""What ``--init`` is called: native has its own, others take a program of the machine's."""


@pytest.fixture
def name() -> str:
    return f"boat-{uuid.uuid4().hex[:8]}"


def test_a_device_is_there_and_may_be_used_as_asked(cli: Cli, shell: str, nothing_left: None) -> None:
    script = "stat -c %t:%T /dev/mine /opt/also; head -c 4 /dev/mine | wc -c; : > /dev/mine || echo refused"
    done = cli("run", "--rm", "--device", "/dev/zero:/dev/mine:rw", "--device", "/dev/zero:/opt/also", shell, "sh",
               "-c", script)  # fmt: skip
    assert done.out.split() == ["1:5", "1:5", "4"]


def test_what_is_not_asked_for_cannot_be_opened(cli: Cli, shell: str) -> None:
    """Any node can be made (this is FUSE), but the rule says that it may be read alone."""
    script = "mknod /k c 10 229; head -c 0 /k && echo read; (: > /k) 2>/dev/null || echo refused"
    assert cli("run", "--rm", shell, "sh", "-c", script).out == "refused"
    allowed = cli("run", "--rm", "--device-cgroup-rule", "c 10:229 r", shell, "sh", "-c", script)
    assert allowed.out.split() == ["read", "refused"]


def test_a_standard_device_can_be_another(cli: Cli, shell: str) -> None:
    done = cli(
        "run", "--rm", "--device", "/dev/zero:/dev/full", shell, "sh", "-c", "echo x > /dev/full; stat -c %T /dev/full"
    )
    assert done.out == "5"


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (
            ["--device", "/dev/nosuch"],
            127,
            'gathering device information while adding custom device "/dev/nosuch": no such file or directory',
        ),
        (["--device", "/etc/passwd"], 125, 'adding custom device "/etc/passwd": not a device node'),
    ],
)
def test_a_device_that_is_none_is_named(cli: Cli, shell: str, flags: list[str], code: int, words: str) -> None:
    done = cli("run", "--rm", *flags, shell, "true")
    assert (done.code, words in done.stderr) == (code, True), done.stderr


def test_there_is_no_driver_for_processors_of_graphics(engine: Engine, docker_cli: str, shell: str) -> None:
    done = engine.docker("run", "--rm", "--gpus", "all", shell, "true")
    assert done.code == 125
    assert 'could not select device driver "" with capabilities: [[gpu]]' in done.stderr


# ── --init ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_init_reaps_what_nobody_else_would(cli: Cli, shell: str, nothing_left: None) -> None:
    script = """
        (sh -c 'sleep 0.1 & exit') ; sleep 0.4
        cat /proc/1/comm; echo $PPID; cat /proc/[0-9]*/stat | grep -c ') Z ' ; ls /proc/1/fd | wc -l; exit 7
    """
    done = cli("run", "--rm", "--init", shell, "sh", "-c", script)
    kept = "0" if runtimes.chosen() == "native" else "3"  # another's program keeps its standard streams
    assert (done.stdout.split(), done.code) == ([_INIT, "1", "0", kept], 7)


def test_an_init_passes_signals_on_and_ends_as_the_command_does(
    engine: Engine, cli: Cli, shell: str, name: str, nothing_left: None
) -> None:
    script = "trap 'echo user' USR1; trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    cli("run", "-d", "--init", "--name", name, shell, "sh", "-c", script).ok()
    engine.wait_until(lambda: "ready" in cli("logs", name).out, "the command is ready")
    cli("kill", "-s", "USR1", name).ok()
    engine.wait_until(lambda: "user" in cli("logs", name).out, "the command has the signal")
    assert cli("exec", name, "cat", "/proc/1/comm").out == _INIT
    cli("stop", name).ok()
    assert cli("wait", name).out == "9"
    assert cli("logs", name).out.split() == ["ready", "user", "term"]
    cli("rm", name).ok()
    assert cli("run", "--rm", "--init", shell, "sh", "-c", "kill -9 $$").code == 137


def test_an_init_is_no_more_than_the_command(cli: Cli, shell: str) -> None:
    wanted = "Uid|Gid|Groups|CapEff|CapBnd|NoNewPrivs|Seccomp"
    script = f"for each in 1 self; do grep -E '^({wanted}):' /proc/$each/status; echo; done; ls -l /proc/1/exe"
    done = cli("run", "--rm", "--init", "-u", "1000:1001", "--cap-drop", "KILL", shell, "sh", "-c", script)
    of_init, of_command, link = done.stdout.split("\n\n")
    assert of_init == of_command
    assert "1001" in of_init
    assert runtimes.chosen() != "native" or "->" not in link


def test_without_the_command_there_is_no_init(cli: Cli, shell: str, nothing_left: None) -> None:
    done = cli("run", "--rm", "--init", shell, "no-such-command")
    assert (done.code, "no-such-command" in done.stderr) == (127, True)


# ── namespaces that are shared ───────────────────────────────────────────────────────────────────────────────────────


def test_an_ipc_namespace_is_shared_with_its_memory(
    engine: Engine, cli: Cli, shell: str, name: str, nothing_left: None
) -> None:
    script = "echo cargo > /dev/shm/hold; exec sleep 1000"
    cli("run", "-d", "--ipc", "shareable", "--shm-size", "8m", "--name", name, shell, "sh", "-c", script).ok()
    theirs = cli("exec", name, "readlink", "/proc/self/ns/ipc").out
    engine.wait_until(lambda: cli("exec", name, "test", "-s", "/dev/shm/hold").code == 0, "it is there")
    look = "readlink /proc/self/ns/ipc; cat /dev/shm/hold; grep -c 'shm.*size=8192k' /proc/mounts; exec sleep 1000"
    cli("run", "-d", "--ipc", f"container:{name}", "--name", f"{name}-2", shell, "sh", "-c", look).ok()
    engine.wait_until(lambda: len(cli("logs", f"{name}-2").out.split()) == 3, "it has looked")
    assert cli("logs", f"{name}-2").out.split() == [theirs, "cargo", "1"]
    cli("rm", "-f", name).ok()
    assert cli("exec", f"{name}-2", "cat", "/dev/shm/hold").out == "cargo"
    cli("rm", "-f", f"{name}-2").ok()


def test_whose_ipc_namespace_cannot_be_joined(cli: Cli, shell: str, name: str, nothing_left: None) -> None:
    cli("run", "-d", "--name", name, shell, "sleep", "1000").ok()
    done = cli("run", "--rm", "--ipc", f"container:{name}", shell, "true")
    assert (done.code, "non-shareable IPC" in done.stderr) == (125, True)
    cli("kill", name).ok()
    cli("wait", name).ok()
    done = cli("run", "--rm", "--ipc", f"container:{name}", shell, "true")
    assert (done.code, "failed to join IPC namespace: container " in done.stderr) == (125, True)
    assert "No such container: nobody" in cli("run", "--rm", "--ipc", "container:nobody", shell, "true").stderr
    cli("rm", name).ok()


JOINS = {
    "--network": "cannot join network of a non running container: ",
    "--pid": "failed to join PID namespace: container ",
    "--ipc": "failed to join IPC namespace: container ",
}


@pytest.mark.parametrize("flag", JOINS)
def test_who_has_ended_or_is_restarting_cannot_be_joined(cli: Cli, shell: str, name: str, flag: str) -> None:
    cli("run", "-d", "--name", name, "--ipc", "shareable", "--restart", "always", shell, "sh", "-c", "exit 1").ok()
    cli("create", "--name", f"{name}-2", flag, f"container:{name}", shell, "true").ok()
    cli("stop", name)
    done = cli("start", f"{name}-2")
    assert (done.code, JOINS[flag] in done.stderr) == (1, True), done.stderr
    cli("start", name).ok()
    told = set()
    for _ in range(100):  # it is hardly ever up
        done = cli("start", f"{name}-2")
        told.add(done.stderr)
        if "is restarting, wait until the container is running" in done.stderr:
            break
    else:
        raise AssertionError(told)
    cli("rm", "-f", name, f"{name}-2").ok()


def test_what_is_shared_survives_the_daemon(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    shell = engine.image()
    before = engine.leftovers()
    ident = engine.sampan("run", "-d", "--ipc", "shareable", shell, "sleep", "1000").out
    engine.kill()
    engine.start()
    assert engine.sampan("run", "--rm", "--ipc", f"container:{ident}", shell, "sh", "-c", "> /dev/shm/x").code == 0
    assert engine.sampan("exec", ident, "ls", "/dev/shm").out == "x"
    engine.sampan("rm", "-f", ident).ok()
    engine.assert_as_before(before)


def test_processes_are_seen_by_who_joins_their_namespace(cli: Cli, shell: str, name: str) -> None:
    cli("run", "-d", "--name", name, shell, "sleep", "1000").ok()
    assert cli("run", "--rm", "--pid", f"container:{name}", shell, "cat", "/proc/1/comm").out == "sleep"
    cli("rm", "-f", name).ok()


@pytest.mark.parametrize(
    ("flag", "file"),
    [
        *(("--uts", "uts"), ("--ipc", "ipc"), ("--pid", "pid")),
        pytest.param("--cgroupns", "cgroup", marks=pytest.mark.needs("host_cgroups")),
    ],
)
def test_the_hosts_own_namespaces(cli: Cli, shell: str, flag: str, file: str) -> None:
    mine = str(Path(f"/proc/self/ns/{file}").readlink())
    look = ["readlink", f"/proc/self/ns/{file}"]
    assert cli("run", "--rm", flag, "host", shell, *look).out == mine
    assert cli("run", "--rm", shell, *look).out != mine


# ── limits and rights ────────────────────────────────────────────────────────────────────────────────────────────────


def test_ulimits_are_in_force(cli: Cli, shell: str) -> None:
    names = {"nofile": "open files", "core": "core file size", "locks": "file locks", "msgqueue": "msgqueue size"}
    flags = [word for name in names for word in ("--ulimit", f"{name}=1024:2048")]
    told = cli("run", "--rm", *flags, shell, "cat", "/proc/self/limits").out.splitlines()
    for name in names.values():
        [line] = [line for line in told if line.startswith(f"Max {name}")]
        assert line.split()[-3:-1] == ["1024", "2048"]


def test_who_it_runs_as(cli: Cli, shell: str) -> None:
    done = cli("run", "--rm", "-u", "daemon", "--group-add", "audio", "--group-add", "1234", shell, "id")
    assert done.out == "uid=1(daemon) gid=1(daemon) groups=1(daemon),29(audio),1234"
    assert cli("run", "--rm", "-u", "1000:1001", shell, "id", "-G").out == "1001"
    for flags, words in ([("-u", "nosuch"), "find user nosuch"], [("--group-add", "nosuch"), "find group nosuch"]):
        done = cli("run", "--rm", *flags, shell, "true")
        assert (done.code, words in done.stderr) == (125, True)


@pytest.mark.parametrize(
    ("flags", "effective"),
    [
        ([], "00000000a80425fb"),
        (["--cap-drop", "all"], "0000000000000000"),
        (["--cap-drop", "ALL", "--cap-add", "net_raw", "--cap-add", "CAP_CHOWN"], "0000000000002001"),
        (["--security-opt", "no-new-privileges", "-u", "1"], "0000000000000000"),
    ],
)
def test_its_capabilities(cli: Cli, shell: str, flags: list[str], effective: str) -> None:
    told = cli("run", "--rm", *flags, shell, "grep", "-E", "CapEff|NoNewPrivs", "/proc/self/status").out.split()
    assert told == ["CapEff:", effective, "NoNewPrivs:", str(int("no-new-privileges" in flags))]


def test_security_options(cli: Cli, shell: str, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    rules = [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
    assert cli("run", "--rm", "--security-opt", f"seccomp={profile}", shell, "mkdir", "/x").code == 1
    look = ["grep", "Seccomp:", "/proc/self/status"]
    assert cli("run", "--rm", "--security-opt", "seccomp=unconfined", shell, *look).out.split() == ["Seccomp:", "0"]
    assert cli("run", "--rm", "--security-opt", "seccomp=builtin", shell, *look).out.split() == ["Seccomp:", "2"]
    assert (
        "docker-default is ignored"
        in cli("run", "--rm", "--security-opt", "apparmor=docker-default", shell, "true").stderr
    )
    seen = cli(
        "run", "--rm", "--security-opt", "systempaths=unconfined", shell, "grep", "-c", "^proc .* ro,", "/proc/mounts"
    )
    assert seen.stdout.strip() == "0"


def test_sysctls(cli: Cli, shell: str) -> None:
    flags = ["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=9999", "--sysctl", "fs.mqueue.msg_max=77"]
    files = ["net/ipv4/ip_forward", "kernel/msgmax", "fs/mqueue/msg_max"]
    told = cli("run", "--rm", *flags, shell, "cat", *(f"/proc/sys/{file}" for file in files)).out
    assert told.split() == ["1", "9999", "77"]
    for flags, words in (
        (["--sysctl", "kernel.panic=1"], "kernel.panic"),
        (["--sysctl", "net.ipv4.ip_forward=many"], "invalid argument"),
        (["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"], "the host's network mode"),
    ):
        done = cli("run", "--rm", *flags, shell, "true")
        assert done.code == 125
        assert words in done.stderr


def test_a_root_that_is_read_only(cli: Cli, shell: str) -> None:
    script = "touch /x || touch /etc/hosts || touch /scratch/y && touch /dev/shm/z && echo fine"
    assert cli("run", "--rm", "--read-only", "--tmpfs", "/scratch", shell, "sh", "-c", script).stdout == "fine\n"


def test_names_and_resolvers(cli: Cli, shell: str) -> None:
    flags = [
        "--hostname",
        "boat",
        "--domainname",
        "har.bour",
        "--add-host",
        "a:1.2.3.4",
        "--add-host",
        "b:host-gateway",
    ]
    flags += ["--dns", "1.1.1.1", "--dns-search", "x.y", "--dns-option", "ndots:3"]
    told = cli("run", "--rm", *flags, shell, "sh", "-c", "hostname -f; cat /etc/hosts /etc/resolv.conf").out
    for words in ("boat.har.bour", "1.2.3.4\ta", "\tb\n", "nameserver 1.1.1.1", "search x.y", "options ndots:3"):
        assert words in told
