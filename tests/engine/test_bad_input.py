"""Whatever is wrong: one clear sentence through both command lines, Docker's exit code, and nothing left behind."""

from __future__ import annotations

import re
import sys
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from harness import Engine, Result

pytestmark = pytest.mark.root

Cli = Callable[..., Result]


CLIS_OWN = re.compile("Run '.*--help'|Unable to find image '.*' locally$|exit status 1$")  # docker's, beside ours


def refused(done: Result, code: int, *words: str) -> None:
    """One sentence on standard error with these words in it (the CLI's own hint may follow), and this exit code."""
    text = done.stderr.strip()
    assert done.code == code, text or done.stdout
    for word in words:
        assert word.lower() in text.lower()
    assert "Traceback" not in text
    told = [line for line in text.splitlines() if line.strip() and not CLIS_OWN.match(line)]
    assert len(told) == 1, text


RUN = [
    (["run", "--rm", "nowhere:7", "true"], 125, ["nowhere:7"]),
    (["run", "--rm", "Upper:7", "true"], 125, ["lowercase"]),
    (["run", "--rm", "-p", "80x:80", "shell", "true"], 125, ["80x"]),
    (["run", "--rm", "-p", "70000:80", "shell", "true"], 125, ["70000"]),
    (["run", "--rm", "--network", "nowhere", "shell", "true"], 125, ["network nowhere not found"]),
    (["run", "--rm", "-m", "1k", "shell", "true"], 125, ["memory"]),
    (["run", "--rm", "-w", "relative", "shell", "true"], 125, ["relative"]),
    (["run", "--rm", "-u", "-1", "shell", "true"], 125, ["range 0-2147483647"]),
    (["run", "--rm", "-v", "/proc/sys", "shell", "true"], 125, ["/proc/sys", "inside /proc"]),
    (["run", "--rm", "-v", "/tmp:/proc", "shell", "true"], 125, ["/tmp:/proc", "inside /proc"]),
    (["run", "--rm", "--tmpfs", "/proc/self/attr", "shell", "true"], 125, ["/proc/self/attr", "inside /proc"]),
    (["run", "--rm", "--name", "me", "--network", "container:me", "shell", "true"], 125, ["cannot join own network"]),
    (["run", "--rm", "--name", "a/b", "shell", "true"], 125, ["a/b"]),
    (["run", "--rm", "-u", "nobody-has-this-name", "shell", "true"], 125, ["nobody-has-this-name"]),
    (["run", "--rm", "shell", "no-such-command"], 127, ["no-such-command", "not found"]),
    (["run", "--rm", "shell", "/no/such/command"], 127, ["/no/such/command", "no such file"]),
    (["run", "--rm", "shell", "/etc"], 126, ["/etc", "permission denied"]),
    (["run", "--rm", "--runtime", "nonsense", "shell", "true"], 125, ["nonsense"]),
    (["inspect", "nobody"], 1, ["nobody"]),
    (["stop", "nobody"], 1, ["No such container: nobody"]),
    (["rm", "nobody"], 1, ["No such container: nobody"]),
    (["exec", "nobody", "true"], 1, ["No such container: nobody"]),
    (["logs", "nobody"], 1, ["No such container: nobody"]),
    (["rmi", "nowhere:7"], 1, ["No such image: nowhere:7"]),
    (["network", "rm", "nowhere"], 1, ["network nowhere not found"]),
    (["network", "rm", "bridge"], 1, ["bridge"]),
    (["network", "create", "bridge"], 1, ["bridge"]),
    (["network", "create", "--subnet", "10.0.0.1/99", "n"], 1, ["10.0.0.1/99"]),
    (["network", "create", "--driver", "nonsense", "n"], 1, ["nonsense"]),
]


@pytest.mark.parametrize(
    ("args", "code", "words"), RUN, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_a_wrong_request(
    engine: Engine, cli: Cli, shell: str, nothing_left: None, args: list[str], code: int, words: list[str]
) -> None:
    refused(cli(*args), code, *words)


def test_a_name_that_is_taken(engine: Engine, cli: Cli, shell: str) -> None:
    cli("create", "--name", "taken", shell, "true").ok()
    try:
        before = engine.leftovers()
        refused(cli("run", "--name", "taken", shell, "true"), 125, "/taken", "already in use")
        engine.assert_as_before(before)
    finally:
        cli("rm", "taken").ok()


def test_a_port_that_is_taken(engine: Engine, cli: Cli, shell: str) -> None:
    listener = engine.popen("busybox", "nc", "-l", "-p", "8099")
    try:
        engine.wait_until(lambda: ":1FA3" in engine.run("cat", "/proc/net/tcp", "/proc/net/tcp6").out, "it listens")
        before = engine.leftovers()
        refused(cli("run", "--rm", "-p", "8099:80", shell, "true"), 125, "8099")
        engine.assert_as_before(before)
    finally:
        listener.kill()
        listener.wait()


# ── archives ─────────────────────────────────────────────────────────────────────────────────────────────────────


def entry(
    name: str, *, kind: bytes = tarfile.REGTYPE, target: str = "", data: bytes = b""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, len(data)
    return info, data


def archive(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, data in entries:
            tar.addfile(info, BytesIO(data))
    return out.getvalue()


WHOLE = archive(entry("etc/motto", data=b"float\n" * 1000))

HOSTILE = {
    "leads out": (archive(entry("../../escape", data=b"x")), "../../escape"),
    "leads out through a link": (
        archive(entry("way", kind=tarfile.SYMTYPE, target="/tmp"), entry("way/escape", data=b"x")),
        "",
    ),
    "hard link out": (archive(entry("passwd", kind=tarfile.LNKTYPE, target="../../../etc/passwd")), "passwd"),
    "truncated": (WHOLE[: len(WHOLE) // 3], ""),
    "no archive": (b"this is no archive, but long enough to look like a header would" * 20, ""),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_an_archive_that_cannot_be_a_root(
    engine: Engine, cli: Cli, shell: str, tmp_path: Path, nothing_left: None, case: str
) -> None:
    data, word = HOSTILE[case]
    file = tmp_path / "root.tar"
    file.write_bytes(data)
    done = cli("import", file, "hostile:1")
    if case == "leads out through a link" and done.code == 0:  # it may also be kept inside
        assert not Path("/tmp/escape").exists()
        cli("rmi", "hostile:1").ok()
    else:
        refused(done, 1, word)
    assert not [path for path in (Path("/escape"), Path("/tmp/escape"), engine.root / "escape") if path.exists()]


@pytest.mark.parametrize("data", [b"", b"rubbish" * 400, archive(entry("manifest.json", data=b"{")), WHOLE])
def test_an_archive_that_holds_no_image(
    engine: Engine, cli: Cli, tmp_path: Path, nothing_left: None, data: bytes
) -> None:
    file = tmp_path / "image.tar"
    file.write_bytes(data)
    refused(cli("load", "-i", file), 1)


# ── no engine ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_daemon(engine: Engine, cli: Cli) -> None:
    nowhere = f"unix://{engine.root}/nowhere.sock"
    done = cli("-H", nowhere, "ps")
    assert done.code == 1
    assert nowhere in done.stderr
    assert "Traceback" not in done.stderr


NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
SAMPAN = [sys.executable, "-m", "sampan.cli"]


def test_a_daemon_without_root(engine: Engine) -> None:
    if engine.run(*NOBODY, *SAMPAN, "--version").code != 0:
        pytest.skip("this checkout, or its Python, cannot be read by others")
    refused(engine.run(*NOBODY, *SAMPAN, "daemon", "--config-file", "/dev/null"), 1, "root")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("netwrok: {}", ["netwrok", "did you mean 'network'"]),
        ("log:\n  max_size: huge", [":2:", "log.max_size", "'huge'", "20m"]),
        ("network: {options: {bridge: {mut: 3}}}", ["network.options.bridge.mut", "did you mean 'mtu'"]),
        ("storage: {driver: zfs}", ["storage.driver", "'zfs'", "overlayfs"]),
        ("log: [", ["not valid YAML"]),
    ],
)
def test_a_wrong_configuration(engine: Engine, tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    roots = ["--data-root", tmp_path / "data", "--exec-root", tmp_path / "exec", "--pidfile", tmp_path / "pid"]
    for flags in (["--validate"], roots):
        refused(engine.sampan("daemon", "--config-file", file, *flags), 1, *words)
    assert list(tmp_path.iterdir()) == [file]


def test_the_annotated_configuration_is_valid(engine: Engine) -> None:
    file = Path(__file__).parents[2] / "config.yaml"
    assert engine.sampan("daemon", "--validate", "--config-file", file).code == 0
