"""Programs of this host run in an image of their own, with all that they read beside their libraries."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import Engine

pytestmark = pytest.mark.root

PYTHON = """
import ctypes, decimal, encodings.idna, hashlib, json, lzma, sqlite3, socket, ssl, zoneinfo, xml.etree.ElementTree
sqlite3.connect(":memory:").execute("select 1")
hashlib.sha256(b"x").hexdigest()
ctypes.CDLL(None).getpid()
zoneinfo.ZoneInfo("Europe/Lisbon")
assert ssl.create_default_context().cert_store_stats()["x509"] > 10
assert socket.getservbyname("https") == 443
print(json.dumps(["all", "aboard"]))
"""


def programs() -> list[str]:
    found = ["/usr/bin/python3", *(path for name in ("perl", "git", "curl", "bash") if (path := shutil.which(name)))]
    return [path for path in found if Path(path).exists()]


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    script = tmp_path_factory.mktemp("bin") / "told"
    script.write_text("#!/usr/bin/env python3\nimport textwrap\nprint(textwrap.dedent('   told'))\n")
    script.chmod(0o755)
    return [str(script), *programs()]


@pytest.fixture(scope="module")
def image(engine: Engine, wanted: list[str]) -> str:
    engine.sampan("image", "from-host", "-t", "crew", *wanted, timeout=120).ok()
    return "crew"


def runs(engine: Engine, image: str, *command: str) -> str:
    return engine.sampan("run", "--rm", "--network", "none", image, *command).out


def test_python_has_its_library(engine: Engine, image: str) -> None:
    assert json.loads(runs(engine, image, "/usr/bin/python3", "-c", PYTHON)) == ["all", "aboard"]


def test_a_script_by_env(engine: Engine, image: str, wanted: list[str]) -> None:
    assert runs(engine, image, wanted[0]) == "told"


def test_a_python_of_a_virtual_environment(engine: Engine, tmp_path: Path) -> None:
    """With what is installed in it."""
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", tmp_path / "own"], check=True)
    [packages] = (tmp_path / "own/lib").glob("python3*/site-packages")
    (packages / "cargo.py").write_text("weight = 7\n")
    program = f"{tmp_path}/own/bin/python"
    engine.sampan("image", "from-host", "-t", "own", program, timeout=120).ok()
    assert runs(engine, "own", program, "-c", "import cargo, ssl; print(cargo.weight)") == "7"


@pytest.mark.parametrize(
    ("program", "command", "said"),
    [
        ("perl", ["perl", "-MPOSIX", "-MData::Dumper", "-e", "print uc strftime('%Y', gmtime(0))"], "1970"),
        ("bash", ["bash", "-c", "LC_ALL=C.UTF-8; x=\u00e9t\u00e9; echo ${#x}"], "3"),
        ("git", ["git", "-c", "init.defaultBranch=sea", "init", "-q", "/tmp/x"], ""),
        ("curl", ["curl", "-sS", "file:///etc/nsswitch.conf"], "passwd: files"),
        (
            "curl",
            ["curl", "-sS", "https://127.0.0.1:1/", "-o", "/dev/null", "-w", "%{http_code}", "-m", "5", "-f"],
            None,
        ),
    ],
)
def test_others(engine: Engine, image: str, program: str, command: list[str], said: str | None) -> None:
    if not shutil.which(program):
        pytest.skip(f"there is no {program} here")
    if said is None:
        done = engine.sampan("run", "--rm", "--network", "none", image, *command)
        assert "certificate" not in done.stderr
        return
    assert runs(engine, image, *command).startswith(said)


def test_the_same_files_are_the_same_image(engine: Engine, image: str, wanted: list[str]) -> None:
    engine.sampan("image", "from-host", "-t", "again", *wanted, timeout=120).ok()
    one, two = (json.loads(engine.sampan("image", "inspect", name).out)[0] for name in (image, "again"))
    assert one["Id"] == two["Id"]
