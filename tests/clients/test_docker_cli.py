"""The docker CLI: what people see of it that depends on the engine. Compared with dockerd 20.10 side by side."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from clients.terminal import Terminal
from harness import Engine

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]


@pytest.fixture
def name() -> str:
    return f"boat-{uuid.uuid4().hex[:8]}"


# ── terminals ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("flags", [[], ["--init"]], ids=["alone", "init"])
def test_the_container_has_the_clients_terminal(engine: Engine, shell: str, flags: list[str]) -> None:
    with Terminal(engine, "run", "-it", "--rm", *flags, shell, "sh") as terminal:
        wait_for_size(terminal, "33 101")
        wait_for_size(terminal, "44 122", resized=(44, 122))
        terminal.type("sh -c 'echo sleep\"\"ing; exec sleep 100'\n")
        terminal.expect("sleeping")  # not before: the key is for whom the terminal belongs to by then
        terminal.type("\x03")
        assert terminal.ask("echo interrupted: $?").endswith("interrupted: 130")
        terminal.type("exit 6\n")
        assert terminal.code() == 6


def test_detached_by_keys_and_attached_again(engine: Engine, shell: str, name: str) -> None:
    with Terminal(engine, "run", "-it", "--name", name, shell, "sh") as terminal:
        assert terminal.ask("mark=left; echo ready").endswith("ready")
        terminal.type("\x10\x11")
        assert terminal.code() == 0
    assert engine.docker("inspect", "-f", "{{.State.Running}}", name).out == "true"
    with Terminal(engine, "attach", "--detach-keys", "ctrl-a,d", name, rows=20, columns=60) as terminal:
        assert terminal.ask("echo $mark").endswith("left")
        wait_for_size(terminal, "20 60")
        terminal.type("\x01d")
        assert terminal.code() == 1
    assert engine.docker("inspect", "-f", "{{.State.Running}}", name).out == "true"


def test_exec_on_a_terminal(engine: Engine, shell: str, name: str) -> None:
    engine.docker("run", "-d", "--name", name, shell, "sleep", "100").ok()
    with Terminal(engine, "exec", "-it", "-w", "/etc", name, "sh", rows=25, columns=90) as terminal:
        wait_for_size(terminal, "25 90")
        wait_for_size(terminal, "26 91", resized=(26, 91))
        assert terminal.ask("pwd").endswith("/etc")
        terminal.type("exit 12\n")
        assert terminal.code() == 12


def wait_for_size(terminal: Terminal, size: str, resized: tuple[int, int] | None = None) -> None:
    """A new size travels by itself; each question gives it the time of an answer.

    The client sets the first size with the start and only then begins to listen for others, so one that comes too
    early must come again; the kernel tells of a size only if it is another.
    """
    for _ in range(100):
        if resized:
            terminal.resize(resized[0] + 1, resized[1])
            terminal.resize(*resized)
        if (said := terminal.ask("stty size")).endswith(size):
            return
    raise AssertionError(f"the terminal never had {size}, but {said}")


# ── streams ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_large_input_arrives_whole(engine: Engine, shell: str) -> None:
    data = os.urandom(64 << 20)
    said = engine.docker("run", "-i", "--rm", shell, "sha256sum", stdin=data, timeout=120).out
    assert said.split()[0] == hashlib.sha256(data).hexdigest()


def test_a_large_output_arrives_whole(engine: Engine, shell: str) -> None:
    said = engine.docker("run", "--rm", shell, "sh", "-c", "head -c 50000000 /dev/zero", timeout=120).ok().stdout
    assert len(said) == 50_000_000


def test_a_command_that_does_not_read_its_input(engine: Engine, shell: str) -> None:
    assert engine.docker("run", "-i", "--rm", shell, "sh", "-c", "exit 3", stdin=bytes(8 << 20)).code == 3


def test_everybody_who_is_attached_sees_everything(engine: Engine, shell: str, name: str) -> None:
    engine.docker("create", "-i", "--name", name, shell, "sh", "-c", "read go; echo one; echo two; exit 7").ok()
    clients = [engine.popen("docker", "start", "-a", "-i", name, stdin=subprocess.PIPE, stdout=subprocess.PIPE)]
    running = f"{engine.host} {name}"
    engine.wait_until(lambda: engine.docker("top", name).code == 0, f"{running} runs")
    clients += [engine.popen("docker", "attach", "--no-stdin", name, stdout=subprocess.PIPE) for _ in range(2)]
    engine.wait_until(
        lambda: engine.docker("events", "--since", "1h", "--until", "0s", "--filter", "event=attach",
                              "--filter", f"container={name}").out.count("attach ") >= 3,
        "all are attached",
    )  # fmt: skip
    assert clients[0].stdin is not None
    clients[0].stdin.write(b"go\n")
    clients[0].stdin.flush()
    for client in reversed(clients):
        assert client.stdout is not None
        assert client.stdout.read() == b"one\ntwo\n"
        assert client.wait(20) == 7
    clients[0].stdin.close()


def test_a_client_that_is_killed_leaves_the_container_alone(engine: Engine, shell: str, name: str) -> None:
    client = engine.popen("docker", "run", "--name", name, shell, "sleep", "100", stdout=subprocess.DEVNULL)
    engine.wait_until(lambda: engine.docker("top", name).code == 0, "the container runs")
    client.send_signal(signal.SIGKILL)
    client.wait()
    assert engine.docker("exec", name, "echo", "alive").out == "alive"


def test_signals_are_passed_on(engine: Engine, shell: str, name: str) -> None:
    script = "trap 'echo told; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    client = engine.popen("docker", "run", "--name", name, shell, "sh", "-c", script, stdout=subprocess.PIPE)
    assert client.stdout is not None
    assert client.stdout.readline() == b"ready\n"
    client.send_signal(signal.SIGTERM)
    assert client.stdout.read() == b"told\n"
    assert client.wait(20) == 9


def test_twenty_at_once(engine: Engine, shell: str) -> None:
    before = engine.leftovers()
    with ThreadPoolExecutor(20) as pool:
        said = list(pool.map(lambda n: engine.docker("run", "--rm", shell, "echo", n, timeout=120).out, range(20)))
    assert said == [str(n) for n in range(20)]

    def nothing_is_left() -> bool:
        """Processes that wait for the next container are others now, so they are not compared."""
        return not engine.leftovers().beyond(before).keys() - {"processes"}

    engine.wait_until(nothing_is_left, "mounts, links, namespaces, cgroups, rules and files are as before", 15)


# ── words and numbers ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-u", "nobody-here", "{}", "true"], "unable to find user nobody-here"),
        (["-w", "not/absolute", "{}", "pwd"], "Cwd must be an absolute path"),
    ],
)
def test_an_exec_that_cannot_be_has_status_126(
    engine: Engine, shell: str, name: str, flags: list[str], said: str
) -> None:
    engine.docker("run", "-d", "--name", name, shell, "sleep", "100").ok()
    done = engine.docker("exec", *(flag.format(name) for flag in flags))
    assert (done.code, said in done.stdout + done.stderr) == (126, True)


@pytest.mark.parametrize(
    ("flags", "command", "said"),
    [
        (["--hostname", "odd_name!"], "hostname", "odd_name!"),
        (["--ipc", "host"], "ls -d /dev/shm /dev/mqueue", "/dev/mqueue\n/dev/shm"),
        (["--read-only"], "(echo x >> /etc/hosts) 2>/dev/null || echo sealed", "sealed"),
    ],
)
def test_odd_flags(engine: Engine, shell: str, flags: list[str], command: str, said: str) -> None:
    assert engine.docker("run", "--rm", *flags, shell, "sh", "-c", command).out == said


def test_ports_on_the_hosts_network_are_warned_of(engine: Engine, shell: str) -> None:
    done = engine.docker("run", "--rm", "--network", "host", "-p", "80:80", shell, "true").ok()
    assert "Published ports are discarded" in done.stderr


def test_what_nobody_wrote_takes_no_space(engine: Engine, shell: str, name: str) -> None:
    engine.docker("run", "--name", name, "--tmpfs", "/new/directory", shell, "true").ok()
    line = engine.docker("ps", "-as", "--filter", f"name={name}", "--format", "{{.Size}}|{{.Mounts}}").out
    assert line.startswith("0B (virtual ")
    assert line.endswith("|")


def test_a_working_directory_that_is_a_file(engine: Engine, shell: str) -> None:
    done = engine.docker("run", "--rm", "-w", "/etc/passwd", shell, "true")
    assert "/etc/passwd is not" in done.stderr
    assert done.code in (125, 127)


def test_network_traffic_is_counted(engine: Engine, shell: str, name: str) -> None:
    engine.docker("run", "-d", "--name", name, shell, "sleep", "100").ok()
    status, entry = engine.api("GET", f"/containers/{name}/stats?stream=false&one-shot=true")
    assert status == 200
    assert entry["networks"].keys() == {"eth0"}


def test_prune_of_everything(engine: Engine, shell: str, name: str) -> None:
    engine.docker("run", "--name", name, shell, "true").ok()
    assert "Deleted Containers" in engine.docker("system", "prune", "--force").out
    assert engine.docker("ps", "-aq", "--filter", f"name={name}").out == ""


def test_a_type_of_network_that_is_none(engine: Engine) -> None:
    assert engine.docker("network", "ls", "--filter", "type=bogus").code == 1
