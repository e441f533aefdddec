"""The ``oci`` runtime with a binary that nobody has heard of: one that works, and others that do not."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Engine

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("docker_cli")]

PATIENCE = 2.0
HULL = """\
#!/bin/sh
# An OCI runtime of its own name: its arguments must come first, and it notes down what it is asked for.
[ "$1" = --hull=oak ] || { echo "hull: no hull" >&2; exit 1; }
shift
case " $* " in *" --version "*) echo "hull version 3.1"; exit;; esac
echo "$*" >> REPORT
exec CRUN "$@"
"""
BROKEN = {
    "it is not there": (None, "cannot be executed"),
    "it may not be executed": ("", "cannot be executed"),
    "it is no program": ("nonsense\n", "the OCI runtime's create failed"),
    "it hangs": ("#!/bin/sh\nsleep 1000 & sleep 1000\n", "did not end within 2 seconds"),
    "it says nothing": ("#!/bin/sh\nexit 1\n", "the OCI runtime's create failed and does not say why"),
    "it says why": ("#!/bin/sh\necho the tide is out >&2\nexit 1\n", "the tide is out"),
    "it says nonsense": ("#!/bin/sh\nhead -c 9999 /dev/urandom >&2\nexit 3\n", "the OCI runtime's create failed"),
    "it dies": ("#!/bin/sh\nkill -SEGV $$\n", "the OCI runtime's create failed"),
    "it does nothing": ("#!/bin/sh\nexit 0\n", "is no OCI runtime"),
    "it has made the host's init": (
        '#!/bin/sh\nwhile [ $# -gt 0 ]; do [ "$1" = --pid-file ] && echo 1 > "$2"; shift; done\n',
        "is no OCI runtime",
    ),
}


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any") / "hull"


@pytest.fixture(scope="module")
def engine(binary: Path) -> Iterator[Engine]:
    crun = shutil.which("crun") or shutil.which("runc")
    if not crun:
        pytest.skip("there is neither crun nor runc on this machine")
    write(binary, HULL.replace("REPORT", f"{binary}.report").replace("CRUN", crun))
    options = {"path": str(binary), "arguments": ["--hull=oak"], "patience": PATIENCE}
    with Engine(runtime={"options": {"oci": options}}) as running:
        running.image()
        running.docker("run", "--rm", "--runtime", "oci", "shell", "true").ok()  # what is made once and kept
        yield running


def write(binary: Path, text: str) -> None:
    new = binary.with_name("new")
    new.write_text(text)
    new.chmod(0o755 if text else 0o644)
    new.replace(binary)


@pytest.fixture
def name() -> str:
    return f"boat-{uuid.uuid4().hex[:8]}"


def test_it_does_all_that_is_asked_of_a_runtime(engine: Engine, binary: Path, name: str, nothing_left: None) -> None:
    engine.docker("run", "-d", "--runtime", "oci", "--name", name, "shell", "sh", "-c", "echo up; sleep 1000").ok()
    engine.wait_until(lambda: engine.docker("logs", name).out == "up", "it has said so")
    assert engine.docker("exec", "-e", "A=b", name, "sh", "-c", "echo $A; exit 7").code == 7
    engine.docker("pause", name).ok()
    engine.docker("unpause", name).ok()
    engine.docker("update", "--memory", "64m", "--memory-swap", "-1", name).ok()
    engine.docker("stop", "-t", "0", name).ok()
    assert engine.docker("inspect", "-f", "{{.HostConfig.Runtime}} {{.State.ExitCode}}", name).out == "oci 137"
    engine.docker("rm", name).ok()
    asked = Path(f"{binary}.report").read_text()
    for command in ("create", "start", "exec", "update", "delete"):
        assert f" {command} " in asked, "a binary that is not known does all of it itself"
    assert "hull 3.1" in engine.sampan("drivers", "--format", "json").out


@pytest.mark.parametrize("what", BROKEN)
def test_one_that_does_not_work_is_told_in_a_sentence(
    engine: Engine, binary: Path, name: str, nothing_left: None, what: str
) -> None:
    text, words = BROKEN[what]
    whole = binary.read_text()
    try:
        if text is None:
            binary.unlink()
        else:
            write(binary, text)
        done = engine.docker("run", "--runtime", "oci", "--name", name, "shell", "true")
        engine.docker("rm", "-f", name).ok()
    finally:
        write(binary, whole)
    assert (125 <= done.code <= 128, words in done.stderr) == (True, True), done
    assert len(done.stderr.strip().splitlines()) <= 3, "a sentence, and docker's hint"
    assert engine.docker("run", "--rm", "--runtime", "oci", "shell", "echo", "sails").out == "sails"
